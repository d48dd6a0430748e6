"""The subcommands that make lists: they load data, train and publish."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from app.contracts.recommendations import encode_document
from batch.command import report
from batch.command.bars import for_this_terminal
from batch.command.options import CacheOptions
from batch.errors import BadSettings
from batch.generations.connect import connect
from batch.interactions.files import find
from batch.interactions.items import ITEM_PRESETS, Items, load_items
from batch.interactions.load import load
from batch.interactions.reading import ItemsFile, Reading, beside
from batch.recommendations import pipeline
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.one_machine import OneMachine
from batch.recommendations.terms import Model, Terms
from batch.spark.options import SparkOptions


def refresh(
    interactions: str,
    reading: Reading,
    items: ItemsFile | None,
    terms: Terms,
    model: Model,
    spark: SparkOptions | None,
    cache: CacheOptions,
) -> None:
    """Judge, train and publish."""
    terms = replace(terms, holdout=replace(terms.holdout, seed=model.seed))
    rejects = reading.rejects_file
    _keep_inputs([interactions], items, [("--rejects", rejects)], rejects)
    client = connect(cache.url)
    platform = _platform(model, spark)
    described = _load_items(items, reading, rejects)
    progress = for_this_terminal()
    with platform.candidate(interactions, reading, cache.url, progress) as found:
        click.echo(report.interactions(found.report, found.users, len(found.items)))
        documents = _documents(found.items, described)
        manifest = pipeline.refresh(
            found,
            documents,
            client,
            cache.namespace,
            terms,
            progress,
            lambda quality: click.echo(report.quality(quality)),
        )
    click.echo(
        f"published generation {manifest.generation}: {manifest.users:,} users, "
        f"{manifest.items:,} items, top {manifest.k}, in namespace {cache.namespace.name}; "
        f"documents take {manifest.document_bytes / 1e6:,.1f} MB in each API worker"
    )


def check(interactions: str, reading: Reading, items: ItemsFile | None) -> None:
    """Say what a refresh would find."""
    rejects = None if reading.rejects is None else reading.rejects_file
    _keep_inputs([interactions], items, [("--rejects", rejects)], rejects)
    limit = reading.max_rejects
    found = load(interactions, reading.layout, rejects=rejects, max_rejects=limit)
    click.echo(report.interactions(found.report, len(found.users), len(found.items)))
    click.echo(report.details(found))
    _documents(found.items, _load_items(items, reading, rejects))


def evaluate(
    train: str,
    test: str,
    reading: Reading,
    k: int,
    model: Model,
    spark: SparkOptions | None,
    metrics: Path | None,
) -> None:
    """Train on one input, score on the other."""
    outputs = [("--rejects", reading.rejects_file), ("--json", metrics)]
    outputs.append(("--rejects", beside(reading.rejects_file, "test")))
    _keep_inputs([train, test], None, outputs, None)
    if metrics is not None:
        _write(metrics, "", "a")  # fails now, rather than after an hour of training
    progress = for_this_terminal()
    with _platform(model, spark).trial(train, test, reading, progress) as found:
        for each in found.reports:
            click.echo(report.interactions(each, found.users, len(found.items)))
        quality = found.judge(k, progress)
    click.echo(report.quality(quality))
    if metrics is not None:
        _write(metrics, json.dumps(asdict(quality), indent=2) + "\n", "w")


def _platform(model: Model, spark: SparkOptions | None) -> pipeline.Platform:
    if model.engine == "implicit":
        return OneMachine(_engine(model, spark))
    from batch.spark import java

    java.require()
    from batch.recommendations.cluster.platform import Cluster

    return Cluster(model, spark or SparkOptions())


def _engine(model: Model, spark: SparkOptions | None) -> ImplicitALS:
    """The engine of one machine. Raises BadSettings for an option that only Spark knows."""
    if model.feedback == "explicit":
        raise BadSettings("--feedback explicit needs --engine spark (and its --als mllib)")
    for name, value in (("--als", model.als), ("--whole-mb", model.whole_mb)):
        if value is not None:
            raise BadSettings(f"{name} needs --engine spark")
    if spark is not None:
        raise BadSettings(f"{'--conf' if spark.conf else '--spark-log'} needs --engine spark")
    return ImplicitALS(**model.chosen)


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
        rejects=None if rejects is None else beside(rejects, "items"),
        max_rejects=reading.max_rejects,
    )


def _documents(known: Sequence[str], described: Items | None) -> Iterable[bytes]:
    """The document of each known item, in order; says how many have one."""
    if described is None:
        return map(encode_document, known)
    click.echo(report.items(described, known))
    described.check(known)
    return map(encode_document, known, described.json_objects(known))


def _keep_inputs(
    inputs: list[str],
    items: ItemsFile | None,
    outputs: list[tuple[str, Path | None]],
    rejects: Path | None,
) -> None:
    """Refuse to write over an input, before anything is read."""
    given = [Path(each) for each in inputs]
    if items is not None:
        given.append(items.path)
        if rejects is not None:
            outputs = [*outputs, ("--rejects", beside(rejects, "items"))]
    there = [path for path in given if os.path.exists(path)]
    for name, output in outputs:
        if output is None or not os.path.isfile(output):
            continue
        if any(output.samefile(file) for path in there for file in find(path)):
            raise BadSettings(f"{name} {output} is the input itself: name another file")


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise BadSettings(f"--json {path} cannot be written: {error.strerror}") from error
