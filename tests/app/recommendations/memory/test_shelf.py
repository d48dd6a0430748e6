"""One file of documents a machine and generation: verified, shared, and gone in its time."""

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Namespace, encode_chunk, encode_document
from app.contracts.rules import NONE, Version
from app.recommendations.memory.documents import Documents, write
from app.recommendations.memory.factors import ALIGNMENT, laid_out
from app.recommendations.memory.shelf import BeingMade, Shelf
from tests.app.served import watching
from tests.generations import MANIFEST, publish_by_hand
from tests.servers import Server

FIRST = replace(MANIFEST, generation="20260101T000000Z-0001", items=300)
SECOND = replace(FIRST, generation="20260101T000001Z-0002")
IDS = ["a/b", 'q"\\', "Zoë \U0001f600", "x" * 1024, *(f"i{n}" for n in range(296))]
DOCUMENTS = [encode_document(item, f'{{"title":"Title of {n}"}}') for n, item in enumerate(IDS)]
CHUNKS = [encode_chunk(DOCUMENTS[:256]), encode_chunk(DOCUMENTS[256:])]
URL = "redis://me:hunter2@cache:6379/0"


def fill(file: BinaryIO) -> None:
    write(file, FIRST, b"popular", CHUNKS)


def refuse(file: BinaryIO) -> None:
    raise AssertionError("it is there")


def shelf(parent: Path, namespace: str = "shop") -> Shelf:
    return Shelf(str(parent), URL, namespace)


def files(parent: Path) -> list[Path]:
    return sorted((parent / f"larder-{os.geteuid()}").iterdir())


class TestDocuments:
    def test_every_document_is_found_and_no_other(self, tmp_path: Path) -> None:
        memory = BytesIO()
        fill(memory)
        for found in (Documents.of(memory.getvalue()), shelf(tmp_path).documents(FIRST, fill)):
            assert [found.opening(item) + b"}" for item in range(300)] == DOCUMENTS
            assert (found.manifest, found.popular) == (FIRST, b"popular")
            for item in (300, 301, 2**32 - 1):
                with pytest.raises(BrokenRecord, match=f"names item {item}, beyond the last"):
                    found.opening(item)

    @pytest.mark.parametrize("chunks", [CHUNKS[:1], CHUNKS[::-1][:1], [b""], [b"\xff" * 99]])
    def test_chunks_that_are_not_all_are_no_generation(
        self, chunks: list[bytes], tmp_path: Path
    ) -> None:
        with pytest.raises(BrokenRecord):
            shelf(tmp_path).documents(FIRST, lambda file: write(file, FIRST, b"", chunks))
        assert files(tmp_path) == []


WIDTH = 8
LIVE = replace(FIRST, factors=WIDTH)


