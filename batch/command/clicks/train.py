"""``larder clicks train``: read examples, judge a model, publish it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from app.contracts.clicks import Clicks, Manifest
from batch.clicks import pipeline
from batch.clicks.examples import users
from batch.clicks.examples.layout import Reading
from batch.clicks.examples.read import read
from batch.clicks.judge import Quality
from batch.clicks.one_machine import LocalExamples
from batch.clicks.report.page import Found, render
from batch.clicks.rows import Examples
from batch.clicks.terms import Cluster, ColumnsFile, Fit, Terms
from batch.clicks.tune import tune
from batch.command.clicks import check, report
from batch.command.options import CacheOptions
from batch.command.output.bars import for_this_terminal
from batch.command.output.writable import expect_writable
from batch.command.tracking import Run
from batch.errors import BadSettings, NotGoodEnough
from batch.generations.connect import connect
from batch.generations.publish import turn
from batch.generations.server import Replicas
from batch.interactions.reading import beside
from batch.interactions.sources.files import keep, write_whole
from batch.spark import java

log = logging.getLogger("larder.report")


def train(
    inputs: Sequence[str],
    reading: Reading,
    fit: Fit,
    terms: Terms,
    tries: int,
    users_file: ColumnsFile | None,
    cluster: Cluster | None,
    cache: CacheOptions,
    page_path: Path | None,
    *,
    run: Run,
) -> str:
    """Judge, train and publish; run is told of it. Returns the name of the generation.

    tries: how many settings to try beside those of fit, 0 for none; cluster: None for this machine.
    """
    if cluster and tries:
        raise BadSettings("--tune is for one machine: try settings there on a part of the rows")
    terms = replace(terms, fit=fit, split=replace(terms.split, seed=fit.seed))
    paths, rejects = tuple(map(Path, () if cluster else inputs)), reading.texts.rejects_file
    given = [*paths, users_file.path] if users_file else paths
    keep(given, [("--rejects", rejects), ("--report", page_path)])
    expect_writable(page_path)
    client, space = connect(cache.url), Clicks(cache.namespace.name)
    progress, page = for_this_terminal(), Page(page_path, run, fit)
    with ExitStack() as stack:
        replicas = Replicas(terms.wait_replicas)
        ours = stack.enter_context(turn(client, space, terms.keep, replicas))
        if live := ours.generations.live_manifest():
            reading = replace(reading, live=live.typed_columns)
        opened = _lent(inputs, reading, cluster) if cluster else read(paths, reading, rejects)
        examples = stack.enter_context(opened)
        page.read = check.told(examples)
        click.echo(page.read)
        known = _users(users_file, examples, reading, rejects)
        if tries and isinstance(examples, LocalExamples):
            tuned = tune(examples, fit, terms.split, tries, progress)
            click.echo(report.trials(tuned))
            terms, page.fit = replace(terms, fit=tuned.fit), tuned.fit
        page.before = ours.generations.published()
        with page.follow():
            manifest = pipeline.train(
                client, space, ours, examples, terms, progress, page.judged, known
            )
    page.published(manifest)
    click.echo(report.published(manifest, space.name))
    return manifest.generation


def _lent(
    inputs: Sequence[str], reading: Reading, cluster: Cluster
) -> AbstractContextManager[Examples]:
    java.require()
    from batch.clicks.cluster import platform

    return platform.examples(inputs, reading, cluster)


def _users(
    file: ColumnsFile | None, examples: Examples, reading: Reading, rejects: Path
) -> Mapping[bytes, bytes]:
    if file is None:
        return {}
    most = reading.texts.max_rejects
    found = users.load(file, examples.columns, beside(rejects, "users"), most)
    click.echo(f"columns of {len(found):,} users are stored")
    return found


@dataclass(slots=True)
class Page:
    """Collects what there is to tell, for the report and for MLflow, and writes it at the end."""

    path: Path | None
    run: Run
    fit: Fit
    before: Sequence[Manifest] = ()
    quality: Quality | None = None
    read: str = ""

    def judged(self, quality: Quality) -> None:
        """Tell how good the model is, on the terminal as well."""
        click.echo(report.quality(quality))
        self.quality = quality
        told = quality.entry()
        self.run.figures |= {name: told[name] for name in ("model", "live")}
        self.run.settings |= asdict(self.fit)

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Tell why nothing was published, if that is so."""
        try:
            yield
        except NotGoodEnough as error:
            self._write(f"Not good enough: {error}.", None)
            raise

    def published(self, manifest: Manifest) -> None:
        """Tell of the model that is live now."""
        self.run.settings |= manifest.settings
        self.run.tags |= {
            "generation": manifest.generation,
            "code_version": manifest.code_version,
            "forced": str(manifest.forced).lower(),
        }
        self.run.texts["manifest.json"] = manifest.to_json()
        gate = "although the gate was against it (--force)" if manifest.forced else "past the gate"
        verdict = f"Published {manifest.published_at}, {gate}."
        self._write(verdict, manifest)

    def _write(self, verdict: str, manifest: Manifest | None) -> None:
        if self.path is None:
            return
        settings = manifest.settings if manifest else asdict(self.fit)
        found = Found(verdict, self.quality, manifest, self.before, settings, self.read)
        try:
            write_whole(self.path, render(found))
            self.run.files.append(self.path)
        except OSError as error:
            log.warning("the report was not written to %s: %s", self.path, error.strerror)
