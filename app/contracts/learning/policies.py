"""Which arguments of Vowpal Wabbit a policy may have: those that choose and learn.

An allow list, for its others read and write files, open ports, or change what is read. What it
takes starts (release 9.11), stays below some hundred MB, and multiplies three features at most.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from math import factorial, prod
from typing import Any

from app.contracts.decisions import MAX_ARGUMENTS, Policy

ORIGINAL = Policy(
    "original", "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
)
"""What the cloud service began with; it learns slowly (``--power_t 0 -l 0.001``)."""
DEFAULT = Policy(
    "default",
    "--cb_explore_adf --epsilon 0.2 --cb_type mtr --coin -q :i -q :j --interactions FFi",
)
"""What Larder begins with: every feature with those of the action and with its id, pairs of the
context's with its id. ``--coin`` needs no rate. In ``make bench-decisions`` it learns about as well
as those of all threes, at less than half of their cost."""


class BadPolicy(ValueError):
    """A sentence that says why arguments cannot be taken."""


_SHORT = {"-b": "--bit_precision", "-l": "--learning_rate", "-q": "--quadratic"}
_FOR_ONE, _FOR_SLOTS = "--cb_explore_adf", "--ccb_explore_adf"
_FLAGS = {
    *(_FOR_ONE, _FOR_SLOTS, "--ccb_no_slot_index"),
    *("--squarecb", "--elim", "--softmax", "--regcb"),
    *("--first_only", "--greedify", "--nounif"),
    *("--sgd", "--adaptive", "--invariant", "--normalized", "--coin", "--ftrl", "--pistol"),
    "--noconstant",
}
_NUMBERS = {
    **{"--epsilon": (0, 1), "--clip_p": (0, 1), "--psi": (0, 1e3), "--lambda": (0, 1e6)},
    **{"--gamma_scale": (0, 1e9), "--gamma_exponent": (0, 10), "--mellowness": (0, 1e3)},
    **{"--cb_min_cost": (-1e6, 1e6), "--cb_max_cost": (-1e6, 1e6)},
    **{"--rnd_alpha": (0, 1e3), "--rnd_invlambda": (0, 1e3)},
    **{"--learning_rate": (0, 1e3), "--power_t": (0, 10), "--decay_learning_rate": (0, 1)},
    **{"--initial_t": (0, 1e9), "--l1": (0, 1), "--l2": (0, 1)},
    **{"--ftrl_alpha": (0, 1e6), "--ftrl_beta": (0, 1e6)},
}
_COUNTS = {
    **{"--bag": (1, 20), "--cover": (1, 20), "--rnd": (1, 20), "--first": (0, 10**9)},
    **{"--bit_precision": (10, 24), "--random_seed": (0, 2**31 - 1)},
}
_CHOICES = {"--cb_type": ("mtr", "ips", "dr", "dm"), "--hash": ("all", "strings")}
_DEGREES = {"--quadratic": (2, 2), "--cubic": (3, 3), "--interactions": (2, 3)}
_NAMESPACES = _DEGREES | {"--ignore": (1, 1), "--ignore_linear": (1, 1), "--keep": (1, 1)}
"""How many first letters of namespaces each takes; these may come again."""
_EXPLORERS = ("--squarecb", "--softmax", "--regcb", "--bag", "--cover", "--rnd", "--first")
_TYPES_OF = {"--squarecb": ("mtr",), "--regcb": ("mtr",), "--cover": ("mtr", "ips", "dr")}
_LEARNERS = ("--coin", "--ftrl", "--pistol")

MAX_PRODUCTS = 200_000_000
"""What a model may read for one decision: some nanoseconds each."""
_MAX_INTERACTIONS = 32
_SEVERAL = ("--bag", "--cover", "--rnd")
_SLOWER = 10
"""What exploring by several models costs more than once for each."""


def check(arguments: str) -> None:
    """Raise BadPolicy unless these are arguments of a policy."""
    if len(arguments) > MAX_ARGUMENTS:
        raise BadPolicy(f"The arguments must not be longer than {MAX_ARGUMENTS} characters.")
    told = list(_told(arguments))
    names = [name for name, _ in told]
    if not {_FOR_ONE, _FOR_SLOTS} & set(names):
        raise BadPolicy(f"The learning policy must contain {_FOR_ONE} or {_FOR_SLOTS}.")
    for name, value in told:
        _check(name, value)
    for name in set(names) - _NAMESPACES.keys():
        if names.count(name) > 1:
            raise BadPolicy(f"The learning policy has {name} more than once.")
    if sum(name in _DEGREES for name in names) > _MAX_INTERACTIONS:
        raise BadPolicy(f"The learning policy has more than {_MAX_INTERACTIONS} interactions.")
    for group in (_EXPLORERS, _LEARNERS):
        if len(both := [name for name in group if name in names]) > 1:
            raise BadPolicy(f"The learning policy cannot have {both[0]} and {both[1]}.")
    type = dict(told).get("--cb_type", "mtr")
    for name in names:
        if type not in _TYPES_OF.get(name, [type]):
            raise BadPolicy(f"The learning policy cannot have {name} and --cb_type {type}.")


def exploration(arguments: str) -> str:
    """The share of decisions that they explore, as they say it; "" where they say none."""
    words = arguments.split()
    return words[words.index("--epsilon") + 1] if "--epsilon" in words else ""


def with_exploration(arguments: str, share: float) -> str:
    """The arguments with that epsilon in place of theirs, if they have one."""
    words = arguments.split()
    if "--epsilon" in words:
        words[words.index("--epsilon") + 1] = f"{share:g}"
    return " ".join(words)


def is_for_slots(arguments: str) -> bool:
    """Whether a policy decides several slots at once."""
    return _FOR_SLOTS in arguments.split()


def is_bounded(arguments: str, context: bytes) -> bool:
    """Whether a decision of this context keeps a model of these arguments busy for no second."""
    shared, *actions = context.split(b'"_tag":')
    widest = shared.count(b",") + max([each.count(b",") for each in actions], default=0) + 4
    letters, models = _multiplied(arguments)
    degree = max(map(len, letters), default=1)
    times = models * (len(letters) + 1) * (context.count(b'{"_id":') or 1)
    at_most = widest**degree * (len(actions) or 1) * times
    return at_most <= MAX_PRODUCTS or products(arguments, json.loads(context)) <= MAX_PRODUCTS


def products(arguments: str, context: Mapping[str, Any]) -> int:
    """How often a decision reads a weight: for each feature, and each product of some of them."""
    interactions, models = _multiplied(arguments)
    shared: Counter[str] = Counter()
    _count(context, " ", shared)
    found = 1
    for action in context["_multi"]:
        counts = shared.copy()
        _count(action, " ", counts)
        every = counts.total()
        found += every
        for letters in interactions:
            any = letters.count(":")
            named = prod(counts[letter] for letter in letters if letter != ":")
            found += every**any // factorial(any) * named
    return found * models * (len(context.get("_slots", ())) or 1)


def _count(told: Any, letter: str, counts: Counter[str]) -> None:
    """Add features to the first letters of their namespaces: a name of an object or an array."""
    for each in told if isinstance(told, list) else [told]:
        if not isinstance(each, Mapping):
            counts[letter] += 1
            continue
        for name, value in each.items():
            if name[:1] != "_":
                is_namespace = isinstance(value, Mapping | list)
                _count(value, name[:1] if is_namespace else letter, counts)


@lru_cache(maxsize=64)
def _multiplied(arguments: str) -> tuple[list[str], int]:
    """The first letters of namespaces that are multiplied, a colon for any; times of one model."""
    letters, models = [], 1
    for word, value in pairwise(arguments.split()):
        if _SHORT.get(word, word) in _DEGREES:
            letters.append(value)
        elif word in _SEVERAL and value.isdecimal():
            models = _SLOWER * (int(value) + 1)
    return letters, models


def _told(arguments: str) -> Iterator[tuple[str, str]]:
    """Each option by its long name, and its value, "" for a flag. Raises BadPolicy."""
    words = iter(arguments.split())
    for word in words:
        name = _SHORT.get(word, word)
        if name in _FLAGS:
            yield name, ""
        elif name in _NUMBERS or name in _COUNTS or name in _CHOICES or name in _NAMESPACES:
            yield name, next(words, "")
        else:
            raise BadPolicy(
                f"The learning policy cannot have {word!r:.60}: only options that choose and "
                f"learn, each with a space before its value."
            )


def _check(name: str, value: str) -> None:
    if name in _NUMBERS and not _is_within(value, *_NUMBERS[name]):
        low, high = _NUMBERS[name]
        raise BadPolicy(f"{name} must be a number from {low:g} to {high:g}, not {value!r:.60}.")
    if name in _COUNTS:
        low, high = _COUNTS[name]
        if not re.fullmatch("[0-9]{1,10}", value) or not low <= int(value) <= high:
            raise BadPolicy(
                f"{name} must be a whole number from {low} to {high}, not {value!r:.60}."
            )
    if name in _CHOICES and value not in _CHOICES[name]:
        raise BadPolicy(f"{name} must be one of {', '.join(_CHOICES[name])}, not {value!r:.60}.")
    if name in _NAMESPACES:
        low, high = _NAMESPACES[name]
        if not re.fullmatch("[A-Za-z0-9:]+", value) or not low <= len(value) <= high:
            raise BadPolicy(
                f"{name} must be {low} to {high} first letters of namespaces or colons, not "
                f"{value!r:.60}."
            )


def _is_within(value: str, low: float, high: float) -> bool:
    """Whether it is a plain number: no other word, no infinity."""
    plain = re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", value)
    return bool(plain) and low <= float(value) <= high
