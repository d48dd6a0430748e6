"""What a right answer looks like. The name of what is wrong is short: it becomes a table row."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from loadtest.load.candidates import Ranking
from loadtest.load.population import Caller, Role

OWN = ("personal", "personal+recent")
FOLLOWING = ("personal+recent", "recent")
SOURCES = (*OWN, "recent", "popular")


class WrongAnswer(Exception):
    """An answer that no caller should get."""


class Checker:
    """Checks answers, and remembers which edition of the documents a generation showed.

    The items that ``refresh`` publishes say in each document to which edition they belong. One
    answer with two editions, or one generation with two, is a mixture of generations. Lists of
    users who stand by while others act must not change within a generation.
    """

    def __init__(self, sampled: str | None = None) -> None:
        self.sampled = sampled
        """The generation that has the known users, where it is known."""
        self.reranks = False
        """Whether the lists of that generation must follow what was done, not only leave it out."""
        self._editions: dict[str, str] = {}
        self.generations: list[str] = []
        """Those that answers named, the first seen first."""
        self.met_known = False
        """Whether any list was personal: a population that nobody knows tests only one list."""
        self.counts: Counter[str] = Counter()
        """Lists by source, those that were short, and those asked for after an event."""
        self._rankings: dict[tuple[str, int], list[Any]] = {}
        self._untouched: dict[tuple[str, str], list[str]] = {}

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

    def ranked(self, body: bytes, version: str | None, asked: Ranking) -> None:
        """The candidates of a request in the order of their scores, by one model throughout."""
        answer = _object(body)
        if answer.get("degraded"):
            raise WrongAnswer("degraded answer")
        if not version or answer.get("version") != version:
            raise WrongAnswer("two models in one answer")
        items = answer.get("items")
        if not isinstance(items, list) or not all(map(_is_ranked, items)):
            raise WrongAnswer("no list of items, scores and ranks")
        scores = [each["score"] for each in items]
        if {each["item"] for each in items} != asked.items or len(items) != len(asked.items):
            raise WrongAnswer("other items than were asked for")
        if scores != sorted(scores, reverse=True) or [each["rank"] for each in items] != [
            *range(1, len(items) + 1)
        ]:
            raise WrongAnswer("not in the order of the scores")
        if self._rankings.setdefault((version, asked.number), items) != items:
            raise WrongAnswer("two answers of one model")
        if version not in self.generations:
            self.generations.append(version)
        self.counts["rankings"] += 1

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
        if not listed and caller.role is not Role.ACTS:
            raise WrongAnswer("an empty list")
        items = [entry["item"] for entry in listed]
        check_gone(caller, items)
        if caller.gone and self.reranks and generation == self.sampled:
            if answer["source"] not in FOLLOWING:
                raise WrongAnswer("a list does not follow what was done")
        if caller.role is Role.STANDS_BY:
            self._check_untouched(caller, generation, items)
        self.counts["lists after an event"] += bool(caller.gone)
        self.counts["short lists"] += len(listed) < n
        return listed

    def _source(self, source: object, generation: str, caller: Caller) -> None:
        if source not in SOURCES:
            raise WrongAnswer("unknown source")
        if caller.role is not Role.ACTS:
            if caller.is_stranger and source != "popular":
                raise WrongAnswer("a stranger's list is personal")
            if not caller.is_stranger and source not in OWN and generation == self.sampled:
                raise WrongAnswer("a known user's list is not personal")
        self.met_known = self.met_known or source in OWN
        self.counts[f"{source} lists"] += 1

    def _check_untouched(self, caller: Caller, generation: str, items: list[str]) -> None:
        """All strangers have one list."""
        whose = "" if caller.is_stranger else caller.user
        known = self._untouched.setdefault((whose, generation), items)
        if any(one != other for one, other in zip(known, items, strict=False)):
            raise WrongAnswer("a list changed whose user did nothing")
        if len(items) > len(known):
            self._untouched[whose, generation] = items

    def _edition(self, generation: str, listed: list[dict[str, Any]]) -> None:
        editions = {str(entry["edition"]) for entry in listed if "edition" in entry}
        if len(editions) > 1:
            raise WrongAnswer("two editions in one answer")
        if generation not in self.generations:
            self.generations.append(generation)
        for edition in editions:
            if self._editions.setdefault(generation, edition) != edition:
                raise WrongAnswer("two editions of one generation")


def check_gone(caller: Caller, items: Sequence[str]) -> None:
    """See that nothing is shown that must be gone. Raises WrongAnswer."""
    for item in items:
        if type := caller.gone.get(item):
            raise WrongAnswer(f"an item came back after its {type}")


def check_taken(body: bytes, count: int) -> None:
    """See that so many events were taken, which is all. Raises WrongAnswer."""
    answer = _object(body)
    if answer.get("rejected") != []:
        raise WrongAnswer("events were rejected")
    if answer.get("accepted") != count:
        raise WrongAnswer("another number of events was accepted")


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


def _is_ranked(entry: object) -> bool:
    return isinstance(entry, dict) and _is_entry(entry) and 0 <= entry["score"] <= 1
