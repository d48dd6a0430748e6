"""The subcommands that make lists: they load data, train and publish."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from statistics import mean

import click

from app.contracts.recommendations import Manifest, encode_document, usual_history
from batch.command import events
from batch.command.options import CacheOptions
from batch.command.output import report
from batch.command.output.bars import for_this_terminal
from batch.command.output.page import Page
from batch.command.size import Deployment, check_room
from batch.command.tracking import Run
from batch.errors import BadSettings
from batch.events.inputs import Inputs
from batch.events.load import load_all
from batch.generations.connect import Client, connect
from batch.generations.publish import turn
from batch.generations.server import Replicas, free_bytes
from batch.interactions.filters import Packed
from batch.interactions.items import ITEM_PRESETS, Items, load_items
from batch.interactions.reading import ItemsFile, Reading, beside
from batch.interactions.sources.files import keep
from batch.recommendations import pipeline
from batch.recommendations.choose import Auto
from batch.recommendations.engines.make import candidates, make
from batch.recommendations.one_machine import OneMachine
from batch.recommendations.terms import BUDGET, Model, Terms
from batch.spark.options import SparkOptions

log = logging.getLogger("larder")

_SAMPLED = 1000
"""Ids and documents whose mean length stands for that of all."""


def refresh(
    inputs: Inputs,
    reading: Reading,
    items: ItemsFile | None,
    terms: Terms,
    model: Model,
    spark: SparkOptions | None,
    cache: CacheOptions,
    events_url: str = "",
    page_path: Path | None = None,
    *,
    run: Run,
) -> str:
    """Export events where there are any to train on; judge, train and publish.

    run: told of what was found. Returns the name of the generation.
    """
    if terms.stored and model.feedback == "explicit":
        raise BadSettings(
            "--live follows what users choose, and --feedback explicit learns how they rate it: "
            "say --no-live, or leave out --feedback explicit"
        )
    terms = replace(terms, holdout=replace(terms.holdout, seed=model.seed))
    rejects = reading.rejects_file
    outputs = [("--rejects", rejects), ("--report", page_path)]
    inputs.check()
    keep_inputs(inputs.read(), items, outputs, rejects)
    page = Page.at(page_path)
    client = connect(cache.url)
    platform = _platform(model, spark, terms.stored, terms.history)
    progress = for_this_terminal()
    replicas = Replicas(terms.wait_replicas)
    with turn(client, cache.namespace, terms.keep, replicas) as ours, ExitStack() as stack:
        described = _load_items(items, reading, rejects)
        for folder in inputs.of_events():
            events.export_first(Path(folder), client, cache, events_url)
        candidate = platform.candidate(inputs, reading, cache.url, progress)
        found = stack.enter_context(candidate)
        stack.callback(run.tried, found, terms, page)
        click.echo(report.interactions(found.report, found.users, len(found.items)))
        click.echo(report.columns(found.report))
        plain = _documents(found.items, described)
        columns = _columns(found.items, described)
        documents = _fitting(client, found, plain, terms, columns)
        was_live = ours.generations.live_manifest()
        with page.follow(ours.generations):
            manifest = pipeline.refresh(
                ours, found, documents, terms, progress, page.judged, columns
            )
    page.published(client, cache.namespace, manifest)
    run.published(manifest, page)
    _tell(manifest, cache, was_live)
    return manifest.generation


def _tell(manifest: Manifest, cache: CacheOptions, was_live: Manifest | None) -> None:
    """What is live now, and what the one before did that it does not."""
    click.echo(
        f"published generation {manifest.generation}: {manifest.users:,} users, "
        f"{manifest.items:,} items, top {manifest.k}, in namespace {cache.namespace.name}; "
        f"documents{' and factors' * bool(manifest.factors)} take "
        f"{manifest.machine_bytes / 1e6:,.1f} MB on each machine of the API"
    )
    if was_live and was_live.factors and not manifest.stored:
        log.warning(
            "the lists until now followed what users do; these only lose items, and a newcomer has "
            "none: refresh with --live, or 'larder rollback'"
        )


def check(inputs: Inputs, reading: Reading, items: ItemsFile | None, as_json: bool) -> None:
    """Say what a refresh would find."""
    say = _to_people(as_json)
    rejects = None if reading.rejects is None else reading.rejects_file
    inputs.check()
    keep_inputs(inputs.read(), items, [("--rejects", rejects)], rejects)
    found = load_all(inputs, reading, rejects)
    say(report.interactions(found.report, len(found.users), len(found.items)))
    say(report.columns(found.report))
    say(report.values(found))
    described = _load_items(items, reading, rejects)
    _documents(found.items, described, say)
    _columns(found.items, described)
    if as_json:
        click.echo(json.dumps(report.check_json(found, described), ensure_ascii=False))


def evaluate(
    train: Inputs,
    test: Inputs,
    reading: Reading,
    k: int,
    model: Model,
    spark: SparkOptions | None,
    as_json: bool,
) -> None:
    """Train on one input, score on the other."""
    say, rejects = _to_people(as_json), reading.rejects_file
    outputs = [("--rejects", rejects), ("--rejects", beside(rejects, "test"))]
    Inputs(train.paths + test.paths, train.weighing).check()
    keep_inputs(train.read() + test.read(), None, outputs, None)
    progress = for_this_terminal()
    with _platform(model, spark).trial(train, test, reading, progress) as found:
        for each in found.reports:
            say(report.interactions(each, found.users, len(found.items)))
        quality = found.judge(k, progress)
    say(report.quality(quality))
    if as_json:
        click.echo(json.dumps(asdict(quality)))


def _to_people(as_json: bool) -> Callable[[str], None]:
    """Where the tables go: stdout is a program's when it wants JSON."""
    return partial(click.echo, err=as_json)


