"""An export holds what is served, of everybody, or is not there."""

import csv
import errno
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, Namespace, encode_record
from batch.errors import (
    BadInteractions,
    BadSettings,
    CacheUnavailable,
    DiskUnavailable,
    GenerationGone,
)
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.generations.registry import Generations
from batch.recommendations.published import read
from batch.recommendations.published.deletion import forget
from batch.recommendations.published.export import Exported, export
from batch.recommendations.published.read import Reader
from batch.recommendations.published.show import show
from batch.recommendations.published.wish import FORMATS, Wish
from tests.batch.recommendations.published.by_hand import publish_lists
from tests.generations import live_contents, publish_by_hand
from tests.servers import Cluster, Server

# Python 3.12 and later warn of a fork beside threads; this child only exports and dies.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

ODD = ['a,"b', "line\nbreak\r", "'", "NULL", " ", "=1+1", "ü" * 8, "\\N", '"', "0"]
LONG = ["x" * 17, "ü" * 9, "0f8fad5b-d9cb-469f-a165-70867728950e"]


def rows(file: str) -> list[tuple[Any, ...]]:
    """What a reader of that format finds, with numbers for rank and score."""
    if file.endswith(".parquet"):
        return duckdb.read_parquet(file).fetchall()
    with open(file, newline="", encoding="utf-8") as stream:
        _, *found = csv.reader(stream)
    return [(a, int(rank), b, float(score), *more) for a, rank, b, score, *more in found]


def exported(
    client: Any,
    namespace: Namespace,
    manifest: Manifest,
    folder: Path,
    wish: Wish,
    advance: Callable[[int], None] = lambda done: None,
) -> Exported:
    reader = Reader(client, namespace, manifest, wish.k or manifest.k)
    return export(reader, folder, wish, advance=advance)


