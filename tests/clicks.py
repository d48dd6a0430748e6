"""Generations of click models made by hand, so that a test knows every score of them.

The model has three columns. Its log-odds are the sum of three trees: +.5 where ``price`` is at
most 10, else (missing, too) -.5; +1 where the mean of ``brand`` is above .25, else -1; +.25 where
that of ``device`` is above .22, else -.25.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from app.contracts.clicks import Calibration, Clicks, Column, Linear, Manifest, value_key
from app.contracts.recommendations import field
from batch.clicks import pipeline
from batch.clicks.contents import Contents
from batch.clicks.model import Model, Values
from batch.generations.lock import hold
from batch.generations.publish import publish

COLUMNS = (Column("price", "number"), Column("brand", "category"), Column("device", "category"))
PRIOR = 0.2
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
MEANS = {"brand": {"acme": 0.1, "bolt": 0.4}, "device": {"phone": 0.3, "desk": 0.1, "": 0.25}}
SHARES = {"acme": 0.5, "bolt": 0.25, "phone": 0.75, "desk": 0.125, "": 0.125}

_HEAD = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=4
objective=binary sigmoid:1
feature_names=Column_0 Column_1 Column_2 Column_3 Column_4
feature_infos=[0:100] [0:1] [0:1] [0:1] [0:1]

"""
_TREE = """Tree={number}
num_leaves=2
num_cat=0
split_feature={feature}
split_gain={gain}
threshold={threshold}
decision_type=8
left_child=-1
right_child=-2
leaf_value={left} {right}
leaf_weight=20 20
leaf_count=100 100
internal_value=0
internal_weight=40
internal_count=200
is_linear=0
shrinkage=1


"""
_TAIL = "end of trees\n"
_SPLITS = [(0, 10.0, 0.5, -0.5), (1, 0.25, -1.0, 1.0), (3, 0.22, -0.25, 0.25)]


def trees(gains: tuple[float, ...] = (20.0, 70.0, 10.0)) -> str:
    """The text of the model, as LightGBM reads it."""
    texts = [
        _TREE.format(
            number=number, gain=gain, feature=feature, threshold=threshold, left=left, right=right
        )
        for number, (gain, (feature, threshold, left, right)) in enumerate(zip(gains, _SPLITS))
    ]
    return "".join([_HEAD, *texts, _TAIL])


def log_odds(price: float | None, brand: str = "", device: str = "") -> float:
    """What the trees say of a row; a value that no table has counts as the prior."""
    low = price is not None and price <= 10
    brand_mean = MEANS["brand"].get(brand, PRIOR)
    device_mean = MEANS["device"].get(device, PRIOR)
    return (
        (0.5 if low else -0.5)
        + (1.0 if brand_mean > 0.25 else -1.0)
        + (0.25 if device_mean > 0.22 else -0.25)
    )


def model(
    calibration: Calibration = Calibration(), negatives_kept: float = 1.0, blend: bool = False
) -> Model:
    """The model; with blend there is a linear member that says the same of every row: +2."""
    return Model(
        columns=COLUMNS,
        prior=PRIOR,
        tables=[_values(MEANS[name]) for name in ("brand", "device")],
        trees=trees(),
        tree_count=3,
        linear=Linear(2.0, (((10.0,), (0.0, 0.0), 0.0),)) if blend else None,
        calibration=calibration,
        negatives_kept=negatives_kept,
    )


def _values(means: Mapping[str, float]) -> Values:
    values = sorted(means, key=value_key)
    return Values(
        np.array([value_key(each) for each in values], np.uint64),
        np.array([means[each] for each in values], np.float32),
        np.array([SHARES[each] for each in values], np.float32),
        np.zeros(len(values), np.float32),
    )


def manifest_of(made: Model, users: int = 0, **told: Any) -> Manifest:
    """The manifest of such a model; told: what it says in place of what it would."""
    found = pipeline.manifest_of("20260101T000000.000Z-0001", STARTED, made, users, {})
    known: dict[str, Any] = {"rows": 400, "clicks": 80, "label": "click", "fingerprint": "by hand"}
    return replace(found, **(known | told))


def publish_by_hand(
    client: Any,
    space: Clicks,
    generation: str = "20260101T000000.000Z-0001",
    made: Model | None = None,
    users: Mapping[str, bytes] | None = None,
    **told: Any,
) -> Manifest:
    """Publish such a model by the code that publishes every one.

    users: the columns of each, JSON objects; told: see ``manifest_of``.
    """
    made, users = made or model(), users or {}
    manifest = manifest_of(made, len(users), generation=generation, **told)
    contents = Contents(space, made.sections(), {field(user): users[user] for user in users})
    with hold(client, space) as lease:
        return publish(client, space, manifest, contents, lease)
