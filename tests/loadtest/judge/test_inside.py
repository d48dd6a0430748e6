"""What a stack of our own shows: is memory flat, did generations go live?"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from loadtest.judge.inside import MIB, Dawdled, Inside, Published, Usage, complete, leaks
from loadtest.judge.measured import Measured, MeasuredStep
from loadtest.judge.verdict import Verdict
from loadtest.load.decisions import HUNDREDTHS, Settled
from loadtest.slo import REFERENCE

GREEN = Verdict(True, ["kept"])
STEP = MeasuredStep(200, 10, 1800, 0, 4, 9, 20, 180, 180.0, 0.0, (0, 200), [])
MEASURED = Measured(
    "soak", "paced", REFERENCE, GREEN, [STEP], None, 1, errors={}, generations=["1", "2"], series=[]
)
REFRESHED = replace(MEASURED, scenario="refresh")
SLOW = replace(MEASURED, scenario="slow")
LIVE = replace(
    MEASURED,
    scenario="live",
    counts={"events": 1200, "lists after an event": 3400, "short lists": 5},
)
DAWDLED = Dawdled(1000, opened=5000, refused=0, ended=4000, told=3000)
PUBLISHED = Published(3, 1, [1.0, 2.0, 3.0], failed=None)


def _usage(
    worker: Sequence[float], cache: float = 10, descriptors: list[int] | None = None
) -> list[Usage]:
    return [
        Usage(
            at=float(second),
            workers={"41": round(MIB * mib), "42": round(MIB * 40)},
            cache_bytes=round(MIB * cache),
            descriptors=descriptors[second] if descriptors else 200,
            cache_clients=4,
        )
        for second, mib in enumerate(worker)
    ]


def test_memory_that_rises_only_while_warming_up_is_flat() -> None:
    warming = [40 + second for second in range(20)] + [60 + second / 100 for second in range(100)]
    assert leaks(_usage(warming), 0) == []


def test_memory_that_keeps_rising_is_a_leak_and_names_the_worker() -> None:
    (sentence,) = leaks(_usage([40 + second / 4 for second in range(120)]), 0)
    assert sentence.startswith("worker 41 of the API grew from 48.9 to 66.9 MiB")
    assert "promised was flat memory (at most 5% or 4 MiB more)" in sentence


def test_connections_that_pile_up_are_a_leak() -> None:
    rising = _usage([40] * 120, descriptors=[200 + second // 10 for second in range(120)])
    (sentence,) = leaks(rising, 0)
    assert sentence.startswith("open files of the API rose from ")


def test_a_worker_that_was_replaced_did_not_live_through_the_run() -> None:
    usage = _usage([40] * 120)
    replaced = [replace(each, workers={"99": each.workers["41"]}) for each in usage[60:]]
    sentences = leaks(usage[:60] + replaced, 0)
    assert "worker 41 of the API did not live through the run" in sentences


def test_what_was_before_the_start_does_not_count() -> None:
    early = _usage([10 * second for second in range(60)] + [600] * 60)
    assert leaks(early, 60) == []
    assert leaks(early, 0) != []


def test_too_few_usage_say_nothing_and_so_are_not_green() -> None:
    assert "too few samples" in leaks(_usage([40] * 5), 0)[0]


def test_flat_memory_is_remarked() -> None:
    verdict = complete(MEASURED, Inside(_usage([40] * 200))).verdict
    assert verdict == Verdict(True, ["kept", "memory and connections stayed flat after warm-up"])


def test_a_short_soak_says_that_it_says_little() -> None:
    short = replace(MEASURED, steps=[replace(STEP, window=(0, 100))])
    verdict = complete(short, Inside(_usage([40] * 100))).verdict
    assert verdict.passed
    assert verdict.sentences[1].startswith("too short to say whether memory is flat")


def test_a_leak_turns_a_green_verdict_red_and_adds_to_a_red_one() -> None:
    rising = _usage([40 + second / 4 for second in range(200)])
    green = complete(MEASURED, Inside(rising)).verdict
    assert not green.passed and "kept" not in green.sentences
    red = complete(replace(MEASURED, verdict=Verdict(False, ["slow"])), Inside(rising)).verdict
    assert red.sentences[0] == "slow" and red.sentences[1:] == green.sentences


def test_a_soak_that_measured_nothing_keeps_its_verdict() -> None:
    assert complete(replace(MEASURED, steps=[]), Inside([])).verdict == GREEN


@pytest.mark.parametrize("measured", [MEASURED, REFRESHED])
def test_what_runs_elsewhere_is_not_looked_into(measured: Measured) -> None:
    verdict = complete(measured, Inside()).verdict
    assert verdict.passed and verdict.sentences[1].endswith("the API runs elsewhere")


def test_what_was_published_meanwhile_is_told() -> None:
    assert complete(REFRESHED, Inside([], PUBLISHED)).verdict.sentences[1] == (
        "3 generations were published and 1 rolled back meanwhile; answers came from 2"
    )


@pytest.mark.parametrize(
    ("measured", "published", "sentence"),
    [
        (REFRESHED, replace(PUBLISHED, failed="no disk"), "no disk"),
        (
            replace(REFRESHED, generations=["1"]),
            PUBLISHED,
            "the answers never showed a new generation",
        ),
        (
            replace(REFRESHED, errors={"no answer": 1}),
            PUBLISHED,
            "requests failed, before or after the measured time if not in it",
        ),
    ],
)
def test_a_refresh_that_shows_is_red(
    measured: Measured, published: Published, sentence: str
) -> None:
    assert complete(measured, Inside([], published)).verdict == Verdict(False, [sentence])


def test_what_became_of_slow_clients_is_told() -> None:
    assert complete(SLOW, Inside([], None, DAWDLED)).verdict.sentences[1] == (
        "1,000 slow clients were connected meanwhile: the API ended 4,000, of which it told 3,000 "
        "why (408)"
    )


def test_slow_clients_that_cost_an_answer_or_were_not_there_are_red() -> None:
    lost = complete(replace(SLOW, errors={"no answer": 1}), Inside([], None, DAWDLED)).verdict
    assert lost == Verdict(
        False, ["requests failed, before or after the measured time if not in it"]
    )
    missing = complete(SLOW, Inside([], None, replace(DAWDLED, refused=2))).verdict
    assert missing == Verdict(False, ["2 slow clients could not connect"])


def test_what_followed_from_events_is_told() -> None:
    verdict = complete(LIVE, Inside()).verdict
    assert verdict.passed
    assert verdict.sentences[1:] == [
        "1,200 events were taken; nothing came back in the 3,400 lists that their users asked for "
        "afterwards; 5 lists were short"
    ]


def test_lists_that_prove_nothing_and_what_came_back_are_red() -> None:
    unproved = replace(LIVE, counts={"events": 3})
    broke = replace(LIVE, errors={"an item came back after its click": 1})
    sentences = {complete(each, Inside()).verdict.sentences[0] for each in (unproved, broke)}
    assert sentences == {
        "not one list was asked for after an event: nothing is proved",
        "requests failed, before or after the measured time if not in it",
    }
    assert not any(complete(each, Inside()).verdict.passed for each in (unproved, broke))


DECIDED = replace(
    MEASURED, scenario="decisions", counts={"decisions": 300, "rewards": 240, HUNDREDTHS: 12_350}
)


@pytest.mark.parametrize("learned", [300, None])
def test_decisions_that_are_all_in_the_logs_once_are_green(learned: int | None) -> None:
    verdict = complete(DECIDED, Inside(settled=Settled(300, 123.5, learned))).verdict
    assert verdict.passed
    assert verdict.sentences[-1].startswith("lost events: 0. 300 decisions with 240 rewards, 123.5")


@pytest.mark.parametrize(
    ("settled", "said"),
    [
        (Settled(299, 123.5, 300), "300 decisions were acknowledged, the logs have 299"),
        (Settled(301, 123.5, 300), "300 decisions were acknowledged, the logs have 301"),
        (Settled(300, 124.5, 300), "rewards of 123.5 were acknowledged, the logs have 124.5"),
        (Settled(300, 123.5, 280), "of 300 decisions the model has learned 280"),
    ],
)
def test_a_decision_that_is_lost_or_counts_twice_is_red(settled: Settled, said: str) -> None:
    verdict = complete(DECIDED, Inside(settled=settled)).verdict
    assert not verdict.passed and said in verdict.sentences


def test_a_run_without_decisions_proves_nothing() -> None:
    none = replace(DECIDED, counts={})
    assert not complete(none, Inside(settled=Settled(0, 0.0, 0))).verdict.passed
