"""What batch publishes and the API reads: the keys, the packed record, the documents, the manifest.

Of the generations of a namespace (``generations``) these are the keys of this kind::

    larder:1:{shop}:live                       string  name of the live generation
    larder:1:{shop}:generations                hash    generation -> manifest (JSON)
    larder:1:{shop}:lock                       string  who refreshes now (JSON); expires by itself
    larder:1:{shop}:deletion                   string  another text after each deletion of a user
    larder:1:shop:<generation>:user:<bucket>     hash    user -> record: the user's top-k
    larder:1:shop:<generation>:similar:<bucket>  hash    item -> record: the item's neighbours
    larder:1:shop:<generation>:items:<chunk>     string  the documents of 256 items
    larder:1:shop:<generation>:popular           string  record: what strangers get
    larder:1:shop:<generation>:sample            string  up to 1,000 user ids (JSON array)
    larder:1:shop:<generation>:model             string  how to follow what users do, see below
    larder:1:shop:<generation>:factors:<chunk>   string  factors of items: f16, the longest first
    larder:1:shop:<generation>:columns:<n>       string  what requests filter by, see ``columns``

Model and factors are of a *live* generation only, whose manifest says how many ``factors`` there
are; columns are there when the manifest names any.

A *record* is k entries of six bytes, best first: item index (u32) and score (IEEE 754 half), both
little-endian. Ten entries are 60 bytes: under the 64 at which a server stops packing a hash. The
highest bit of the first index is set in the record of a user of whom the model knows nothing: it
holds what is popular and new to them. A record without entries is that of a user who has had every
item.

A *bucket* holds about 80 users: few enough for the packed encoding (at most 128 fields by default),
enough to share out what a key costs; fewer in a live generation, so that it stays about as short
(see ``bucket_size``). Ids over 16 bytes are stored as a 128-bit digest. A bucket
that nobody is in holds an empty field, so that one that is missing was lost.

In a live generation the record of a user, and what is popular, are longer than the k items that
are served, and behind that of a user is a *vector*: a scale (f32) and a signed byte for each
factor, all 0 for who has no list of their own. The *model* is, in f32 but for the order: the matrix
M = (Y'Y + penalty I)^-1 (factors x factors), the mean of users' factors, c, where c * log(1 + w) is
the confidence in an event of weight w, and the penalty; then the item index (u32) of each row of
the factors. All is little-endian, and the factors are in chunks of FACTOR_CHUNK_BYTES at most.

Where the manifest has a ``history``, a user's own items of training follow, so many at most: for
each, in the order of the indices, how much further on it is than the one before (from 0 on; groups
of seven bits, the lowest first, and a set eighth bit before another group) and a byte for its
weight w: 0 where the user hid the item, else 1 + 16 * (11 + log2(log(1 + w))), rounded and kept
within 1..255. How many bytes that takes (u16) ends the value.

A *chunk* holds the JSON documents of 256 consecutive items behind a table of 257 offsets (u32), so
that a reader finds one document without parsing the others.
"""

import dataclasses
import hashlib
import json
import math
import re
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from app.contracts import generations
from app.contracts.filtering.columns import Column, column_part, column_parts
from app.contracts.generations import SCHEMA, BrokenRecord, Parts, Space

BUCKET_SIZE = 80
CHUNK_SIZE = 256
MAX_ID_BYTES = 1024
MAX_K = 1000
SAMPLE_SIZE = 1000
FACTOR_CHUNK_BYTES = 1 << 20
LIVE_BUCKET_BYTES = 16_384
INDEX_BYTES = 12
"""What a machine's file needs to find an item by its id."""

MAX_HISTORY = 10_000
"""So that the bytes of so many items can be counted in a u16, however far they are apart."""

_ENTRY = struct.Struct("<Ie")
ENTRY_BYTES = _ENTRY.size
PLAIN_ID_BYTES = 16

_LENGTH = struct.Struct("<H")
_DECODER = json.JSONDecoder()
_MOST_STRENGTH, _STEPS, _FAINTEST = 255, 16, 11
_WEIGHTS = (0.0, *(math.expm1(2 ** (step / _STEPS - _FAINTEST)) for step in range(_MOST_STRENGTH)))

EMPTY_BUCKET = {b"": b""}
_DIGEST, _NOBODY = b"\xff", b"\xfe"  # no UTF-8 has these bytes
POPULAR_BIT = 1 << 31

