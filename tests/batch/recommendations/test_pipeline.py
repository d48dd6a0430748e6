"""The walk in one process, from interactions to a real server: gate, manifest, lists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from app.contracts.recommendations import (
    Manifest,
    Namespace,
    decode_record,
    document,
    encode_document,
)
from batch.errors import BadSettings, NotGoodEnough
from batch.generations.lock import hold
from batch.generations.publish import publish, turn
from batch.generations.registry import Generations
from batch.interactions.pairs import Interactions
from batch.progress import Advance
from batch.recommendations import pipeline
from batch.recommendations.engines.engine import Engine, Fitted
from batch.recommendations.engines.factors import Factors
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.one_machine import LocalCandidate, LocalTrial
from batch.recommendations.pipeline import Quality
from batch.recommendations.terms import Gate, Holdout, Terms
from tests.batch.pairs import checkerboard, interactions, missing
from tests.generations import contents, keys_of, publish_by_hand

BOARD = interactions(checkerboard())
ENGINE = ImplicitALS(factors=8, iterations=12)


class Steps:
    """Notes down each step and how much of it was done."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.totals: dict[str, tuple[int, str]] = {}

    @contextmanager
    def step(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.totals[name] = (total, unit)
        self.done[name] = 0

        def advance(done: int) -> None:
            self.done[name] += done

        yield advance


class Failing:
    """An engine that cannot fit."""

    name = "failing"
    iterations = 1
    factors = 0
    settings: dict[str, float | int] = {}

    def fit(self, weights: csr_matrix, progress: Advance) -> Fitted:
        raise NotGoodEnough("training failed: of course")


class Colours:
    """An engine that was told the answer: two factors, the colours."""

    name = "colours"
    iterations = 1
    factors = 0
    settings: dict[str, float | int] = {}

    def fit(self, weights: csr_matrix, progress: Advance) -> Fitted:
        progress(1)
        users, items = (np.arange(size) % 2 for size in weights.shape)
        eye = np.eye(2, dtype=np.float32)
        return Factors(eye[users], eye[items]).fitted(weights)


class Counting(Colours):
    """An engine that notes down how many pairs each fit was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def fit(self, weights: csr_matrix, progress: Advance) -> Fitted:
        self.given.append(weights.nnz)
        return super().fit(weights, progress)


class Contrary(Colours):
    """An engine that always likes the wrong colour."""

    def fit(self, weights: csr_matrix, progress: Advance) -> Fitted:
        fitted = super().fit(weights, progress)
        return replace(fitted, users=fitted.users[:, ::-1].copy())


def refresh(
    client: Any,
    namespace: Namespace,
    made: Interactions = BOARD,
    engine: Engine = ENGINE,
    **chosen: Any,
) -> Manifest:
    documents = [encode_document(item) for item in made.items]
    progress, report = chosen.pop("progress", Steps()), chosen.pop("report", lambda quality: None)
    candidate = LocalCandidate(made, engine, chosen.pop("repeat", False))
    terms = Terms(**chosen)
    with turn(client, namespace, terms.keep) as ours:
        return pipeline.refresh(ours, candidate, documents, terms, progress, report)


def user_list(
    client: Any, namespace: Namespace, manifest: Manifest, user: str
) -> list[tuple[int, float]]:
    return decode_record(client.hget(*manifest.user_place(namespace, user)))


def publish_measured(client: Any, namespace: Namespace, ndcg: float, k: int) -> Manifest:
    """A live generation with that nDCG in its manifest."""
    manifest, made = contents(namespace, ["u0"], ["i0", "i1"])
    measured = replace(
        manifest, settings=Holdout().settings, metrics={"model": {"ndcg": ndcg, "k": k}}
    )
    with hold(client, namespace) as lease:
        return publish(client, namespace, measured, made, lease)


def test_the_first_refresh_publishes_and_its_manifest_says_what_it_is(
    client: Any, namespace: Namespace
) -> None:
    told: list[Quality] = []
    manifest = refresh(client, namespace, k=5, report=told.append)
    assert Generations(client, namespace).live_manifest() == manifest
    assert (manifest.state, manifest.forced) == ("complete", False)
    assert (manifest.users, manifest.items, manifest.interactions) == (40, 20, len(BOARD))
    assert (manifest.k, manifest.engine) == (5, "als")
    assert manifest.fingerprint == BOARD.fingerprint()
    assert manifest.settings == {
        **ENGINE.settings,
        "split": "random",
        "holdout": 0.2,
        "holdout_seed": 42,
    }
    assert datetime.fromisoformat(manifest.started_at) <= datetime.fromisoformat(
        manifest.published_at
    )
    assert manifest.metrics == asdict(told[0])
    assert manifest.metrics["model"]["ndcg"] > manifest.metrics["popular"]["ndcg"]


def test_a_model_is_judged_on_a_part_and_then_trained_on_everything(
    client: Any, namespace: Namespace
) -> None:
    engine = Counting()
    refresh(client, namespace, engine=engine)
    kept = 40 * 7  # round(9 * 0.8) of each user's nine items
    assert engine.given == [kept, len(BOARD)]


def test_what_is_published_is_unseen_and_the_best_comes_first(
    client: Any, namespace: Namespace
) -> None:
    manifest = refresh(client, namespace, k=20)
    for user in range(40):
        found = user_list(client, namespace, manifest, f"u{user}")
        assert BOARD.items[found[0][0]] == f"i{missing(user)}"
        assert len(found) == 11, "nine of the twenty were seen"
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_the_documents_and_the_popular_list_come_with_it(client: Any, namespace: Namespace) -> None:
    manifest = refresh(client, namespace, k=3)
    chunk = client.get(namespace.chunk(manifest.generation, 0))
    assert document(chunk, 19) == b'{"item":"i19"}'
    popular = decode_record(client.get(namespace.popular(manifest.generation)))
    counts = np.bincount(BOARD.item) / 40
    best = sorted(counts, reverse=True)
    assert [score for _, score in popular] == pytest.approx(best, abs=1e-3), "all of 20, k + 100"


def test_every_step_is_shown_and_reaches_its_end(client: Any, namespace: Namespace) -> None:
    steps = Steps()
    refresh(client, namespace, progress=steps)
    assert steps.totals == {
        "train": (12, "iterations"),
        "evaluate the model": (40, "users"),
        "evaluate most-popular": (40, "users"),
        "train on all": (12, "iterations"),
        "publish": (60, "lists"),
    }
    assert steps.done == {name: total for name, (total, _) in steps.totals.items()}


def test_without_similar_items_none_are_made_and_the_manifest_says_so(
    client: Any, namespace: Namespace
) -> None:
    steps, whole = Steps(), refresh(client, namespace)
    manifest = refresh(client, namespace, similar=False, progress=steps)
    assert (whole.similar_buckets, manifest.similar_buckets) == (1, 0)
    assert steps.totals["publish"] == (40, "lists") and steps.done["publish"] == 40
    assert user_list(client, namespace, manifest, "u0") == user_list(client, namespace, whole, "u0")
    kept = {key for key in keys_of(client, namespace) if ":similar:" in key}
    assert kept == {namespace.similar_bucket(whole.generation, 0)}
    Generations(client, namespace).delete(whole)
    assert Generations(client, namespace).live_manifest() == manifest


def test_a_split_by_date_is_recorded_as_such(client: Any, namespace: Namespace) -> None:
    made = replace(BOARD, timestamp=np.arange(len(BOARD), dtype=np.float64))
    manifest = refresh(client, namespace, made, Colours(), holdout=Holdout(after=300.0))
    assert manifest.settings == {"after": 300.0}


@pytest.mark.parametrize(
    "engine, limits, reasons",
    [
        (Contrary(), Gate(), ["does not beat most-popular"]),
        (ENGINE, Gate(min_ndcg=1.0), ["below --min-ndcg 1"]),
        (Contrary(), Gate(min_ndcg=1.0), ["does not beat most-popular", "below --min-ndcg 1"]),
        (Failing(), Gate(), ["training failed"]),
        (Failing(), Gate(force=True), ["training failed"]),
    ],
)
def test_a_bad_model_publishes_nothing(
    client: Any, namespace: Namespace, engine: Engine, limits: Gate, reasons: list[str]
) -> None:
    with pytest.raises(NotGoodEnough) as stopped:
        refresh(client, namespace, engine=engine, gate=limits)
    assert all(reason in str(stopped.value) for reason in reasons)
    assert keys_of(client, namespace) == set()


def test_a_bad_model_leaves_the_live_generation_as_it_was(
    client: Any, namespace: Namespace
) -> None:
    live = refresh(client, namespace)
    before = {key: client.dump(key) for key in keys_of(client, namespace)}
    with pytest.raises(NotGoodEnough):
        refresh(client, namespace, engine=Contrary())
    assert {key: client.dump(key) for key in keys_of(client, namespace)} == before
    assert Generations(client, namespace).live() == live.generation


def test_force_publishes_a_bad_model_and_the_manifest_says_so(
    client: Any, namespace: Namespace
) -> None:
    manifest = refresh(client, namespace, engine=Contrary(), gate=Gate(force=True))
    assert manifest.forced
    assert Generations(client, namespace).live_manifest() == manifest


def test_force_on_a_good_model_is_not_held_against_it(client: Any, namespace: Namespace) -> None:
    assert not refresh(client, namespace, gate=Gate(force=True)).forced


def test_no_holdout_needs_force_and_the_manifest_has_no_metrics(
    client: Any, namespace: Namespace
) -> None:
    unjudged = Holdout(share=0)
    with pytest.raises(BadSettings, match="--force"):
        refresh(client, namespace, holdout=unjudged)
    assert keys_of(client, namespace) == set()
    manifest = refresh(client, namespace, holdout=unjudged, gate=Gate(force=True))
    assert (manifest.forced, manifest.metrics) == (True, {})


def test_an_unjudged_live_generation_is_not_compared(client: Any, namespace: Namespace) -> None:
    refresh(client, namespace, holdout=Holdout(share=0), gate=Gate(force=True))
    assert not refresh(client, namespace).forced


def test_a_drop_under_the_live_generation_stops_at_the_same_k_only(
    client: Any, namespace: Namespace
) -> None:
    publish_measured(client, namespace, ndcg=1.5, k=3)
    with pytest.raises(NotGoodEnough, match="more than 10% under the live generation's 1.5000"):
        refresh(client, namespace, k=3)
    assert not refresh(client, namespace, k=4).forced


def test_a_live_generation_that_was_judged_by_another_split_is_not_compared(
    client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    publish_measured(client, namespace, ndcg=1.5, k=3)
    assert not refresh(client, namespace, k=3, holdout=Holdout(split="stratified")).forced
    assert "not compared with the live generation" in caplog.text


@pytest.mark.parametrize(
    "metrics",
    [{"model": []}, {"model": {"ndcg": "x", "k": 3}}, {"model": {"ndcg": 10**400, "k": 3}}],
)
def test_a_live_generation_with_odd_metrics_is_not_compared(
    client: Any, namespace: Namespace, metrics: dict[str, Any]
) -> None:
    live = publish_measured(client, namespace, ndcg=1.5, k=3)
    text = replace(live, metrics=metrics).to_json()
    client.hset(namespace.generations, live.generation, text)
    assert not refresh(client, namespace, k=3).forced


SHRUNK = [
    ({"users": 81}, "40 users are more than 50% under the live generation's 81 (--max-shrink)"),
    ({"items": 41}, "20 items are more than 50% under"),
    ({"interactions": 721}, "360 pairs are more than 50% under"),
]


def publish_larger(client: Any, namespace: Namespace, **counts: Any) -> None:
    live = publish_by_hand(client, namespace)
    told = replace(live, **{"users": 40, "items": 20, "interactions": 360, **counts})
    client.hset(namespace.generations, live.generation, told.to_json())


@pytest.mark.parametrize("counts, reason", SHRUNK)
def test_far_less_than_the_live_generation_has_is_not_even_trained_on(
    client: Any, namespace: Namespace, counts: dict[str, int], reason: str
) -> None:
    publish_larger(client, namespace, **counts)
    before = keys_of(client, namespace)
    with pytest.raises(NotGoodEnough) as stopped:
        refresh(client, namespace, engine=Failing())
    assert reason in str(stopped.value) and str(stopped.value).count("--max-shrink") == 1
    assert keys_of(client, namespace) == before


@pytest.mark.parametrize("gate, forced", [(Gate(force=True), True), (Gate(max_shrink=0.6), False)])
def test_less_than_the_live_generation_has_is_published_when_it_is_meant(
    client: Any, namespace: Namespace, gate: Gate, forced: bool
) -> None:
    publish_larger(client, namespace, users=90, items=50)
    assert refresh(client, namespace, gate=gate).forced is forced


def test_half_of_what_the_live_generation_has_is_enough(client: Any, namespace: Namespace) -> None:
    publish_larger(client, namespace, users=80, items=40, interactions=720)
    assert not refresh(client, namespace).forced


def test_lists_that_repeat_are_not_compared_with_lists_that_do_not(
    client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    publish_measured(client, namespace, ndcg=1.5, k=3)
    manifest = refresh(client, namespace, k=3, repeat=True, gate=Gate(force=True))
    assert manifest.settings["repeat"] is True
    assert "not compared with the live generation" in caplog.text


def test_what_was_live_stays_until_the_next_run_for_readers_that_lag(
    client: Any, namespace: Namespace
) -> None:
    generations = Generations(client, namespace)
    first, *_ = [refresh(client, namespace, keep=2) for _ in range(2)]
    generations.roll_back(first.generation)
    refresh(client, namespace, keep=2)
    assert user_list(client, namespace, first, "u0")
    refresh(client, namespace, keep=2)
    assert first.generation not in {each.generation for each in generations.all()}


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_list_length_that_the_contract_does_not_take_is_refused(
    client: Any, namespace: Namespace, k: int
) -> None:
    with pytest.raises(BadSettings, match=f"--k must be 1 to 1000, not {k}"):
        refresh(client, namespace, k=k)


def test_k_beyond_the_catalogue_publishes_what_there_is(client: Any, namespace: Namespace) -> None:
    manifest = refresh(client, namespace, k=1000)
    assert len(user_list(client, namespace, manifest, "u0")) == 11


def test_two_refreshes_of_the_same_input_hold_the_same_bytes(
    client: Any, namespace: Namespace
) -> None:
    one, other = (refresh(client, namespace) for _ in range(2))
    assert one.generation != other.generation
    assert one.checksum == other.checksum
    for mine, theirs in zip(one.keys(namespace), other.keys(namespace), strict=True):
        assert client.dump(mine) == client.dump(theirs)


def test_a_model_that_knows_the_answer_is_judged_perfect() -> None:
    """Ten even items, nine seen: the tenth is the only one of its colour that can come."""
    held_out = interactions([(user, missing(user)) for user in range(40)])
    quality = LocalTrial(BOARD, held_out, Colours()).judge(10, Steps())
    assert (quality.model.ndcg, quality.model.map, quality.model.recall) == (1.0, 1.0, 1.0)
    assert quality.model.precision == pytest.approx(0.1)
    assert quality.popular.ndcg < 0.5
    assert LocalTrial(BOARD, held_out, Contrary()).judge(9, Steps()).model.ndcg == 0.0


def test_held_out_pairs_that_are_also_in_train_do_not_count() -> None:
    held_out = [(user, missing(user)) for user in range(40)]
    seen = [(user, (missing(user) + 2) % 20) for user in range(40)]
    both = interactions(sorted(held_out + seen))
    alone = LocalTrial(BOARD, interactions(held_out), Colours()).judge(10, Steps())
    seen_too = LocalTrial(BOARD, both, Colours()).judge(10, Steps())
    assert seen_too.model.recall == 1.0
    assert seen_too == alone


def test_nothing_but_seen_pairs_to_judge_by_is_an_error_before_any_training() -> None:
    with pytest.raises(BadSettings, match="nothing to judge by"):
        LocalTrial(BOARD, BOARD, Failing()).judge(10, Steps())


def test_users_who_are_strangers_to_train_are_judged_on_the_popular_list() -> None:
    board = interactions([pair for pair in checkerboard() if pair[0] < 38])
    train = replace(board, users=BOARD.users)
    held_out = interactions([(user, 0) for user in (38, 39)])
    held_out = replace(held_out, users=BOARD.users, items=BOARD.items)
    quality = LocalTrial(train, held_out, Colours()).judge(20, Steps())
    assert quality.model == quality.popular
    assert quality.model.recall == 1.0
