"""From examples to a live click model, or to none, on one machine and a real cache."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
from scipy.special import expit

from app.contracts.clicks import Calibration, Clicks, Column, Manifest
from app.contracts.recommendations import Namespace
from batch.clicks.contents import read_model
from batch.clicks.fit.calibrate import calibrated, choose
from batch.clicks.judge import Quality, Rival, importance, reasons_against
from batch.clicks.measure import Metrics
from batch.clicks.one_machine import LocalExamples
from batch.clicks.pipeline import settled, train
from batch.clicks.report.page import Found, render
from batch.clicks.terms import Fit, Gate, Split, Terms
from batch.command.clicks import report
from batch.errors import CacheUnavailable, NotGoodEnough
from batch.generations.publish import turn
from batch.generations.registry import Generations
from batch.progress import Silent
from tests.batch.clicks.rows import examples, seeing
from tests.clicks import COLUMNS, model, publish_by_hand, trees
from tests.servers import Server

FIT = Fit(trees=20, leaves=5, learning_rate=0.2, threads=1)
TERMS = Terms(FIT, Split(0.2, 0.4), Gate(max_off=0.2))
METRICS = Metrics(0.7, 0.5, 0.9, 0.01, 1.0, 4.0, 3.0, 1000, 100)


@pytest.fixture
def space(namespace: Namespace) -> Clicks:
    return Clicks(namespace.name)


@pytest.fixture(scope="module")
def some() -> LocalExamples:
    return examples(3_000)


def run(
    client: Any,
    space: Clicks,
    found: LocalExamples,
    terms: Terms = TERMS,
    told: Callable[[Quality], None] = lambda quality: None,
) -> Manifest:
    with turn(client, space, terms.keep) as ours:
        return train(client, space, ours, found, terms, Silent(), told, {b"u1": b'{"age":1}'})


def test_a_model_is_judged_on_what_it_has_not_seen_and_published(
    client: Any, space: Clicks, some: LocalExamples
) -> None:
    told: list[Quality] = []
    manifest = run(client, space, some, TERMS, told.append)
    (quality,) = told
    assert Generations(client, space).live_manifest() == manifest
    assert manifest.metrics == quality.entry() and manifest.metrics["live"] is None
    assert 0.7 < quality.model.auc < 0.85 and quality.model.ne < 0.95
    assert 1_050 < quality.model.rows < 1_350
    assert (manifest.rows, manifest.clicks) == (3_000, some.clicks)
    assert len(manifest.metrics["curve"]) == 20
    assert list(quality.slices) == ["brand"] and len(quality.slices["brand"]) == 12
    shares = quality.importance
    assert sum(shares.values()) == pytest.approx(1) and next(iter(shares)) in ("age", "brand")
    assert client.hget(*manifest.user_place(space, "u1")) == b'{"age":1}'


def test_the_published_model_has_seen_all_rows_and_is_calibrated_as_judged(
    client: Any, space: Clicks, some: LocalExamples
) -> None:
    shy = replace(FIT, trees=300, learning_rate=0.03, stop_after=1)
    found = read_model(client, space, run(client, space, some, replace(TERMS, fit=shy)))
    again = some.fit(
        ("train", "validation", "test"), None, replace(shy, trees=found.tree_count), Silent()
    )
    assert found.trees == again.trees and 1 <= found.tree_count < 300
    assert [each.encode() for each in found.tables] == [each.encode() for each in again.tables]
    judged = some.fit(("train",), "validation", shy, Silent())
    held = some.predict(judged, "validation")
    chosen = choose(held.log_odds, held.clicked, TERMS.split.seed)
    assert found.calibration == chosen != Calibration()
    assert found.tree_count == judged.tree_count


def test_a_calibration_that_does_not_suit_what_was_trained_on_all_rows_is_moved(
    some: LocalExamples, caplog: pytest.LogCaptureFixture
) -> None:
    some.split(TERMS.split)
    made = some.fit(("train", "validation", "test"), None, FIT, Silent())
    assert settled(some, made, Gate(max_off=0.2)) == made and not caplog.text
    off = replace(made, calibration=Calibration(0.9, 1.0))
    found = settled(some, off, Gate(max_off=0.2)).calibration
    assert "its calibration is moved" in caplog.text and found.slope == 0.9
    rows = some.predict(made, "test")
    assert expit(calibrated(found, rows.log_odds)).sum() == pytest.approx(rows.clicked.sum())


def test_the_same_rows_again_may_be_published(
    client: Any, space: Clicks, some: LocalExamples, caplog: pytest.LogCaptureFixture
) -> None:
    """The live model was trained on the rows of the test: on these alone none would follow it."""
    first = run(client, space, some)
    assert not caplog.text
    told: list[Quality] = []
    second = run(client, space, some, replace(TERMS, gate=Gate(max_off=0.001)), told.append)
    assert f"only {told[0].model.clicks} clicks were judged" in caplog.text
    assert "4,000,000 on --max-off counts" in caplog.text and told[0].warnings
    rival = told[0].rival
    assert rival is not None and rival.generation == first.generation
    assert rival.live is not None and rival.recorded == (first.measured("ne"), rival.ours.ne_error)
    assert rival.live.ne < rival.ours.ne == rival.recorded[0] < rival.allowed
    assert second.metrics["live"]["ne"] == rival.live.ne and not second.forced


def test_a_model_that_is_worse_than_the_live_one_is_not_published(
    client: Any, space: Clicks, some: LocalExamples
) -> None:
    first = run(client, space, some)
    worse = replace(TERMS, fit=replace(FIT, trees=1))
    with pytest.raises(NotGoodEnough, match="is worse than the live model's: .* 0.5% .--max-worse"):
        run(client, space, some, worse)
    assert Generations(client, space).live() == first.generation
    forced = run(client, space, some, replace(worse, gate=replace(worse.gate, force=True)))
    assert forced.forced and Generations(client, space).live() == forced.generation


def test_with_a_time_a_live_model_is_compared_on_rows_that_are_new_to_it(
    client: Any, space: Clicks
) -> None:
    rows = timed(1)
    first = run(client, space, rows)
    assert first.settings["until"] == 3_999_000_000
    told: list[Quality] = []
    run(client, space, rows, TERMS, told.append)
    known = told.pop().rival
    assert known is not None and known.recorded is not None
    assert known.recorded[0] == first.measured("ne")
    newer = timed(2, later=1_500_000_000)
    run(client, space, newer, TERMS, told.append)
    fresh = told[0].rival
    assert fresh is not None and fresh.recorded is None and fresh.live is not None
    assert fresh.live.rows == fresh.ours.rows < told[0].model.rows


def timed(seed: int, later: int = 0) -> LocalExamples:
    """Rows whose moments are so many microseconds later."""
    found = examples(4_000, seed, has_time=True)
    found.connection.execute("UPDATE rows SET moment = moment + ?", [later])
    return found


@pytest.mark.parametrize(
    ("sabotage", "told"),
    [
        (lambda client, key: client.delete(key), "not whole any more"),
        (lambda client, key: client.setrange(key, 3, b"\0\0\0"), "not those of its manifest"),
        (lambda client, key: None, "1 of its 3 columns are missing: device"),
    ],
)
def test_a_live_model_that_cannot_be_compared_is_told_and_replaced(
    client: Any,
    space: Clicks,
    some: LocalExamples,
    caplog: pytest.LogCaptureFixture,
    sabotage: Callable[[Any, str], object],
    told: str,
) -> None:
    live = publish_by_hand(client, space)
    sabotage(client, next(live.keys(space)))
    manifest = run(client, space, some)
    assert f"not compared with the live model {live.generation}" in caplog.text
    assert told in caplog.text and manifest.metrics["live"] is None


def test_trees_of_a_later_release_are_told_and_replaced(
    client: Any, space: Clicks, some: LocalExamples, caplog: pytest.LogCaptureFixture
) -> None:
    columns = tuple(
        replace(each, name=name)
        for each, name in zip(COLUMNS, ("age", "brand", "noise"), strict=True)
    )
    later = trees().replace("version=v4", "version=v9\nnonsense", 1)[:300]
    live = publish_by_hand(client, space, made=replace(model(), columns=columns, trees=later))
    run(client, space, some)
    assert f"not compared with the live model {live.generation}: tree 0 cannot" in caplog.text


def test_a_live_model_that_cannot_be_compared_still_has_what_it_was_judged_by(
    client: Any, space: Clicks, some: LocalExamples
) -> None:
    first = run(client, space, some)
    assert first.measured("ne") is not None
    lost = examples(3_000)
    lost = seeing(lost, (Column("years", "number"), *lost.columns[1:]))
    lost.connection.execute("UPDATE rows SET n0 = NULL")
    told: list[Quality] = []
    with pytest.raises(NotGoodEnough, match="is worse than the live model's: .* had not seen"):
        run(client, space, lost, TERMS, told.append)
    (quality,) = told
    assert quality.rival is not None and quality.rival.live is None
    assert "cannot be compared on these rows" in report.quality(quality)
    assert "cannot be compared on them" in render(Found("Judged.", quality, None, [], {}))
    client.delete(next(first.keys(space)))
    assert run(client, space, some).metrics["live"] is None


def test_negatives_that_were_left_out_change_no_measure_of_what_is_served(
    client: Any, space: Clicks
) -> None:
    whole, part = examples(8_000), examples(8_000)
    kept = part.connection.execute("DELETE FROM rows WHERE label = 0 AND hash(row) % 4 > 0")
    assert kept is not None
    told: list[Quality] = []
    run(client, Clicks(f"{space.name}-whole"), whole, TERMS, told.append)
    manifest = run(client, space, replace(part, negatives_kept=0.25), TERMS, told.append)
    one, other = (each.model for each in told)
    assert manifest.negatives_kept == 0.25
    assert 0.8 < other.ratio < 1.2 and other.ne == pytest.approx(one.ne, abs=0.04)
    assert read_model(client, space, manifest).negatives_kept == 0.25


@pytest.mark.parametrize("step", ["grow trees", "publish"])
def test_a_cache_that_goes_away_or_is_full_is_for_another_try(
    own_server: Server, some: LocalExamples, step: str
) -> None:
    space = Clicks("away")
    with redis.Redis.from_url(own_server.url) as own:
        before = publish_by_hand(own, space)

        def fails(trouble: Callable[[], object]) -> None:
            with pytest.raises(CacheUnavailable), turn(own, space, 3) as ours:
                train(own, space, ours, some, TERMS, Troubled(step, trouble))

        fails(lambda: own.config_set("maxmemory", 1))
        own.config_set("maxmemory", 0)
        assert Generations(own, space).all() == [before]
        fails(own_server.kill)
        own_server.start()
        assert run(own, space, some).state == "complete"


@dataclass(frozen=True)
class Troubled:
    """A ``Progress``: something happens when a step begins."""

    name: str
    trouble: Callable[[], object]

    @contextmanager
    def step(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        if name == self.name:
            self.trouble()
        yield lambda done: None


def rival(ne: float, recorded: float | None = None) -> Rival:
    """The new model's is .9; its standard error .04, and .05 that of the difference."""
    before = None if recorded is None else (recorded, 0.03)
    ours = replace(METRICS, ne_error=0.04)
    return Rival("before", replace(METRICS, ne=ne), ours, Gate().max_worse, before)


