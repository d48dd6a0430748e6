"""``larder key``: a key is shown once, kept as a digest, listed without it, and revoked."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.contracts.generations import BrokenRecord
from app.contracts.keys import MARK, Key, foreign_id, id_of, keys_key
from app.contracts.recommendations import Namespace
from batch.command.cli import cli
from batch.command.keys import adopt, supersede
from batch.command.options import CacheOptions
from batch.errors import Terminal
from tests.servers import Server, run, run_here

KEY = r"larder_[a-z2-7]{8}_[A-Za-z0-9_-]{43}\n"


@pytest.fixture
def where(server: Server, namespace: Namespace) -> dict[str, str]:
    return {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}


def test_a_key_is_made_shown_once_listed_and_revoked(
    where: dict[str, str], client: Any, namespace: Namespace
) -> None:
    made = run(
        *("key", "add", "--scope", "events, read", "--expires", "90d", "--note", "a | page"),
        variables=where,
    )
    assert made.returncode == 0 and re.fullmatch(KEY, made.stdout)
    key = made.stdout.strip()
    name_of = str(id_of(key))
    assert key not in made.stderr and "has scope read, events, until 20" in made.stderr

    kept_of = client.hgetall(keys_key(namespace.name))
    assert kept_of.pop(MARK) == b""
    ((name, record),) = kept_of.items()
    assert name.decode() == name_of
    kept = Key.decode(record)
    assert kept.is_of(key) and (kept.scopes, kept.note) == (("read", "events"), "a | page")
    assert kept.expires - kept.created == 90 * 86_400
    assert key[16:].encode() not in record

    listed, told = (run_here("key", "list", *more, variables=where) for more in ((), ("--json",)))
    for shown in (listed.stdout, told.stdout):
        assert name_of in shown and "a | page" in shown
        assert kept.sha256 not in shown and key[16:] not in shown
    (one,) = json.loads(told.stdout)["keys"]
    assert (one["scopes"], one["expired"]) == (["read", "events"], False)

    revoked = run_here("key", "revoke", key, variables=where)
    assert (revoked.returncode, key in revoked.stdout) == (0, False)
    assert client.hgetall(keys_key(namespace.name)) == {MARK: b""}  # for the API: not lost
    assert "there is no key in namespace" in run_here("key", "list", variables=where).stdout


@pytest.fixture
def key_of(where: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs ``larder key`` in this process, which is sooner."""
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    return lambda *words: cli.main(["key", *words], standalone_mode=False)


def test_a_key_without_an_end_holds_until_it_is_revoked(
    key_of: Callable[..., None], client: Any, namespace: Namespace, capsys: Any
) -> None:
    key_of("add", "--scope", "admin")
    assert "until it is revoked" in capsys.readouterr().err
    _, record = client.hgetall(keys_key(namespace.name)).values()
    assert Key.decode(record).expires == 0
    key_of("list")
    assert "never" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("add", "--scope", "write"), "--scope must be one or more of read,events,rules,admin"),
        (("add", "--scope", ""), "--scope must be one or more of read,events,rules,admin"),
        (("add", "--scope", "read", "--expires", "soon"), "--expires must be a time such as 90d"),
        (("add", "--scope", "read", "--expires", "0d"), "--expires must be a time such as 90d"),
        (("add", "--scope", "read", "--note", "two\nlines"), "--note must be one line"),
        (("revoke", "larder_aaaaaaaa_hush"), "ID must be the eight characters"),
        (("revoke", "aaaaaaaa"), "holds no key aaaaaaaa"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_kept(
    key_of: Callable[..., None],
    client: Any,
    namespace: Namespace,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    with pytest.raises(Terminal) as raised:
        key_of(*words)
    assert sentence in str(raised.value) and "hush" not in str(raised.value)
    assert not client.exists(keys_key(namespace.name))


def test_a_key_from_elsewhere_is_kept_as_its_digest_and_never_shown(
    key_of: Callable[..., None], client: Any, namespace: Namespace, capsys: Any, tmp_path: Path
) -> None:
    file = tmp_path / "old.key"
    file.write_text("0123456789abcdef\n")
    key_of("add", "--scope", "decide", "--key-file", str(file))
    shown = capsys.readouterr()
    (name,) = client.hgetall(keys_key(namespace.name)).keys() - {b"made"}
    record = client.hget(keys_key(namespace.name), name)
    assert Key.decode(record).is_of("0123456789abcdef")
    assert shown.out == f"{name.decode()}\n" and "has scope decide" in shown.err
    assert "0123456789abcdef" not in shown.err and b"0123456789abcdef" not in record
    key_of("revoke", name.decode())
    assert client.hkeys(keys_key(namespace.name)) == [b"made"]
    for wrong in ("short", "two words of text", "\xff" * 20):
        file.write_bytes(wrong.encode("latin-1"))
        with pytest.raises(Terminal, match="must be 16 to 256 ASCII characters") as raised:
            key_of("add", "--scope", "decide", "--key-file", str(file))
        assert wrong not in str(raised.value)


def test_the_key_of_a_note_takes_the_place_of_the_last_one(
    server: Server, client: Any, namespace: Namespace
) -> None:
    cache = CacheOptions(server.url, namespace)
    adopt("another-key-of-theirs", "decide", None, "shop", cache)
    assert supersede("the-first-of-them-all", "admin", "ApiKey", cache) == []
    assert supersede("the-first-of-them-all", "admin", "ApiKey", cache) == []
    first = foreign_id("the-first-of-them-all")
    assert supersede("the-second-one-of-all", "admin", "ApiKey", cache) == [first]
    kept = {foreign_id(each) for each in ("another-key-of-theirs", "the-second-one-of-all")}
    names = {each.decode() for each in client.hkeys(keys_key(namespace.name)) if each != MARK}
    assert names == kept


def test_a_record_that_cannot_be_read_can_be_revoked(
    key_of: Callable[..., None], client: Any, namespace: Namespace
) -> None:
    client.hset(keys_key(namespace.name), "aaaaaaaa", "x")
    with pytest.raises(BrokenRecord, match="'larder key revoke' removes it: b'aaaaaaaa'"):
        key_of("list")
    key_of("revoke", "aaaaaaaa")
    assert not client.exists(keys_key(namespace.name))
