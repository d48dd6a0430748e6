"""One module per noun, each with one blueprint ``bp``."""

from typing import cast

from flask import current_app

from app.recommendations.cache import Cache


def cache() -> Cache:
    """The cache of the application that answers the current request."""
    return cast(Cache, current_app.extensions["larder"])
