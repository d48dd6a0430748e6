"""What is known of users and items without a caller's word: from the cache, and from the lists."""

import json
import logging
from collections.abc import Callable
from typing import Protocol

from app.cache.buckets import fetch
from app.cache.link import Link
from app.clicks.rows import Encoded, Encoder, Features
from app.contracts.clicks import Clicks, Manifest
from app.errors import CacheUnavailable

MAX_REMEMBERED_ITEMS = 10_000

NOTHING: Features = {}

log = logging.getLogger("larder.clicks")


class Catalogue(Protocol):
    """Items with documents, as a generation of lists has them."""

    @property
    def find(self) -> Callable[[str], int | None]:
        """Gives the index of the item of an id."""

    @property
    def opening(self) -> Callable[[int], bytes]:
        """Gives the document of an item, without its closing brace."""


class KnownItems:
    """What the items of one catalogue are to one model; it goes with either of them."""

    def __init__(self, encoder: Encoder, catalogue: Catalogue) -> None:
        self._encoder, self._find, self._opening = encoder, catalogue.find, catalogue.opening
        self._remembered: dict[str, Encoded] = {}

    def is_of(self, encoder: Encoder, catalogue: Catalogue) -> bool:
        """Whether it is that of both."""
        return self._encoder is encoder and self._opening is catalogue.opening

    def encoded(self, item: str) -> Encoded | None:
        """The columns of its document that the model has; None for an item that is not there."""
        found = self._remembered.get(item)
        if found is None and (place := self._find(item)) is not None:
            found = self._encoder.encoded(json.loads(self._opening(place) + b"}"))
            if len(self._remembered) >= MAX_REMEMBERED_ITEMS:
                self._remembered.clear()
            self._remembered[item] = found
        return found


def columns_of(link: Link, space: Clicks, manifest: Manifest, user: str) -> tuple[Features, bool]:
    """The columns that were published of a user, and whether nobody can tell which they are."""
    if not manifest.user_buckets:
        return NOTHING, False
    bucket, name = manifest.user_place(space, user)
    try:
        with link.asking() as client:
            values = fetch(client, {bucket: [name]})[bucket]
        if values is None:
            return NOTHING, True
        found = json.loads(values[0] or b"{}")
    except CacheUnavailable:
        return NOTHING, True
    except (ValueError, RecursionError) as error:
        log.error("broken record of the columns of user %r: %s", user, error)
        return NOTHING, True
    return (found, False) if isinstance(found, dict) else (NOTHING, True)
