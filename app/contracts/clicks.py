"""A click model as a generation: how likely is it that this user clicks this item, here and now?

Of the generations of a namespace (``generations``), of kind ``clicks``, these are the parts::

    larder:1:shop:clicks:<generation>:body:<n>       string  BODY_PART_BYTES of the body each
    larder:1:shop:clicks:<generation>:user:<bucket>  hash    field of a user -> their columns (JSON)

The *body* is its sections one behind the other, in the order of SECTIONS; the manifest has the
length and the SHA-256 of each, so no reader mixes those of two models:

* ``trees``: the text of a LightGBM model, see ``app.contracts.trees``.
* ``tables``: of each category column, in order, a table of its values, see ``encode_table``.
* ``linear``: JSON of the second member, see ``Linear``; empty where there is none.

A *column* of the manifest is its name and its kind, ``number`` or ``category``. Trees see a row of
f32: each number column (NaN where it is missing), then of each category column the smoothed mean of
the label for its value, and the share of rows that have it. A value that is in no table has the
``prior`` and 0. What is missing of a category is the value "". The buckets of users are those of
``recommendations``; there are none (``user_buckets`` 0) where no columns of users were given.

A *score* is made of log-odds: the mean of those of the members, through the ``Calibration``, plus
log(``negatives_kept``), for negatives that were left out made clicks too likely (He et al., 2014,
"Practical Lessons from Predicting Clicks on Ads at Facebook"); then 1 / (1 + exp(-log-odds)).
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5, sha256
from operator import lt
from typing import Any, ClassVar, Literal, Self, get_args

from app.contracts import generations
from app.contracts.generations import SCHEMA, BrokenRecord, Parts, Space
from app.contracts.recommendations import bucket_of, field, take_out
from app.contracts.trees import unpacked

Kind = Literal["number", "category"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BODY_PART_BYTES = 1 << 20
SECTIONS = ("trees", "tables", "linear")
MAX_COLUMNS = 2_000
MAX_NUMBER = 3.4028234663852886e38
"""The largest f32."""

_WHOLE = 1e15
"""Below this a number without a fraction is written as a whole one."""
_POINTED = re.compile("(0|-?[1-9][0-9]{0,14})[.]0")


@dataclass(frozen=True, slots=True)
class Clicks(Space["Manifest"]):
    """The key names of one tenant's click models."""

    infix: ClassVar[str] = "clicks:"

    def read(self, manifest: str | bytes) -> "Manifest":
        return Manifest.from_json(manifest)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the rows that a model was trained on."""

    name: str
    kind: Kind

    @classmethod
    def read(cls, entry: Any) -> Self:
        """An entry of a manifest. Raises BrokenRecord."""
        name, kind = entry if isinstance(entry, list) and len(entry) == 2 else (0, 0)
        if not isinstance(name, str) or kind not in KINDS:
            raise BrokenRecord(f"expected a column's name and kind, found {entry!r:.80}")
        return cls(name, kind)


@dataclass(frozen=True, slots=True)
class Calibration:
    """From the members' log-odds to calibrated ones: a line (Platt), or knots where there are any.

    knots: (log-odds before, after), both rising (isotonic regression); between two the way is
    straight, and beyond the last ones it is level.
    """

    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    @classmethod
    def read(cls, entry: Any) -> Self:
        """An entry of a manifest. Raises BrokenRecord."""
        try:
            knots = tuple((float(x), float(y)) for x, y in entry.get("knots", []))
            found = cls(float(entry.get("slope", 1.0)), float(entry.get("intercept", 0.0)), knots)
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenRecord(f"expected a calibration, found {entry!r:.80}") from error
        numbers = [found.slope, found.intercept, *(each for knot in knots for each in knot)]
        rises = found.slope > 0 and all(list(each) == sorted(each) for each in zip(*knots))
        if not rises or not all(map(math.isfinite, numbers)):
            raise BrokenRecord(f"a calibration must rise, and be of finite numbers: {entry!r:.80}")
        return found

    def entry(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return {"slope": self.slope, "intercept": self.intercept, "knots": list(self.knots)}


@dataclass(frozen=True, slots=True)
class Linear:
    """The second member: a logistic regression over the same values; JSON in the body.

    The weight of a category's value stands in its table; that of a value in no table is 0. Of each
    number column: ``edges`` between its bins, rising; ``weights``, one more than edges: bin b holds
    what is >= edges[b - 1] and < edges[b]; ``missing``: the weight of a number that is missing.
    """

    intercept: float
    numbers: tuple[tuple[tuple[float, ...], tuple[float, ...], float], ...]

    @classmethod
    def decode(cls, section: bytes | memoryview, columns: int) -> Self:
        """That of so many number columns. Raises BrokenRecord."""
        try:
            raw = json.loads(bytes(section))
            numbers = tuple(
                (tuple(map(float, each[0])), tuple(map(float, each[1])), float(each[2]))
                for each in raw["numbers"]
            )
            found = cls(float(raw["intercept"]), numbers)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise BrokenRecord(f"the linear member cannot be read: {error}") from error
        fits = all(len(weights) == len(edges) + 1 for edges, weights, _ in numbers)
        if not fits or len(numbers) != columns:
            raise BrokenRecord(f"the linear member has no bins of {columns} columns, with weights")
        weights = [each for edges, inner, last in numbers for each in (*edges, *inner, last)]
        if not all(map(math.isfinite, (found.intercept, *weights))):
            raise BrokenRecord("the linear member has weights that are no finite numbers")
        return found

    def encode(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Table:
    """The values of a category column that were seen often enough, in the order of their keys.

    keys: u64, rising, see ``value_key``; means: f32, the smoothed mean of the label; shares: f32,
    the part of rows that have the value; weights: f32, of the linear member, 0 without one.
    """

    keys: "memoryview[int]"
    means: "memoryview[float]"
    shares: "memoryview[float]"
    weights: "memoryview[float]"


def encode_table(keys: bytes, means: bytes, shares: bytes, weights: bytes) -> bytes:
    """One table, all little-endian: how many values (u64), keys, means, shares, weights; padding.

    Zeros fill it up to a multiple of 8 bytes. Raises BrokenRecord when lengths do not fit.
    """
    count = len(keys) // 8
    if len(keys) != 8 * count or not len(means) == len(shares) == len(weights) == 4 * count:
        raise BrokenRecord("a table needs a key, a mean, a share and a weight for each value")
    return b"".join(
        (count.to_bytes(8, "little"), keys, means, shares, weights, bytes(4 * (count % 2)))
    )


def decode_tables(section: bytes | memoryview, count: int) -> list[Table]:
    """The tables of so many category columns, without copying. Raises BrokenRecord."""
    view, start, found = memoryview(section), 0, []
    for _ in range(count):
        values = int.from_bytes(view[start : start + 8], "little")
        places = [start + 8 + step * values for step in (0, 8, 12, 16, 20)]
        if len(view) < start + 8 or places[-1] > len(view):
            raise BrokenRecord("the tables end too early")
        pieces = [view[a:b] for a, b in zip(places, places[1:])]
        table = Table(pieces[0].cast("Q"), *(each.cast("f") for each in pieces[1:]))
        if not all(map(lt, table.keys, table.keys[1:])):
            raise BrokenRecord("the keys of a table must rise")
        for column in (table.means, table.shares, table.weights):
            if not all(map(math.isfinite, column)):
                raise BrokenRecord("a table has numbers that are not finite")
        found.append(table)
        start = places[-1] + 4 * (values % 2)
    if start != len(view):
        raise BrokenRecord("there is more than the tables of all columns")
    return found


def value_key(value: str) -> int:
    """What stands for a value in a table: the first eight bytes of its MD5, big-endian.

    SQL says the same as ``substr(md5(value), 1, 16)``. It keeps nothing secret.
    """
    digest = md5(value.encode(errors="surrogatepass"), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big")


def category_text(value: str | float | bool | None) -> str:
    """A cell of a category column as the text that stands for it, the same from CSV, SQL and JSON.

    A number without a fraction is written as a whole one, for a column of whole numbers with gaps
    often comes as one of fractions; texts that say such a number, or a truth, are no others.
    """
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return value.lower()
        return value[:-2] if _POINTED.fullmatch(value) else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE else repr(value)
    return str(value)


def row_names(columns: Sequence[Column]) -> list[str]:
    """What each number of a row that trees see is called, in order."""
    names = [each.name for each in columns if each.kind == "number"]
    for each in columns:
        if each.kind == "category":
            names += [f"{each.name}:mean", f"{each.name}:share"]
    return names


def body_part(number: int) -> str:
    return f"body:{number}"


def user_part(bucket: int) -> str:
    return f"user:{bucket}"


def digest(section: bytes | memoryview) -> str:
    """The hash of a section that a manifest has."""
    return sha256(section).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest(generations.Manifest):
    """How to find and read a click model, and where it came from.

    rows, clicks: of the table that it was trained on; label: what its column is called; columns:
    see ``Column``; members: ``trees``, or ``trees`` and ``linear``; sizes, hashes: of SECTIONS;
    users: how many have columns of their own; lightgbm: which release has written the trees.
    """

    generation: str
    state: str
    rows: int
    clicks: int
    label: str
    columns: list[Any]
    prior: float
    negatives_kept: float
    members: list[Any]
    calibration: dict[str, Any]
    trees: int
    sizes: dict[str, Any]
    hashes: dict[str, Any]
    users: int
    user_buckets: int
    lightgbm: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    fingerprint: str
    forced: bool
    code_version: str
    started_at: str
    published_at: str = ""
    checksum: str = ""
    schema: int = SCHEMA

    @property
    def typed_columns(self) -> tuple[Column, ...]:
        """Raises BrokenRecord."""
        return tuple(map(Column.read, self.columns))

    @property
    def calibrated(self) -> Calibration:
        """Raises BrokenRecord."""
        return Calibration.read(self.calibration)

    @property
    def body_bytes(self) -> int:
        return sum(self.sizes[name] for name in SECTIONS)

    @property
    def body_parts(self) -> int:
        return math.ceil(self.body_bytes / BODY_PART_BYTES)

    def _check(self) -> None:
        generations.Manifest._check(self)
        names = {column.name for column in self.typed_columns}
        if len(names) < len(self.columns) or not names or len(names) > MAX_COLUMNS:
            raise BrokenRecord(f"a manifest of 1 to {MAX_COLUMNS} columns must name each once")
        if self.members not in (["trees"], ["trees", "linear"]):
            raise BrokenRecord(f"expected the members of a model, found {self.members!r:.80}")
        if not (0 < self.prior < 1 and 0 < self.negatives_kept <= 1):
            raise BrokenRecord("prior and negatives_kept of a manifest are between 0 and 1")
        sizes = [self.sizes.get(name) for name in SECTIONS]
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise BrokenRecord(f"expected the sizes of {SECTIONS}, found {self.sizes!r:.80}")
        self.calibrated  # raises, where it cannot be read

    def parts(self) -> Iterator[Parts]:
        yield Parts("string", map(body_part, range(self.body_parts)), self.body_bytes)
        yield Parts("hash", map(user_part, range(self.user_buckets)), self.users)

    def sections(self, body: bytes | memoryview) -> dict[str, memoryview]:
        """The sections of a body. Raises BrokenRecord when one is not what was published."""
        view, start, found = memoryview(body), 0, {}
        for name in SECTIONS:
            found[name] = view[start : start + self.sizes[name]]
            start += self.sizes[name]
            if digest(found[name]) != self.hashes.get(name):
                raise BrokenRecord(f"{name} of {self.generation} are not those of its manifest")
        return found

    def members_of(self, body: bytes | memoryview) -> tuple[str, list[Table], Linear | None]:
        """The text of the trees, the tables and the linear member. Raises BrokenRecord."""
        sections, columns = self.sections(body), self.typed_columns
        categories = sum(each.kind == "category" for each in columns)
        linear = None
        if "linear" in self.members:
            linear = Linear.decode(sections["linear"], len(columns) - categories)
        tables = decode_tables(sections["tables"], categories)
        return unpacked(sections["trees"], len(row_names(columns))), tables, linear

    def user_place(self, space: Clicks, user: str) -> tuple[str, bytes]:
        """The key and the field of a user's columns. Raises UnicodeEncodeError, see ``field``."""
        name = field(user)
        bucket = user_part(bucket_of(name, self.user_buckets))
        return space.part(self.generation, bucket), name

    def take_out(self, client: Any, space: Clicks, user: str) -> bool:
        """Take a user's columns out of this model; say whether there were any.

        client: of redis-py. Raises what it raises, and as ``user_place``.
        """
        return bool(self.user_buckets) and take_out(client, *self.user_place(space, user))
