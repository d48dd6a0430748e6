"""The door is frozen: these literals are what published caches already hold."""

import itertools
import json
import math
import random
from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.contracts.filtering.columns import Column
from app.contracts.generations import SCHEMA, BrokenRecord, generation_name
from app.contracts.recommendations import (
    BUCKET_SIZE,
    CHUNK_SIZE,
    MAX_HISTORY,
    MAX_ID_BYTES,
    MAX_K,
    Manifest,
    Namespace,
    blank,
    bucket_count,
    bucket_of,
    bucket_size,
    chunk_count,
    decode_history,
    decode_record,
    decode_sample,
    document,
    encode_chunk,
    encode_document,
    encode_history,
    encode_record,
    encode_sample,
    encode_value,
    field,
    follows,
    history_bytes,
    mark_popular,
    nobody,
    split_value,
    unmark,
    usual_history,
)

NAME = "20260131T235959.000Z-ab12"

MANIFEST = Manifest(
    generation=NAME,
    state="complete",
    users=1_000_000,
    items=300,
    interactions=5_000_000,
    k=10,
    user_buckets=12_500,
    similar_buckets=4,
    chunks=2,
    engine="implicit",
    settings={"factors": 64, "alpha": 2.0},
    metrics={"model": {"ndcg": 0.48}},
    fingerprint="0f",
    forced=False,
    code_version="0.1.0",
    started_at="2026-01-31T23:50:00+00:00",
    published_at="2026-01-31T23:59:59+00:00",
    checksum="deadbeef",
    document_bytes=31,
    follows="neighbours",
)

MANIFEST_TEXT = (
    '{"generation":"20260131T235959.000Z-ab12","state":"complete","users":1000000,"items":300,'
    '"interactions":5000000,"k":10,"user_buckets":12500,"similar_buckets":4,"chunks":2,'
    '"engine":"implicit","settings":{"factors":64,"alpha":2.0},"metrics":{"model":{"ndcg":0.48}},'
    '"fingerprint":"0f","forced":false,"code_version":"0.1.0",'
    '"started_at":"2026-01-31T23:50:00+00:00","published_at":"2026-01-31T23:59:59+00:00",'
    '"checksum":"deadbeef","document_bytes":31,"stored":0,"factors":0,"events_until":"",'
    '"history":0,"columns":[],"follows":"neighbours","schema":1}'
)

RECORD = b"\x01\x00\x00\x00\x00<\x02\x00\x00\x00\x008\xff\xff\xff\xff\x00\xb0"

OWN = [(0, 0.0), (3, 1.0), (130, 3.5), (258, 1e12), (2**20, 0.001)]
HISTORY = b"\x00\x00\x03\xa9\x7f\xba\x80\x01\xfe\xfe\xfd\x3f\x12"
VECTOR = b"\x00\x00\x80\x3f\x01\xff"

DOCUMENTS = [b'{"item":"1","title":"Zo\xc3\xab"}', b'{"item":"a\\"b"}']
CHUNK = b"\x0c\x00\x00\x00\x27\x00\x00\x00\x36\x00\x00\x00" + b"".join(DOCUMENTS)

IDS: list[tuple[str, bytes, int, int]] = [
    ("1", b"1", 2, 7083),
    ("01", b"01", 3, 2822),
    ("a:b", b"a:b", 3, 8712),
    ("a/b", b"a/b", 2, 10208),
    ("with space", b"with space", 5, 1449),
    ("\n", b"\n", 0, 2723),
    ("\x00", b"\x00", 2, 7757),
    ("Zoë", b"Zo\xc3\xab", 4, 4878),
    ("日本", b"\xe6\x97\xa5\xe6\x9c\xac", 0, 11756),
    ("🎬", b"\xf0\x9f\x8e\xac", 4, 16),
    ("x" * 16, b"xxxxxxxxxxxxxxxx", 0, 4491),
    ("x" * 17, b"\xffqV\xff\x0fu\x86\x0e\xfd\xd6\xe9\xf744F\x1f\xc7", 6, 6080),
    ("é" * 8, b"\xc3\xa9" * 8, 2, 767),
    ("é" * 9, b"\xff\xe1\x00\xd8\x94\xa9\x02\xc9`{\xe8\x96\x17n\x12\xaa\xb8", 1, 7781),
    (
        "y" * 200,
        b"\xff\xe8\xe7\x03l\xa2\x9c\xe4\xcd\x8e\xa3\x8d \xb7\xbe\x08\x9a",
        1,
        8061,
    ),
]


