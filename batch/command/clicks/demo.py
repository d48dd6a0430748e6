"""The walk of a click model, for a newcomer: ``make demo-clicks``.

It generates impressions whose truth is known, trains, judges and publishes a model, serves it, and
ranks ten candidates for a user. Everything ends with this process.
"""

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from batch.clicks.examples.generate import ITEM_COLUMNS, USER_COLUMNS, Truth
from batch.command.clicks.generated import generated
from batch.command.stack.demo import begin, stack_of
from batch.command.stack.up import Stack, caching, get, larder, post, serving, stay, where

ROWS = 100_000
CANDIDATES = 10
SPOKEN = 3
"""How many columns an explanation names on each side."""

Row = dict[str, str]


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    return begin("A click model, from impressions to ranked candidates.", walk)


def walk(folder: Path, port: str, once: bool) -> None:
    """Generate, train, serve and show; stay until interrupted unless ``once``."""
    stack = stack_of(folder, port, "make demo-clicks PORT=8001", {})
    seen, new = folder / "impressions.csv", folder / "candidates.csv"
    report = Path(os.environ.get("LARDER_REPORT") or folder / "report.html")
    with caching(stack.folder, stack.cache) as cache:
        truth = _generate(seen, ROWS, 42)
        _generate(new, 100, 7)
        options = ["--blend", "--slices", "c1", "--report", str(report)]
        larder(["clicks", "train", str(seen), *options], stack.environment)
        print(f"\n{verdict(_measured(stack), truth)}")
        with serving(stack, cache, "clicks", "serve") as started:
            with new.open(encoding="utf-8", newline="") as rows:
                _show(stack, list(islice(csv.DictReader(rows), CANDIDATES)))
            _tell_more(report, once)
            if not once:
                print(f"The service answers on {stack.url} until you press Ctrl-C.")
                print(f"Other commands of larder find the model with {where(stack.cache)}")
                stay(started)


def _generate(path: Path, rows: int, seed: int) -> Truth:
    print(f"$ larder clicks generate {path} --rows {rows} --seed {seed}")
    return generated(path, rows, seed, "csv", has_time=False)


def _measured(stack: Stack) -> Mapping[str, float]:
    """How good the live model was on rows that it had not seen."""
    command = [sys.executable, "-P", "-m", "batch", "clicks", "show", "--json"]
    shown = subprocess.run(command, env=stack.environment, stdout=subprocess.PIPE, check=True)
    found: Mapping[str, float] = json.loads(shown.stdout)["metrics"]["model"]
    return found


def verdict(model: Mapping[str, float], truth: Truth) -> str:
    """How much better than the share of clicks a model is, and how much better is possible."""
    always = model["log_loss"] / model["ne"]
    better, possible = 1 - model["ne"], 1 - truth.log_loss / always
    return (
        f"Is that good? Who knows the truth behind these rows is {possible:.1%} better than the "
        f"click-through rate:\nso the model's {better:.1%} are {better / possible:.0%} of what "
        f"there is to know. Its AUC is {model['auc']:.3f}, where {truth.auc:.3f} is possible."
    )


def _show(stack: Stack, rows: Sequence[Row]) -> None:
    kinds = {each["name"]: each["kind"] for each in get(f"{stack.url}/version")["columns"]}
    items = [
        {"id": f"item-{place}", "features": cells(row, kinds, ITEM_COLUMNS)}
        for place, row in enumerate(rows, start=1)
    ]
    asked = {"features": cells(rows[0], kinds, USER_COLUMNS), "items": items}
    print(f"\nTen items for one user, best first:\n$ {_curl(stack, asked)}")
    answer = post(f"{stack.url}/rank/click", asked)
    for each in answer["items"]:
        print(f"  {each['rank']:2}. {each['item']:8} probability of a click {each['score']:.4f}")
    best = [each for each in items if each["id"] == answer["items"][0]["item"]]
    (said,) = post(f"{stack.url}/rank/click", {**asked, "items": best, "explain": True})["items"]
    print(f"\nWhy {said['item']}? This adds up to the log-odds of a click:")
    print("\n".join(explained(said["explanation"], said["score"])))


def cells(row: Row, kinds: dict[str, str], columns: Sequence[str]) -> dict[str, Any]:
    """What is not missing of these columns, as the model knows them."""
    return {
        name: float(row[name]) if kinds[name] == "number" else row[name]
        for name in columns
        if row[name] and name in kinds
    }


def explained(explanation: Mapping[str, Any], score: float) -> list[str]:
    """A line for each part of a sum: where all start, what speaks for the item and against it."""
    columns: Mapping[str, float] = explanation["columns"]
    by_size = sorted(columns.items(), key=lambda each: each[1])
    least, most = by_size[:SPOKEN], by_size[: -SPOKEN - 1 : -1]
    spoken = [(f"for it: {_whose(name)}", added) for name, added in most if added > 0]
    spoken += [(f"against it: {_whose(name)}", added) for name, added in least if added < 0]
    start = explanation["base"]
    rest = sum(columns.values()) - sum(added for _, added in spoken)
    total = log_odds(score)
    parts = [
        ("where all items start", start),
        *spoken,
        ("the other columns", rest),
        ("calibration", total - start - sum(columns.values())),
    ]
    lines = [f"  {name:40} {added:+.3f}" for name, added in parts if abs(added) >= 5e-4]
    return [*lines, f"  {f'together, a probability of {score:.4f}':40} {total:+.3f}"]


def log_odds(probability: float) -> float:
    """Of a probability between 0 and 1."""
    return math.log(probability / (1 - probability))


def _whose(name: str) -> str:
    return f"{name}, of the {'item' if name in ITEM_COLUMNS else 'user'}"


def _curl(stack: Stack, asked: dict[str, Any]) -> str:
    body = stack.folder / "request.json"
    body.write_text(json.dumps(asked))
    return f"curl -H 'Content-Type: application/json' -d @{body} {stack.url}/rank/click"


def _tell_more(report: Path, once: bool) -> None:
    if not once or os.environ.get("LARDER_REPORT"):
        print(f"\nThe report of the training, for a browser: {report.resolve().as_uri()}")
    if not os.environ.get("LARDER_REPORT"):
        print("\nLARDER_REPORT=report.html make demo-clicks keeps the report of the training.")
    print("From your own impressions: batch/clicks/README.md\n")


if __name__ == "__main__":
    sys.exit(main())