def _platform(
    model: Model, spark: SparkOptions | None, stored: int = 0, history: int = 0
) -> pipeline.Platform:
    if not model.on_spark:
        if spark is not None:
            raise BadSettings(f"{'--conf' if spark.conf else '--spark-log'} needs --engine spark")
        return _one_machine(model)
    from batch.spark import java

    java.require()
    from batch.recommendations.cluster.platform import Cluster

    return Cluster(model, spark or SparkOptions(), stored, history)


def _one_machine(model: Model) -> OneMachine:
    if model.engine != "auto":
        return OneMachine(make(model), model.repeat)
    engines = candidates(model)
    budget = BUDGET if model.tune_budget is None else model.tune_budget
    return OneMachine(engines[0], model.repeat, Auto(engines, budget))


def _load_items(items: ItemsFile | None, reading: Reading, rejects: Path | None) -> Items | None:
    if items is None:
        return None
    layout = ITEM_PRESETS[reading.preset].choose(
        item_column=items.id_column, delimiter=items.delimiter, encoding=items.encoding
    )
    return load_items(
        items.path,
        layout,
        items.document_columns,
        types=items.document_types,
        filters=items.filter_columns,
        rejects=None if rejects is None else beside(rejects, "items"),
        max_rejects=reading.max_rejects,
    )


def _documents(
    known: Sequence[str], described: Items | None, say: Callable[[str], None] = click.echo
) -> Iterable[bytes]:
    """The document of each known item, in order; says how many have one."""
    if described is None:
        return map(encode_document, known)
    say(report.items(described, known))
    described.check(known)
    return map(encode_document, known, described.json_objects(known))


def _columns(known: Sequence[str], described: Items | None) -> Packed:
    """What requests may filter by. Raises BadInteractions."""
    return Packed() if described is None else Packed.of(described.columns, known)


def _fitting(
    client: Client,
    found: pipeline.Candidate,
    documents: Iterable[bytes],
    terms: Terms,
    columns: Packed,
) -> Iterable[bytes]:
    """The documents again. Raises CacheUnavailable when the lists will surely not fit."""
    remaining = iter(documents)
    some = list(islice(remaining, _SAMPLED))
    ids = [len(item.encode()) for item in found.items[:_SAMPLED]]
    check_room(
        Deployment(
            users=found.users,
            items=len(found.items),
            k=min(terms.k, len(found.items)),
            id_bytes=mean(ids),
            document_bytes=mean(map(len, some)) + len(columns.data) / len(found.items),
            similar=terms.similar,
            stored=min(terms.stored, len(found.items)),
            factors=found.model.factors if terms.stored else 0,
            history=usual_history(terms.history, found.interactions, found.users),
        ),
        free_bytes(client),
    )
    return chain(some, remaining)


def keep_inputs(
    inputs: Sequence[str],
    items: ItemsFile | None,
    outputs: Sequence[tuple[str, Path | None]],
    rejects: Path | None,
) -> None:
    """Refuse to write over an input, before anything is read."""
    given = [Path(each) for each in inputs]
    if items is not None:
        given.append(items.path)
        if rejects is not None:
            outputs = [*outputs, ("--rejects", beside(rejects, "items"))]
    keep(given, outputs)
