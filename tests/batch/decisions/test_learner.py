"""Models: what is saved goes on as if it never had been, and nothing ends the process."""

import json

import psutil
import pytest

from app.contracts.decisions import Slot
from app.contracts.learning.policies import DEFAULT, ORIGINAL, BadPolicy
from batch.decisions.dsjson import line
from batch.decisions.learner import BrokenModel, Learner, problem_of
from batch.decisions.terms import Joined
from tests.batch.decisions.logged import context
from tests.batch.decisions.rows import joined, several

SLOTS = "--ccb_explore_adf --epsilon 0.2 -q ::"
EXACT = (
    DEFAULT.arguments,
    ORIGINAL.arguments,
    "--cb_explore_adf --squarecb -q ::",
    "--cb_explore_adf --softmax --lambda 10 -q ::",
    "--cb_explore_adf --cb_type ips --coin -q :: --cubic :::",
)


@pytest.mark.parametrize("arguments", [*EXACT, SLOTS])
def test_a_model_goes_on_where_it_was_saved(arguments: str) -> None:
    make = several if arguments == SLOTS else joined
    whole, piece = Learner.fresh(arguments), Learner.fresh(arguments)
    for number in range(60):
        whole.teach(line(make(number)))
        piece.teach(line(make(number)))
        if number in (0, 40, 41):
            piece = Learner.load(piece.save())
    assert piece.save() == whole.save() != Learner.fresh(arguments).save()


def test_it_says_what_it_thought_before_it_learned() -> None:
    learner = Learner.fresh(DEFAULT.arguments)
    (first,) = learner.teach(line(joined(0)))
    assert first == pytest.approx([1 / 3] * 3)
    for number in range(1, 60):
        (last,) = learner.teach(line(joined(number)))
    assert last == pytest.approx([1 - 0.4 / 3, 0.2 / 3, 0.2 / 3])
    both = Learner.fresh(SLOTS).teach(line(several(0)))
    assert [len(pmf) for pmf in both] == [2, 2] and sum(both[0]) == pytest.approx(1)


def test_another_epsilon_changes_nothing_that_was_learned() -> None:
    learner = Learner.fresh(DEFAULT.arguments)
    for number in range(60):
        learner.teach(line(joined(number)))
    other = Learner.load(learner.save(), "--cb_explore_adf --epsilon 0.5 -q ::")
    (pmf,) = other.teach(line(joined(60)))
    assert pmf == pytest.approx([1 - 1 / 3, 1 / 6, 1 / 6])


@pytest.mark.parametrize("arguments", ["--cb_explore_adf --no_such_option", "--epsilon much"])
def test_arguments_that_vowpal_wabbit_refuses(arguments: str) -> None:
    with pytest.raises(BadPolicy, match="Vowpal Wabbit refuses"):
        Learner.fresh(arguments)


@pytest.mark.parametrize("model", [b"", b"no model", Learner.fresh(SLOTS).save()[:100]])
def test_bytes_that_are_no_model(model: bytes) -> None:
    with pytest.raises(BrokenModel):
        Learner.load(model)


def test_decisions_of_several_slots_are_for_policies_of_several() -> None:
    for arguments, made in ((DEFAULT.arguments, several(0)), (SLOTS, joined(0))):
        assert not Learner.fresh(arguments).fits(made)


def _of(told: object, *slots: Slot) -> Joined:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    given = slots or (Slot("", (1, 2), (0.5, 0.5)),)
    return joined(0)._replace(context=text, slots=given, rewards=(1.0,) * len(given))


TWO = [{"j": {"a": 1}}, {"j": {"a": 2}}]


@pytest.mark.parametrize(
    "made",
    [
        _of(b""),
        _of(b"{"),
        _of(b"x"),
        _of(b"null"),
        _of([]),
        _of({"_multi": []}),
        _of({"_multi": [1, 2]}),
        _of({"_multi": TWO * 26}),
        _of(json.dumps({"_multi": TWO}, indent=1).encode()),
        _of({"_multi": TWO, "_slots": [{"_id": "a"}]}),
        _of({"_multi": TWO}, Slot("a", (1, 2), (0.5, 0.5))),
        _of({"_multi": TWO}, Slot("", (1, 9), (0.5, 0.5))),
        _of({"_multi": TWO}, Slot("", (1, 1), (0.5, 0.5))),
        _of({"_multi": TWO}, Slot("", (1,), (1.0,))),
        _of({"_multi": TWO}, Slot("", (), ())),
        _of({"_multi": TWO}, Slot("", (1, 2), (0.0, 1.0))),
        _of({"_multi": TWO}, Slot("", (1, 2), (1.0,))),
        _of({"_multi": TWO}, Slot("", (1, 2), (0.5, 1.5))),
        _of({"_multi": TWO}, Slot("", (1, 2), (0.5, float("nan")))),
        _of({"_multi": TWO}, Slot("", (1, 2), (0.5, 0.5), 3)),
        _of({"_multi": [{}], "_slots": [{}, {}]}, *[Slot(f"{n}", (1,), (1.0,)) for n in (1, 2)]),
        _of({"_multi": TWO, "Über": {"a": 1}}),
        _of({"_multi": TWO, "FromUrl": [{"a": {"日本": [1, 2]}}]}),
        _of('{"_multi":[{"é":{}},{}]}'.encode()),
        _of({"_multi": ["_tag", {}]}),
        _of({"_multi": TWO, "FromUrl": [{"_label": 1}]}),
        _of({"_multi": [{"_multi": 1}, {}]}),
        _of({"_multi": TWO, "FromUrl": [{"_tag": {"_slots": [1]}}]}),
    ],
)
def test_what_could_end_the_process_is_refused(made: Joined) -> None:
    assert problem_of(made)


def test_names_and_values_of_any_language_are_learned() -> None:
    made = _of({"_multi": TWO, "FromUrl": [{"é": "ü", "日本": 1, "_": 0, "a": "_x"}]})
    assert problem_of(made)  # names may not begin with a low line
    made = _of({"_multi": TWO, "FromUrl": [{"é": "ü", "日本": 1, "a": "_x", "~é": {"b": 2}}]})
    assert not problem_of(made)
    Learner.fresh(DEFAULT.arguments).teach(line(made))


def test_learning_takes_no_memory() -> None:
    learner, process = Learner.fresh(DEFAULT.arguments), psutil.Process()
    text = line(joined(0)._replace(context=context(3, user="ann")))
    for _ in range(500):
        learner.teach(text)
    before = process.memory_info().rss
    for _ in range(2000):
        learner.teach(text)
    assert process.memory_info().rss - before < 20_000_000  # a known trap takes 488 MB
