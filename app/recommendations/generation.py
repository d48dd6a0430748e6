"""The live generation as one worker holds it: what every answer is rendered from.

A user's record comes from the cache, one round trip each. All else is here: the item documents,
as the bytes that go on the wire, and the popular list.
"""

from dataclasses import dataclass
from json import JSONEncoder

from app.contracts.recommendations import Manifest, decode_record
from app.recommendations.documents import Finding, Opening
from app.recommendations.factors import Factors
from app.recommendations.near_cache import NearCache, Remembered

MAX_REMEMBERED_BYTES = 8192
"""Longer texts are rendered again each time, so that the near cache stays bounded in bytes too."""

RENDERING = 1
"""Goes up when the same generation is rendered differently, so that nobody keeps an old answer."""


_ENCODER = JSONEncoder(ensure_ascii=False)  # json.dumps makes one for each call


def quoted(text: str) -> bytes:
    """A text as JSON."""
    return _ENCODER.encode(text).encode()


@dataclass(frozen=True, slots=True)
class Generation:
    """An immutable generation: a request that holds one can not see a mixture of two.

    find, factors: see ``Documents``.
    """

    manifest: Manifest
    opening: Opening
    popular: Remembered
    near: NearCache
    find: Finding | None = None
    factors: Factors | None = None

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
            rendered = (
                b"["
                + b",".join(
                    [b'%s,"score":%.4g}' % (self.opening(item), score) for item, score in entries]
                )
                + b"]"
            )
            if len(rendered) <= MAX_REMEMBERED_BYTES:
                remembered.rendered = (n, rendered)
        return rendered
