"""The trees of a click model: the text of a LightGBM model, compressed by zlib.

LightGBM believes what it reads. It dies of a column that is not there, goes around a circle for
ever, and reads on where a text is cut. So whoever reads a text looks at it here first.
"""

import math
import re
import zlib
from collections.abc import Mapping

from app.contracts.generations import BrokenRecord

MAX_TEXT_BYTES = 1 << 26
"""Of a text; few bytes may unpack to very many."""

_STRANGE = re.compile("[^\n -~]")
_WHOLE_NUMBERS = re.compile("-?[0-9]{1,9}( -?[0-9]{1,9})*")


def unpacked(section: bytes | memoryview, width: int) -> str:
    """The text of trees that see so many numbers of a row. Raises BrokenRecord."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(section, MAX_TEXT_BYTES)
        if not stream.eof:
            raise BrokenRecord(f"the trees are cut off, or of more than {MAX_TEXT_BYTES} bytes")
        found = text.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise BrokenRecord(f"the trees cannot be read: {error}") from error
    _check(found, width)
    return found


def _check(text: str, width: int) -> None:
    if strange := _STRANGE.search(text):
        raise BrokenRecord(f"the trees have a character that is out of place: {strange[0]!r}")
    head, *rest = text.split("\nTree=")
    trees = [each.partition("\n\n") for each in rest]
    told = dict(re.findall("^([a-z_]+)=(.*)$", head, re.MULTILINE))
    wanted = {
        "num_class": "1",
        "num_tree_per_iteration": "1",
        "max_feature_idx": str(width - 1),
        "tree_sizes": " ".join(str(len("Tree=") + len(tree) + 3) for tree, *_ in trees),
    }
    for name, value in wanted.items():
        if told.get(name, value) != value:
            raise BrokenRecord(f"the trees have {name}={told[name]:.40}, expected {value:.40}")
    for number, (tree, end, _) in enumerate(trees):
        try:
            _check_tree(tree + end, width)
        except (KeyError, ValueError) as error:
            raise BrokenRecord(f"tree {number} cannot be used: {error}") from error


def _check_tree(tree: str, width: int) -> None:
    """Raises KeyError and ValueError."""
    if not tree.endswith("\n\n"):
        raise ValueError("it is cut off")
    lines = tree.split("\n")[1:-2]
    told = {name: value for name, value in (line.split("=") for line in lines)}
    (leaves,) = _integers(told, "num_leaves", 1)
    values = list(map(float, told["leaf_value"].split(" ")))
    if len(values) != leaves or not all(map(math.isfinite, values)):
        raise ValueError("it needs a finite number for each leaf")
    if len(told) < len(lines) or told["num_cat"] != "0" or told.get("is_linear", "0") != "0":
        raise ValueError("it is of a kind that no click model has")
    if leaves > 1:
        _check_splits(told, leaves, width)


def _check_splits(told: Mapping[str, str], leaves: int, width: int) -> None:
    """Each split and each leaf hangs below one split, which comes before it."""
    splits = leaves - 1
    left, right, columns, kinds, _ = (
        _integers(told, name, splits)
        for name in (
            "left_child",
            "right_child",
            "split_feature",
            "decision_type",
            "internal_count",
        )
    )
    _integers(told, "leaf_count", leaves)
    if sorted(left + right) != [*range(-leaves, 0), *range(1, splits)]:
        raise ValueError("its splits make no tree")
    if any(0 <= child <= split for side in (left, right) for split, child in enumerate(side)):
        raise ValueError("its splits make a circle")
    if not all(0 <= column < width for column in columns) or any(kind & 1 for kind in kinds):
        raise ValueError(f"it splits by a column beyond the {width} that there are")
    if len(told["threshold"].split(" ")) != splits:
        raise ValueError("it needs a threshold for each split")


def _integers(told: Mapping[str, str], name: str, count: int) -> list[int]:
    if not _WHOLE_NUMBERS.fullmatch(told[name]):
        raise ValueError(f"{name} must be whole numbers")
    found = list(map(int, told[name].split(" ")))
    if len(found) != count:
        raise ValueError(f"{name} must be {count} numbers, not {len(found)}")
    return found
