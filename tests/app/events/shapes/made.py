"""What becomes of a body, for the tests of every tracker's shape."""

from app.contracts.events import Event
from app.events.intake import Intake, take_in

NOW = 1_795_000_000_000


def intake(body: object) -> Intake:
    return take_in(body, NOW)


def events(body: object) -> list[Event]:
    """The events of a body of which everything is taken."""
    found = intake(body)
    assert not found.rejected and not found.ignored
    return list(found.events)
