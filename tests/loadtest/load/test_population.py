"""Who asks: a population from a file or the API, drawn by a Zipf law."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from loadtest.api import Api, CannotRun
from loadtest.load.population import Caller, Draw, Population, read, sample
from tests.loadtest.likeness import GENERATION, USERS, Likeness

HUNDRED = Population([f"u{number}" for number in range(100)], None, "a test")


def _callers(exponent: float, count: int, seed: int = 7) -> list[Caller]:
    draw, chance = Draw(HUNDRED, exponent), Random(seed)
    return [draw.caller(chance) for _ in range(count)]


def _drawn(exponent: float) -> Counter[str]:
    return Counter(each.user for each in _callers(exponent, 40_000) if not each.is_stranger)


def test_the_first_user_comes_as_often_as_the_law_says() -> None:
    drawn = _drawn(1.0)
    harmonic = sum(1 / rank for rank in range(1, 101))
    for rank in (1, 2, 10):
        share = drawn[f"u{rank - 1}"] / drawn.total()
        assert share == pytest.approx(1 / rank / harmonic, rel=0.1)


def test_an_exponent_of_zero_makes_all_users_alike() -> None:
    drawn = _drawn(0.0)
    assert len(drawn) == 100
    assert max(drawn.values()) < 1.5 * min(drawn.values())


def test_one_in_twenty_is_a_stranger_whom_nobody_met_before() -> None:
    strangers = [caller.user for caller in _callers(1.0, 20_000) if caller.is_stranger]
    assert len(strangers) == pytest.approx(1000, rel=0.15)
    assert len(set(strangers)) == len(strangers)
    assert not set(strangers) & set(HUNDRED.users)


def test_the_same_seed_draws_the_same_callers() -> None:
    assert _callers(1.0, 50, seed=1) == _callers(1.0, 50, seed=1)
    assert _callers(1.0, 50, seed=1) != _callers(1.0, 50, seed=2)


def test_one_draw_serves_all_who_ask_each_with_a_chance_of_its_own() -> None:
    draw, chances = Draw(HUNDRED, 1.0), (Random(1), Random(2))
    both = [[draw.caller(chance) for chance in chances] for _ in range(50)]
    assert [first for first, _ in both] == _callers(1.0, 50, seed=1)
    assert [second for _, second in both] == _callers(1.0, 50, seed=2)


def test_a_file_holds_one_id_a_line_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_text("4711\n\na/b c\nÄ:1\n", encoding="utf-8")
    assert read(path).users == ["4711", "a/b c", "Ä:1"]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "users.txt"
    path.write_text(content)
    with pytest.raises(CannotRun, match="is empty: it needs one user id a line"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="cannot be read"):
        read(tmp_path / "nobody.txt")


def test_the_api_gives_a_sample_and_its_generation() -> None:
    with Likeness() as api:
        population = sample(Api(api.url))
    assert population.users == USERS
    assert population.generation == GENERATION


def test_an_api_that_gives_no_sample_asks_for_a_file() -> None:
    with Likeness(gives_sample=False) as api:
        with pytest.raises(CannotRun, match="--population FILE"):
            sample(Api(api.url))


def test_a_generation_without_users_is_refused() -> None:
    with Likeness(users=[]) as api:
        with pytest.raises(CannotRun, match="has no users"):
            sample(Api(api.url))
