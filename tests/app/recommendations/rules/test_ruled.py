"""Whatever is filtered out, the list is the best of what is left: the same as by brute force."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from app.contracts.filtering.columns import AVAILABLE_FROM, AVAILABLE_UNTIL
from app.contracts.filtering.filters import Clause, parse
from app.contracts.recommendations import encode_history, encode_record
from app.contracts.rules import NONE, Rules
from app.recommendations.generation import Generation
from app.recommendations.memory.columns import Columns
from app.recommendations.memory.near_cache import Entries, NearCache, Remembered
from app.recommendations.ruled import ruled
from app.recommendations.rules.in_force import InForce
from batch.interactions.filters import FilterColumn, Packed
from tests.app.recommendations.test_model import ITEMS, PENALTY, WIDTH, Trained
from tests.generations import MANIFEST

K, STORED = 10, 50
IDS = [f"i{number}" for number in range(ITEMS)]
NOON = int(datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp())
TRAINED = Trained(3, 2.0)
CHANCE = np.random.default_rng(5)
GENRES = {
    f"i{n}": CHANCE.choice(list("abcdefgh"), CHANCE.integers(1, 3), False).tolist()
    for n in range(ITEMS)
}
PRICES = {item: float(price) for item, price in zip(IDS, CHANCE.uniform(0, 100, ITEMS).round(2))}
FROM = {f"i{n}": NOON + n for n in range(0, ITEMS, 2)}
UNTIL = {f"i{n}": NOON + 5 for n in range(0, ITEMS, 5)}
CAPPED = {"cap": {"column": "kind", "most": 3}}
COLUMNS = {"genre": GENRES, "price": PRICES}


def generation(rules: dict[str, Any] | None = None, with_dates: bool = False) -> Generation:
    """3,000 items with a genre or two each and a price; the popular ones come first."""
    given = [FilterColumn("genre", "category", GENRES), FilterColumn("price", "number", PRICES)]
    if with_dates:
        given += [FilterColumn(AVAILABLE_FROM, "date", FROM)]
        given += [FilterColumn(AVAILABLE_UNTIL, "date", UNTIL)]
    packed = Packed.of(given, IDS)
    model, columns = TRAINED.model(), Columns(packed.columns, ITEMS, packed.data)
    find = {item: number for number, item in enumerate(IDS)}.get
    return Generation(
        manifest=replace(MANIFEST, items=ITEMS, k=K, stored=STORED, factors=WIDTH, history=100),
        opening=lambda item: b'{"item":"i%d"' % item,
        popular=Remembered(encode_record((item, 1.0) for item in range(STORED))),
        near=NearCache(0),
        find=find,
        rules=InForce(replace(NONE, rules=rules or {}), ITEMS, find, columns, model),
        model=model,
        columns=columns,
    )


@dataclass(frozen=True, slots=True)
class User:
    """Somebody by chance, who had 60 of the items in training."""

    seed: int

    def exact(self) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """The score of each item; those that the user had have none."""
        chance = np.random.default_rng(self.seed)
        scores = TRAINED.items @ (chance.integers(-127, 128, WIDTH, np.int8) * 0.01)
        scores[sorted(chance.choice(ITEMS, 60, False))] = -np.inf
        return np.asarray(scores)

    def best(self, allowed: Any, n: int = K) -> list[int]:
        """The n best of the allowed items."""
        scores = np.where(allowed, self.exact(), -np.inf)
        order = np.argsort(-scores)[:n]
        return [int(item) for item in order if scores[item] > -np.inf]

    def remembered(self) -> Remembered:
        """What the cache holds of the user."""
        vector = np.random.default_rng(self.seed).integers(-127, 128, WIDTH, np.int8)
        scores = self.exact()
        entries = [(item, scores[item]) for item in self.best(np.ones(ITEMS, bool), STORED)]
        had = [(int(item), 1.0) for item in np.flatnonzero(np.isinf(scores))]
        packed = np.float32(0.01).tobytes() + vector.tobytes()
        return Remembered(encode_record(entries), vector=packed, history=encode_history(had))


def listed(made: Generation, user: Remembered, asked: Any = (), now: float = NOON) -> Entries:
    assert made.rules
    order = made.rules.at(now, parse(asked, made.rules.named) if asked else ())
    found = ruled(made, order, user, "personal", "popular").own
    assert found is not None
    return found


def items(entries: Entries) -> list[int]:
    return [item for item, _ in entries]


def let_through(asked: list[str]) -> Any:
    """Which items all clauses let through, as a person would say."""
    allowed = np.ones(ITEMS, bool)
    for clause in map(Clause.parse, asked):
        if clause.column == "price":
            ((low, high),) = clause.bounds("number")
            found = np.array([low <= np.float32(PRICES[item]) <= high for item in IDS])
        else:
            found = np.array([bool({*GENRES[item]} & {*clause.values}) for item in IDS])
        allowed &= found != clause.is_negated
    return allowed


def some_filter(chance: Any) -> list[str]:
    """One to three clauses that let through from nothing to nearly all."""
    made = []
    for _ in range(chance.integers(1, 4)):
        low = chance.uniform(0, 100)
        genres = ",".join(chance.choice(list("abcdefghz"), chance.integers(1, 4), False))
        width = chance.choice([0.5, 10, 80])
        made.append(chance.choice([f"genre:{genres}", f"price:{low:.3f}..{low + width:.3f}"]))
    return [chance.choice(["", "-"]) + clause for clause in made]


MADE = generation()


def test_a_filtered_list_is_the_full_ranking_filtered() -> None:
    chance = np.random.default_rng(1)
    lengths = Counter[int]()
    for _ in range(80):
        user, asked = User(int(chance.integers(1000))), some_filter(chance)
        found = items(listed(MADE, user.remembered(), asked))
        assert found == user.best(let_through(asked)), asked
        lengths[len(found)] += 1
    assert lengths[K] > 40 and lengths[0] > 1 and len(lengths) > 4


@pytest.mark.parametrize("seed", range(3))
def test_a_capped_list_is_the_full_ranking_capped(seed: int) -> None:
    user, made = User(seed), generation({"cap": {"column": "genre", "most": 2}})
    allowed = [item for item in user.best(np.array([PRICES[item] < 30 for item in IDS]), ITEMS)]
    wanted, there = list[int](), Counter[str]()
    for item in allowed:
        if all(there[genre] < 2 for genre in GENRES[IDS[item]]):
            there.update(GENRES[IDS[item]])
            wanted.append(item)
    assert items(listed(made, user.remembered(), ["price:..29.995"])) == wanted[:K]


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "stranger"])
def test_a_cap_finds_what_stands_behind_thousands_of_one_kind(is_known: bool) -> None:
    made = generation()
    assert made.model
    ranking = User(1).best(np.ones(ITEMS, bool), ITEMS)
    user = User(1).remembered()
    if not is_known:
        ranking = [item for item, _ in made.model.over(b"", {}, None, (), ITEMS)]
        user = made.popular
    kinds = dict.fromkeys(IDS, ["none"])
    for kind, part in (("a", ranking[:1200]), ("b", ranking[1200:2500]), ("c", ranking[2500:])):
        kinds |= {IDS[item]: [kind] for item in part}
    packed = Packed.of([FilterColumn("kind", "category", kinds)], IDS)
    made = replace(made, columns=Columns(packed.columns, ITEMS, packed.data))
    made = replace(made, rules=made.follow(replace(NONE, rules=CAPPED)))
    found = Counter(kinds[IDS[item]][0] for item in items(listed(made, user)))
    assert (found["a"], found["b"], found["c"]) == (3, 3, 3)


def test_what_is_hidden_is_replaced_by_the_next_best() -> None:
    user = User(1)
    best = user.best(np.ones(ITEMS, bool), STORED)
    gone = set(best[:45])
    made = generation({"hide": [IDS[item] for item in gone] + ["unknown"]})
    allowed = [item not in gone for item in range(ITEMS)]
    assert items(listed(made, user.remembered())) == user.best(allowed)
    assert made.rules and made.rules.ignored == [
        "hide: the generation does not hold item 'unknown'"
    ]
    everything = generation({"hide": IDS})
    assert listed(everything, user.remembered()) == []


def test_a_boost_moves_what_it_names() -> None:
    user = User(2)
    made = generation({"boost": [{"filter": "genre:a", "factor": 10}]})
    scores = user.exact()
    stored = user.best(np.ones(ITEMS, bool), STORED)
    weights = {item: 10 if "a" in GENRES[IDS[item]] else 1 for item in stored}
    found = listed(made, user.remembered())
    boosted = sorted(stored, key=lambda item: -scores[item] * weights[item])
    assert items(found) == boosted[:K]
    worst = Remembered(encode_record([(item, -1.0 - item / 1000) for item in range(K)]))
    first = [item for item in range(K) if "a" in GENRES[IDS[item]]]
    assert 0 < len(first) < K and items(listed(made, worst))[: len(first)] == first


def test_pins_stand_where_they_are_pinned() -> None:
    user = User(3)
    best = user.best(np.ones(ITEMS, bool))
    absent = next(item for item in range(ITEMS) if item not in best)
    pins = [{"item": IDS[best[4]], "position": 1}, {"item": IDS[absent], "position": 3}]
    found = listed(generation({"pin": pins}), user.remembered())
    rest = [item for item in best if item != best[4]]
    assert items(found) == [best[4], rest[0], absent, *rest[1:8]]
    assert found[2] == (absent, 0.0)
    hidden = generation({"pin": pins, "hide": [IDS[absent]]})
    assert items(listed(hidden, user.remembered())) == [best[4], *rest]
    beyond = generation({"pin": [{"item": IDS[absent], "position": K + 1}]})
    assert items(listed(beyond, user.remembered())) == best
    gone = replace(user.remembered(), gone={absent})
    assert absent not in items(listed(generation({"pin": pins}), gone))


def test_a_pin_and_a_date_hold_to_the_second() -> None:
    window = {"from": "2026-05-01T12:00:10Z", "until": "2026-05-01T12:00:20Z"}
    made = generation({"pin": [{"item": "i7", "position": 1, **window}]}, with_dates=True)
    user = User(4)
    for now in (NOON - 1, NOON, NOON + 4.9, NOON + 5, NOON + 9.9, NOON + 10, NOON + 20, 10**10):
        shown = [FROM.get(item, 0) <= int(now) < UNTIL.get(item, 2**60) for item in IDS]
        wanted = user.best(shown)
        if NOON + 10 <= now < NOON + 20:
            wanted = [7, *[item for item in wanted if item != 7]][:K]
        assert items(listed(made, user.remembered(), now=now)) == wanted
        assert items(listed(made, user.remembered(), ["genre:a"], now)) != wanted


def test_between_two_dates_nothing_is_computed() -> None:
    rules = generation(with_dates=True).rules
    assert rules and rules.acts
    assert rules.at(NOON + 0.1) is rules.at(NOON + 0.9)
    assert rules.at(NOON + 2) is not rules.at(NOON + 1.9)
    assert rules.at(NOON + 1.9).tag != rules.at(NOON + 2).tag
    asked = (Clause.parse("genre:a"),)
    assert rules.at(NOON, asked) is rules.at(NOON, asked)


def test_only_the_latest_256_filters_are_remembered() -> None:
    rules = generation().rules
    assert rules
    asked = [(Clause.parse(f"price:{n}.."),) for n in range(257)]
    first = rules.at(NOON, asked[0])
    latest = [rules.at(NOON, each) for each in asked[1:]]
    assert all(rules.at(NOON, each) is one for each, one in zip(asked[1:], latest, strict=True))
    assert rules.at(NOON, asked[0]) is not first


def test_diversity_is_maximal_marginal_relevance() -> None:
    user = User(5)
    stored = user.best(np.ones(ITEMS, bool), STORED)
    rows = TRAINED.items[stored]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = user.exact()[stored]
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    chosen = [0]
    while len(chosen) < K:
        worth = 0.6 * scores - 0.4 * (rows @ rows[chosen].T).max(axis=1)
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
    found = items(listed(generation({"diversity": 0.4}), user.remembered()))
    assert found == [stored[each] for each in chosen] != stored[:K]


def test_who_has_no_vector_gets_what_is_popular_then_what_the_mean_user_likes() -> None:
    made = generation({"defaults": {"filter": "cheap"}, "filters": {"cheap": "price:..10"}})
    allowed = [PRICES[item] <= 10 for item in IDS]
    mean = TRAINED.items @ TRAINED.moved(PENALTY * TRAINED.mean, {})
    popular = [item for item in range(STORED) if allowed[item]]
    rest = [int(i) for i in np.argsort(-mean) if allowed[i] and i not in popular]
    assert 0 < len(popular) < K
    assert items(listed(made, made.popular)) == [*popular, *rest][:K]
    own = next(item for item in rest[K:] if item >= STORED)
    mine = Remembered(encode_record([(own, 0.5)]), history=encode_history([(popular[0], 1.0)]))
    assert items(listed(made, mine)) == [own, *popular[1:], *rest][:K]
    assert made.rules
    alone = ruled(made, made.rules.at(NOON), mine, "personal", "none")
    assert (alone.source, alone.own) == ("personal", [(own, 0.5)])


def test_nobody_gets_the_list_that_another_thread_made_meanwhile() -> None:
    made = generation({"defaults": {"filter": "price:..10"}})
    assert made.rules
    order = made.rules.at(NOON)
    own = next(item for item in range(ITEMS) if PRICES[IDS[item]] <= 10)

    class Contended(Remembered):
        """Of which another thread wants a filled list as soon as one without filling is kept."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "ruled" and value and value[0][1] == "none":
                assert len(ruled(made, order, self, "personal", "popular").own or ()) == K

    mine = Contended(encode_record([(own, 0.5)]))
    assert ruled(made, order, mine, "personal", "none").own == [(own, 0.5)]


