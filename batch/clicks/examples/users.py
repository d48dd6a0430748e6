"""What is known of users, read from a file: the columns that a model sees, as JSON objects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.contracts.clicks import Column
from app.contracts.recommendations import field
from batch.clicks.terms import ColumnsFile
from batch.errors import BadInteractions
from batch.interactions.items import load_items
from batch.interactions.sources.layout import PRESETS
from batch.interactions.sources.table import Table, reading


def load(
    file: ColumnsFile, columns: Sequence[Column], rejects: Path, max_rejects: float
) -> Mapping[bytes, bytes]:
    """By field, the columns of each user as a JSON object; the last row of a user counts.

    Raises BadInteractions when the file cannot be read, has none of the columns, or too many rows
    that cannot be used.
    """
    layout = replace(PRESETS["larder"], item_column=file.id_column, options="--users-")
    there, is_text = reading(file.path, layout, _look)
    known = {each.name: each.kind for each in columns if each.name in there}
    if not known:
        raise BadInteractions(
            f"{file.path}: has none of the {len(columns)} columns that the model sees"
        )
    numbers = {name: "number" for name, kind in known.items() if kind == "number" and is_text}
    found = load_items(
        file.path, layout, known, types=numbers, rejects=rejects, max_rejects=max_rejects
    )
    return {field(user): text.encode() for user, text in found.texts.items()}


def _look(connection: object, table: Table) -> tuple[Sequence[str], bool]:
    return table.columns, table.is_text
