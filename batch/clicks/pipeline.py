"""From examples to a published click model: judge, gate, train on everything, publish."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contracts.clicks import Clicks, Manifest
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import bucket_count
from batch.clicks.contents import Contents, expect_usable, read_model
from batch.clicks.fit.calibrate import choose, moved, served
from batch.clicks.fit.trees import newer_release
from batch.clicks.judge import Quality, Rival, measured, reasons_against, sliced_by, warnings
from batch.clicks.measure import Predictions
from batch.clicks.model import Model, sizes_and_hashes
from batch.clicks.rows import Examples, Scored
from batch.clicks.terms import EVERYTHING, Gate, Terms
from batch.errors import BadSettings, NotGoodEnough, UnknownGeneration
from batch.generations.connect import Client
from batch.generations.publish import Turn, code_version, is_forced
from batch.progress import Progress

log = logging.getLogger("larder.pipeline")

MAX_LACKING = 0.2
"""The share of its columns that a live model may miss and still be compared."""
MIN_NEW_ROWS = 1000
"""As many rows, newer than what it was trained on, are needed to compare a live model by them."""


def train(
    client: Client,
    space: Clicks,
    ours: Turn[Manifest],
    examples: Examples,
    terms: Terms,
    progress: Progress,
    told: Callable[[Quality], None] = lambda quality: None,
    users: Mapping[bytes, bytes] = MappingProxyType({}),
) -> Manifest:
    """Judge a model on rows that it has not seen, train it on all of them and publish it.

    ours: the turn, which began before the examples were read; told: what was measured, whether or
    not the gate lets it pass; users: see ``Contents``. Raises a Terminal error for bad data or a
    bad model, a Transient one when the cache cannot take it; nothing is published then.
    """
    _expect_slices(examples, terms)
    live = ours.generations.live_manifest()
    examples.split(terms.split)
    judged, quality, until = judge(client, space, live, examples, terms, progress)
    for warning in quality.warnings:
        log.warning(warning)
    told(quality)
    forced = is_forced(terms.gate.force, reasons_against(quality, terms.gate))
    fit = replace(terms.fit, trees=judged.tree_count, blend=judged.linear is not None)
    whole = examples.fit(EVERYTHING, None, fit, progress)
    model = settled(examples, replace(whole, calibration=judged.calibration), terms.gate)
    try:
        expect_usable(model)
    except BrokenRecord as error:
        raise NotGoodEnough(f"no worker could answer from this model: {error}") from error
    settings = {**asdict(fit), "validation": terms.split.validation, "test": terms.split.test}
    if until is not None:
        settings["until"] = until
    name = ours.generations.next_name(ours.started)
    manifest = replace(
        manifest_of(name, ours.started, model, len(users), settings),
        rows=examples.rows,
        clicks=examples.clicks,
        label=examples.schema.label or "",
        metrics=quality.entry(),
        fingerprint=examples.fingerprint(),
        forced=forced,
    )
    contents = Contents(space, model.sections(), users)
    with progress.step("publish", contents.size, "bytes") as advance:
        return ours.publish(manifest, contents, advance)


def settled(examples: Examples, model: Model, gate: Gate) -> Model:
    """A model whose calibration was chosen for another one: moved, where it does not suit it.

    It has seen these rows, so nothing but the mean prediction can be held against them.
    """
    rows = examples.predict(model, "test")
    log_odds = served(model, rows.log_odds)
    found = Predictions.of(rows.clicked, log_odds, examples.negatives_kept).metrics()
    if abs(found.ratio - 1) <= max(gate.max_off, found.chance):
        return model
    log.warning(
        "trained on all rows the model has a mean prediction over click-through rate of %.4f on "
        "those of the test: its calibration is moved to 1",
        found.ratio,
    )
    return replace(model, calibration=moved(model.calibration, rows.log_odds, rows.clicked))


def judge(
    client: Client,
    space: Clicks,
    live: Manifest | None,
    examples: Examples,
    terms: Terms,
    progress: Progress,
) -> tuple[Model, Quality, int | None]:
    """Train on one part, stop and calibrate on another, measure on the third.

    Returns the model, what was measured and the newest moment, in microseconds, None without time.
    """
    model = examples.fit(("train",), "validation", terms.fit, progress)
    held = examples.predict(model, "validation")
    model = replace(model, calibration=choose(held.log_odds, held.clicked, terms.split.seed))
    columns = sliced_by(model) if terms.slices is None else terms.slices
    test, kept = examples.predict(model, "test", columns), examples.negatives_kept
    log_odds, leaks = served(model, test.log_odds), examples.report.leaks
    quality = measured(model, test.clicked, log_odds, kept, test.slices, leaks)
    ours, told = replace(test, log_odds=log_odds), warnings(quality.model, terms.gate)
    rival = _rival(client, space, live, examples, ours, terms.gate)
    until = None if test.moments is None else int(test.moments.max())
    return model, replace(quality, rival=rival, warnings=told), until


def _expect_slices(examples: Examples, terms: Terms) -> None:
    known = [each.name for each in examples.columns]
    if unknown := set(terms.slices or ()) - set(known):
        raise BadSettings(
            f"--slices names columns that the model does not see: {', '.join(sorted(unknown))}; "
            f"it sees {', '.join(known)}"
        )


def _rival(
    client: Client,
    space: Clicks,
    live: Manifest | None,
    examples: Examples,
    ours: Scored,
    gate: Gate,
) -> Rival | None:
    """The live model on the rows of the test, or on those that it has surely not seen.

    ours: what the new model says of them, as it is served.
    """
    if live is None:
        return None
    if told := newer_release(live.lightgbm):
        log.warning("the live model: %s", told)
    try:
        model = read_model(client, space, live)
        _expect_columns(model, examples)
        theirs = served(model, examples.predict(model, "test").log_odds)
    except (BrokenRecord, BadSettings, UnknownGeneration) as error:
        log.warning("not compared with the live model %s: %s", live.generation, error)
        return _unseen(live, ours, examples, gate)
    rows = _new_to(live, ours)
    chosen = np.ones(len(theirs), bool) if rows is None else rows
    found = [
        Predictions.of(ours.clicked[chosen], each[chosen], examples.negatives_kept).metrics()
        for each in (theirs, ours.log_odds)
    ]
    recorded = _recorded(live) if rows is None else None
    return Rival(live.generation, found[0], found[1], gate.max_worse, recorded)


def _unseen(live: Manifest, ours: Scored, examples: Examples, gate: Gate) -> Rival | None:
    """A live model that says nothing of these rows: how it was judged is left, if it was."""
    if (recorded := _recorded(live)) is None:
        return None
    found = Predictions.of(ours.clicked, ours.log_odds, examples.negatives_kept).metrics()
    return Rival(live.generation, None, found, gate.max_worse, recorded)


def _recorded(live: Manifest) -> tuple[float, float] | None:
    ne = live.measured("ne")
    return None if ne is None else (ne, live.measured("ne_error") or 0.0)


def _expect_columns(model: Model, examples: Examples) -> None:
    """Raise BadSettings when too many columns of a live model are not in the examples."""
    lacking = [each.name for each in model.columns if each not in examples.columns]
    if len(lacking) > MAX_LACKING * len(model.columns):
        some = ", ".join(lacking[:5])
        raise BadSettings(f"{len(lacking)} of its {len(model.columns)} columns are missing: {some}")
    if lacking:
        log.warning("these rows lack columns that the live model sees: %s", ", ".join(lacking))


def _new_to(live: Manifest, rows: Scored) -> NDArray[np.bool_] | None:
    """Which rows are newer than what a model was trained on; None where too few are known."""
    until = live.settings.get("until")
    if rows.moments is None or type(until) is not int:
        return None
    new: NDArray[np.bool_] = rows.moments > until
    enough = new.sum() >= MIN_NEW_ROWS and len(set(rows.clicked[new].tolist())) == 2
    return new if enough else None


def manifest_of(
    generation: str, started: datetime, model: Model, users: int, settings: Mapping[str, Any]
) -> Manifest:
    """The manifest of a model that is to be published; of examples it says nothing."""
    sizes, hashes = sizes_and_hashes(model.sections())
    return Manifest(
        generation=generation,
        state="writing",
        rows=0,
        clicks=0,
        label="",
        columns=[[each.name, each.kind] for each in model.columns],
        prior=model.prior,
        negatives_kept=model.negatives_kept,
        members=["trees", "linear"] if model.linear else ["trees"],
        calibration=model.calibration.entry(),
        trees=model.tree_count,
        sizes=dict(sizes),
        hashes=dict(hashes),
        users=users,
        user_buckets=bucket_count(users) if users else 0,
        lightgbm=version("lightgbm"),
        settings=dict(settings),
        metrics={},
        fingerprint="",
        forced=False,
        code_version=code_version(),
        started_at=started.isoformat(timespec="seconds"),
    )