def factors() -> tuple[Any, Any, bytes]:
    """Rows of factors with their norms falling, which item each is of, and a model."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((300, WIDTH)).astype(np.float16)
    rows = rows[np.argsort(-np.linalg.norm(rows.astype(np.float32), axis=1))]
    items = rng.permutation(300).astype("<u4")
    numbers = np.arange(WIDTH * WIDTH + WIDTH + 2, dtype="<f4")
    return rows, items, numbers.tobytes() + items.tobytes()


def live(file: BinaryIO) -> None:
    rows, _, model = factors()
    halves = [rows[:200].tobytes(), rows[200:].tobytes()]
    write(file, LIVE, b"popular", CHUNKS, (), laid_out(LIVE, model, halves))


class TestFollowing:
    def test_columns_lie_as_they_came_and_others_are_no_generation(self, tmp_path: Path) -> None:
        manifest = replace(FIRST, columns=[["a", "flag", 304], ["b", "number", 1200]])
        parts = [b"a" * 1000, b"b" * 504]
        found = shelf(tmp_path).documents(
            manifest, lambda file: write(file, manifest, b"", CHUNKS, parts)
        )
        assert bytes(found.columns) == b"".join(parts)
        assert np.frombuffer(found.columns, np.uint8).ctypes.data % 8 == 0
        with pytest.raises(BrokenRecord, match="1000 bytes of columns"):
            write(BytesIO(), manifest, b"", CHUNKS, parts[:1])

    def test_every_item_is_found_by_its_id_and_no_other(self, tmp_path: Path) -> None:
        found = shelf(tmp_path).documents(LIVE, live, "live")
        assert [found.find(item) for item in IDS] == list(range(300))
        for other in ("", "i", "i296", "q", 'q"', "I0", "\ud800", 'i1"', "x" * 1023):
            assert found.find(other) is None

    def test_two_ids_of_one_hash_are_told_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.recommendations.memory.documents._hash", lambda item: len(item))
        memory = BytesIO()
        live(memory)
        find = Documents.of(memory.getvalue()).find
        assert [find(item) for item in IDS] == list(range(300))
        assert find("i999") is None

    def test_the_factors_lie_as_they_are_multiplied(self, tmp_path: Path) -> None:
        found = shelf(tmp_path).documents(LIVE, live, "live").factors
        rows, items, model = factors()
        assert found is not None and found.width == WIDTH
        wide = np.frombuffer(found.rows, np.float32).reshape(300, WIDTH)
        assert wide.ctypes.data % ALIGNMENT == 0 and wide.tolist() == rows.tolist()
        norms = np.frombuffer(found.norms, np.float32)
        assert np.all(np.diff(norms) <= 0) and np.all(norms >= np.linalg.norm(wide, axis=1))
        assert np.frombuffer(found.items, np.uint32).tolist() == items.tolist()
        assert np.frombuffer(found.places, np.uint32)[items].tolist() == list(range(300))
        assert bytes(found.matrix) + bytes(found.mean) == model[: 4 * (WIDTH + 1) * WIDTH]
        assert (found.confidence, found.penalty) == (WIDTH * (WIDTH + 1), WIDTH * (WIDTH + 1) + 1)

    def test_without_factors_the_file_has_documents_all_the_same(self, tmp_path: Path) -> None:
        plain = shelf(tmp_path).documents(LIVE, lambda file: write(file, LIVE, b"", CHUNKS))
        assert plain.factors is None and plain.find(IDS[299]) == 299
        assert plain.opening(299) + b"}" == DOCUMENTS[299]

    @pytest.mark.parametrize("damage", ["short", "long", "model", "twice", "cut"])
    def test_factors_of_other_items_are_no_generation(self, damage: str) -> None:
        rows, items, model = factors()
        chunks = {
            "short": [rows[:299].tobytes()],
            "long": [rows.tobytes(), rows[:1].tobytes()],
            "cut": [rows.tobytes()[:-1]],
        }
        if damage == "model":
            model = model[:-4]
        if damage == "twice":
            model = model[:-4] + items[:1].tobytes()
        with pytest.raises(BrokenRecord):
            list(laid_out(LIVE, model, chunks.get(damage, [rows.tobytes()])))

    def test_a_document_without_an_id_is_no_generation(self) -> None:
        chunk = encode_chunk([b'{"item":7}'])
        one = replace(FIRST, items=1)
        with pytest.raises(BrokenRecord, match="expected the id of an item"):
            write(BytesIO(), one, b"", [chunk])


class TestTheFile:
    def test_it_is_made_once_and_its_name_tells_no_secret(self, tmp_path: Path) -> None:
        shelf(tmp_path).documents(FIRST, fill)
        (file,) = files(tmp_path)
        assert shelf(tmp_path).documents(replace(FIRST, state="withdrawn"), refuse).popular
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert file.stat().st_mode & 0o777 == 0o600
        other = Shelf(str(tmp_path), URL.replace("hunter2", "*******"), "shop")
        assert other.documents(FIRST, refuse).popular

    @pytest.mark.parametrize("at", [0, 18, 30, 50, 9_000, -20, -1])
    def test_a_damaged_one_is_made_again(
        self, at: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shelf(tmp_path).documents(FIRST, fill)
        (file,) = files(tmp_path)
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[at] ^= 1
        for content in (bytes(damaged), whole[:at], b"", whole + b"x"):
            file.write_bytes(content)
            assert shelf(tmp_path).latest() is None
            assert shelf(tmp_path).documents(FIRST, fill).popular == b"popular"
            assert files(tmp_path) == [file] and file.read_bytes() == whole
        assert "is damaged" in caplog.text

    def test_the_one_before_goes_although_it_is_in_use(self, tmp_path: Path) -> None:
        before = shelf(tmp_path).documents(FIRST, fill)
        shelf(tmp_path).documents(SECOND, fill)
        assert len(files(tmp_path)) == 1
        assert before.opening(299) + b"}" == DOCUMENTS[299]

    def test_that_of_another_namespace_goes_when_its_server_was_not_there_for_a_week(
        self, tmp_path: Path
    ) -> None:
        served = shelf(tmp_path, "served").documents(FIRST, fill)
        shelf(tmp_path, "stopped").documents(FIRST, fill)
        shelf(tmp_path).documents(FIRST, fill)
        assert len(files(tmp_path)) == 3
        for each in files(tmp_path):
            os.utime(each, (0, 0))
        shelf(tmp_path).documents(FIRST, fill)
        assert len(files(tmp_path)) == 2
        assert shelf(tmp_path, "served").documents(FIRST, refuse).manifest == served.manifest
        assert shelf(tmp_path, "stopped").latest() is None

    def test_the_last_one_is_there_while_the_cache_is_away(self, tmp_path: Path) -> None:
        assert shelf(tmp_path).latest() is None
        shelf(tmp_path).documents(FIRST, fill)
        found = shelf(tmp_path).latest()
        assert found is not None and found.manifest == FIRST


@contextmanager
def making(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker in the middle of writing the file."""
    code = (
        "import sys\n"
        "from tests.app.recommendations.memory.test_shelf import FIRST, Path, shelf\n"
        "def write(file):\n"
        "    file.write(b'half'); file.flush(); print(flush=True); sys.stdin.read()\n"
        "shelf(Path(sys.argv[1])).documents(FIRST, write)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_rules_stay_for_as_long_as_documents_beside_them(tmp_path: Path) -> None:
    version = Version(3, "", "", "", {"hide": ["ü"]})
    shelf(tmp_path).keep(version)
    assert files(tmp_path) == [], "nothing is served from here"
    for name in ("shop", "another"):
        shelf(tmp_path, name).documents(FIRST, fill)
    shelf(tmp_path).keep(version)
    for each in files(tmp_path):
        os.utime(each, (0, 0))
    served = shelf(tmp_path).documents(FIRST, refuse)
    shelf(tmp_path, "third").documents(FIRST, fill)
    assert served.popular and shelf(tmp_path).rules() == version
    assert shelf(tmp_path, "another").rules() == NONE
    del served
    shelf(tmp_path, "third").documents(SECOND, fill)
    shelf(tmp_path, "third").documents(FIRST, fill)
    assert [file.suffix for file in files(tmp_path)] == [".documents"]


def test_one_worker_makes_it_and_a_killed_one_leaves_nothing(tmp_path: Path) -> None:
    with making(tmp_path) as process:
        with pytest.raises(BeingMade):
            shelf(tmp_path).documents(FIRST, fill)
        shelf(tmp_path).documents(SECOND, fill)
        assert len(files(tmp_path)) == 2, "what is being made is left alone"
        process.kill()
        process.wait()
    shelf(tmp_path, "another").documents(SECOND, fill)
    assert {file.suffix for file in files(tmp_path)} == {".documents"}
    with making(tmp_path) as process:
        process.kill()
        process.wait()
    assert shelf(tmp_path).documents(FIRST, fill).popular == b"popular"
    assert {file.suffix for file in files(tmp_path)} == {".documents"}


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow over 4 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestWithoutAFile:
    @pytest.mark.parametrize("why", ["unwritable", "open to others", "a link", "full"])
    def test_a_worker_answers_from_memory_of_its_own_and_says_so(
        self,
        why: str,
        server: Server,
        client: Any,
        namespace: Namespace,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.WARNING)
        publish_by_hand(client, namespace, items=[f"i{n}" for n in range(1000)])
        ours = tmp_path / f"larder-{os.geteuid()}"
        if why == "unwritable":
            ours.write_text("a file")
        elif why == "a link":
            ours.symlink_to(tmp_path)
        else:
            ours.mkdir(0o700 if why == "full" else 0o755)
        with full_disk() if why == "full" else nullcontext():
            with watching(server, namespace, documents_folder=str(tmp_path)) as watcher:
                opening = watcher.live().opening
        assert opening(999) == b'{"item":"i999","title":"Title of 999"'
        assert "this worker has them in its memory" in caplog.text
        assert why != "full" or files(tmp_path) == []

    def test_workers_share_what_one_has_loaded(
        self, server: Server, client: Any, namespace: Namespace, tmp_path: Path
    ) -> None:
        publish_by_hand(client, namespace)
        with watching(server, namespace, documents_folder=str(tmp_path)):
            client.delete(namespace.chunk(FIRST.generation, 0))
            with watching(server, namespace, documents_folder=str(tmp_path)) as second:
                assert second.live().opening(9) == b'{"item":"i9","title":"Title of 9"'
