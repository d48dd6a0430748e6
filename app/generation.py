"""The live generation as one worker holds it: what every answer is rendered from.

A user's record comes from the cache, one round trip each. All else is here: the item documents,
as the bytes that go on the wire (packed chunks, about the size of the catalogue's JSON), and the
popular list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.contracts.recommendations import (
    CHUNK_SIZE,
    BrokenRecord,
    Manifest,
    decode_record,
    document,
)
from app.near_cache import NearCache, Remembered

MAX_REMEMBERED_BYTES = 8192
"""Longer texts are rendered again each time, so that the near cache stays bounded in bytes too."""

RENDERING = 1
"""Goes up when the same generation is rendered differently, so that nobody keeps an old answer."""


@dataclass(frozen=True, slots=True)
class Generation:
    """An immutable generation: a request that holds one can not see a mixture of two."""

    manifest: Manifest
    chunks: Sequence[bytes]
    popular: Remembered
    near: NearCache

    @property
    def etag(self) -> str:
        """Within a generation and a version of the rendering, the answer of a URL never changes."""
        return f"{self.manifest.generation}-{RENDERING}"

    def render(self, remembered: Remembered, n: int) -> bytes:
        """The first n entries of a record as a JSON array of documents with their scores.

        Raises BrokenRecord when an entry names an item that the generation does not have.
        """
        length, rendered = remembered.rendered
        if length != n:
            entries = decode_record(remembered.record)[:n]
            rendered = b"[" + b",".join(self._entry(*entry) for entry in entries) + b"]"
            if len(rendered) <= MAX_REMEMBERED_BYTES:
                remembered.rendered = (n, rendered)
        return rendered

    def _entry(self, item: int, score: float) -> bytes:
        chunk, position = divmod(item, CHUNK_SIZE)
        if chunk >= len(self.chunks):
            raise BrokenRecord(f"a record names item {item} of {self.manifest.items}")
        body = document(self.chunks[chunk], position)
        return b'%s,"score":%.4g}' % (body[:-1], score)
