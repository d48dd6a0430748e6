"""Models that are published: listed, shown, rolled back, exported and imported again."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from app.contracts.clicks import Clicks
from app.contracts.recommendations import Namespace
from app.contracts.refreshes import Refresh, refreshes_key
from batch.clicks import export
from batch.clicks.contents import read_model, read_users
from batch.errors import BadSettings
from batch.generations.registry import Generations
from tests.clicks import manifest_of, model, publish_by_hand, trees
from tests.servers import Server, run_here

OLD, NEW = "20260101T000000.000Z-0001", "20260102T000000.000Z-0002"
LONG = "a user whose id is longer than the cache keeps as it is"
USERS = {"u1": b'{"price":3,"brand":"acme"}', LONG: b'{"brand":"b\xc3\xb6lt"}'}
METRICS = {
    "model": {"auc": 0.7, "ne": 0.9, "ratio": 1.01},
    "live": None,
    "importance": {"brand": 0.7, "price": 0.3},
}


@pytest.fixture
def space(namespace: Namespace) -> Clicks:
    return Clicks(namespace.name)


@pytest.fixture
def where(server: Server, space: Clicks) -> tuple[str, ...]:
    return "--cache-url", server.url, "--namespace", space.name


def test_models_are_listed_shown_and_rolled_back(
    client: Any, space: Clicks, where: tuple[str, ...]
) -> None:
    assert "nothing is published" in run_here("clicks", "models", *where).stdout
    assert "no click model is live" in run_here("clicks", "show", *where).stderr
    assert "no click model is live" in run_here("clicks", "rollback", *where).stderr
    until = {"trees": 3, "until": 1_795_219_189_000_000}
    publish_by_hand(client, space, OLD, metrics=METRICS, settings=until)
    publish_by_hand(client, space, NEW)
    listed = run_here("clicks", "models", *where).stdout.splitlines()
    assert listed[1].split()[:2] == [NEW, "live"]
    assert f"{OLD}  complete   400        3      3  0.7000  0.9000    1.0100      no" == listed[2]
    told = json.loads(run_here("clicks", "models", "--json", *where).stdout)
    assert told["live"] == NEW and [each["auc"] for each in told["generations"]] == [None, 0.7]
    shown = run_here("clicks", "show", OLD, *where).stdout
    assert ["AUC", "0.7"] in [line.split() for line in shown.splitlines()]
    assert "brand   category      70.00%" in shown and "until 2026-11-20 23:59:49 UTC" in shown
    assert json.loads(run_here("clicks", "show", "--json", *where).stdout)["generation"] == NEW
    assert run_here("clicks", "rollback", *where).returncode == 0
    assert Generations(client, space).live() == OLD
    record = Refresh.from_json(client.lindex(refreshes_key(space.name), 0))
    assert (record.kind, record.generation) == ("rollback of the click model", OLD)
    again = run_here("clicks", "rollback", *where)
    assert again.returncode == 2 and f"{NEW} was rolled back from" in again.stderr
    assert "'larder clicks rollback GENERATION' takes any" in again.stderr
    assert "published are: " in run_here("clicks", "show", "other", *where).stderr


def test_what_is_exported_is_imported_as_it_was(
    client: Any, space: Clicks, where: tuple[str, ...], tmp_path: Path
) -> None:
    made = model(negatives_kept=0.5, blend=True)
    first = publish_by_hand(client, space, made=made, users=USERS, metrics=METRICS)
    folder = tmp_path / "model"
    done = run_here("clicks", "export", str(folder), *where)
    assert done.returncode == 0, done.stderr
    assert sorted(each.name for each in folder.iterdir()) == [
        "linear.json",
        "manifest.json",
        "model.txt",
        "tables.jsonl",
        "users.jsonl",
    ]
    assert (folder / "model.txt").read_text() == trees()
    done = run_here("clicks", "import", str(folder), *where)
    assert done.returncode == 0, done.stderr
    second = Generations(client, space).live_manifest()
    assert second is not None and second.generation > first.generation and second.forced
    assert second.settings["imported"] == first.generation
    assert run_here("clicks", "models", *where).stdout.splitlines()[1].endswith("  imported")
    assert (second.metrics, second.hashes) == (METRICS, first.hashes)
    assert read_model(client, space, second).sections() == made.sections()
    before, after = (dict(read_users(client, space, each)) for each in (first, second))
    assert before == after and len(after) == 2


def exported(folder: Path, **told: Any) -> None:
    made = model(blend=True)
    manifest = manifest_of(made, 1, **told)
    export.write(folder, export.Exported(manifest, made, {b"u1": b"{}"}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "expected manifest.json"),
        (lambda folder: (folder / "model.txt").unlink(), "model.txt: there is no such file"),
        (lambda folder: cut(folder / "manifest.json"), "a manifest is not JSON"),
        (lambda folder: cut(folder / "model.txt"), "model.txt is not the file"),
        (lambda folder: cut(folder / "tables.jsonl"), "tables.jsonl is not the file"),
        (lambda folder: cut(folder / "users.jsonl"), "only with its own tables"),
    ],
)
def test_a_folder_that_is_not_as_it_was_exported_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    exported(tmp_path)
    assert export.read(tmp_path).model.linear == model(blend=True).linear
    spoil(tmp_path)
    with pytest.raises(BadSettings, match=told):
        export.read(tmp_path)


def test_trees_and_tables_of_two_models_are_refused(tmp_path: Path) -> None:
    exported(tmp_path / "one")
    other = replace(model(blend=True), trees=trees((1.0, 2.0, 3.0)))
    export.write(tmp_path / "two", export.Exported(manifest_of(other), other, {}))
    (tmp_path / "two" / "model.txt").replace(tmp_path / "one" / "model.txt")
    with pytest.raises(BadSettings, match="model.txt is not the file"):
        export.read(tmp_path / "one")


def test_trees_that_this_lightgbm_cannot_use_are_refused(tmp_path: Path) -> None:
    made = replace(model(), trees="tree\nversion=v9\nlater=1\n")
    manifest = manifest_of(made, lightgbm="99.1.0")
    export.write(tmp_path, export.Exported(manifest, made, {}))
    with pytest.raises(BadSettings, match="LightGBM .* cannot use the trees"):
        export.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("model.txt", "idx=4\n", "idx=9\n", "max_feature_idx=9, expected 4"),
        ("model.txt", "split_feature=3", "split_feature=99999999", "a column beyond the 5"),
        ("model.txt", "left_child=-1", "left_child=0", "make no tree"),
        ("model.txt", "leaf_value=0.5", "leaf_value=nan", "finite number for each leaf"),
        ("tables.jsonl", '"weight": 0.0', '"weight": NaN', "not finite"),
        ("linear.json", "[0.0,0.0]", "[NaN,0.0]", "no finite numbers"),
        ("linear.json", "[[[10.0],[0.0,0.0],0.0]]", "[]", "no bins of 1 columns"),
    ],
)
def test_what_no_worker_could_answer_from_is_not_imported(
    tmp_path: Path, name: str, old: str, new: str, told: str
) -> None:
    """Whoever changed the file has put its hash into the manifest, too."""
    exported(tmp_path)
    path, manifest = tmp_path / name, tmp_path / "manifest.json"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    was, now = (sha256(each.encode()).hexdigest() for each in (before, path.read_text()))
    manifest.write_text(manifest.read_text().replace(was, now))
    with pytest.raises(BadSettings, match=told):
        export.read(tmp_path)


def test_a_model_of_a_newer_lightgbm_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported(tmp_path, lightgbm="99.1.0")
    with caplog.at_level(logging.WARNING):
        export.read(tmp_path)
    assert "written by LightGBM 99.1.0, newer than" in caplog.text


def test_an_export_onto_a_full_disk_is_for_another_try(
    client: Any,
    space: Clicks,
    where: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    publish_by_hand(client, space)
    monkeypatch.setattr("os.replace", full)
    done = run_here("clicks", "export", str(tmp_path), *where)
    assert done.returncode == 75 and "No space left" in done.stderr
    assert not list(tmp_path.iterdir())