class TestKeys:
    def test_keys_are_frozen(self) -> None:
        space = Namespace("shop")
        assert space.live == "larder:1:{shop}:live"
        assert space.generations == "larder:1:{shop}:generations"
        assert space.lock == "larder:1:{shop}:lock"
        assert space.deletion == "larder:1:{shop}:deletion"
        assert space.user_bucket(NAME, 7) == "larder:1:shop:20260131T235959.000Z-ab12:user:7"
        assert space.similar_bucket(NAME, 0) == "larder:1:shop:20260131T235959.000Z-ab12:similar:0"
        assert space.chunk(NAME, 12) == "larder:1:shop:20260131T235959.000Z-ab12:items:12"
        assert space.popular(NAME) == "larder:1:shop:20260131T235959.000Z-ab12:popular"
        assert space.sample(NAME) == "larder:1:shop:20260131T235959.000Z-ab12:sample"

    def test_sizes_are_frozen(self) -> None:
        assert (SCHEMA, BUCKET_SIZE, CHUNK_SIZE, MAX_ID_BYTES, MAX_K) == (
            1,
            80,
            256,
            1024,
            1000,
        )

    @pytest.mark.parametrize("name", ["a", "0", "shop", "shop.eu-1_b", "a" * 64])
    def test_a_namespace_is_a_short_plain_name(self, name: str) -> None:
        assert Namespace(name).name == name

    @pytest.mark.parametrize(
        "name",
        ["", "Shop", "a:b", "{a}", "a b", "-a", ".a", "a" * 65, "a\n", "é", "a/b"],
    )
    def test_another_name_is_refused_and_shown(self, name: str) -> None:
        with pytest.raises(ValueError, match="namespace must be 1-64 characters") as raised:
            Namespace(name)
        assert repr(name) in str(raised.value)

    def test_a_generation_is_named_by_its_time_in_utc(self) -> None:
        now = datetime(2026, 2, 1, 0, 59, 59, tzinfo=timezone(timedelta(hours=1)))
        assert generation_name(now, "ab12") == NAME

    def test_names_of_generations_sort_by_time(self) -> None:
        start = datetime(2025, 12, 31, 23, 59, 58, tzinfo=UTC)
        names = [
            generation_name(start + timedelta(seconds=s), "ffff") for s in range(0, 400_000, 7)
        ]
        assert names == sorted(names)

    def test_a_name_sorts_behind_those_that_are_there_whatever_the_clock_says(self) -> None:
        now = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
        ahead = [
            "20260201T000000.999Z-ffff",
            "20260101T000000.000Z-ffff",
            "named by hand",
            "é-",
            "",
        ]
        assert generation_name(now, "ab12", ahead) == "20260201T000001.000Z-ab12"
        assert generation_name(now, "ab12", ahead[1:]) == NAME

    def test_the_keys_of_a_generation_are_all_of_them_once(self) -> None:
        space = Namespace("shop")
        small = replace(MANIFEST, user_buckets=2, similar_buckets=1, chunks=2)
        assert sorted(small.keys(space)) == [
            f"larder:1:shop:{NAME}:items:0",
            f"larder:1:shop:{NAME}:items:1",
            f"larder:1:shop:{NAME}:popular",
            f"larder:1:shop:{NAME}:sample",
            f"larder:1:shop:{NAME}:similar:0",
            f"larder:1:shop:{NAME}:user:0",
            f"larder:1:shop:{NAME}:user:1",
        ]