NAN = math.nan
MANY = replace(METRICS, clicks=1600)


@pytest.mark.parametrize(
    ("quality", "reasons"),
    [
        (Quality(METRICS, [], []), []),
        (Quality(replace(METRICS, ne=1.0), [], []), ["is not below 1"]),
        (Quality(replace(MANY, ratio=1.049), [], []), []),
        (Quality(replace(MANY, ratio=1.051), [], []), ["further from 1 than 0.05"]),
        (Quality(replace(METRICS, ratio=0.801), [], []), []),
        (Quality(replace(METRICS, ratio=0.799), [], []), ["than the 0.2000 that chance makes"]),
        (Quality(METRICS, [], [], rival=rival(0.8956)), []),
        (Quality(METRICS, [], [], rival=rival(0.895)), ["by its 0.8950 on these rows and 0.5%"]),
        (Quality(METRICS, [], [], rival=rival(0.8, 0.7961)), []),
        (
            Quality(METRICS, [], [], rival=rival(0.8, 0.796)),
            ["0.9000 is allowed, by its 0.7960 on"],
        ),
        (Quality(METRICS, [], [], rival=rival(0.8956, 0.7)), []),
        (Quality(METRICS, [], [], rival=rival(0.895, 0.7)), ["by its 0.8950 on these rows"]),
        (
            Quality(replace(METRICS, ne=2, ratio=2), [], [], rival=rival(0.5)),
            ["not below 1", "further from 1", "its 0.5000 on these rows"],
        ),
        (
            Quality(
                replace(METRICS, ne=NAN, ratio=NAN),
                [],
                [],
                rival=replace(rival(0.9), ours=replace(METRICS, ne=NAN)),
            ),
            ["nan is not below 1", "is nan", "nan is worse"],
        ),
    ],
)
def test_each_reason_stops_a_model_and_all_are_told(quality: Quality, reasons: list[str]) -> None:
    found = reasons_against(quality, Gate())
    assert len(found) == len(reasons)
    for sentence, reason in zip(found, reasons, strict=True):
        assert re.search(reason, sentence)


def test_importance_is_the_share_of_gain_of_each_column() -> None:
    assert importance(model()) == {"brand": 0.7, "price": 0.2, "device": 0.1}


def test_a_model_that_no_worker_could_load_is_not_published(
    client: Any, space: Clicks, some: LocalExamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.contracts.trees.MAX_TEXT_BYTES", 1_000)
    with pytest.raises(NotGoodEnough, match="no worker could answer .* more than 1000 bytes"):
        run(client, space, some)
    assert not Generations(client, space).all()
