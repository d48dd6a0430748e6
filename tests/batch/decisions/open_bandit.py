"""The small Open Bandit Dataset, out of a wheel that is fetched once: decisions of a fashion shop.

Its lists of three were made at random and, beside that, by Thompson sampling; both logs are there,
so that what is estimated of the second by the first is known. (Saito et al., 2021, NeurIPS.)
"""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_WHEEL = "obp-0.4.1-py3-none-any.whl"
_PINNED = (
    "obp==0.4.1 --hash=sha256:87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208\n"
)
_SIMULATIONS, _PIECE, _PLACES = 100_000, 10_000, 3


@dataclass(frozen=True, slots=True)
class Campaign:
    """Rows of what was shown at random; probability: by which; policy: pmf of each place's items.

    on_policy: the mean reward that the policy itself had.
    """

    rows: Any
    items: Any
    policy: Numbers
    on_policy: float

    @property
    def action(self) -> NDArray[np.int64]:
        return np.asarray(self.rows["item_id"], np.int64)

    @property
    def place(self) -> NDArray[np.int64]:
        return np.asarray(self.rows["position"], np.int64) - 1

    @property
    def reward(self) -> Numbers:
        return np.asarray(self.rows["click"], np.float64)

    @property
    def probability(self) -> Numbers:
        return np.asarray(self.rows["propensity_score"], np.float64)

    @property
    def chosen(self) -> Numbers:
        """How probable the policy finds what was shown."""
        return self.policy[self.action, self.place]


def wheel() -> Path:
    """The wheel, in the folder of the environment; skips the test where it cannot be fetched."""
    there = Path(sys.prefix, "open-bandit", _WHEEL)
    if there.exists():
        return there
    there.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=there.parent) as folder:
        pinned = Path(folder, "pinned.txt")
        pinned.write_text(_PINNED)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0"]
        hashes = ["--require-hashes", "--only-binary=:all:", "-r", str(pinned), "-d", folder]
        done = subprocess.run([*pip, *hashes], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{_WHEEL} cannot be fetched: {done.stderr.strip()[-200:]}")
        os.replace(Path(folder, _WHEEL), there)
    return there


@cache
def load(name: str) -> Campaign:
    """The campaign ``all``, ``men`` or ``women``."""
    with zipfile.ZipFile(wheel()) as files:

        def table(path: str) -> Any:
            return pandas.read_csv(io.BytesIO(files.read(f"obp/dataset/obd/{path}")), index_col=0)

        rows = table(f"random/{name}/{name}.csv").sort_values("timestamp")
        items = table(f"random/{name}/item_context.csv")
        prior = yaml.safe_load(files.read("obp/policy/conf/prior_bts.yaml"))[name]
        truth = float(table(f"bts/{name}/{name}.csv")["click"].mean())
    return Campaign(rows, items, _thompson(prior["alpha"], prior["beta"]), truth)


def _thompson(alpha: list[float], beta: list[float]) -> Numbers:
    """How often each item came into each place, by the seed of the published example."""
    chance = np.random.RandomState(12345)
    counts = np.zeros((len(alpha), _PLACES))
    for _ in range(_SIMULATIONS // _PIECE):
        drawn = chance.beta(alpha, beta, size=(_PIECE, len(alpha)))
        best = np.argsort(drawn, axis=1)[:, ::-1]
        for place in range(_PLACES):
            counts[:, place] += np.bincount(best[:, place], minlength=len(alpha))
    return counts / _SIMULATIONS


def expectations(campaign: Campaign) -> tuple[Numbers, Numbers]:
    """What a logistic regression expects of the policy, and of what was shown, of each row.

    By thirds: of each it was made of the other two, as the published example does.
    """
    features = [name for name in campaign.rows.columns if name.startswith("user_feature")]
    users = pandas.get_dummies(campaign.rows[features], drop_first=True).to_numpy(float)
    named = [campaign.items[f"item_feature_{number}"] for number in (1, 2, 3)]
    coded = [np.unique(column, return_inverse=True)[1] for column in named]
    items = np.column_stack([*coded, campaign.items["item_feature_0"]])
    rows = np.arange(len(users))
    np.random.RandomState(12345).shuffle(rows)
    expected, predicted = np.zeros(len(rows)), np.zeros(len(rows))
    for third in np.array_split(rows, 3):
        others = np.setdiff1d(rows, third)
        for place in range(_PLACES):
            seen = others[campaign.place[others] == place]
            known = np.column_stack([users[seen], items[campaign.action[seen]]])
            weights = _logistic(known, campaign.reward[seen])
            asked = third[campaign.place[third] == place]
            of_users = users[asked] @ weights[: users.shape[1]] + weights[-1]
            clicks = _sigmoid(of_users[:, None] + items @ weights[users.shape[1] : -1])
            expected[asked] = clicks @ campaign.policy[:, place]
            predicted[asked] = clicks[np.arange(len(asked)), campaign.action[asked]]
    return expected, predicted


def _logistic(features: Numbers, reward: Numbers) -> Numbers:
    """Weights, the last without a penalty: Newton's method, as far as numbers go."""
    given = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(given.shape[1])
    penalty = np.append(np.ones(features.shape[1]), 0.0)
    for _ in range(12):
        clicks = _sigmoid(given @ weights)
        slope = given.T @ (clicks - reward) + penalty * weights
        curve = (given.T * (clicks * (1 - clicks))) @ given + np.diag(penalty)
        weights -= np.linalg.solve(curve, slope)
    return weights


def _sigmoid(number: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-number))