class TestIds:
    @pytest.mark.parametrize(("identifier", "name", "of_7", "of_12500"), IDS)
    def test_fields_and_buckets_are_frozen(
        self, identifier: str, name: bytes, of_7: int, of_12500: int
    ) -> None:
        assert field(identifier) == name
        assert (bucket_of(name, 7), bucket_of(name, 12_500)) == (of_7, of_12500)

    def test_no_two_ids_share_a_field(self) -> None:
        ids = [identifier for identifier, *_ in IDS] + [
            " 1",
            "1 ",
            "1.0",
            "A:B",
            "Zoe\u0308",
        ]
        assert len({field(identifier) for identifier in ids}) == len(ids)

    def test_no_id_can_pretend_to_be_the_digest_of_another(self) -> None:
        digest = field("x" * 17)
        with pytest.raises(UnicodeDecodeError):
            digest.decode()

    def test_an_id_with_a_lone_surrogate_has_no_field(self) -> None:
        with pytest.raises(UnicodeEncodeError):
            field("\ud800")

    def test_buckets_hold_eighty_and_there_is_always_one(self) -> None:
        counted = {members: bucket_count(members) for members in (0, 1, 80, 81, 1_000_000)}
        assert counted == {0: 1, 1: 1, 80: 1, 81: 2, 1_000_000: 12_500}

    def test_buckets_stay_below_what_a_server_still_packs(self) -> None:
        buckets = bucket_count(100_000)
        sizes = [0] * buckets
        for number in range(100_000):
            sizes[bucket_of(field(f"user-{number}"), buckets)] += 1
        assert sum(size > 128 for size in sizes) < buckets / 1000


class TestRecords:
    def test_bytes_are_frozen(self) -> None:
        entries = [(1, 1.0), (2, 0.5), (2**32 - 1, -0.125)]
        assert encode_record(entries) == RECORD
        assert decode_record(RECORD) == entries

    def test_ten_entries_stay_under_the_64_bytes_that_a_server_packs(self) -> None:
        assert len(encode_record([(number, 0.5) for number in range(10)])) == 60

    def test_the_mark_of_what_is_popular_is_frozen(self) -> None:
        marked = b"\x01\x00\x00\x80" + RECORD[4:]
        assert mark_popular(RECORD) == marked
        assert unmark(marked) == (RECORD, True)
        for record in (RECORD, b"", b"\xff\xff\xff\xff\xff"):
            assert unmark(record) == (record, False)

    def test_an_empty_list_is_a_record(self) -> None:
        assert encode_record([]) == b""
        assert decode_record(b"") == []

    def test_the_borders_of_an_entry_fit(self) -> None:
        entries = [(0, 65504.0), (2**32 - 1, -65504.0), (7, 0.0)]
        assert decode_record(encode_record(entries)) == entries

    @pytest.mark.parametrize(
        "entry",
        [
            (-1, 0.0),
            (2**32, 0.0),
            (0, 65520.0),
            (0, -1e6),
            (0, float("nan")),
            (0, float("inf")),
        ],
    )
    def test_what_does_not_fit_is_refused(self, entry: tuple[int, float]) -> None:
        with pytest.raises(BrokenRecord):
            encode_record([(1, 0.5), entry])

    def test_a_record_holds_at_most_a_thousand_entries(self) -> None:
        entries = [(1, 0.5)] * MAX_K
        assert decode_record(encode_record(entries)) == entries
        with pytest.raises(BrokenRecord, match="at most 1000 entries"):
            encode_record([*entries, (1, 0.5)])

    @pytest.mark.parametrize("length", [1, 5, 7, 59, 61])
    def test_a_cut_record_is_broken(self, length: int) -> None:
        with pytest.raises(BrokenRecord, match=f"found {length} bytes"):
            decode_record(bytes(length))

    @pytest.mark.parametrize("score", [b"\x00\x7c", b"\x00\xfc", b"\x00\x7e"])
    def test_a_record_with_an_infinite_score_or_none_is_broken(self, score: bytes) -> None:
        with pytest.raises(BrokenRecord, match="not finite"):
            decode_record(RECORD + b"\x01\x00\x00\x00" + score)

    def test_random_bytes_are_a_record_or_broken_and_nothing_else(self) -> None:
        chance = random.Random(1)
        outcomes = {True: 0, False: 0}
        for _ in range(20_000):
            raw = chance.randbytes(chance.randrange(70))
            outcomes[_reads(lambda raw=raw: encode_record(decode_record(raw)) == raw)] += 1
        assert min(outcomes.values()) > 500


