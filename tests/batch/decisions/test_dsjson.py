"""Lines of dsjson: Vowpal Wabbit learns them, and they come back as they went."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import vowpalwabbit

from app.contracts.learning.policies import DEFAULT
from batch.decisions.dsjson import BadLine, line, parse
from batch.decisions.learner import Learner, problem_of
from batch.decisions.terms import Joined
from tests.batch.decisions.program import program, readable
from tests.batch.decisions.rows import context, joined, several

CCB = DEFAULT.arguments.replace("--cb_explore_adf", "--ccb_explore_adf")

# As the service wrote its own, see the tests of microsoft/learning-loop.
THEIRS = (
    '{"_label_cost":-1.0,"_label_probability":0.3333,"_label_Action":3,"_labelIndex":2,'
    '"o":[{"v":1.0,"EventId":"0000000","ActionTaken":false}],'
    '"Timestamp":"2021-04-24T20:02:39.0740000Z","Version":"1","EventId":"0000000","a":[3,2,1],'
    '"c":{"FromUrl":[{"user":"Tom"}],"_multi":[{"_tag":"Mocha"},{"_tag":"Latte"},{"_tag":"Tea"}]},'
    '"p":[0.3333,0.3333,0.3334],"VWState":{"m":"N/A"},"_original_label_cost":-1.0}'
)


def weights(arguments: str, rows: Sequence[Joined], folder: Path) -> str:
    """What the program of the package learns of a file."""
    (folder / "log.dsjson").write_text("".join(f"{line(each)}\n" for each in rows))
    resumable = "--save_resume --preserve_performance_counters"
    program(f"{arguments} {resumable} -d log.dsjson -f learned.vw", folder)
    return readable(folder)


def learned(arguments: str, rows: Sequence[Joined], folder: Path) -> str:
    """What the trainer learns of its decisions."""
    learner = Learner.fresh(arguments)
    for each in rows:
        learner.teach(line(each))
    (folder / "learned.vw").write_bytes(learner.save())
    learner.close()
    return readable(folder)


@pytest.mark.parametrize("make, arguments", [(joined, DEFAULT.arguments), (several, CCB)])
def test_the_program_learns_of_an_export_what_the_trainer_learned(
    make: Callable[..., Joined], arguments: str, tmp_path: Path
) -> None:
    all = [make(number) for number in range(60)]
    mine = learned(arguments, all, tmp_path)
    assert mine == weights(arguments, all, tmp_path) and len(mine) > 1000
    assert mine != learned(arguments, all[:3], tmp_path)


@pytest.mark.parametrize("make, arguments", [(joined, DEFAULT.arguments), (several, CCB)])
def test_what_does_not_count_is_exported_and_not_learned(
    make: Callable[..., Joined], arguments: str, tmp_path: Path
) -> None:
    some = [make(number) for number in range(10)]
    more = [make(number, counts=False) for number in range(3, 6)]
    assert weights(arguments, [*some, *more], tmp_path) == weights(arguments, some, tmp_path)


def test_several_places_are_learned_as_their_labels_say(tmp_path: Path) -> None:
    vw = vowpalwabbit.Workspace(f"{CCB} --dsjson --quiet")
    for number in range(300):
        vw.learn(line(several(number)))
    vw.save(str(tmp_path / "model"))
    vw.finish()
    vw = vowpalwabbit.Workspace(f"-i {tmp_path / 'model'} --json --quiet -t")
    top, side = vw.predict(several(0).context.decode())
    vw.finish()
    assert top[0][0] == 1  # the second action, for a reward of 1
    assert side[0][0] == 2  # not the first one, which cost .5


@pytest.mark.parametrize(
    "given",
    [
        joined(1),
        joined(2, mode="Apprentice", imitated=True),
        joined(3, counts=False, mode="LoggingOnly"),
        joined(4, context='{"FromUrl":[{"x":1.1,"s":"\\""}],"_multi":[{},{},{}]}'.encode()),
        several(5),
        several(6, generation="", rewards=(0.1 + 0.2, 1e-7)),
    ],
)
def test_a_decision_comes_back_as_it_was(given: Joined) -> None:
    assert parse(line(given)) == given._replace(position="")


def test_a_line_is_what_the_service_wrote() -> None:
    found = parse(THEIRS)
    assert found.time == 1_619_294_559_074 and found.id == "0000000"
    assert found.slots[0][:3] == ("", (3, 2, 1), (0.3333, 0.3333, 0.3334))
    assert found.rewards == (1.0,) and found.observed == (("", 1.0),) and found.counts
    assert line(found) == THEIRS


def test_members_may_come_in_any_order_and_some_may_be_missing() -> None:
    told = json.loads(THEIRS)
    for name in ("o", "EventId", "Version", "VWState", "_labelIndex", "_original_label_cost"):
        del told[name]
    found = parse(json.dumps(dict(reversed(told.items())), indent=1))
    assert found._replace(context=b"") == parse(THEIRS)._replace(context=b"", id="", observed=())
    assert json.loads(found.context) == told["c"]


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "no JSON"),
        (THEIRS[:-1], "no JSON"),
        (THEIRS + "}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"c":' + "[" * 100_000, "no JSON"),
        ('{"RewardValue":1.0,"EventId":"x"}', "no context"),
        (THEIRS.replace("-1.0", "NaN"), "no JSON: NaN"),
        (THEIRS.replace("-1.0", "1e999"), "a reward of"),
        (THEIRS.replace('"a":[3,2,1]', '"a":[3,2,4]'), "none of the context"),
        (THEIRS.replace('"a":[3,2,1]', '"a":[2,3,1]'), "not the first"),
        (THEIRS.replace('"a":[3,2,1]', '"a":[3,2]'), "probability for each"),
        (THEIRS.replace('"p":[0.3333', '"p":[0'), "not between 0 and 1"),
        (THEIRS.replace('"p":[0.3333', '"p":[7'), "not between 0 and 1"),
        (THEIRS.replace('"Timestamp"', '"Then"'), "Timestamp"),
        (THEIRS.replace("2021-04-24", "1921-04-24"), "before 1970"),
        (THEIRS.replace("2021-04-24", "24.4.2021"), "no right value"),
        (THEIRS.replace('"_multi":[', '"_multi":[' + "{}," * 50), "1 to 50 actions"),
        (line(several(1)).replace('"_a":[1,0]', '"_a":[]'), "probability for each"),
        (THEIRS.replace('{"_tag":"Tea"}', '{"_tag":"Tea","x":["a"]}'), "array with non-number"),
        (THEIRS.replace('"user":"Tom"', '"user":"Tom","user":1'), "name comes twice"),
        (THEIRS.replace('"user":"Tom"', '"user":1e300'), "32-bit float"),
        (line(joined(1, mode="Apprentice")).replace("Apprentice", "Odd"), "no mode"),
        (THEIRS.replace('"EventId":"0000000","a"', '"EventId":"\\ud800","a"'), "surrogate"),
        (line(several(1)).replace('"_id":"side","_a"', '"_id":"\\ud800","_a"'), "surrogate"),
    ],
)
def test_a_line_that_is_no_decision_says_why(text: str, why: str) -> None:
    with pytest.raises(BadLine, match=why):
        parse(text)


def test_an_answer_without_explored_actions_is_one_too() -> None:
    alone = joined(
        0, context=context(), slots=(joined(0).slots[0]._replace(probabilities=(1.0, 0.0, 0.0)),)
    )
    assert parse(line(alone)).slots[0].probabilities == (1.0, 0.0, 0.0)


def test_what_would_end_the_trainer_is_renamed_or_left_out() -> None:
    odd = THEIRS.replace(
        '"FromUrl":[{"user":"Tom"}]',
        '"FromUrl":[{"Über":{"a":1},"user":"Tom","_label":3}],"Ö":[{"x":1}],"_label_cost":2',
    ).replace('{"_tag":"Tea"}', '{"_tag":"Tea","日本":[1,2],"é":"x"}')
    assert json.loads(parse(odd).context) == {
        "FromUrl": [{"~Über": {"a": 1}, "user": "Tom"}],
        "~Ö": [{"x": 1}],
        "_multi": [
            {"_tag": "Mocha"},
            {"_tag": "Latte"},
            {"_tag": "Tea", "~日本": [1, 2], "é": "x"},
        ],
    }
    assert problem_of(parse(odd)) == ""
