"""What a command says of its inputs, before anything of them is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.contracts.filtering.columns import Type
from batch.interactions.sources.layout import PRESETS, Layout


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read interactions, and what to do with rows that cannot be used.

    rejects: where these are listed: a file, or for Spark a folder; max_rejects: the share of them
    to put up with.
    """

    preset: str = "larder"
    layout: Layout = PRESETS["larder"]
    rejects: str | None = None
    max_rejects: float = 0.01

    @property
    def rejects_file(self) -> Path:
        """The file of rejected rows on this machine."""
        given = self.rejects
        return Path("rejects.csv" if given is None or "://" in given else given)

    @property
    def rejects_folder(self) -> str:
        """The folder of rejected rows, wherever Spark writes."""
        return str(self.rejects or "rejects").rstrip("/")


@dataclass(frozen=True, slots=True)
class ItemsFile:
    """Where the documents of items are, and how to read them. None: as the preset has it."""

    path: Path
    id_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    document_columns: tuple[str, ...] | None = None
    document_types: Mapping[str, str] = field(default_factory=dict)
    """Which columns of texts hold a `number` or a `boolean`; the others stay texts."""
    filter_columns: Mapping[str, Type | None] = field(default_factory=dict)
    """What requests may filter by; None where the cells say of which type it is."""


def beside(rejects: Path, input_name: str) -> Path:
    """Return the rejects file of a second input: `rejects.csv` makes `rejects-test.csv`."""
    if not rejects.name:  # "." and "/" have no name and cannot be written to
        return rejects
    return rejects.with_stem(f"{rejects.stem}-{input_name}")
