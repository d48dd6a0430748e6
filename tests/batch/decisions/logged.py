"""Decisions as the API logs them, made by hand."""

import json
from collections.abc import Iterable
from random import Random
from typing import Any

from app.contracts.decisions import Activated, Decisions, Logged, Ranked, Rewarded, Slot
from app.contracts.events import Entry

START = 1_700_000_000_000
"""When the logs of tests begin, in ms."""


def context(actions: int, *slots: str, **shared: object) -> bytes:
    """A context of so many actions, for these slots, or for the only one."""
    multi = [
        {"_tag": f"a{n}", "i": {"constant": 1, "id": f"a{n}"}, "j": [{"kind": f"k{n}"}]}
        for n in range(1, actions + 1)
    ]
    told: dict[str, Any] = {"FromUrl": [shared or {"user": "ann"}], "_multi": multi}
    if slots:
        told["_slots"] = [{"_id": slot, "size": {"of": slot}} for slot in slots]
    return json.dumps(told, separators=(",", ":")).encode()


def ranked(name: str, actions: tuple[int, ...] = (1, 2, 3), **more: Any) -> Ranked:
    """A decision for one slot; the first action was likely."""
    rest = len(actions) - 1
    shares = (1 - 0.1 * rest, *[0.1] * rest)
    given = {"context": context(len(actions)), "slots": (Slot("", actions, shares),), **more}
    return Ranked(name, **given)


def entry(number: int, said: Logged, ms: int = 0) -> Entry:
    """An entry of the log, so many ms after START; the number tells those of one moment apart."""
    fields = {
        name.encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in said.encode().items()
    }
    return f"{START + ms}-{number}".encode(), fields


def entries(*said: tuple[int, Logged]) -> list[Entry]:
    """Entries of the log: each with its moment, in ms after START."""
    return [entry(number, each, ms) for number, (ms, each) in enumerate(said)]


def write(client: Any, space: Decisions, found: Iterable[Entry]) -> None:
    """Put them into the log."""
    pipeline = client.pipeline(transaction=False)
    for name, fields in found:
        pipeline.xadd(space.log, dict(fields), id=name)
    pipeline.execute()


def taste(events: int, seed: int = 1, step_ms: int = 100) -> list[Entry]:
    """Decisions of three actions, of which each user likes one, with rewards half a second on.

    Some ids come twice, some are deferred, some rewards come early, late or never.
    """
    chance, said = Random(seed), list[tuple[int, Logged]]()
    for number in range(events):
        user, actions = chance.choice("abc"), [1, 2, 3]
        chance.shuffle(actions)
        again = chance.randrange(1, 30) if chance.random() < 0.2 else 0
        ms, name = number * step_ms, f"e{max(0, number - again)}"
        deferred = chance.random() < 0.1
        text, slots = context(3, user=user), (Slot("", tuple(actions), (0.8, 0.1, 0.1)),)
        said.append((ms, Ranked(name, text, slots, deferred=deferred)))
        value = float(actions[0] == " abc".index(user))
        if chance.random() < 0.8:
            after = chance.choice([-900, -300, 500, 900, 1900, 2100, 30_000])
            said.append((max(0, ms + after), Rewarded(name, value)))
        if deferred and chance.random() < 0.5:
            said.append((ms + 400, Activated(name)))
    return entries(*sorted(said, key=lambda each: each[0]))
