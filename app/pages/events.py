"""What comes in: how much, how far this worker has read, and the last ones."""

from flask import Response

from app.errors import EventsOff
from app.pages.shell import bp, events_now, page


@bp.get("/events")
def events() -> Response:
    """How many events come, and the last ones, without the ids of users."""
    found = events_now()
    if found is None:
        raise EventsOff("this deployment takes no events: set LARDER_EVENTS=true to allow it")
    return page("events.html", found)
