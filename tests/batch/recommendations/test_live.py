"""Live generations: the bytes of vectors, factors and model, and their life beside plain ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from app.contracts.events import MAX_RECENT
from app.contracts.recommendations import (
    FACTOR_CHUNK_BYTES,
    MODEL,
    NEIGHBOURS,
    RERANKING,
    Manifest,
    Namespace,
    bucket_size,
    decode_history,
    decode_record,
    encode_document,
    factors_part,
    history_bytes,
    split_value,
    vector_bytes,
)
from app.recommendations.memory.factors import section_bytes
from app.recommendations.memory.shelf import Shelf
from batch.errors import BadSettings, UnknownGeneration
from batch.generations.publish import turn
from batch.generations.registry import Generations
from batch.interactions.pairs import Interactions
from batch.progress import Advance
from batch.recommendations.engines.blend import Blend
from batch.recommendations.engines.ease import Ease
from batch.recommendations.engines.engine import Engine, Fitted, Scale
from batch.recommendations.engines.factors import Factors
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from batch.recommendations.live import Live
from batch.recommendations.published.show import show
from batch.recommendations.terms import MAX_STORED, Gate, Holdout, Terms
from tests.app.served import answering, following, watching
from tests.batch.pairs import interactions
from tests.batch.recommendations.test_pipeline import ENGINE, refresh
from tests.generations import keys_of
from tests.servers import Server

WIDTH, STORED, K = 6, 30, 5
U0 = "/recommendations/u0"
UNJUDGED = {"holdout": Holdout(share=0), "gate": Gate(force=True)}


def tastes(users: int = 300, items: int = 150, groups: int = 5) -> Interactions:
    """Users who have half of what their group likes; the last one alone has the last item."""
    rng = np.random.default_rng(1)
    pairs = [
        (user, item)
        for user in range(users - 1)
        for item in range(items - 1)
        if item % groups == user % groups and rng.random() < 0.5
    ]
    return interactions([*pairs, (users - 1, items - 1)])


TASTES = tastes()


@dataclass(frozen=True)
class Told:
    """An engine that was told its factors."""

    told: Factors
    name: str = "told"
    iterations: int = 1

    @property
    def settings(self) -> dict[str, float]:
        return {}

    @property
    def factors(self) -> int:
        return int(self.told.items.shape[1])

    def fit(self, weights: csr_matrix, progress: Advance) -> Fitted:
        return self.told.fitted(weights)


def told() -> Told:
    rng = np.random.default_rng(2)
    users, items = (
        rng.standard_normal((many, WIDTH)).astype(np.float32)
        for many in (len(TASTES.users), len(TASTES.items))
    )
    return Told(Factors(users, items, Scale(confidence=8.6, penalty=3.5)))


def published(client: Any, namespace: Namespace, engine: Any, **chosen: Any) -> Manifest:
    return refresh(client, namespace, TASTES, engine, k=K, **{**UNJUDGED, **chosen})


def values(client: Any, namespace: Namespace, manifest: Manifest) -> dict[str, tuple[bytes, bytes]]:
    """The record and the vector of each user."""
    found = {user: client.hget(*manifest.user_place(namespace, user)) for user in TASTES.users}
    width = manifest.factors
    return {user: split_value(value, width, 0)[:2] for user, value in found.items()}


def vectors(found: dict[str, tuple[bytes, bytes]]) -> NDArray[np.float32]:
    """What a reader makes of the vectors."""
    rows = [
        np.frombuffer(vector, "<f4", 1) * np.frombuffer(vector, "i1", offset=4)
        for _, vector in found.values()
    ]
    return np.stack(rows)


def test_the_bytes_are_those_that_numpy_makes_by_hand(client: Any, namespace: Namespace) -> None:
    engine = told()
    manifest = published(client, namespace, engine, stored=STORED)
    items = engine.told.items
    assert (manifest.stored, manifest.factors, manifest.k) == (STORED, WIDTH, K)

    order = np.argsort(-np.linalg.norm(items.astype("<f2").astype(np.float32), axis=1))
    wide = items.astype(np.float64)
    solution = np.linalg.inv(wide.T @ wide + 3.5 * np.eye(WIDTH))
    model = client.get(namespace.part(manifest.generation, MODEL))
    numbers = np.frombuffer(model, "<f4", WIDTH * WIDTH + WIDTH + 2)
    assert numbers[: WIDTH * WIDTH] == pytest.approx(solution.ravel(), rel=1e-5, abs=1e-9)
    assert numbers[WIDTH * WIDTH : -2] == pytest.approx(engine.told.users.mean(axis=0), abs=1e-6)
    assert numbers[-2:] == pytest.approx([8.6, 3.5])
    assert np.frombuffer(model, "<u4", offset=4 * len(numbers)).tolist() == order.tolist()
    halves = client.get(namespace.part(manifest.generation, factors_part(0)))
    assert halves == items[order].astype("<f2").tobytes()

    found = values(client, namespace, manifest)
    (record, vector), users = found["u0"], engine.told.users
    scale = np.abs(users[0]).max() / np.float32(127)
    assert vector == np.float32(scale).tobytes() + np.rint(users[0] / scale).astype("i1").tobytes()
    assert len(decode_record(record)) == STORED
    assert np.abs(vectors(found)[:-1] - users[:-1]).max() < np.abs(users).max() / 250
    popular = decode_record(client.get(namespace.popular(manifest.generation)))
    assert len(popular) == STORED + MAX_RECENT
    neighbours = client.hget(*manifest.item_place(namespace, "i0"))
    assert len(decode_record(neighbours)) == K


@pytest.mark.parametrize(
    "pairs, user, length, source",
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)], "u1", 1, "personal"),
        ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)], "u2", 2, "popular"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], "u0", 0, "exhausted"),
    ],
)
def test_who_has_no_list_of_their_own_has_a_vector_of_nothing(
    client: Any,
    namespace: Namespace,
    pairs: list[tuple[int, int]],
    user: str,
    length: int,
    source: str,
) -> None:
    made = interactions(pairs)
    users, items = (np.ones((len(ids), WIDTH), np.float32) for ids in (made.users, made.items))
    engine = Told(Factors(users, items, Scale(1, 1)))
    manifest = refresh(client, namespace, made, engine, k=2, stored=3, **UNJUDGED)
    value = client.hget(*manifest.user_place(namespace, user))
    record, vector, _ = split_value(value, WIDTH, 0)
    assert len(record) == 6 * length
    assert (vector == bytes(vector_bytes(WIDTH))) == (source != "personal")
    assert show(client, namespace, user).source == source


def test_the_vector_finds_the_stored_list_again(client: Any, namespace: Namespace) -> None:
    manifest = published(client, namespace, ImplicitALS(factors=16), stored=STORED)
    found = values(client, namespace, manifest)
    model = client.get(namespace.part(manifest.generation, MODEL))
    halves = client.get(namespace.part(manifest.generation, factors_part(0)))
    items = np.empty((len(TASTES.items), 16), np.float32)
    order = np.frombuffer(model, "<u4", offset=4 * (16 * 16 + 16 + 2))
    items[order] = np.frombuffer(halves, "<f2").reshape(-1, 16)
    scores = vectors(found) @ items.T
    seen = TASTES.matrix()
    scores[seen.nonzero()] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :10]
    again = [
        len({item for item, _ in decode_record(record)[:10]} & set(row.tolist()))
        for (record, _), row in zip(list(found.values())[:-1], best)
    ]
    assert np.mean(again) > 9.7


def test_a_bucket_of_long_values_is_short(client: Any, namespace: Namespace) -> None:
    manifest = published(client, namespace, told(), stored=150)
    assert bucket_size(150, 150, WIDTH) == 16_384 // (6 * 150 + 4 + WIDTH) == 18
    assert manifest.user_buckets == -(-len(TASTES.users) // 18)
    assert [bucket_size(*each) for each in ((0, 9, 0), (50, 10**6, 128), (900, 10**6, 4096))] == [
        80,
        37,
        1,
    ]


def test_many_factors_are_cut_into_chunks() -> None:
    items = np.random.default_rng(3).standard_normal((5000, 128)).astype(np.float32)
    parts = dict(Live(items, np.zeros(128), Scale(1, 1)).parts())
    assert list(parts) == [MODEL, factors_part(0), factors_part(1)]
    assert len(parts[factors_part(0)]) == FACTOR_CHUNK_BYTES
    assert sum(map(len, parts.values())) == 5000 * 260 + 4 * (128 * 128 + 128 + 2)


def test_no_penalty_and_no_inverse_are_solved_all_the_same() -> None:
    (_, model), *_ = Live(np.ones((3, 2), np.float32), np.zeros(2), Scale(1, 0)).parts()
    solved = np.frombuffer(model, "<f4", 4).reshape(2, 2)
    assert solved == pytest.approx(np.full((2, 2), 1 / 12), rel=1e-5)


def test_a_history_stands_behind_each_vector(
    server: Server, client: Any, namespace: Namespace
) -> None:
    plain = published(client, namespace, told(), stored=STORED)
    without = values(client, namespace, plain)
    manifest = published(client, namespace, told(), stored=STORED, history=12)
    assert (plain.history, manifest.history) == (0, 12)
    assert manifest.longest_value == plain.longest_value + history_bytes(12, 150)
    seen = TASTES.matrix()
    for number, user in enumerate(TASTES.users):
        value = client.hget(*manifest.user_place(namespace, user))
        record, vector, history = split_value(value, WIDTH, 12)
        assert (record, vector) == without[user]
        own = [item for item, _ in decode_history(history)]
        assert own == sorted(own) and len(own) == min(12, seen[number].nnz)
        assert {*own} <= {*seen[number].indices.tolist()}
        assert show(client, namespace, user).entries
    with answering(server, namespace, events=True) as app, app.test_client() as api:
        answer = api.get("/recommendations/u0").get_json()
    assert len(answer["recommendations"]) == K


def scores(answer: Any) -> dict[str, float]:
    """Of each item of an answer, in its order."""
    return {each["item"]: each["score"] for each in answer["recommendations"]}


@pytest.mark.parametrize(
    "engine, follows",
    [
        (ItemKNN(), NEIGHBOURS),
        (Ease(), NEIGHBOURS),
        (Blend((ItemKNN(), Ease()), (0.3, 0.7)), NEIGHBOURS),
        (Blend((ImplicitALS(factors=16), ItemKNN()), (0.3, 0.7)), RERANKING),
    ],
)
def test_lists_of_every_engine_follow_what_users_do(
    server: Server, client: Any, namespace: Namespace, engine: Engine, follows: str
) -> None:
    manifest = published(client, namespace, engine, stored=STORED, history=1000)
    assert manifest.follows == follows
    shown = [document for document, _ in show(client, namespace, "u0").entries]
    with following(server, namespace) as worker:
        assert worker.get("/generation")["following"] == follows
        before = scores(worker.get(U0))
        assert shown == [encode_document(item).decode() for item in before] and len(before) == K
        for clicked in [*before][1:]:
            worker.did("click", clicked, "u0")
        after = scores(found := worker.get(U0))
        assert found["source"] == "personal+recent" and len(after) == K
        assert before.keys() & after.keys() == {best := next(iter(before))}
        assert after[best] != before[best]
        worker.did("click", "i2", "somebody")
        found = worker.get("/recommendations/somebody")
        assert found["source"] == "recent"
        assert {int(each["item"][1:]) % 5 for each in found["recommendations"]} == {2}
        assert worker.get("/recommendations/u299")["source"] == "popular"
        reasons = worker.app.test_client().get(f"{U0}/why?item=i5")
        assert (reasons.status_code == 200) == (follows == RERANKING)


@pytest.mark.parametrize("similar", [True, False])
def test_workers_serve_it_and_their_file_holds_what_the_manifest_says(
    server: Server, client: Any, namespace: Namespace, similar: bool
) -> None:
    engine = told()
    manifest = published(client, namespace, engine, stored=STORED, similar=similar)
    with watching(server, namespace, events=True) as watcher:
        assert watcher.live().model is not None
        kept = Shelf("", server.url, namespace.name).latest()
        assert kept is not None and kept.factors is not None and kept.find is not None
        rows = np.frombuffer(kept.factors.rows, np.float32).reshape(-1, WIDTH)
        assert rows.size * 4 < section_bytes(len(TASTES.items), WIDTH)
        for item in ("i0", "i149"):
            number = kept.find(item)
            assert number is not None
            row = np.frombuffer(kept.factors.places, np.uint32)[number]
            assert rows[row] == pytest.approx(engine.told.items[number], rel=1e-3, abs=1e-6)
    with answering(server, namespace) as app, app.test_client() as api:
        answer = api.get("/recommendations/u0").get_json()
    shown = show(client, namespace, "u0")
    assert answer["source"] == shown.source == "personal"
    listed = [encode_document(each["item"]).decode() for each in answer["recommendations"]]
    assert listed == [document for document, _ in shown.entries] and len(listed) == K
    assert len(show(client, namespace, "u0", 2 * K).entries) == K
    assert manifest.machine_bytes > manifest.document_bytes


def test_it_lives_beside_plain_ones(client: Any, namespace: Namespace) -> None:
    engine = told()
    plain = published(client, namespace, engine)
    live = published(client, namespace, engine, stored=STORED)
    later = published(client, namespace, engine)
    assert (plain.stored, plain.factors) == (0, 0)
    generations = Generations(client, namespace)
    assert generations.roll_back().generation == live.generation
    assert len(show(client, namespace, "u0").entries) == K
    generations.roll_back(later.generation)
    part = namespace.part(live.generation, factors_part(0))
    kept = client.getdel(part)
    with pytest.raises(UnknownGeneration, match="not whole any more"):
        generations.roll_back(live.generation)
    client.set(part, kept)
    assert generations.roll_back(live.generation)
    assert generations.roll_back(later.generation)
    with turn(client, namespace, 2):
        generations.delete(live)
    assert not [key for key in keys_of(client, namespace) if live.generation in key]


class Interrupted(BaseException):
    """Ctrl-C."""


def test_one_that_is_ended_half_way_leaves_nothing(client: Any, namespace: Namespace) -> None:
    before = published(client, namespace, told())
    kept = keys_of(client, namespace)
    written: set[str] = set()

    class Stop:
        """Ends the run at the first users' lists: model and factors are there by then."""

        def __enter__(self) -> Any:
            def advance(done: int) -> None:
                if keys := {key for key in keys_of(client, namespace) if key.endswith(":model")}:
                    written.update(keys)
                    raise Interrupted

            return advance

        def __exit__(self, *error: object) -> None:
            return None

        def step(self, name: str, total: int, unit: str) -> Any:
            return self

    with pytest.raises(Interrupted):
        published(client, namespace, told(), stored=STORED, progress=Stop())
    assert written and keys_of(client, namespace) == kept
    assert Generations(client, namespace).live() == before.generation


@pytest.mark.parametrize("stored", [K - 1, MAX_STORED + 1])
def test_how_many_are_stored_has_bounds(stored: int) -> None:
    with pytest.raises(BadSettings, match=f"{K}\\) to {MAX_STORED} items of a user, not {stored}"):
        Terms(K, stored=stored)


def test_a_plain_engine_says_how_it_weighed() -> None:
    made = TASTES.matrix()
    scale = ENGINE.fit(made, lambda done: None).scorer.scale
    assert scale is not None
    assert np.log1p(made.data) * np.float32(scale.confidence) == pytest.approx(
        ENGINE.confidences(made).data
    )
    assert scale.penalty == ENGINE.penalty(made.nnz, 300, 150)
