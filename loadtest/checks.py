"""What a right answer looks like. The name of what is wrong is short: it becomes a table row."""

import json
from collections.abc import Iterable
from typing import Any

from loadtest.population import Caller


class WrongAnswer(Exception):
    """An answer that no caller should get."""


class Checker:
    """Checks answers, and remembers which edition of the documents a generation showed.

    The items that ``refresh`` publishes say in each document to which edition they belong. One
    answer with two editions, or one generation with two, is a mixture of generations.
    """

    def __init__(self, sampled: str | None = None) -> None:
        self.sampled = sampled
        """The generation that has the known users, where it is known."""
        self._editions: dict[str, str] = {}
        self.generations: list[str] = []
        """Those that answers named, the first seen first."""
        self.met_known = False
        """Whether any list was personal: a population that nobody knows tests only one list."""

    def add(self, generations: Iterable[str], met_known: bool) -> None:
        """Add what another process met."""
        self.generations += [each for each in generations if each not in self.generations]
        self.met_known = self.met_known or met_known

    def one(self, body: bytes, caller: Caller, n: int) -> list[str]:
        """A user's list; the items of it."""
        answer = _object(body)
        listed = self._list(answer, caller, n)
        self._edition(answer["generation"], listed)
        return [entry["item"] for entry in listed]

    def several(self, body: bytes, callers: list[Caller], n: int) -> None:
        """The lists of several users, all of one generation."""
        whole = _object(body)
        generation, answers = _generation(whole), whole.get("answers")
        if not isinstance(answers, list) or len(answers) != len(callers):
            raise WrongAnswer("not one answer per user")
        listed = []
        for answer, caller in zip(answers, callers, strict=True):
            if not isinstance(answer, dict) or answer.get("generation") != generation:
                raise WrongAnswer("two generations in one answer")
            listed += self._list(answer, caller, n)
        self._edition(generation, listed)

    def similar(self, body: bytes, item: str, n: int) -> None:
        """The neighbours of an item, without the item itself."""
        answer = _object(body)
        generation = _generation(answer)
        if answer.get("item") != item:
            raise WrongAnswer("another item's answer")
        listed = _entries(answer.get("similar"), n)
        if any(entry["item"] == item for entry in listed):
            raise WrongAnswer("an item similar to itself")
        self._edition(generation, listed)

    def _list(self, answer: dict[str, Any], caller: Caller, n: int) -> list[dict[str, Any]]:
        generation = _generation(answer)
        if answer.get("user") != caller.user:
            raise WrongAnswer("another user's answer")
        if answer.get("degraded"):
            raise WrongAnswer("degraded answer")
        self._source(answer.get("source"), generation, caller)
        listed = _entries(answer.get("recommendations"), n)
        if not listed:
            raise WrongAnswer("an empty list")
        return listed

    def _source(self, source: object, generation: str, caller: Caller) -> None:
        if source not in ("personal", "popular"):
            raise WrongAnswer("unknown source")
        if caller.is_stranger and source != "popular":
            raise WrongAnswer("a stranger's list is personal")
        if not caller.is_stranger and source != "personal" and generation == self.sampled:
            raise WrongAnswer("a known user's list is not personal")
        self.met_known = self.met_known or source == "personal"

    def _edition(self, generation: str, listed: list[dict[str, Any]]) -> None:
        editions = {str(entry["edition"]) for entry in listed if "edition" in entry}
        if len(editions) > 1:
            raise WrongAnswer("two editions in one answer")
        if generation not in self.generations:
            self.generations.append(generation)
        for edition in editions:
            if self._editions.setdefault(generation, edition) != edition:
                raise WrongAnswer("two editions of one generation")


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        raise WrongAnswer("not JSON") from None
    if not isinstance(answer, dict):
        raise WrongAnswer("not a JSON object")
    return answer


def _generation(answer: dict[str, Any]) -> str:
    generation = answer.get("generation")
    if not isinstance(generation, str) or not generation:
        raise WrongAnswer("no generation")
    return generation


def _entries(listed: object, n: int) -> list[dict[str, Any]]:
    if not isinstance(listed, list):
        raise WrongAnswer("no list of items")
    if len(listed) > n:
        raise WrongAnswer("more than n items")
    if not all(isinstance(entry, dict) and _is_entry(entry) for entry in listed):
        raise WrongAnswer("an entry without item and score")
    if len({entry["item"] for entry in listed}) != len(listed):
        raise WrongAnswer("an item twice in one list")
    return listed


def _is_entry(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("item"), str) and isinstance(entry.get("score"), int | float)
