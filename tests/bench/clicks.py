"""What click models are worth, and what they cost: ``make bench-clicks [CRITEO=train.txt]``.

On generated examples, whose best possible model is known: 100,000 rows to train on, a tenth of them
to validate, and 50,000 of another seed to test on. Then the fit of a million rows on one core,
beside bare LightGBM on the same matrix. ``CRITEO`` is a file of the Criteo display advertising
challenge: its first 100,000 rows, 80/10/10 in their order, as published.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import lightgbm
import numpy as np

from batch.clicks.examples.generate import generate
from batch.clicks.examples.layout import PRESETS, Reading
from batch.clicks.examples.read import read
from batch.clicks.fit import division, trees
from batch.clicks.fit.encode import parts_sql
from batch.clicks.fit.matrix import Encoded, Encoder
from batch.clicks.measure import Predictions
from batch.clicks.model import Clicked, Model
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import Fit, Split
from batch.command.output.bars import Lines
from batch.command.output.table import table
from batch.interactions.reading import Reading as Texts
from tests.batch.clicks.rows import seeing
from tests.bench.clock import processor_seconds

TRAIN, TEST = 100_000, 50_000
PUBLISHED = 0.77585
"""The AUC of lightgbm_tinycriteo of Microsoft's Recommenders, with 268 encoded columns."""
MB = 1e6