def test_a_newcomers_events_count_and_their_items_are_gone() -> None:
    weights = {17: 1.0, 2999: 5.0}
    scores = TRAINED.items @ TRAINED.moved(PENALTY * TRAINED.mean, weights)
    scores[[17, 2999]] = -np.inf
    did = Remembered(b"", True, own=[], wanted=weights, gone=weights.keys())
    allowed = np.array(["b" in GENRES[item] for item in IDS])
    wanted = np.argsort(-np.where(allowed, scores, -np.inf))[:K].tolist()
    assert items(listed(MADE, did, ["genre:b"])) == wanted


def test_rules_that_the_generation_cannot_follow_are_left_out_one_by_one() -> None:
    rules = {
        "hide": ["i1", "gone"],
        "pin": [{"item": "gone", "position": 1}],
        "boost": [{"filter": ["genre:a", "colour:red"], "factor": 2}],
        "cap": {"column": "price", "most": 1},
        "filters": {"red": "colour:red", "a": "genre:a"},
        "defaults": {"filter": ["price:..50", "price:cheap"]},
    }
    made = generation({**rules, "hide": ["i1", *(f"gone{n}" for n in range(30))]})
    assert made.rules
    assert set(made.rules.named) == {"a"}
    assert len(made.rules.ignored) == 21 and made.rules.ignored[-1].startswith("and ")
    order = made.rules.at(NOON)
    assert (order.boosts, order.cap, order.pins) == (None, None, ())
    assert [bool(each) for each in order.mask or b""] == [
        item != "i1" and PRICES[item] <= 50 for item in IDS
    ]
    Rules.of(rules)