POPULAR, SAMPLE, MODEL = "popular", "sample", "model"

RERANKING, NEIGHBOURS, EXCLUSION = "re-ranking", "neighbours", "exclusion"


def user_part(bucket: int) -> str:
    return f"user:{bucket}"


def similar_part(bucket: int) -> str:
    return f"similar:{bucket}"


def chunk_part(chunk: int) -> str:
    return f"items:{chunk}"


def factors_part(chunk: int) -> str:
    return f"factors:{chunk}"


Place = tuple[str, bytes]
"""Where a record is: the key of its bucket, and its field there."""


@dataclass(frozen=True, slots=True)
class Namespace(Space["Manifest"]):
    """The key names of one tenant's recommendations."""

    infix: ClassVar[str] = ""

    def read(self, manifest: str | bytes) -> "Manifest":
        return Manifest.from_json(manifest)

    @property
    def deletion(self) -> str:
        return self._control("deletion")

    def user_bucket(self, generation: str, bucket: int) -> str:
        return self.part(generation, user_part(bucket))

    def similar_bucket(self, generation: str, bucket: int) -> str:
        return self.part(generation, similar_part(bucket))

    def chunk(self, generation: str, chunk: int) -> str:
        return self.part(generation, chunk_part(chunk))

    def popular(self, generation: str) -> str:
        return self.part(generation, POPULAR)

    def sample(self, generation: str) -> str:
        return self.part(generation, SAMPLE)


def field(identifier: str) -> bytes:
    """Name a user or item inside its bucket: its UTF-8, or a digest behind a byte UTF-8 lacks.

    Raises UnicodeEncodeError when the identifier holds a lone surrogate.
    """
    plain = identifier.encode()
    if len(plain) <= PLAIN_ID_BYTES:
        return plain
    return _DIGEST + hashlib.blake2b(plain, digest_size=16).digest()


def is_of_somebody(name: bytes) -> bool:
    """Whether a field of a bucket is that of an id, and none that only keeps a place."""
    return bool(name) and not name.startswith(_NOBODY)


def plain_id(name: bytes) -> str | None:
    """The id that a field names; None where the field is but a digest of it. Raises BrokenRecord.

    The field is one of which ``is_of_somebody`` holds.
    """
    if name.startswith(_DIGEST):
        return None
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise BrokenRecord(f"expected a field that is UTF-8, found {name!r}") from error


def bucket_count(members: int, size: int = BUCKET_SIZE) -> int:
    """How many buckets of about that size hold so many users or items."""
    return max(1, math.ceil(members / size))


