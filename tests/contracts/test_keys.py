"""The form of a key and of its record, and where a server may listen without keys."""

import re
from itertools import count
from typing import Any

import pytest

from app.contracts import keys
from app.contracts.generations import BrokenRecord
from app.contracts.keys import (
    Key,
    digest,
    foreign_id,
    id_of,
    is_private,
    new_key,
    problem_of,
)
from app.contracts.recommendations import Namespace

KEY = "larder_aaaaaaaa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
RECORD = (
    '{"sha256": "9fa93a6d5e1d6f1ef3ca1b6ab86bd6a26eb0ee8a0e6e0a55c6f2ab1a0b5a3b5d", '
    '"scopes": ["read"], "expires": 5, "note": "é", "created": 4}'
)


def test_the_name_is_frozen_and_in_the_slot_of_the_control_keys() -> None:
    assert keys.keys_key("shop") == "larder:1:{shop}:keys"
    assert Namespace("shop").live.partition("}")[0] == keys.keys_key("shop").partition("}")[0]


def test_the_mark_is_frozen_and_no_key_has_it_for_an_id() -> None:
    assert keys.MARK == b"made"
    assert not keys.is_id(keys.MARK.decode())


def test_the_bytes_are_frozen() -> None:
    assert new_key(bytes) == KEY
    assert digest(KEY) == "a79b0800b1190f01fbf06f9a56f288b261fa67cbc85e80915ad85ecfa7fbf7d0"
    key = Key(
        "9fa93a6d5e1d6f1ef3ca1b6ab86bd6a26eb0ee8a0e6e0a55c6f2ab1a0b5a3b5d", ("read",), 5, "é", 4
    )
    assert (key.encode(), Key.decode(RECORD.encode())) == (RECORD, key)


def test_every_key_has_its_form() -> None:
    numbers = count()
    for _ in range(200):
        made = new_key(lambda size: bytes((next(numbers) * 37 + n * 11) % 256 for n in range(size)))
        assert id_of(made) == made[7:15] and len(made) == 59


@pytest.mark.parametrize(
    "text", ["", "larder_", KEY + "A", KEY[:-1], KEY.upper(), KEY + "\n", KEY.replace("A", "é")]
)
def test_what_is_no_key_has_no_id(text: str) -> None:
    assert id_of(text) is None


def test_a_key_from_elsewhere_is_found_by_what_its_digest_begins_with() -> None:
    assert foreign_id("0123456789abcdef") == "t6pvcepx"
    assert keys.is_id(str(foreign_id("!~" * 128)))


@pytest.mark.parametrize(
    "text",
    ["", "0123456789abcde", "x" * 257, "0123456789abcde ", "0123456789abcdé", KEY, "a\n" * 9],
)
def test_what_may_be_no_key_from_elsewhere_has_no_id(text: str) -> None:
    assert foreign_id(text) is None


def test_only_the_key_itself_is_of_its_record() -> None:
    record = Key(digest(KEY), ("read",))
    assert record.is_of(KEY)
    assert not record.is_of(KEY[:-1] + "B")


def test_a_key_may_what_its_scopes_say_and_admin_all() -> None:
    assert Key("", ("events",)).allows("events") and not Key("", ("events",)).allows("read")
    assert all(Key("", ("admin",)).allows(scope) for scope in keys.SCOPES)
    assert Key("", (), expires=5).has_expired(5.0) and not Key("", (), expires=5).has_expired(4.9)
    assert not Key("", ()).has_expired(1e12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (RECORD, "[]"),
        (RECORD, "x"),
        (RECORD, "[" * 100_000),
        ('"expires": 5, ', ""),
        ("5,", "NaN,"),
        ("5,", "-5,"),
        ("5,", "true,"),
        ('["read"]', "[[]]"),
        ('["read"]', "1"),
        ('"é"', "1"),
    ],
)
def test_a_record_that_nobody_wrote_is_refused_and_not_repeated(old: str, new: str) -> None:
    with pytest.raises(BrokenRecord) as raised:
        Key.decode(RECORD.replace(old, new).encode())
    assert "9fa9" not in str(raised.value)


@pytest.mark.parametrize(
    ("bind", "private"),
    [
        ("127.0.0.1:8000", True),
        ("127.8.8.8:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/run/api.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        (":8000", False),
        ("api.localhost.example.com:1", False),
        ("fd://3", False),
    ],
)
def test_off_is_for_this_machine_alone(bind: str, private: bool) -> None:
    assert is_private(bind) is private
    assert bool(problem_of("off", bind)) is not private
    found: Any = {mode: problem_of(mode, bind) for mode in ("on", "proxy")}
    assert found == {"on": "", "proxy": ""}


def test_the_refusal_names_both_ways_out() -> None:
    ways = re.findall("LARDER_AUTH=([a-z]+)", problem_of("off", "0.0.0.0:80"))
    assert ways == ["off", "on", "proxy"]