class TestHistories:
    def test_bytes_are_frozen(self) -> None:
        assert encode_history(OWN) == HISTORY
        value = encode_value(RECORD, VECTOR, HISTORY)
        assert value == RECORD + VECTOR + HISTORY + b"\x0d\x00"
        assert split_value(value, len(VECTOR) - 4, 7) == (RECORD, VECTOR, HISTORY)
        assert split_value(RECORD + VECTOR, len(VECTOR) - 4, 0) == (RECORD, VECTOR, b"")
        assert split_value(RECORD, 0, 0) == (RECORD, b"", b"")

    def test_weights_come_back_nearly_as_they_were(self) -> None:
        found = decode_history(HISTORY)
        assert [item for item, _ in found] == [item for item, _ in OWN]
        for (_, weight), (_, given) in zip(found, OWN, strict=True):
            assert math.log1p(weight) == pytest.approx(math.log1p(given), rel=0.022)

    @pytest.mark.parametrize(("weight", "byte"), [(0, 0), (1e-9, 1), (1e12, 254), (1e300, 255)])
    def test_what_no_byte_can_say_is_the_nearest(self, weight: float, byte: int) -> None:
        assert encode_history([(0, weight)]) == bytes((0, byte))

    @pytest.mark.parametrize("own", [[(5, 1.0), (4, 1.0)], [(2**32, 1.0)], [(1, -1.0)], [(-1, 1)]])
    def test_what_does_not_fit_is_refused(self, own: list[tuple[int, float]]) -> None:
        with pytest.raises(BrokenRecord):
            encode_history(own)

    @pytest.mark.parametrize("value", [b"", b"\x01", RECORD, b"\xff" * 40])
    def test_a_value_that_is_too_short_is_a_record_alone(self, value: bytes) -> None:
        assert split_value(value, 128, 7) == (value, b"", b"")

    def test_none_is_longer_than_is_reckoned_and_the_longest_can_be_counted(self) -> None:
        for items in (1, 127, 128, 129, 5000, 2**31):
            for count in (1, 2, 40, MAX_HISTORY):
                step = max(items // count, 1)
                spread = [(n, 1.0) for n in range(step - 1, min(count * step, items), step)]
                longest = history_bytes(count, items)
                assert len(spread) <= len(encode_history(spread)) + 2 <= longest < 2**16
        assert history_bytes(0, 100) == 0
        assert usual_history(1000, 501, 100) == 6 and usual_history(5, 501, 100) == 5
        assert bucket_size(50, 10**6, 128, 100) < bucket_size(50, 10**6, 128) == 37

    def test_random_bytes_are_a_history_or_broken_and_nothing_else(self) -> None:
        chance = random.Random(6)
        outcomes = {True: 0, False: 0}
        for _ in range(5_000):
            raw = chance.randbytes(chance.randrange(12))
            outcomes[_reads(lambda raw=raw: decode_history(raw))] += 1
        assert min(outcomes.values()) > 500


class TestChunks:
    def test_bytes_are_frozen(self) -> None:
        made = [encode_document("1", '{"title":"Zoë"}'), encode_document('a"b')]
        assert made == DOCUMENTS
        assert encode_chunk(made) == CHUNK

    def test_each_document_is_found_by_its_position(self) -> None:
        assert [document(CHUNK, position) for position in (0, 1)] == DOCUMENTS

    def test_a_full_chunk_gives_back_every_document(self) -> None:
        made = [encode_document(f"🎬{n}", json.dumps({"t": "x" * n})) for n in range(CHUNK_SIZE)]
        chunk = encode_chunk(made)
        assert [document(chunk, position) for position in range(CHUNK_SIZE)] == made

    @pytest.mark.parametrize(
        "identifier", [identifier for identifier, *_ in IDS] + ['"', "\\", "\u2028"]
    )
    @pytest.mark.parametrize("members", ["{}", '{"title":"\\"quoted\\" \\\\ Ω \\u0007"}'])
    def test_a_document_is_json_whatever_the_id(self, identifier: str, members: str) -> None:
        read = json.loads(encode_document(identifier, members))
        assert read == {"item": identifier, **json.loads(members)}

    @pytest.mark.parametrize("items", [0, 1, 256, 257, 1_000_000])
    def test_chunks_are_just_enough(self, items: int) -> None:
        assert chunk_count(items) * CHUNK_SIZE >= items > (chunk_count(items) - 1) * CHUNK_SIZE

    @pytest.mark.parametrize("position", [2, 3, 255, 2**31])
    def test_a_position_beyond_the_chunk_is_broken(self, position: int) -> None:
        with pytest.raises(BrokenRecord, match=f"no document {position}"):
            document(CHUNK, position)

    @pytest.mark.parametrize("length", range(len(CHUNK)))
    def test_a_chunk_cut_anywhere_has_not_its_last_document(self, length: int) -> None:
        with pytest.raises(BrokenRecord):
            document(CHUNK[:length], 1)

    @pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"item":"1"', b'"item":"1"}'])
    def test_what_is_no_document_of_an_item_is_broken(self, text: bytes) -> None:
        with pytest.raises(BrokenRecord, match="expected a document"):
            document(encode_chunk([text]), 0)

    def test_random_bytes_are_broken_and_nothing_else(self) -> None:
        chance = random.Random(2)
        for _ in range(20_000):
            raw = chance.randbytes(chance.randrange(60))
            assert not _reads(lambda raw=raw: document(raw, chance.randrange(300)))

    def test_a_chunk_with_flipped_bytes_is_read_or_broken_and_nothing_else(
        self,
    ) -> None:
        chance = random.Random(3)
        outcomes = {True: 0, False: 0}
        for _ in range(20_000):
            raw = bytearray(CHUNK)
            raw[chance.randrange(len(raw))] = chance.randrange(256)
            position = chance.randrange(3)
            outcomes[_reads(lambda raw=raw, at=position: document(bytes(raw), at))] += 1
        assert min(outcomes.values()) > 500