def bucket_size(stored: int, items: int, factors: int, history: int = 0) -> int:
    """About how many users share a bucket: fewer where their values are long.

    stored: how many entries a live generation stores of a user; 0 for a plain one. history: see
    ``usual_history``.
    """
    length = value_bytes(min(stored, items), factors) + history_bytes(history, items)
    return max(1, min(BUCKET_SIZE, LIVE_BUCKET_BYTES // length)) if stored else BUCKET_SIZE


def usual_history(history: int, interactions: int, users: int) -> int:
    """How many items of their own are stored of a user on average, when it is so many at most."""
    return min(history, math.ceil(interactions / max(users, 1)))


def bucket_of(name: bytes, buckets: int) -> int:
    """The bucket of a field: CRC-32 modulo the number of buckets."""
    return zlib.crc32(name) % buckets


def encode_record(entries: Iterable[tuple[int, float]]) -> bytes:
    """Pack (item index, score) pairs, best first. Raises BrokenRecord for what does not fit.

    It says what a record is. Batch packs whole arrays of them, and a test holds that to this.
    """
    try:
        record = b"".join(_ENTRY.pack(item, score) for item, score in entries)
    except (struct.error, OverflowError) as error:
        raise BrokenRecord(
            f"an entry is an index of 0..2**32-1 and a score within +-65504: {error}"
        ) from error
    decode_record(record)
    return record


def decode_record(record: bytes) -> list[tuple[int, float]]:
    """Unpack a record. Raises BrokenRecord when its length or a score is impossible."""
    if len(record) % _ENTRY.size or len(record) > MAX_K * _ENTRY.size:
        raise BrokenRecord(
            f"a record is at most {MAX_K} entries of {_ENTRY.size} bytes, found {len(record)} bytes"
        )
    entries: list[tuple[int, float]] = list(_ENTRY.iter_unpack(record))
    if not math.isfinite(sum([score for _, score in entries])):
        raise BrokenRecord(f"a score is not finite in the record {record[:60]!r}")
    return entries


def mark_popular(record: bytes) -> bytes:
    """Mark a record that has entries as what is popular, see above."""
    return record[:3] + bytes([record[3] | POPULAR_BIT >> 24]) + record[4:]


def unmark(record: bytes) -> tuple[bytes, bool]:
    """A record as ``decode_record`` takes it, and whether it was marked as what is popular."""
    if len(record) < ENTRY_BYTES or record[3] < POPULAR_BIT >> 24:
        return record, False
    return record[:3] + bytes([record[3] ^ POPULAR_BIT >> 24]) + record[4:], True


def vector_bytes(factors: int) -> int:
    """How long the vector behind a user's record is."""
    return 4 + factors if factors else 0


def value_bytes(entries: int, factors: int) -> int:
    """How long a user's value is without a history: a record of so many entries, and the vector."""
    return ENTRY_BYTES * entries + vector_bytes(factors)


def history_bytes(count: int, items: int) -> int:
    """How long a history of so many of the items is at most; 0 for none."""
    count = min(count, items)
    steps = sum(min(count, items >> bits) for bits in range(0, 32, 7))
    return _LENGTH.size + count + steps if count else 0


def encode_history(weights: Iterable[tuple[int, float]]) -> bytes:
    """Pack (item index, weight) pairs, the indices rising; a weight of 0 is of what was hidden.

    Raises BrokenRecord for what does not fit. It says what a history is, as ``encode_record`` does
    of a record.
    """
    packed, before = bytearray(), 0
    for item, weight in weights:
        step, before = item - before, item
        if step < 0 or not weight >= 0 or item >= 2**32:
            raise BrokenRecord(f"item {item} of weight {weight} cannot be in a history")
        while step >= 128:
            packed.append(step & 127 | 128)
            step >>= 7
        packed += bytes((step, _strength(weight)))
    return bytes(packed)


def _strength(weight: float) -> int:
    if not weight:
        return 0
    steps = _STEPS * (_FAINTEST + math.log2(math.log1p(weight)))
    return round(min(max(1 + steps, 1), _MOST_STRENGTH))


def decode_history(history: bytes) -> list[tuple[int, float]]:
    """What ``encode_history`` has packed; log(1 + weight) is within 2.2 %. Raises BrokenRecord."""
    found, item, bits = [], 0, 0
    numbers = iter(history)
    for number in numbers:
        item += (number & 127) << bits
        bits += 7
        if number < 128 and (strength := next(numbers, None)) is not None:
            found.append((item, _WEIGHTS[strength]))
            bits = 0
    if bits or item >= 2**32:
        raise BrokenRecord(f"a history of {len(history)} bytes ends within an item")
    return found


def encode_value(record: bytes, vector: bytes, history: bytes) -> bytes:
    """A user's value in a generation that has a history."""
    return record + vector + history + _LENGTH.pack(len(history))


def split_value(value: bytes, factors: int, history: int) -> tuple[bytes, bytes, bytes]:
    """The record that a user's value begins with, the vector behind it, and the history.

    factors, history: those of the manifest. A value that is too short for what should be behind
    the record is a record alone, which its reader will find broken.
    """
    end = len(value)
    if history:
        length = int.from_bytes(value[-_LENGTH.size :], "little")
        end -= _LENGTH.size + length
    start = end - vector_bytes(factors)
    if start < 0:
        return value, b"", b""
    return value[:start], value[start:end], value[end : end + length] if history else b""


def follows(factors: int, similar_buckets: int) -> str:
    """How a generation follows users: RERANKING by factors, else by NEIGHBOURS of what they did.

    Where it has neither, EXCLUSION of what they did from their lists is all.
    """
    return RERANKING if factors else NEIGHBOURS if similar_buckets else EXCLUSION


def rows_of_chunk(factors: int) -> int:
    """How many items' factors a chunk holds."""
    return max(1, FACTOR_CHUNK_BYTES // (2 * factors))


def factor_chunks(items: int, factors: int) -> int:
    """How many chunks hold the factors of so many items."""
    return math.ceil(items / rows_of_chunk(factors))


def factors_overhead(factors: int) -> int:
    """What an item's factors cost in a machine's file beside what the cache holds, in bytes.

    They are f32 there; norm and row of the item stand beside them.
    """
    return 2 * factors + 4 + 4 if factors else 0


def encode_sample(users: Sequence[str]) -> bytes:
    """Up to SAMPLE_SIZE of the users, spread evenly over them, as a JSON array."""
    step = math.ceil(len(users) / SAMPLE_SIZE) or 1
    return json.dumps(list(users[::step])).encode()


def nobody() -> bytes:
    """The field that takes the place of a user who was deleted, so that their number stays.

    It is that of no id: the field of one is UTF-8, or begins with 0xff.
    """
    return _NOBODY + secrets.token_bytes(8)


def take_out(client: Any, bucket: str, name: bytes) -> bool:
    """Let nobody stand in a bucket where a user stood, of any kind; say whether the user was there.

    client: of redis-py. Raises what it raises.
    """
    if not client.hexists(bucket, name):
        return False
    client.hset(bucket, nobody(), b"")  # first, so that a bucket is never empty and so gone
    client.hdel(bucket, name)
    return True


def blank(sample: bytes, user: str) -> tuple[int, bytes] | None:
    """Where a user stands in a sample, and what to write there in place; None for who does not.

    The sample keeps its length, and who are deleted at the same time do not undo each other.
    """
    text = json.dumps(user).encode()
    found = re.search(rb"(?<=[\[ ])" + re.escape(text), sample)
    return (found.start(), b'""'.ljust(len(text))) if found else None


def decode_sample(sample: bytes) -> list[str]:
    """The users of a sample but for those that are blank. Raises BrokenRecord."""
    try:
        users = json.loads(sample)
    except (ValueError, RecursionError) as error:
        raise BrokenRecord(f"a sample is not JSON: {error}") from error
    if not isinstance(users, list) or not all(isinstance(user, str) for user in users):
        raise BrokenRecord("a sample is not a JSON array of texts")
    return [user for user in users if user]


def chunk_count(items: int) -> int:
    """How many chunks hold the documents of so many items."""
    return math.ceil(items / CHUNK_SIZE)


def document_place(item: int) -> tuple[int, int]:
    """The chunk that holds the document of an item's index, and its position there."""
    return divmod(item, CHUNK_SIZE)


def encode_document(item: str, members: str = "{}") -> bytes:
    """The document of an item: ``{"item":...}`` with the members of a JSON object's text."""
    end = "," + members[1:] if members != "{}" else "}"
    return (
        json.dumps({"item": item}, ensure_ascii=False, separators=(",", ":"))[:-1] + end
    ).encode()


def encode_chunk(documents: Sequence[bytes]) -> bytes:
    """Pack up to CHUNK_SIZE documents, see ``encode_document``."""
    offset = 4 * (len(documents) + 1)
    offsets = [offset]
    for document in documents:
        offset += len(document)
        offsets.append(offset)
    if offset >= 2**32:
        raise BrokenRecord(f"the documents of one chunk are {offset} bytes, more than 4 GiB")
    return struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(documents)


def document(chunk: bytes, position: int) -> bytes:
    """The document at a position (0..CHUNK_SIZE-1) of a chunk. Raises BrokenRecord if not there.

    Its text is taken on trust but for both ends, so that a caller can add members before the last.
    """
    try:
        (first,) = struct.unpack_from("<I", chunk, 0)
        start, end = struct.unpack_from("<2I", chunk, 4 * position)
    except struct.error as error:
        raise BrokenRecord(f"a chunk of {len(chunk)} bytes has no document {position}") from error
    if not 4 * (position + 2) <= first <= start <= end <= len(chunk):
        raise BrokenRecord(f"a chunk of {len(chunk)} bytes has no document {position}")
    found = chunk[start:end]
    if not (found.startswith(b'{"item":') and found.endswith(b"}")):
        raise BrokenRecord(f"expected a document of an item, found {found[:60]!r}")
    return found


def item_of(document: bytes) -> str:
    """The id of a document's item. Raises BrokenRecord."""
    try:
        item = _DECODER.raw_decode(document.decode(), len('{"item":'))[0]
    except (ValueError, RecursionError) as error:
        raise BrokenRecord(f"expected a document of an item, found {document[:60]!r}") from error
    if not isinstance(item, str):
        raise BrokenRecord(f"expected the id of an item, found {item!r}")
    return item


def decode_chunk(chunk: bytes) -> list[bytes]:
    """All documents of a chunk, in order. Raises BrokenRecord as ``document`` does."""
    count = int.from_bytes(chunk[:4], "little") // 4 - 1
    return [document(chunk, position) for position in range(count)]


@dataclass(frozen=True, slots=True)
class Manifest(generations.Manifest):
    """How to find the keys of a generation of recommendations, and where it came from.

    ``similar_buckets`` is 0 in a generation that was published without similar items.
    ``document_bytes`` is what all strings hold. Of a live generation ``stored`` says how many
    entries a user's record has (as far as there are items), ``factors`` how long a vector is, and
    ``history`` how many items of their own stand behind it at most. ``columns`` are what requests
    may filter by, see ``app.contracts.filtering.columns``.
    ``follows``: see ``follows``; empty in a generation from before that was said.
    """

    generation: str
    state: str
    users: int
    items: int
    interactions: int
    k: int
    user_buckets: int = dataclasses.field(metadata={"low": 1})
    similar_buckets: int
    chunks: int
    engine: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    fingerprint: str
    forced: bool
    code_version: str
    started_at: str
    published_at: str = ""
    checksum: str = ""
    document_bytes: int = 0
    stored: int = 0
    factors: int = 0
    events_until: str = ""
    history: int = 0
    columns: list[Any] = dataclasses.field(default_factory=list)
    follows: str = ""
    schema: int = SCHEMA

    @property
    def longest_value(self) -> int:
        """How long a user's value is at most, in bytes."""
        own = history_bytes(self.history, self.items)
        return value_bytes(self.stored or self.k, self.factors) + own

    @property
    def machine_bytes(self) -> int:
        """About what the API's workers hold in the file that those of a machine share.

        They hold that twice while they change to the next generation.
        """
        each = INDEX_BYTES + factors_overhead(self.factors)
        return self.document_bytes + self.items * each

    @property
    def filter_columns(self) -> tuple[Column, ...]:
        """What requests may filter by. Raises BrokenRecord."""
        return tuple(map(Column.read, self.columns))

    @property
    def column_bytes(self) -> int:
        """What all columns take. Raises BrokenRecord."""
        return sum(column.size for column in self.filter_columns)

    def _check(self) -> None:
        generations.Manifest._check(self)
        if len({column.name for column in self.filter_columns}) < len(self.columns):
            raise BrokenRecord("a manifest names a column twice")

    def parts(self) -> Iterator[Parts]:
        strings = [POPULAR, SAMPLE, *map(chunk_part, range(self.chunks))]
        if self.factors:
            chunks = range(factor_chunks(self.items, self.factors))
            strings += [MODEL, *map(factors_part, chunks)]
        strings += map(column_part, range(column_parts(self.column_bytes)))
        yield Parts("string", strings, self.document_bytes or None)
        similar = range(self.similar_buckets)
        yield Parts("hash", map(similar_part, similar), self.items if similar else 0)
        yield Parts("hash", map(user_part, range(self.user_buckets)), self.users)

    def user_place(self, namespace: Namespace, user: str) -> Place:
        """Where the user's record is. Raises UnicodeEncodeError, see ``field``."""
        name = field(user)
        bucket = bucket_of(name, self.user_buckets)
        return namespace.part(self.generation, user_part(bucket)), name

    def take_out(self, client: Any, namespace: Namespace, user: str) -> bool:
        """Take a user out of this generation, its sample too; say whether there was a list.

        client: of redis-py. Raises what it raises, and as ``user_place``.
        """
        bucket, name = self.user_place(namespace, user)
        sample = namespace.sample(self.generation)
        if place := blank(client.get(sample) or b"", user):
            client.setrange(sample, *place)
        return take_out(client, bucket, name)

    def item_place(self, namespace: Namespace, item: str) -> Place:
        """Where the record of the item's neighbours is. Raises as ``user_place`` does."""
        name = field(item)
        bucket = bucket_of(name, self.similar_buckets)
        return namespace.part(self.generation, similar_part(bucket)), name
