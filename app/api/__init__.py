"""One module per noun, each with one blueprint ``bp``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

from app.clicks.ranker import Ranker
from app.events.stream import Stream
from app.recommendations.answer import Answers, LiveAnswers
from app.recommendations.live.tail import Tail
from app.recommendations.lookup import Lookup
from app.recommendations.watcher import Watcher

if TYPE_CHECKING:
    from app.decisions.decider import Decider

FAILED = "larder.failed"
"""Where ``Direct`` leaves what went wrong for the route to raise: to try again may write twice."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the blueprints answer from."""

    watcher: Watcher
    lookup: Lookup
    answers: Answers | LiveAnswers
    all_have_loaded: Callable[[], bool]
    """Whether every worker of this server has a generation."""
    tail: Tail | None = None
    """Who follows the events, and knows their server; None where there are none."""
    stream: Stream | None = None
    """Where events are written; None where this deployment takes none."""
    ranker: Ranker | None = None
    """Who scores by the click model; None where this deployment has none."""
    decider: "Decider | None" = None
    """Who chooses among actions; None where this deployment decides nothing."""
    workers: Callable[[], int] = lambda: 1
    """How many processes of this server live."""


def sources() -> Sources:
    """Those of the application that answers the current request."""
    return cast(Sources, current_app.extensions["larder"])
