"""The live generation as one worker holds it: what every answer is rendered from.

A user's record comes from the cache, one round trip each. All else is here: the item documents,
as the bytes that go on the wire, and the popular list.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json import JSONEncoder
from typing import TYPE_CHECKING, Any

from app.contracts.events import WEIGHTS
from app.contracts.recommendations import Manifest, decode_record, follows
from app.contracts.rules import Version
from app.errors import UnknownItem
from app.recommendations.memory.documents import Finding, Opening
from app.recommendations.memory.near_cache import NearCache, Remembered
from app.recommendations.rules.in_force import Clauses, InForce
from app.recommendations.rules.ranking import Order

if TYPE_CHECKING:  # they import numpy, which need not be there
    from app.recommendations.memory.columns import Columns
    from app.recommendations.model import Model

MAX_REMEMBERED_BYTES = 8192
"""Longer texts are rendered again each time, so that the near cache stays bounded in bytes too."""

RENDERING = 1
"""Goes up when the same generation is rendered differently, so that nobody keeps an old answer."""


_NEEDS_NUMPY = "availability and filters need numpy here: pip install '.[live]' in Larder's folder"

_ENCODER = JSONEncoder(ensure_ascii=False)  # json.dumps makes one for each call


def quoted(text: str) -> bytes:
    """A text as JSON."""
    return _ENCODER.encode(text).encode()


@dataclass(frozen=True, slots=True)
class Generation:
    """An immutable generation: a request that holds one can not see a mixture of two.

    find: see ``Documents``. model, columns: None where they or numpy are missing. deletion: a text
    that changes when a user is taken out of it, which is the one way in which lists change.
    """

    manifest: Manifest
    opening: Opening
    popular: Remembered
    near: NearCache
    find: Finding
    rules: InForce
    model: "Model | None" = None
    columns: "Columns | None" = None
    deletion: str = ""

    def follow(self, version: Version) -> InForce:
        """That version of the rules, as far as it can be followed here."""
        items, lacking = self.manifest.items, self.lacking
        return InForce(version, items, self.find, self.columns, self.model, lacking)

    @property
    def lacking(self) -> str:
        """Why what asks for a column of the manifest cannot be followed here; "" where it can."""
        return _NEEDS_NUMPY if self.manifest.columns and self.columns is None else ""

    def order(self, now: Callable[[], float], asked: Clauses = ()) -> Order | None:
        """What is in force now (seconds since 1970) for who asks for such a filter."""
        return self.rules.at(now(), asked) if asked or self.rules.acts else None

    def document(self, item: int) -> dict[str, Any]:
        """What is known of the item of an index. Raises BrokenRecord."""
        found: dict[str, Any] = json.loads(self.opening(item) + b"}")
        return found

    def id_of(self, item: int) -> str:
        """The id of the item of an index. Raises BrokenRecord."""
        return str(self.document(item)["item"])

    def index_of(self, item: str) -> int:
        """The index of the item of an id. Raises UnknownItem."""
        found = self.find(item)
        if found is None:
            raise UnknownItem(f"the live generation does not hold item {item!r}")
        return found

    @property
    def etag(self) -> str:
        """While it and the version of the rendering stay, so does the answer of a URL."""
        return f"{self.manifest.generation}-{RENDERING}{self.deletion}"

    @property
    def follows(self) -> str:
        """How this worker follows users, which may be less than what the manifest says."""
        factors = self.manifest.factors if self.model else 0
        return follows(factors, self.manifest.similar_buckets)

    @property
    def weights(self) -> Mapping[str, float]:
        """How much an event of each type says; all others weigh 0."""
        return self.manifest.settings.get("event_weights") or WEIGHTS

    def render(self, remembered: Remembered, n: int) -> bytes:
        """The first n entries of a record as a JSON array of documents with their scores.

        Raises BrokenRecord when an entry names an item that the generation does not have.
        """
        length, rendered = remembered.rendered
        if length != n:
            own = remembered.own
            entries = (decode_record(remembered.record) if own is None else own)[:n]
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
