"""A click model as plain files of a folder, which any program can read, and back::

    manifest.json   all that is known of the model, and the SHA-256 of each other file
    model.txt       the trees, as LightGBM reads them
    tables.jsonl    a line for each value of a category: column, key (see ``value_key``), mean,
                    share and weight
    linear.json     the second member; only where there is one
    users.jsonl     a line for each user: their id, or its digest in hex, and columns

The manifest is written last; whoever reads compares the hashes, so no model is made of the files of
two.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.contracts.clicks import Column, Linear, Manifest, digest
from app.contracts.generations import BrokenRecord
from batch.clicks.contents import expect_usable
from batch.clicks.fit.trees import newer_release
from batch.clicks.model import Model, Values
from batch.errors import BadSettings
from batch.interactions.sources.files import write_whole

log = logging.getLogger("larder.clicks")

MANIFEST, TREES, TABLES, LINEAR, USERS = (
    "manifest.json",
    "model.txt",
    "tables.jsonl",
    "linear.json",
    "users.jsonl",
)


@dataclass(frozen=True, slots=True)
class Exported:
    """users: field of the bucket and the columns of each."""

    manifest: Manifest
    model: Model
    users: Mapping[bytes, bytes]


def write(folder: Path, found: Exported) -> list[Path]:
    """Write the files; returns them. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    model = found.model
    texts = {TREES: model.trees, TABLES: _lines(_values(model))}
    if model.linear is not None:
        texts[LINEAR] = model.linear.encode().decode()
    if found.users:
        texts[USERS] = _lines(_users(found.users))
    for name, text in texts.items():
        write_whole(folder / name, text)
    hashes = {name: digest(text.encode()) for name, text in texts.items()}
    told = {**json.loads(found.manifest.to_json()), "files": hashes}
    write_whole(folder / MANIFEST, json.dumps(told, indent=2) + "\n")
    return [folder / name for name in (*texts, MANIFEST)]


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _values(model: Model) -> Iterator[dict[str, Any]]:
    for name, table in zip(_categories(model.columns), model.tables, strict=True):
        columns = (table.keys, table.means, table.shares, table.weights)
        for key, mean, share, weight in zip(*(each.tolist() for each in columns), strict=True):
            yield {
                "column": name,
                "key": f"{key:016x}",
                "mean": mean,
                "share": share,
                "weight": weight,
            }


def _categories(columns: Sequence[Column]) -> list[str]:
    return [each.name for each in columns if each.kind == "category"]


def _users(users: Mapping[bytes, bytes]) -> Iterator[dict[str, Any]]:
    for name, columns in users.items():
        try:
            who = {"user": name.decode()}
        except UnicodeDecodeError:
            who = {"digest": name.hex()}
        yield {**who, "columns": json.loads(columns)}


def read(folder: Path) -> Exported:
    """Read a folder. Raises BadSettings when it is not whole, or not what was exported."""
    manifest, hashes = _manifest(folder)
    files = {name: _file(folder, name, hashes) for name in hashes}
    try:
        model = _model(manifest, files)
        users = dict(map(_user, files.get(USERS, b"").splitlines()))
        if told := newer_release(manifest.lightgbm):
            log.warning("%s", told)
        expect_usable(model)
    except (BrokenRecord, ValueError, LookupError, TypeError) as error:
        raise BadSettings(f"{folder}: cannot be read as a click model: {error}") from error
    return Exported(manifest, model, users)


def _manifest(folder: Path) -> tuple[Manifest, Mapping[str, str]]:
    """The manifest, and the hashes of the files."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BadSettings(f"{folder}: expected {MANIFEST}, as 'larder clicks export' writes it")
    text = path.read_bytes()
    try:
        manifest, hashes = Manifest.from_json(text), json.loads(text).get("files")
    except BrokenRecord as error:
        raise BadSettings(f"{path}: {error}") from error
    needed = {TREES, TABLES} | ({LINEAR} if "linear" in manifest.members else set())
    if not isinstance(hashes, dict) or not needed <= hashes.keys() <= needed | {USERS}:
        raise BadSettings(f"{path}: expected the hashes of {', '.join(sorted(needed))} as 'files'")
    return manifest, hashes


def _file(folder: Path, name: str, hashes: Mapping[str, str]) -> bytes:
    path = folder / name
    if not path.is_file():
        raise BadSettings(f"{path}: there is no such file; export the model again")
    data = path.read_bytes()
    if digest(data) != hashes[name]:
        raise BadSettings(
            f"{path} is not the file that {MANIFEST} was written with: a model is published only "
            "with its own tables; export it again"
        )
    return data


def _model(manifest: Manifest, files: Mapping[str, bytes]) -> Model:
    columns = manifest.typed_columns
    numbers = sum(each.kind == "number" for each in columns)
    linear = Linear.decode(files[LINEAR], numbers) if LINEAR in files else None
    return Model(
        columns=columns,
        prior=manifest.prior,
        tables=_tables(manifest, files[TABLES]),
        trees=files[TREES].decode(),
        tree_count=manifest.trees,
        linear=linear,
        calibration=manifest.calibrated,
        negatives_kept=manifest.negatives_kept,
    )


def _tables(manifest: Manifest, data: bytes) -> list[Values]:
    found: dict[str, list[tuple[int, float, float, float]]] = {
        name: [] for name in _categories(manifest.typed_columns)
    }
    for line in data.splitlines():
        row = json.loads(line)
        numbers = float(row["mean"]), float(row["share"]), float(row["weight"])
        found[row["column"]].append((int(row["key"], 16), *numbers))
    return [_table(sorted(rows)) for rows in found.values()]


def _table(rows: list[tuple[int, float, float, float]]) -> Values:
    keys, *numbers = zip(*rows) if rows else ((), (), (), ())
    means, shares, weights = (np.array(each, np.float32) for each in numbers)
    return Values(np.array(keys, np.uint64), means, shares, weights)


def _user(line: bytes) -> tuple[bytes, bytes]:
    row = json.loads(line)
    name = row["user"].encode() if "user" in row else bytes.fromhex(row["digest"])
    columns = json.dumps(row["columns"], ensure_ascii=False, separators=(",", ":"))
    return name, columns.encode()