def by_user(file: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each user, which stand together, in order of their ranks."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    before = None
    for user, rank, *entry in rows(file):
        assert rank == 1 + len(found.get(user, ())) and (rank == 1 or user == before)
        found.setdefault(user, []).append(tuple(entry))
        before = user
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_the_file_of_a_live_generation_holds_what_is_served(
    client: Any, namespace: Namespace, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "ENTRIES_AT_A_TIME", 300)  # several pieces
    users = [f"u{n}" for n in range(200)]
    manifest, made = live_contents(namespace, users, [f"i{n}" for n in range(40)], 3, 6)
    with hold(client, namespace) as lease:
        manifest = publish(client, namespace, manifest, made, lease)
    told: list[int] = []
    wish = Wish(format=form)
    done = exported(client, namespace, manifest, tmp_path / "new", wish, advance=told.append)
    assert (done.users, done.popular, sum(told)) == (200, 0, 200) and len(told) > 1
    assert done.files == [str(tmp_path / "new" / f"recommendations-{manifest.generation}.{form}")]
    found = by_user(done.files[0])
    assert found.keys() == set(users)
    for user in users[::20]:
        entries = show(client, namespace, user).entries
        assert found[user] == [
            (text.split('"')[3], pytest.approx(score), "personal") for text, score in entries
        ]


@pytest.mark.parametrize("form", FORMATS)
def test_odd_ids_come_back_as_they_are(
    client: Any, namespace: Namespace, tmp_path: Path, form: str
) -> None:
    manifest = publish_by_hand(client, namespace, users=ODD + LONG, items=LONG + ODD)
    known = tmp_path / "orders.csv"
    known.write_text("\n".join(["user,item", *(f"{user},i" for user in [*LONG, "short"])]))
    wish = Wish(format=form, similar=True, users=(str(known),))
    done = exported(client, namespace, manifest, tmp_path, wish)
    users, similar = map(by_user, done.files)
    assert users.keys() == similar.keys() == {*ODD, *LONG}
    assert [item for item, *_ in users[ODD[1]]] == (LONG + ODD)[1:4]
    assert similar[LONG[0]] == [(LONG[1], 1.0), (LONG[2], 0.875), (ODD[0], 0.75)]
    assert done.similar == len(ODD + LONG) and done.unnamed == 0


def test_ids_that_are_but_digests_need_a_file_that_has_them(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    manifest = publish_by_hand(client, namespace, users=["short", *LONG])
    with pytest.raises(BadSettings, match="--users orders.csv"):
        exported(client, namespace, manifest, tmp_path / "new", Wish())
    assert not (tmp_path / "new").exists()
    known = tmp_path / "known.csv"
    known.write_text(f"user\n{LONG[0]}\n")
    done = exported(client, namespace, manifest, tmp_path / "new", Wish(users=(str(known),)))
    assert (done.users, done.unnamed) == (2, 2)
    assert by_user(done.files[0]).keys() == {"short", LONG[0]}
    known.write_text("customer\nx\n")
    with pytest.raises(BadInteractions, match="--user-column"):
        exported(client, namespace, manifest, tmp_path / "new", Wish(users=(str(known),)))


def test_it_says_whose_list_is_popular_and_leaves_out_who_has_none(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    lists = {"own": ["b", "a"], "new": ["a", "c"], "done": [], "gone": ["a"]}
    items = ["a", "b", "c"]
    manifest = publish_lists(client, namespace, "g1", lists, items, popular=frozenset({"new"}))
    forget(client, namespace, "gone")
    done = exported(client, namespace, manifest, tmp_path, Wish(k=1))
    assert replace(done, files=[]) == Exported(users=2, popular=1, unnamed=0, similar=0, files=[])
    assert sorted(rows(done.files[0])) == [
        ("new", 1, "a", 1.0, "popular"),
        ("own", 1, "b", 1.0, "personal"),
    ]


def test_a_generation_of_nobody_with_a_list_makes_an_empty_file(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    manifest = publish_lists(client, namespace, "g1", {"done": []}, ["a"], k=1)
    done = exported(client, namespace, manifest, tmp_path, Wish(format="csv"))
    assert Path(done.files[0]).read_text() == "user,rank,item,score,source\n"


def test_it_is_the_same_from_a_cluster(
    cluster: Cluster, namespace: Namespace, tmp_path: Path
) -> None:
    with connect(cluster.url) as client:
        manifest = publish_by_hand(client, namespace, users=[f"u{n}" for n in range(500)])
        done = exported(client, namespace, manifest, tmp_path, Wish(similar=True))
    users, similar = map(by_user, done.files)
    assert users["u7"] == [
        ("i7", 1.0, "personal"),
        ("i8", 0.875, "personal"),
        ("i9", 0.75, "personal"),
    ]
    assert len(users) == 500 and len(similar) == 10


def deleted(client: Any, namespace: Namespace, manifest: Manifest) -> None:
    publish_by_hand(client, namespace, "g2")
    assert Generations(client, namespace).delete(manifest)


def withdrawn(client: Any, namespace: Namespace, manifest: Manifest) -> None:
    Generations(client, namespace).roll_back("g0")


def evicted(client: Any, namespace: Namespace, manifest: Manifest) -> None:
    client.unlink(namespace.user_bucket("g1", manifest.user_buckets - 1))


@pytest.mark.parametrize(
    ("harm", "error", "sentence"),
    [
        (deleted, GenerationGone, "g1 was deleted while it was read"),
        (withdrawn, GenerationGone, "g1 was withdrawn while it was read"),
        (
            evicted,
            CacheUnavailable,
            "g1 is not whole any more: .* should hold .* does the cache evict",
        ),
    ],
)
@pytest.mark.parametrize("at_a_time", [100, 100_000])
def test_what_goes_away_meanwhile_makes_no_file(
    client: Any,
    namespace: Namespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Any, Namespace, Manifest], None],
    error: type[Exception],
    sentence: str,
    at_a_time: int,
) -> None:
    """Whether it is noticed between two pieces, or when all is read."""
    monkeypatch.setattr(read, "ENTRIES_AT_A_TIME", at_a_time)
    publish_by_hand(client, namespace, "g0")
    manifest = publish_by_hand(client, namespace, "g1", users=[f"u{n}" for n in range(200)])
    harms = [harm]

    def once(done: int) -> None:
        if harms:
            harms.pop()(client, namespace, manifest)

    with pytest.raises(error, match=sentence):
        exported(client, namespace, manifest, tmp_path / "new", Wish(), advance=once)
    assert not (tmp_path / "new").exists()


def test_documents_that_are_gone_are_missed(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    manifest = publish_by_hand(client, namespace)
    client.unlink(namespace.chunk(manifest.generation, 0))
    with pytest.raises(CacheUnavailable, match="not whole any more: .* bytes, found"):
        exported(client, namespace, manifest, tmp_path, Wish())


@pytest.mark.parametrize(
    "record", [b"1234567", encode_record([(10, 0.5)]), b"\0\0\0\0\0\x7c"], ids=repr
)
def test_what_nobody_could_have_published_is_no_list(
    client: Any, namespace: Namespace, tmp_path: Path, record: bytes
) -> None:
    """Of 7 bytes, of an item that is not there, of an infinite score."""
    manifest = publish_by_hand(client, namespace)
    key, name = manifest.user_place(namespace, "u7")
    client.hset(key, name, record)
    with pytest.raises(BrokenRecord, match="a list of generation"):
        exported(client, namespace, manifest, tmp_path, Wish())


def test_a_withdrawn_generation_can_be_exported_by_its_name(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    publish_by_hand(client, namespace, "g0")
    publish_by_hand(client, namespace, "g1")
    Generations(client, namespace).roll_back("g0")
    manifest = read.manifest_of(client, namespace, "g1")
    assert manifest.state == "withdrawn"
    assert exported(client, namespace, manifest, tmp_path, Wish()).users == 100


def test_a_full_disk_leaves_the_file_that_was_there(
    client: Any, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = publish_by_hand(client, namespace)
    done = exported(client, namespace, manifest, tmp_path, Wish())
    before = Path(done.files[0]).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskUnavailable, match="no file is half-written: make room"):
        exported(client, namespace, manifest, tmp_path, Wish(k=1))
    assert [each.name for each in tmp_path.iterdir()] == [Path(done.files[0]).name]
    assert Path(done.files[0]).read_bytes() == before


def test_a_run_that_is_killed_leaves_no_file_of_that_name(
    server: Server, client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    manifest = publish_by_hand(client, namespace)
    run = multiprocessing.get_context("fork").Process(
        target=_export_until_killed, args=(server.url, namespace, manifest, tmp_path), daemon=True
    )
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".") and left.stat().st_size > 0
    assert exported(client, namespace, manifest, tmp_path, Wish()).users == 100


def _export_until_killed(url: str, namespace: Namespace, manifest: Manifest, folder: Path) -> None:
    """It dies when all is written, before the file has its name."""
    with pytest.MonkeyPatch.context() as patch, connect(url) as client:
        patch.setattr(os, "replace", lambda *paths: os.kill(os.getpid(), signal.SIGKILL))
        exported(client, namespace, manifest, folder, Wish())


def test_similar_items_that_were_not_published_are_missed(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    manifest = publish_by_hand(client, namespace, similar_buckets=0)
    with pytest.raises(BadSettings, match="without similar items"):
        exported(client, namespace, manifest, tmp_path, Wish(similar=True))
