"""How examples are laid out, and what is said of their columns before anything is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.contracts.clicks import Column
from batch.errors import BadInteractions, BadSettings
from batch.interactions.reading import Reading as Texts
from batch.interactions.sources.layout import Layout

LABEL = "label"
NUMBERS = tuple(f"i{number}" for number in range(1, 14))
CATEGORIES = tuple(f"c{number}" for number in range(1, 27))
SAID = "examples.json"
"""Beside the files of a folder: what whoever made them says of them, see ``Reading.beside``."""

PRESETS: Mapping[str, Layout] = MappingProxyType(
    {
        "plain": Layout(),
        "criteo": Layout(
            delimiter="\t", header=False, names=(LABEL, *NUMBERS, *CATEGORIES), quote=""
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read examples.

    texts: how rows and columns are cut, and what becomes of rejects. label: the column that says
    whether there was a click; time_column: when the row was seen. categorical, numeric, ignore:
    columns that are what they do not look like. negatives_kept: which share of the rows without a
    click are there. None: what ``examples.json`` says, or else the default. no_features: columns
    that ``examples.json`` keeps from models, if no option names them. live: the columns of the live
    model, which stay what they are where nothing else is said.
    """

    texts: Texts = field(default_factory=lambda: Texts("plain", PRESETS["plain"]))
    label: str | None = None
    time_column: str | None = None
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    negatives_kept: float | None = None
    no_features: tuple[str, ...] = ()
    live: tuple[Column, ...] = ()

    @property
    def layout(self) -> Layout:
        return self.texts.layout

    def check(self) -> None:
        """Raise BadSettings when a column is said to be two things."""
        roles = [self.label or LABEL, *filter(None, [self.time_column])]
        named = [*roles, *self.categorical, *self.numeric, *self.ignore]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise BadSettings(
                f"{twice[0]!r} is named twice in --label, --time-column, --categorical, --numeric "
                "and --ignore: a column is one thing"
            )
        if self.negatives_kept is not None and not 0 < self.negatives_kept <= 1:
            raise BadSettings("--negatives-kept must be more than 0, and at most 1")

    def beside(self, paths: tuple[Path, ...]) -> "Reading":
        """This, with what is said beside the files where nothing else is said.

        Raises BadInteractions when that cannot be understood, or when several folders say different
        things: their rows cannot be read, or corrected, alike.
        """
        folders = dict.fromkeys(path if path.is_dir() else path.parent for path in paths)
        said = {folder / SAID: _read(folder / SAID) for folder in folders}
        for name, usual in (("label", LABEL), ("time_column", None), ("negatives_kept", 1)):
            theirs = [each.get(name, usual) for each in said.values()]
            if getattr(self, name) is None and any(each != theirs[0] for each in theirs):
                raise BadInteractions(
                    f"{', '.join(map(str, said))}: expected the same {name} in all, found "
                    f"{', '.join(map(repr, theirs))}: make them alike, or give one at a time"
                )
        found = self
        for path, each in said.items():
            found = found._with(each, path)
        return found

    def _with(self, said: dict[str, Any], path: Path) -> "Reading":
        label, time = self.label or said.get("label"), self.time_column or said.get("time_column")
        kept = said.get("negatives_kept") if self.negatives_kept is None else self.negatives_kept
        ignore = said.get("ignore", [])
        is_right = isinstance(ignore, list) and all(isinstance(each, str) for each in ignore)
        if not (is_right and isinstance(label, str | None) and isinstance(time, str | None)):
            raise _broken(path)
        if not isinstance(kept, float | int | None):
            raise _broken(path)
        return replace(
            self,
            label=label,
            time_column=time,
            negatives_kept=kept,
            no_features=(*self.no_features, *ignore),
        )


def _read(path: Path) -> dict[str, Any]:
    """What it says; nothing where it is not there."""
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path) from error
    if not isinstance(said, dict):
        raise _broken(path)
    return said


def _broken(path: Path) -> BadInteractions:
    return BadInteractions(
        f"{path}: expected a JSON object of label, time_column, negatives_kept and ignore, as "
        "'larder clicks examples' writes it: remove it, or write it anew"
    )
