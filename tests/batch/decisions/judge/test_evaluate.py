"""Evaluations of logs in files: what is told, what is refused, and what the truth is."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.contracts.decisions import Evaluation, Policy, Slot
from app.contracts.learning import policies
from app.contracts.learning.estimates import Sums
from app.decisions.context import encode
from batch.datasets import coffee
from batch.decisions import logs
from batch.decisions.judge.evaluate import MOST_ROWS, Found, evaluate, is_better, told
from batch.decisions.judge.replay import REWARDS
from batch.decisions.judge.report.page import render
from batch.decisions.judge.search import by_share, by_themselves, entered, work
from batch.decisions.terms import Joined
from batch.errors import BadInteractions, Terminal
from tests.batch.decisions.rows import START, joined, several
from tests.servers import run_here

CUBIC = "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q :: --cubic :::"
PLAIN = "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q ::"
ASKED = Evaluation("e1", "first", "2025-11-21", "2026-01-01", "2025-11-22T00:00:00Z")
IN_USE = Policy("default", PLAIN)


def served(count: int, seed: int = 1) -> list[Joined]:
    """Coffees offered at random, one a second."""
    random, found = Random(seed), []
    for number in range(count):
        met = coffee.meet(random)
        context = encode(met.context, [(each["id"], each["features"]) for each in met.actions])
        chosen = random.randrange(4)
        order = (chosen + 1, *(each + 1 for each in range(4) if each != chosen))
        reward = met.rewards[met.actions[chosen]["id"]]
        slot = Slot("", order, (0.25,) * 4)
        found.append(joined(number, context=context, slots=(slot,), rewards=(reward,)))
    return found


def judge(folder: Path, **asked: Any) -> Found:
    question = Evaluation(**{**_fields(ASKED), **asked})
    return evaluate(folder, question, IN_USE, 0.2, lambda done: None)


def _fields(asked: Evaluation) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in ("id", "name", "start", "end", "created")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    logs.append(path, served(3000), [])
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> Found:
    return judge(folder, policies=[("cubic", CUBIC)])


def test_estimates_are_beside_the_known_truth(found: Found) -> None:
    sums = {each.name: each.total() for each in found.judged}
    assert list(sums) == ["online", "baseline1", "baselineRand", "cubic"]
    for name, truth in {"online": 1 / 4, "baseline1": 11 / 36, "baselineRand": 1 / 4}.items():
        low, high = sums[name].interval
        assert low < truth < high, name
    assert sums["cubic"].snips > 0.5
    assert found.optimal == "cubic"
    assert (found.decided, found.passed) == (3000, 0)


def test_a_search_finds_what_is_better_and_judges_it_by_the_other_half(folder: Path) -> None:
    found = judge(folder, search=True, end="2025-11-21T00:16:40")
    *ours, best = found.judged
    assert [each.name for each in ours] == ["online", "baseline1", "baselineRand"]
    assert best.name.startswith("hyper") and best.source == "OfflineExperimentation"
    assert best.total().events == 500 and best.chooses and best.chooses.events == 500
    assert found.optimal == best.name


def test_a_search_of_large_contexts_judges_less_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = [row.context for row in served(3)]
    tried = [*by_share(False, 0.2), *by_themselves(False), PLAIN]
    enough = 40 * work([*tried, REWARDS], contexts)
    monkeypatch.setattr("batch.decisions.judge.evaluate.MOST_WORK", enough)
    found = judge(folder, search=True, policies=[("plain", PLAIN)])
    newest = [*logs.read(folder)][-found.decided :]
    assert 35 < found.decided < 45 and found.passed == 0
    assert found.judged[0].total().wr == sum(row.rewards[0] for row in newest)
    assert found.limits == f"of 3,000 decisions the newest {found.decided} were judged"
    assert told(ASKED, found).problem == found.limits
    assert not judge(folder, end="2025-11-21T00:00:30", search=True).limits


def test_a_search_leaves_out_what_large_contexts_make_slow(tmp_path: Path) -> None:
    rows = [joined(number, context=wide()) for number in range(2)]
    logs.append(tmp_path, rows, [])
    found = judge(tmp_path, search=True)
    assert "too slow for such contexts, so not tried" in found.limits
    left_out = found.limits.partition(": ")[2].split("; ")
    assert all("--cubic" in each or "--cover" in each for each in left_out) and len(left_out) == 4
    assert found.judged[-1].arguments not in left_out and found.decided == 2


def wide() -> bytes:
    """Three actions of a hundred features each."""
    actions = [
        {"_tag": name, "i": {"id": name}, "j": [{f"f{at}": at for at in range(100)}]}
        for name in "abc"
    ]
    return json.dumps({"FromUrl": [{"user": "anna"}], "_multi": actions}).encode()


def test_what_is_told_can_be_summed_up_again(found: Found) -> None:
    answer = Evaluation.from_json(told(ASKED, found).to_json())
    assert (answer.status, answer.optimal) == ("succeeded", "cubic")
    online = answer.results[0]
    assert (online["name"], online["source"], online["slot"]) == ("online", "Online", "")
    assert [row[0] for row in online["rows"]] == [START + each * 300_000 for each in range(10)]
    assert sum((Sums(*row[1:]) for row in online["rows"]), Sums()) == found.judged[0].total()


def test_a_long_time_has_rows_of_more_than_five_minutes(tmp_path: Path) -> None:
    rows = [joined(number * 3600 * 24) for number in range(20)]
    logs.append(tmp_path, rows, [])
    online = judge(tmp_path).judged[0]
    assert len(online.rows[""]) == 20
    width = 300_000 * -(-20 * 288 // MOST_ROWS)
    assert {at % width for at in online.rows[""]} == {0}


def test_only_what_was_decided_in_that_time_counts(folder: Path) -> None:
    found = judge(folder, start="2025-11-21T00:00:10+00:00", end="2025-11-21T01:01:00+01:00")
    assert found.judged[0].total().events == 50


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"start": "2025-11-23"}, "no decision that counts from 2025-11-23 to"),
        ({"start": "soon"}, "expected a time in ISO 8601, not 'soon'"),
        ({"policies": [("bad", "--cb_explore_adf --no_such_thing")]}, "policy 'bad' cannot be"),
        (
            {"policies": [("a", PLAIN), ("b", "--ccb_explore_adf")]},
            "one slot and for several cannot be compared",
        ),
        ({"policies": [("b", "--ccb_explore_adf -q ::")]}, "these policies are for several slots"),
    ],
)
def test_what_cannot_be_answered_is_told(folder: Path, asked: dict[str, Any], why: str) -> None:
    with pytest.raises(Terminal, match=why):
        judge(folder, **asked)


def test_empty_logs_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInteractions, match="the logs hold no decision that counts"):
        judge(tmp_path)


def test_an_apprentices_logs_say_nothing_of_others(tmp_path: Path) -> None:
    logs.append(tmp_path, [joined(number, mode="Apprentice") for number in range(9)], [])
    with pytest.raises(BadInteractions, match="all 9 decisions were made in mode Apprentice"):
        judge(tmp_path)


def test_decisions_of_several_slots_have_a_search_of_their_own(tmp_path: Path) -> None:
    logs.append(tmp_path, [several(number) for number in range(60)], [])
    found = judge(tmp_path, search=True)
    assert "--ccb_explore_adf" in found.judged[-1].arguments
    slots = {result["slot"] for result in told(ASKED, found).results}
    assert slots == {"", "top", "side"}


@pytest.mark.parametrize(
    ("policy", "better"),
    [
        (Sums(events=900, w=900, wr=450, w2=900, w2r=450, w2r2=450, most=1), True),
        (Sums(events=900, w=900, wr=180, w2=900, w2r=180, w2r2=180, most=1), False),
        # The mean and the lower end are higher, and two alike would often be so by chance.
        (Sums(events=900, w=900, wr=236, w2=900, w2r=236, w2r2=236, most=1), False),
        # The mean is higher, its interval so wide that it says nothing.
        (Sums(events=900, w=900, wr=260, w2=8000, w2r=2300, w2r2=2300, most=1), False),
        # Two lucky decisions, all of one reward: the interval is nothing, and says nothing.
        (Sums(events=900, w=2, wr=2, w2=2, w2r=2, w2r2=2, most=1), False),
    ],
)
def test_a_policy_is_better_by_its_lower_end_alone(policy: Sums, better: bool) -> None:
    online = Sums(events=900, w=900, wr=225, w2=900, w2r=225, w2r2=225, most=1)
    assert is_better(policy, online) is better


def test_the_page_draws_each_policy(found: Found) -> None:
    page = render(found, "<logs>")
    assert page.count("<polyline") == 4
    assert "&lt;logs&gt;" in page and "<logs>" not in page
    assert f"{found.judged[-1].total().snips:.4f}" in page


def test_the_command_prints_a_table_and_writes_a_page(folder: Path, tmp_path: Path) -> None:
    page, until = tmp_path / "report.html", "2025-11-21T00:10:00"
    words = ["decisions", "evaluate", str(folder), "--policy", f"cubic={CUBIC}", "--to", until]
    done = run_here(*words, "--report", str(page))
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split()[:2] == ["policy", "reward"]
    names = [line.split()[0] for line in lines[:4]]
    assert names == ["online", "baseline1", "baselineRand", "cubic"]
    assert {line.split()[-3] for line in lines[:4]} == {"600"}
    assert "the best that can be used: " in done.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_the_command_tells_json_and_what_is_wrong(folder: Path) -> None:
    words = ["decisions", "evaluate", str(folder)]
    done = run_here(*words, "--json", "--to", "2025-11-21T00:01:00")
    assert json.loads(done.stdout)["policies"]["online"]["events"] == 60
    done = run_here(*words, "--policy", "cubic")
    assert done.returncode == 2 and '--policy must be NAME="ARGUMENTS"' in done.stderr


@pytest.mark.parametrize("slotted", [False, True])
def test_a_search_tries_what_may_be_used(slotted: bool) -> None:
    tried = [*by_share(slotted, 0.3), *by_themselves(slotted)]
    assert len({*tried}) == len(tried) > 4
    for each in tried:
        policies.check(each)
        assert policies.is_for_slots(each) is slotted
    names = [each.name for each in entered(tried, {"hyper2"})]
    assert names[:3] == ["hyper1", "hyper3", "hyper4"] and len(names) == len(tried)
