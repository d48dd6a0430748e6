"""One module per noun, each with one blueprint ``bp``."""

from json import JSONEncoder
from typing import cast

from flask import current_app

from app.cache import Cache

_ENCODER = JSONEncoder(ensure_ascii=False)  # json.dumps makes one for each call


def quoted(text: str) -> bytes:
    """A text as JSON."""
    return _ENCODER.encode(text).encode()


def cache() -> Cache:
    """The cache of the application that answers the current request."""
    return cast(Cache, current_app.extensions["larder"])
