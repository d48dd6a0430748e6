"""What somebody wants exported, before anything is read; light to import."""

from dataclasses import dataclass

FORMATS = ("parquet", "csv")


@dataclass(frozen=True, slots=True)
class Wish:
    """generation, k: None for the live one, and for all that are served.

    users: files and folders with the ids of users, of which the cache has some as digests alone.
    """

    generation: str | None = None
    k: int | None = None
    format: str = FORMATS[0]
    similar: bool = False
    users: tuple[str, ...] = ()
