"""The retired cloud service's API: an application of its own, with its paths, texts and errors."""

from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from app.decisions.desk import Desk

VERSIONS = ("v1.0", "v1.1-preview.1", "v1.1-preview.2", "v1.1-preview.3")
PREVIEW = "2022-09-01-preview"


@dataclass(frozen=True, slots=True)
class Wire:
    """What the blueprints answer from."""

    desk: Desk


def wire() -> Wire:
    """That of the application that answers the current request."""
    return cast(Wire, current_app.extensions["larder"])


def version() -> str:
    """The version of the API that was asked for: one of VERSIONS, or PREVIEW."""
    return cast(str, g.version)
