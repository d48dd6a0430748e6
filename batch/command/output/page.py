"""``--report``: what a refresh found, as a page."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import click

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, Namespace
from batch.command.output import report
from batch.command.output.writable import expect_writable
from batch.errors import LarderError, NotGoodEnough
from batch.generations.connect import Client
from batch.generations.registry import Generations
from batch.recommendations.pipeline import Quality
from batch.recommendations.report.page import Found, write
from batch.recommendations.report.sample import Sample, read

log = logging.getLogger("larder.report")


@dataclass(slots=True)
class Page:
    """Collects what there is to tell, and writes it at the end: a run is not worse without it."""

    path: Path | None
    before: list[Manifest] = field(default_factory=list)
    quality: Quality | None = None
    written: Path | None = None

    @classmethod
    def at(cls, path: Path | None) -> Self:
        """The one that is wanted there; None for none.

        Raises BadSettings before hours of work where it can surely not be written.
        """
        expect_writable(path)
        return cls(path)

    def judged(self, quality: Quality) -> None:
        """Tell how good the model is, on the terminal as well."""
        click.echo(report.quality(quality))
        self.quality = quality

    @contextmanager
    def follow(self, generations: Generations[Manifest]) -> Iterator[None]:
        """Tell of the generations before a run, and why nothing was published if that is so."""
        if self.path is not None:
            self.before = generations.published()
        try:
            yield
        except NotGoodEnough as error:
            verdict = f"Nothing was published: {error}."
            self._write(Found(verdict, self.quality, None, Sample(), self.before))
            raise

    def published(self, client: Client, namespace: Namespace, manifest: Manifest) -> None:
        """Tell of the generation that is live now."""
        if self.path is None:
            return
        forced = ", although the gate was against it (--force)" if manifest.forced else ""
        verdict = f"Published {manifest.published_at}{forced}."
        try:
            sample = read(client, namespace, manifest)
        except (LarderError, BrokenRecord) as error:
            log.warning("the report has no examples: %s", error)
            sample = Sample()
        self._write(Found(verdict, self.quality, manifest, sample, self.before))

    def _write(self, found: Found) -> None:
        if self.path is None:
            return
        try:
            write(self.path, found)
            self.written = self.path
        except OSError as error:
            log.warning("the report was not written to %s: %s", self.path, error.strerror)
