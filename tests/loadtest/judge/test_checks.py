"""What a right answer looks like, and the short names of what is wrong."""

import json
from dataclasses import replace
from typing import Any

import pytest

from loadtest.judge.checks import Checker, WrongAnswer, check_taken
from loadtest.load.candidates import Ranking
from loadtest.load.population import Caller, Role
from tests.loadtest.likeness import GENERATION, Likeness

KNOWN = Caller("user 1", is_stranger=False)
STRANGER = Caller("nobody", is_stranger=True)


def _answer(fault: str = "", caller: Caller = KNOWN, **changes: Any) -> bytes:
    return json.dumps({**Likeness(fault=fault).answer(caller.user, 3), **changes}).encode()


def _wrong(body: bytes, caller: Caller = KNOWN, n: int = 3) -> str:
    with pytest.raises(WrongAnswer) as raised:
        Checker(GENERATION).one(body, caller, n)
    return str(raised.value)


def test_a_right_answer_passes_and_gives_its_items() -> None:
    assert Checker(GENERATION).one(_answer(), KNOWN, 3) == ["item 0", "item 1", "item 2"]
    assert Checker().one(_answer(caller=STRANGER), STRANGER, 3)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (_answer(generation=None), "no generation"),
        (_answer(user="another"), "another user's answer"),
        (_answer("degraded"), "degraded answer"),
        (_answer(source="guess"), "unknown source"),
        (_answer(source="popular"), "a known user's list is not personal"),
        (_answer(recommendations=None), "no list of items"),
        (_answer("nothing"), "an empty list"),
        (_answer(recommendations=[{"item": "1"}]), "an entry without item and score"),
        (_answer(recommendations=[{"item": 1, "score": 1}]), "an entry without item and score"),
        (_answer("too many"), "more than n items"),
        (_answer("twice"), "an item twice in one list"),
        (_answer("editions"), "two editions in one answer"),
    ],
)
def test_a_wrong_answer_has_a_short_name(body: bytes, name: str) -> None:
    assert _wrong(body) == name


def test_a_stranger_gets_what_is_popular() -> None:
    assert _wrong(_answer("stranger", STRANGER), STRANGER) == "a stranger's list is personal"


ASKED = Ranking(0, b"", frozenset(["a", "b", "c"]))


def _ranking(fault: str = "", **changes: Any) -> bytes:
    asked = {"items": [{"id": each} for each in sorted(ASKED.items)]}
    return json.dumps({**Likeness(fault=fault).rank(asked), **changes}).encode()


def test_a_right_ranking_passes_and_is_counted_to_its_model() -> None:
    checker = Checker()
    for _ in range(2):
        checker.ranked(_ranking(), GENERATION, ASKED)
    assert checker.generations == [GENERATION] and checker.counts["rankings"] == 2


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"<html>", "not JSON"),
        (_ranking(degraded=True), "degraded answer"),
        (_ranking(version="another"), "two models in one answer"),
        (_ranking(items=None), "no list of items, scores and ranks"),
        (_ranking(items=[{"item": "a", "score": 1.5}]), "no list of items, scores and ranks"),
        (_ranking("one less"), "other items than were asked for"),
        (_ranking("rising"), "not in the order of the scores"),
    ],
)
def test_a_wrong_ranking_has_a_short_name(body: bytes, name: str) -> None:
    with pytest.raises(WrongAnswer, match=name):
        Checker().ranked(body, GENERATION, ASKED)


def test_a_model_has_one_answer_to_one_request() -> None:
    """Else trees of one model have met the tables of another."""
    checker, items = Checker(), json.loads(_ranking())["items"]
    checker.ranked(_ranking(), GENERATION, ASKED)
    checker.ranked(_ranking(), GENERATION, replace(ASKED, number=1))
    items[-1]["score"] -= 0.1
    with pytest.raises(WrongAnswer, match="two answers of one model"):
        checker.ranked(_ranking(items=items), GENERATION, ASKED)


def test_what_was_bought_or_clicked_must_not_come_back() -> None:
    acting = replace(KNOWN, role=Role.ACTS, gone={"item 2": "purchase", "item 7": "click"})
    assert _wrong(_answer(), acting) == "an item came back after its purchase"
    assert Checker(GENERATION).one(_answer(), replace(acting, gone={"item 7": "click"}), 3)
    body = json.dumps({"generation": GENERATION, "answers": [json.loads(_answer())]}).encode()
    with pytest.raises(WrongAnswer, match="an item came back after its purchase"):
        Checker().several(body, [acting], 3)


def test_who_did_something_may_get_another_kind_of_list_and_nobody_else() -> None:
    for source in ("recent", "popular", "personal+recent"):
        Checker(GENERATION).one(_answer(source=source), replace(KNOWN, role=Role.ACTS), 3)
    Checker().one(_answer("nothing"), replace(KNOWN, role=Role.ACTS), 3)  # has had everything
    recent = _answer(caller=STRANGER, source="recent")
    Checker().one(recent, replace(STRANGER, role=Role.ACTS), 3)
    assert _wrong(recent, STRANGER) == "a stranger's list is personal"
    assert _wrong(_answer(source="recent")) == "a known user's list is not personal"


@pytest.mark.parametrize("caller", [KNOWN, STRANGER])
def test_the_lists_of_those_who_do_nothing_stay_as_they_are(caller: Caller) -> None:
    checker, caller = Checker(GENERATION), replace(caller, role=Role.STANDS_BY)
    first = _answer(caller=caller)
    longer = json.loads(first)["recommendations"] + [{"item": "more", "score": 0}]
    for body in (first, _answer(caller=caller, recommendations=longer), first):
        checker.one(body, caller, 4)
    checker.one(_answer(caller=caller, generation="another", recommendations=longer[1:]), caller, 4)
    with pytest.raises(WrongAnswer, match="a list changed whose user did nothing"):
        checker.one(_answer(caller=caller, recommendations=longer[1:]), caller, 4)