Lines_of = Iterator[list[str]]
Work = TypeVar("Work")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--criteo", type=Path, help="train.txt of the challenge")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the fit that is timed")
    parser.add_argument("--rounds", type=int, default=3, help="of that fit")
    given = parser.parse_args()
    head = ["100,000 generated rows", "AUC", "log loss", "trees", "CPU s"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(table(head, _quality(folder)))
        if given.criteo:
            print(
                table([f"Criteo ({PUBLISHED} published)", *head[1:]], _criteo(given.criteo, folder))
            )
        print(
            table(
                ["one core", "CPU s", "ratio", "MB more at the peak"],
                _cost(given.rows, given.rounds, folder),
            )
        )


def _quality(folder: Path) -> Lines_of:
    train, test = folder / "1.parquet", folder / "2.parquet"
    generate(train, TRAIN, 1, "parquet", False)
    truth = generate(test, TEST, 2, "parquet", False)
    with read([train, test], Reading()) as some:
        some.connection.execute(
            "ALTER TABLE rows ADD COLUMN part VARCHAR; UPDATE rows SET part = CASE "
            f"WHEN row >= {TRAIN} THEN 'test' WHEN row % 10 = 0 THEN 'validation' ELSE 'train' END"
        )
        numbers = tuple(column for column in some.columns if column.kind == "number")
        yield _fitted("numbers alone", seeing(some, numbers), Fit())
        yield _naive(some)
        yield _fitted("default", some, Fit())
        yield _fitted("--blend", some, Fit(blend=True))
    yield ["best possible", f"{truth.auc:.4f}", f"{truth.log_loss:.4f}", "", ""]


def _naive(some: LocalExamples) -> list[str]:
    """The trap: a row's own label is in the mean that trees see of it."""
    fit, began = Fit(trees=150, smoothing=1.0, min_count=1), time.process_time()
    folds = division.folds(_query(some), fit, ["train"], False)
    encoder = Encoder(some.connection, some.columns, some.columns, folds.prior)
    tables = encoder.learn(folds, fit, parts_sql(["train"]))
    rows = encoder.encode(parts_sql(["train"]), None, coded=False)
    grown = trees.fit(rows.matrix, rows.clicked, fit, lambda done: None)
    seconds = time.process_time() - began
    model = Model(some.columns, folds.prior, tables, grown.text, grown.count)
    return _told("means with the own label", some, model, seconds)


def _fitted(name: str, some: LocalExamples, fit: Fit) -> list[str]:
    seconds, model = processor_seconds(lambda: some.fit(("train",), "validation", fit, Lines()))
    return _told(name, some, model, seconds)


def _told(name: str, some: LocalExamples, model: Model, seconds: float) -> list[str]:
    found = some.predict(model, "test")
    metrics = Predictions.of(found.clicked, found.log_odds).metrics()
    members = f"{model.tree_count}{' + linear' if model.linear else ''}"
    return [name, f"{metrics.auc:.4f}", f"{metrics.log_loss:.4f}", members, f"{seconds:.1f}"]


def _query(some: LocalExamples) -> division.Query:
    return lambda sql: some.connection.execute(sql).fetchall()


def _criteo(train: Path, folder: Path) -> Lines_of:
    """The first rows, of which the newest tenth is tested on, as published."""
    path = folder / "criteo.tsv"
    with train.open() as lines, path.open("w") as first:
        first.writelines(itertools.islice(lines, TRAIN))
    texts = Texts("criteo", PRESETS["criteo"], str(folder / "rejects.csv"), 1.0)
    with read([path], Reading(texts), folder / "rejects.csv") as rows:
        rows.connection.execute("UPDATE rows SET moment = row")
        some = replace(rows, schema=replace(rows.schema, time="row"))
        print("rows of the parts:", some.split(Split(0.1, 0.1)))
        as_published = Fit(leaves=64, learning_rate=0.15)
        yield _fitted("default", some, Fit())
        yield _fitted("--blend", some, Fit(blend=True))
        yield _fitted("64 leaves, rate .15", some, as_published)
        yield _fitted("64 leaves, rate .15, --blend", some, replace(as_published, blend=True))


def _cost(rows: int, rounds: int, folder: Path) -> Lines_of:
    """One core, 100 trees; the least of some rounds."""
    path, fit = folder / "many.parquet", Fit(trees=100, threads=1)
    generate(path, rows, 1, "parquet", False)
    with read([path], Reading()) as found:
        found.connection.execute(
            "SET threads = 1; ALTER TABLE rows ADD COLUMN part VARCHAR DEFAULT 'train'"
        )
        learn = partial(found.learn, ("train",), fit)
        encoding, peak, (_, encoded) = _least(rounds, learn)
        plain = np.ascontiguousarray(encoded.matrix)
        yield ["encoding", f"{encoding:.1f}", "", f"{peak:.0f}, its matrix {plain.nbytes / MB:.0f}"]
        ours, peak, _ = _least(rounds, lambda: _grown(encoded, fit))
        yield ["the fit", f"{ours:.1f}", "", f"{peak:.0f}"]
        bare, peak, _ = _least(rounds, lambda: _bare(plain, encoded.clicked, fit))
        yield ["bare LightGBM", f"{bare:.1f}", "", f"{peak:.0f}"]
        yield ["encoding / fit", "", f"{encoding / ours:.2f}", ""]
        yield ["fit / bare LightGBM", "", f"{ours / bare:.2f}", ""]


def _grown(rows: Encoded, fit: Fit) -> trees.Trees:
    return trees.fit(rows.matrix, rows.clicked, fit, lambda done: None)


def _bare(matrix: trees.Matrix, clicked: Clicked, fit: Fit) -> lightgbm.Booster:
    """As its own documentation has it, with the same settings."""
    settings = {
        "objective": "binary",
        "num_leaves": fit.leaves,
        "learning_rate": fit.learning_rate,
        "feature_fraction": fit.feature_fraction,
        "bagging_fraction": fit.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": fit.l2,
        "min_data_in_leaf": fit.min_rows_of_a_leaf,
        "num_threads": 1,
        "verbosity": -1,
    }
    return lightgbm.train(settings, lightgbm.Dataset(matrix, clicked), fit.trees)


def _memory(name: str) -> float:
    """MB of this process: VmRSS now, or VmHWM, the most since the last ``_forget``."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / MB


def _least(rounds: int, work: Callable[[], Work]) -> tuple[float, float, Work]:
    """Seconds of the processor, MB more at the first peak, and what came of it the last time."""
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begins VmHWM anew
    seconds, found = processor_seconds(work)
    peak = _memory("VmHWM") - before
    for _ in range(rounds - 1):
        again, found = processor_seconds(work)
        seconds = min(seconds, again)
    return seconds, peak, found


if __name__ == "__main__":
    main()
