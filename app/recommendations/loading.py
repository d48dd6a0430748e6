"""A generation on its way from the cache: once a machine, and never in a request."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import redis

from app.cache.connect import Client
from app.contracts.filtering.columns import column_part, column_parts
from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import (
    MODEL,
    Manifest,
    Namespace,
    chunk_part,
    factor_chunks,
    factors_part,
)
from app.contracts.rules import NONE
from app.recommendations.generation import Generation
from app.recommendations.memory.documents import Documents, write
from app.recommendations.memory.factors import Factors, can_lay_out, laid_out
from app.recommendations.memory.near_cache import NearCache, Remembered
from app.recommendations.memory.shelf import Shelf
from app.recommendations.rules.in_force import InForce
from app.settings import Settings

if TYPE_CHECKING:
    from app.recommendations.memory.columns import Columns
    from app.recommendations.model import Model

TIMEOUT_MS = 20_000
"""In place of ``cache_timeout_ms`` for a load, which no request waits for: see ``connect``."""

_STRINGS_AT_A_TIME = 16

log = logging.getLogger("larder.cache")


class Loader:
    """Loads the generations of one namespace.

    open: gives a client with a time-out in ms. meanwhile: is called often during a load.
    """

    def __init__(
        self, settings: Settings, open: Callable[[int], Client], meanwhile: Callable[[], None]
    ) -> None:
        self._namespace = Namespace(settings.namespace)
        self._near_cache_users = settings.near_cache_users
        self._open, self._meanwhile = open, meanwhile
        self.shelf = Shelf(settings.documents_folder, settings.cache_url, settings.namespace)

    def load(self, client: Client, name: str) -> Generation:
        """The generation of that name, from the file of this machine if another worker made it.

        Raises BrokenRecord, BeingMade and the errors of the client.
        """
        manifest, popular = self._head(client, name)
        with_factors = manifest.factors > 0 and can_lay_out()

        def fill(file: BinaryIO) -> None:
            with closing(self._open(TIMEOUT_MS)) as patient:
                chunks = self._strings(patient, manifest, map(chunk_part, range(manifest.chunks)))
                columns = map(column_part, range(column_parts(manifest.column_bytes)))
                factors = self._factors(patient, manifest) if with_factors else ()
                parts = self._strings(patient, manifest, columns)
                write(file, manifest, popular, chunks, parts, factors)

        try:
            kind = str(with_factors)
            return self._generation(self.shelf.documents(manifest, fill, kind))
        except OSError as error:
            log.warning("no file of documents (%s): this worker has them in its memory", error)
        memory = BytesIO()
        fill(memory)
        return self._generation(Documents.of(memory.getvalue()))

    def left(self) -> Generation | None:
        """What was served last from the file of this machine, for when the cache is away."""
        documents = self.shelf.latest()
        return self._generation(documents) if documents else None

    def _generation(self, documents: Documents) -> Generation:
        manifest, find = documents.manifest, documents.find
        model, columns = _model(documents.factors), _columns(documents)
        return Generation(
            manifest=manifest,
            opening=documents.opening,
            find=find,
            rules=InForce(NONE, manifest.items, find, columns, model),
            model=model,
            columns=columns,
            popular=Remembered(documents.popular),
            near=NearCache(self._near_cache_users),
        )

    def _head(self, client: Client, name: str) -> tuple[Manifest, bytes]:
        pipeline = client.pipeline(transaction=False)
        pipeline.hget(self._namespace.generations, name)
        pipeline.get(self._namespace.popular(name))
        text, popular = pipeline.execute()
        if text is None or popular is None:
            raise BrokenRecord(f"generation {name} is live but has no manifest or popular list")
        manifest = Manifest.from_json(text)
        if manifest.generation != name:
            raise BrokenRecord(f"generation {name} has the manifest of {manifest.generation}")
        return manifest, popular

    def _factors(self, client: Client, manifest: Manifest) -> Iterator[bytes]:
        (model,) = self._strings(client, manifest, [MODEL])
        names = map(factors_part, range(factor_chunks(manifest.items, manifest.factors)))
        return laid_out(manifest, model, self._strings(client, manifest, names))

    def _strings(self, client: Client, manifest: Manifest, names: Iterable[str]) -> Iterator[bytes]:
        remaining = iter(names)
        while some := list(islice(remaining, _STRINGS_AT_A_TIME)):
            self._meanwhile()
            pipeline = client.pipeline(transaction=False)
            for name in some:
                pipeline.get(self._namespace.part(manifest.generation, name))
            try:
                found = pipeline.execute()
            except OSError as error:  # it is no error of the file
                raise redis.ConnectionError(str(error)) from error
            if None in found:
                raise BrokenRecord(f"generation {manifest.generation} has lost its documents")
            yield from found


def _model(factors: Factors | None) -> "Model | None":
    if factors is None:
        return None
    _before_numpy()
    from app.recommendations import model

    return model.Model(factors)


def _columns(documents: Documents) -> "Columns | None":
    """What requests may filter by. Raises BrokenRecord."""
    manifest = documents.manifest
    if not manifest.columns or not can_lay_out():
        return None
    _before_numpy()
    from app.recommendations.memory import columns

    return columns.Columns(manifest.filter_columns, manifest.items, documents.columns)


def _before_numpy() -> None:
    """It is loaded only where it is used, and requests have threads of their own."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
