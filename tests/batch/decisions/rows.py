"""Decisions with what came of them, made by hand."""

import json
from typing import Any

from app.contracts.decisions import Slot
from batch.decisions.terms import Joined

START = 1_763_683_200_000
"""2025-11-21T00:00:00Z, in ms."""
FOODS = ("pasta", "ice", "soup")


def context(user: str = "anna", *, slots: str = "") -> bytes:
    """Three foods, as Vowpal Wabbit reads them."""
    actions = [
        {"_tag": food, "i": {"constant": 1, "id": food}, "j": [{"size": number, "né": "ü"}]}
        for number, food in enumerate(FOODS)
    ]
    whole = {"FromUrl": [{"user": user}], "_multi": actions}
    told = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    return f"{told[:-1]}{slots}}}".encode()


def joined(number: int, *, at: int = START, **more: Any) -> Joined:
    """The decision of that number, one a second; a third of them is worth something."""
    time = at + 1000 * number
    chosen = number % 3 + 1
    slot = Slot("", (chosen, *({1, 2, 3} - {chosen})), (0.8, 0.1, 0.1))
    made = Joined(
        f"{time}-0",
        f'e"{number}ü',
        time,
        context("anna" if number % 2 else "tom"),
        (slot,),
        (float(chosen == 1),),
        (("", float(chosen == 1)),) if number % 2 else (),
        generation="g1",
    )
    return made._replace(**more)


def several(number: int, *, at: int = START, **more: Any) -> Joined:
    """The same of two places."""
    slots = b',"_slots":[{"_id":"top","_inc":[0,1],"w":"L"},{"_id":"side","w":"S"}]'
    both = (Slot("top", (2, 1), (0.9, 0.1), 1), Slot("side", (1, 3), (0.6, 0.4), 3))
    found = joined(number, at=at)
    return found._replace(
        context=context(slots=slots.decode()),
        slots=both,
        rewards=(1.0, -0.5),
        observed=(("top", 1.0), ("side", -0.25), ("side", -0.25)),
    )._replace(**more)
