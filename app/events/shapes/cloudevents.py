"""CloudEvents 1.0 as JSON, alone or in a batch: the envelope of whatever ``data`` tells.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import re
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from app.contracts.events import TYPES
from app.events.shapes import Native, NoEvent, Told, kind, member

SHORT = {f"{word}s": word for word in TYPES} | {"clicked": "click", "purchased": "purchase"}
"""The last word of a type such as com.example.shop.item.clicked, where it is not one of ours."""


def events(told: Told) -> Iterator[Native]:
    """``data`` holds the members of our own event; ``subject`` is the user if it names nobody.

    Source and id together tell events apart, so they become the id. Raises NoEvent.
    """
    data = member(told, "data")
    yield {
        "user": None if "session" in data else told.get("subject"),
        "type": _type(told.get("type")),
        "time": told.get("time"),
        **data,
        "id": uuid5(NAMESPACE_URL, f"{_text(told, 'source')} {_text(told, 'id')}").hex,
    }


def _text(told: Told, name: str) -> str:
    found = told.get(name)
    if isinstance(found, str) and found and not re.search("[\ud800-\udfff]", found):
        return found
    raise NoEvent(f"a CloudEvent's {name} must be text that is not empty")


def _type(name: object) -> object:
    """The last word where it means something, else all of it."""
    last = kind(name.rpartition(".")[2], SHORT) if isinstance(name, str) else name
    return last if last in TYPES else kind(name, {})