def test_a_list_follows_what_was_done_where_the_generation_can() -> None:
    checker, acting = Checker(GENERATION), replace(KNOWN, role=Role.ACTS, gone={"x": "click"})
    checker.one(_answer(), acting, 3)
    checker.reranks = True
    checker.one(_answer(source="personal+recent"), acting, 3)
    checker.one(_answer(generation="another"), acting, 3)
    with pytest.raises(WrongAnswer, match="a list does not follow what was done"):
        checker.one(_answer(), acting, 3)


def test_lists_are_counted_by_what_there_is_to_say_of_them() -> None:
    checker = Checker(GENERATION)
    checker.one(_answer(), replace(KNOWN, role=Role.ACTS, gone={"item 9": "click"}), 3)
    checker.one(_answer(caller=STRANGER), STRANGER, 4)
    assert +checker.counts == {
        "personal lists": 1,
        "popular lists": 1,
        "lists after an event": 1,
        "short lists": 1,
    }


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"accepted": 1, "rejected": [{"index": 1}]}, "events were rejected"),
        ({"accepted": 1}, "events were rejected"),
        ({"accepted": 1, "rejected": []}, "another number of events was accepted"),
    ],
)
def test_every_event_is_taken(answer: dict[str, Any], name: str) -> None:
    check_taken(b'{"accepted": 2, "rejected": []}', 2)
    with pytest.raises(WrongAnswer, match=name):
        check_taken(json.dumps(answer).encode(), 2)


def test_a_user_unknown_to_a_newer_generation_may_get_what_is_popular() -> None:
    Checker("20250101T000000Z-0000").one(_answer(source="popular"), KNOWN, 3)
    Checker().one(_answer(source="popular"), KNOWN, 3)


def test_a_generation_keeps_its_edition() -> None:
    checker = Checker()
    checker.one(_answer(), KNOWN, 3)
    later = [{"item": "1", "score": 1, "edition": "2"}]
    checker.one(_answer(generation="another", recommendations=later), KNOWN, 3)
    assert checker.generations == [GENERATION, "another"]
    with pytest.raises(WrongAnswer, match="two editions of one generation"):
        checker.one(_answer(recommendations=later), KNOWN, 3)


def test_a_list_without_editions_says_nothing_of_the_generation_s() -> None:
    checker = Checker()
    checker.one(_answer(recommendations=[{"item": "1", "score": 1}]), KNOWN, 3)
    checker.one(_answer(), KNOWN, 3)
    assert checker.generations == [GENERATION]
    with pytest.raises(WrongAnswer, match="two editions of one generation"):
        checker.one(_answer(recommendations=[{"item": "1", "score": 1, "edition": "2"}]), KNOWN, 3)


def test_it_is_remembered_whether_anybody_was_known() -> None:
    checker = Checker()
    checker.one(_answer(source="popular"), KNOWN, 3)
    checker.one(_answer(caller=STRANGER), STRANGER, 3)
    assert not checker.met_known
    checker.one(_answer(), KNOWN, 3)
    checker.one(_answer(source="popular"), KNOWN, 3)
    assert checker.met_known


def _batch(**changes: Any) -> bytes:
    answers = [Likeness().answer(caller.user, 3) for caller in (KNOWN, STRANGER)]
    return json.dumps({"generation": GENERATION, "answers": answers, **changes}).encode()


def test_a_batch_is_one_answer_per_user_in_order() -> None:
    Checker(GENERATION).several(_batch(), [KNOWN, STRANGER], 3)
    with pytest.raises(WrongAnswer, match="not one answer per user"):
        Checker(GENERATION).several(_batch(), [KNOWN], 3)
    with pytest.raises(WrongAnswer, match="another user's answer"):
        Checker(GENERATION).several(_batch(), [STRANGER, KNOWN], 3)


def test_a_batch_is_of_one_generation() -> None:
    with pytest.raises(WrongAnswer, match="two generations in one answer"):
        Checker().several(_batch(generation="another"), [KNOWN, STRANGER], 3)


def test_a_batch_with_an_empty_list_is_wrong() -> None:
    answers = [Likeness().answer(caller.user, 3) for caller in (KNOWN, STRANGER)]
    answers[1]["recommendations"] = []
    with pytest.raises(WrongAnswer, match="an empty list"):
        Checker().several(_batch(answers=answers), [KNOWN, STRANGER], 3)


def test_a_batch_of_two_editions_is_a_mixture() -> None:
    answers = [Likeness().answer(caller.user, 3) for caller in (KNOWN, STRANGER)]
    for entry in answers[1]["recommendations"]:
        entry["edition"] = "2"
    with pytest.raises(WrongAnswer, match="two editions in one answer"):
        Checker().several(_batch(answers=answers), [KNOWN, STRANGER], 3)


def test_an_item_is_not_similar_to_itself() -> None:
    def similar(*items: str) -> bytes:
        listed = [{"item": item, "score": 1} for item in items]
        return json.dumps({"item": "1", "generation": "g", "similar": listed}).encode()

    Checker().similar(similar("2", "3"), "1", 2)
    for items, name in ((("2", "1"), "similar to itself"), (("2", "2"), "an item twice")):
        with pytest.raises(WrongAnswer, match=name):
            Checker().similar(similar(*items), "1", 2)
    with pytest.raises(WrongAnswer, match="another item's answer"):
        Checker().similar(similar("2"), "5", 2)
