"""Click models made by hand, and published, so that a test knows what they say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import lightgbm
import numpy as np

from app.contracts.clicks import (
    BODY_PART_BYTES,
    Clicks,
    Column,
    Linear,
    Manifest,
    body_part,
    row_names,
    user_part,
    value_key,
)
from app.contracts.recommendations import EMPTY_BUCKET, bucket_of, field
from batch.clicks.model import Model, Values, sizes_and_hashes
from batch.generations.lock import hold
from batch.generations.parts import Hashes, Strings
from batch.generations.publish import publish

GENERATION = "20260101T000000.000Z-0001"
COLUMNS = (
    Column("price", "number"),
    Column("genres", "category"),
    Column("hour", "number"),
    Column("country", "category"),
)
GENRES = {"": 0.1, "Comedy": 0.3, "Crime|Drama": 0.6}
COUNTRIES = {"de": 0.2, "12": 0.5, "true": 0.9}
PRIOR = 0.25

MANIFEST = Manifest(
    generation=GENERATION,
    state="writing",
    rows=1000,
    clicks=250,
    label="click",
    columns=[each.entry() for each in COLUMNS],
    prior=PRIOR,
    negatives_kept=1.0,
    members=["trees"],
    calibration={},
    trees=0,
    sizes={},
    hashes={},
    users=0,
    user_buckets=0,
    lightgbm=lightgbm.__version__,
    settings={},
    metrics={},
    fingerprint="",
    forced=False,
    code_version="0",
    started_at="2026-01-01T00:00:00+00:00",
)


def values(means: Mapping[str, float], weight: float = 0.0) -> Values:
    """The share of each is a tenth of its mean, its weight so many times that."""
    known = sorted(means, key=value_key)
    found = np.array([means[each] for each in known], np.float32)
    keys = np.array([value_key(each) for each in known], np.uint64)
    return Values(keys, found, found / 10, found * weight)


@cache
def trees(width: int, count: int = 5, leaves: int = 7, rows: int = 400, seed: int = 1) -> str:
    """Such that every number of a row says something."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((rows, width), np.float32)
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    odds = np.nan_to_num(matrix) @ np.linspace(-3, 3, width)
    clicked = rng.random(rows) < 1 / (1 + np.exp(-odds))
    settings = {"objective": "binary", "num_leaves": leaves, "verbosity": -1, "num_threads": 1}
    data = lightgbm.Dataset(matrix, clicked, params={"min_data_in_leaf": 5, **settings})
    booster = lightgbm.train({"min_data_in_leaf": 5, **settings}, data, count)
    return str(booster.model_to_string())


def model(**told: Any) -> Model:
    """Over COLUMNS; told: what is another than it would be."""
    made = Model(
        columns=COLUMNS,
        prior=PRIOR,
        tables=[values(GENRES, 2.0), values(COUNTRIES, -1.0)],
        trees=trees(len(row_names(COLUMNS))),
        tree_count=5,
    )
    return replace(made, **told)


LINEAR = Linear(-0.5, (((1.0, 5.0), (0.1, -0.2, 0.3), 0.7), ((12.0,), (-1.0, 1.0), 0.0)))


@dataclass
class Made:
    """The body of a model, and the columns of users, on their way to the cache."""

    space: Clicks
    body: bytes
    buckets: Mapping[int, Mapping[bytes, bytes]]

    def __post_init__(self) -> None:
        self._strings, self._hashes = Strings(), Hashes()

    def write(self, client: Any, manifest: Manifest, advance: object) -> "Made":
        """See ``Contents``."""
        name, starts = manifest.generation, range(0, len(self.body), BODY_PART_BYTES)
        self._strings.write(
            client,
            (
                (self.space.part(name, body_part(n)), self.body[at : at + BODY_PART_BYTES])
                for n, at in enumerate(starts)
            ),
        )
        self._hashes.write(
            client,
            ((self.space.part(name, user_part(n)), users) for n, users in self.buckets.items()),
        )
        return self

    @property
    def checksum(self) -> int:
        return self._strings.checksum + self._hashes.checksum

    def verify(self, client: Any) -> None:
        self._strings.verify(client)
        self._hashes.verify(client)

    def completed(self, client: Any, manifest: Manifest) -> Manifest:
        return manifest


def publish_model(
    client: Any,
    namespace: str,
    made: Model | None = None,
    generation: str = GENERATION,
    users: Mapping[str, bytes] | None = None,
    **told: Any,
) -> Manifest:
    """Publish it; users: the JSON of their columns. told: of the manifest, other than it is."""
    made, space = made or model(), Clicks(namespace)
    sections = made.sections()
    sizes, hashes = sizes_and_hashes(sections)
    count = 2 if users else 0
    manifest = replace(
        MANIFEST,
        generation=generation,
        columns=[each.entry() for each in made.columns],
        prior=made.prior,
        negatives_kept=made.negatives_kept,
        members=["trees", "linear"] if made.linear else ["trees"],
        calibration=made.calibration.entry(),
        trees=made.tree_count,
        sizes=sizes,
        hashes=hashes,
        users=len(users or ()),
        user_buckets=count,
    )
    buckets: dict[int, dict[bytes, bytes]] = {n: dict(EMPTY_BUCKET) for n in range(count)}
    for user, columns in (users or {}).items():
        buckets[bucket_of(field(user), count)][field(user)] = columns
    contents = Made(space, b"".join(sections.values()), buckets)
    with hold(client, space) as lease:
        return publish(client, space, replace(manifest, **told), contents, lease)