@pytest.mark.parametrize(
    ("factors", "similar", "way"),
    [(128, 4, "re-ranking"), (128, 0, "re-ranking"), (0, 4, "neighbours"), (0, 0, "exclusion")],
)
def test_a_generation_follows_by_the_best_that_it_holds(
    factors: int, similar: int, way: str
) -> None:
    assert follows(factors, similar) == way


class TestManifests:
    def test_the_text_is_frozen(self) -> None:
        assert MANIFEST.to_json() == MANIFEST_TEXT
        assert Manifest.from_json(MANIFEST_TEXT) == MANIFEST
        assert Manifest.from_json(MANIFEST_TEXT.encode()) == MANIFEST

    def test_a_manifest_from_before_it_said_so_does_not_say_how_it_follows(self) -> None:
        before = MANIFEST_TEXT.replace(',"follows":"neighbours"', "")
        assert Manifest.from_json(before) == replace(MANIFEST, follows="")

    def test_a_field_of_a_later_version_is_ignored(self) -> None:
        text = _changed(bandit={"arms": 3})
        assert Manifest.from_json(text) == MANIFEST

    @pytest.mark.parametrize(
        "name",
        [each.name for each in fields(Manifest) if each.default is each.default_factory is MISSING],
    )
    def test_a_missing_field_is_named(self, name: str) -> None:
        raw = json.loads(MANIFEST_TEXT)
        del raw[name]
        with pytest.raises(BrokenRecord, match=f"lacks a field: .*'{name}'"):
            Manifest.from_json(json.dumps(raw))

    @pytest.mark.parametrize("schema", [0, 2, "1", None, True, 1.0, [1]])
    def test_another_schema_is_broken(self, schema: Any) -> None:
        with pytest.raises(BrokenRecord, match="schema"):
            Manifest.from_json(_changed(schema=schema))

    @pytest.mark.parametrize("name", [each.name for each in fields(Manifest)])
    @pytest.mark.parametrize("value", [None, "x", -1, 1.5, [], {}, True])
    def test_a_field_of_another_kind_is_broken_and_named(self, name: str, value: Any) -> None:
        if type(value) is type(getattr(MANIFEST, name)) and value != -1:
            assert getattr(Manifest.from_json(_changed(**{name: value})), name) == value
        else:
            with pytest.raises(BrokenRecord, match=name):
                Manifest.from_json(_changed(**{name: value}))

    def test_one_from_before_there_were_columns_and_histories_is_read(self) -> None:
        old = MANIFEST_TEXT.replace('"history":0,"columns":[],', "")
        assert old != MANIFEST_TEXT and Manifest.from_json(old) == MANIFEST

    def test_columns_are_frozen(self) -> None:
        entries = [["genre", "category", 2**20], ["price", "number", 8]]
        found = Manifest.from_json(_changed(columns=entries))
        genre = Column("genre", "category", 2**20)
        assert found.filter_columns == (genre, Column("price", "number", 8))
        assert genre.entry() == entries[0]
        parts = [key.rpartition(f"{NAME}:")[2] for key in found.keys(Namespace("shop"))]
        assert [part for part in parts if part.startswith("columns")] == ["columns:0", "columns:1"]

    @pytest.mark.parametrize(
        "entries",
        [
            ["genre"],
            [["genre", "category"]],
            [["genre", "text", 8]],
            [[1, "flag", 8]],
            [["genre", "flag", 7]],
            [["genre", "flag", -8]],
            [["genre", "flag", 8.0]],
            [["genre", "flag", 8], ["genre", "date", 8]],
        ],
    )
    def test_columns_that_are_none_are_broken(self, entries: Any) -> None:
        with pytest.raises(BrokenRecord, match="column"):
            Manifest.from_json(_changed(columns=entries))

    def test_a_generation_has_at_least_one_bucket(self) -> None:
        with pytest.raises(BrokenRecord, match="user_buckets of a manifest cannot be 0"):
            Manifest.from_json(_changed(user_buckets=0))

    def test_a_generation_without_similar_items_has_no_bucket_of_them(self) -> None:
        without = Manifest.from_json(_changed(similar_buckets=0))
        space = Namespace("shop")
        assert without == replace(MANIFEST, similar_buckets=0)
        assert not [key for key in without.keys(space) if ":similar:" in key]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "null",
            "[]",
            '"x"',
            "1",
            "{}",
            b"\xff",
            "[" * 100_000,
            MANIFEST_TEXT[:-1],
        ],
    )
    def test_what_is_no_manifest_is_broken(self, text: str | bytes) -> None:
        with pytest.raises(BrokenRecord):
            Manifest.from_json(text)

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
    def test_a_manifest_holds_only_numbers_that_json_has(self, constant: str) -> None:
        with pytest.raises(BrokenRecord, match=f"JSON has no {constant}"):
            Manifest.from_json(MANIFEST_TEXT.replace("0.48", constant))
        with pytest.raises(ValueError, match="JSON compliant"):
            replace(MANIFEST, metrics={"ndcg": float(constant)}).to_json()

    def test_random_bytes_are_broken_and_nothing_else(self) -> None:
        chance = random.Random(4)
        for _ in range(20_000):
            raw = chance.randbytes(chance.randrange(60))
            assert not _reads(lambda raw=raw: Manifest.from_json(raw))

    def test_a_manifest_with_flipped_bytes_is_read_or_broken_and_nothing_else(
        self,
    ) -> None:
        chance = random.Random(5)
        outcomes = {True: 0, False: 0}
        for _ in range(5_000):
            raw = bytearray(MANIFEST_TEXT.encode())
            raw[chance.randrange(len(raw))] = chance.randrange(256)
            outcomes[_reads(lambda raw=raw: Manifest.from_json(bytes(raw)))] += 1
        assert min(outcomes.values()) > 500


def _changed(**values: Any) -> str:
    return json.dumps({**json.loads(MANIFEST_TEXT), **values})


def _reads(read: Any) -> bool:
    """Whether it can be read; every error but BrokenRecord comes through."""
    try:
        read()
    except BrokenRecord:
        return False
    return True


@pytest.mark.parametrize("identifier", ["", "a", "\u07be", "x" * 16, "x" * 17, "\U0010ffff"])
def test_who_takes_a_deleted_users_place_is_nobody(identifier: str) -> None:
    assert nobody()[:1] == b"\xfe" != field(identifier)[:1]
    assert len(nobody()) == 9
    assert nobody() != nobody()


def test_deleted_users_leave_a_sample_of_the_same_length_whatever_their_order() -> None:
    users = ["a", "Zoë", 'b"a', "Zoë2", ' "a', "\\"]
    sample = encode_sample(users)
    for gone in itertools.permutations(users, 3):
        left = bytearray(sample)
        for place, text in filter(None, [blank(sample, user) for user in gone]):
            left[place : place + len(text)] = text
        assert decode_sample(bytes(left)) == [user for user in users if user not in gone]
        assert len(left) == len(sample)
    assert blank(sample, "nobody") is None is blank(b"", "a")
