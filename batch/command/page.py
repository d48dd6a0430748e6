"""``--report``: what a refresh found, as a page."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, Namespace
from batch.errors import BadSettings, LarderError
from batch.generations.connect import Client
from batch.recommendations.pipeline import Quality
from batch.recommendations.report.page import Found, write
from batch.recommendations.report.sample import Sample, read

log = logging.getLogger("larder.report")


def check(path: Path) -> None:
    """Raise BadSettings before hours of work where the page can surely not be written."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadSettings(f"--report {path}: expected a file in a folder that can be written")


@dataclass(slots=True)
class Page:
    """Collects what there is to tell, and writes it at the end: a run is not worse without it."""

    path: Path
    client: Client
    namespace: Namespace
    before: list[Manifest] = field(default_factory=list)
    quality: Quality | None = None

    def refused(self, error: Exception) -> None:
        """Tell why nothing was published."""
        self._write(
            Found(f"Nothing was published: {error}.", self.quality, None, Sample(), self.before)
        )

    def published(self, manifest: Manifest) -> None:
        """Tell of the generation that is live now."""
        forced = ", although the gate was against it (--force)" if manifest.forced else ""
        verdict = f"Published {manifest.published_at}{forced}."
        try:
            sample = read(self.client, self.namespace, manifest)
        except (LarderError, BrokenRecord) as error:
            log.warning("the report has no examples: %s", error)
            sample = Sample()
        self._write(Found(verdict, self.quality, manifest, sample, self.before))

    def _write(self, found: Found) -> None:
        try:
            write(self.path, found)
        except OSError as error:
            log.warning("the report was not written to %s: %s", self.path, error.strerror)
