"""The HTTP face of decisions, an application of its own: other errors, other paths.

It speaks the API of the cloud service that was switched off, below ``/personalizer``, so that
programs written for that go on. What is of Larder's own API is beside it, in ``app.api``.

application   puts the blueprints together, each below ``/personalizer/<version>`` and without one
envelope      every error as {"error": {"code", "message"}}
calls         rank, reward, activate, and the same of several slots
direct        the plain ones of these before Flask
configuration, policy, model, logs, evaluations, importances   what operators call
asked, members   what these read of a request, checked
container     what only an API that has nothing else answers: probes, and the documents
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from app.decisions.decider import Decider
from app.decisions.desk import Desk

VERSIONS = ("v1.0", "v1.1-preview.1", "v1.1-preview.2", "v1.1-preview.3")
PREVIEW = "2022-09-01-preview"
"""The version that comes as ``?api-version=``; the others stand in the path."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What the blueprints answer from."""

    decider: Decider
    desk: Desk
    all_have_loaded: Callable[[], bool]
    """Whether every worker of this server can decide."""


def wire() -> Wire:
    """That of the application that answers the current request."""
    return cast(Wire, current_app.extensions["larder"])


def version() -> str:
    """The version of the API that was asked for: one of VERSIONS, or PREVIEW."""
    return cast(str, g.version)
