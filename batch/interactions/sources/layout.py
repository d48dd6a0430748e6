"""How a file of interactions is laid out: what its columns are called and how its text is cut."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from batch.errors import BadInteractions

OPTIONAL = {"rating_column": "rating", "weight_column": "weight", "timestamp_column": "timestamp"}


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of the columns, and for text files how to cut rows and columns.

    A user and an item column must exist. An optional column is one that may be absent while it
    has its default name; give it another name, or name it in `required`, and it must exist; set
    it to None and it is not read. A file without a header names its columns by `names`, or else
    by position: "1", "2", and so on.
    """

    user_column: str = "user"
    item_column: str = "item"
    rating_column: str | None = "rating"
    weight_column: str | None = "weight"
    timestamp_column: str | None = "timestamp"
    delimiter: str | None = None
    """Between columns; None means a tab for .tsv, a comma otherwise."""
    encoding: str = "utf-8"
    header: bool = True
    names: tuple[str, ...] = ()
    quote: str = '"'
    """Around a value that holds delimiters or newlines; empty: quotes are ordinary characters."""
    escape: str = ""
    """Before a quote inside quotes, beside doubling it, which always works."""
    zero_counts_as: float = 0.0
    """What a rating or weight of 0 is worth; worth 0, its pair is left out."""
    required: frozenset[str] = frozenset()
    """Optional columns (by their name in the file) that must exist."""
    document_columns: tuple[str, ...] | None = None
    """Of an items file: what its documents show; None means all but the item column."""
    options: str = "--"
    """How the command line's options for this file begin, for messages; "--items-" for items."""

    def __post_init__(self) -> None:
        """Refuse what no file can be read with."""
        for name, limit in (("quote", 1), ("escape", 1), ("delimiter", 4)):
            value = getattr(self, name) or ""
            if len(value.encode()) > limit or set(value) & set("\r\n\0"):
                raise BadInteractions(
                    f"{self.options}{name} must be at most {limit} bytes long and no newline, not "
                    f"{value!r}"
                )
        if not _is_text_encoding(self.encoding):
            raise BadInteractions(
                f"{self.options}encoding must be one that Python knows, such as utf-8, not "
                f"{self.encoding!r}"
            )
        if self.delimiter == "" or (self.quote and self.quote in (self.delimiter or "")):
            raise BadInteractions(f"{self.options}delimiter cannot be {self.delimiter!r}")

    def choose(self, **changes: Any) -> "Layout":
        """Return this layout with what a caller says explicitly; None means that nothing is said.

        An optional column named here must exist; the empty name means: do not read one.
        """
        said = {key: value for key, value in changes.items() if value is not None}
        named = {said[key] for key in OPTIONAL if said.get(key)}
        ignored = {key: None for key in OPTIONAL if said.get(key) == ""}
        return replace(self, **{**said, **ignored, "required": self.required | named})

    def must_have(self, field: str) -> bool:
        """Say whether the optional column kept in that field has to be in the file."""
        name = getattr(self, field)
        return name is not None and (name != OPTIONAL[field] or name in self.required)


def _is_text_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


RATED = ("user", "item", "rating", "timestamp")

PRESETS: Mapping[str, Layout] = MappingProxyType(
    {
        "larder": Layout(),
        "ml-latest": Layout(user_column="userId", item_column="movieId"),
        "ml-100k": Layout(delimiter="\t", header=False, names=RATED, quote=""),
        "ml-1m": Layout(delimiter="::", header=False, names=RATED, quote="", encoding="latin-1"),
        "book-crossing": Layout(
            user_column="User-ID",
            item_column="ISBN",
            rating_column="Book-Rating",
            delimiter=";",
            encoding="latin-1",
            escape="\\",
            zero_counts_as=1.0,
        ),
    }
)


def preset_with(columns: tuple[str, ...]) -> str | None:
    """Name the preset whose user and item columns these are; None when there is none.

    A header that was cut by the wrong delimiter, and so not at all, is recognised too.
    """
    for name, layout in PRESETS.items():
        wanted = {layout.user_column, layout.item_column}
        is_uncut = len(columns) == 1 and name != "larder" and all(w in columns[0] for w in wanted)
        if layout.header and (is_uncut or wanted <= set(columns)):
            return name
    return None
