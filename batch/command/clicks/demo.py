"""The walk of a click model, for a newcomer: ``make demo-clicks``.

It generates impressions whose truth is known, trains, judges and publishes a model, serves it, and
ranks ten candidates for a user. Everything ends with this process.
"""

import csv
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from batch.clicks.generate import ITEM_COLUMNS, USER_COLUMNS
from batch.command.demo import begin, stack_of
from batch.command.up import Stack, caching, get, larder, post, serving, stay

ROWS = 100_000
CANDIDATES = 10
SPOKEN = 5
"""How many columns an explanation shows."""

Row = dict[str, str]


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    return begin("A click model, from impressions to ranked candidates.", walk)


def walk(folder: Path, port: str, once: bool) -> None:
    """Generate, train, serve and show; stay until interrupted unless ``once``."""
    stack = stack_of(folder, port, "make demo-clicks PORT=8001", {})
    seen, new = folder / "impressions.csv", folder / "candidates.csv"
    with caching(stack.folder, stack.cache):
        larder(["clicks", "generate", str(seen), "--rows", str(ROWS)], stack.environment)
        larder(["clicks", "generate", str(new), "--rows", "100", "--seed", "7"], stack.environment)
        larder(["clicks", "train", str(seen), "--blend"], stack.environment)
        with serving(stack, "clicks", "serve"):
            with new.open(encoding="utf-8", newline="") as rows:
                _show(stack, list(islice(csv.DictReader(rows), CANDIDATES)))
            if not once:
                print(f"\nThe service answers on {stack.url} until you press Ctrl-C.")
                stay(stack)


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
    said = post(f"{stack.url}/rank/click", {**asked, "items": best, "explain": True})
    print(f"\nWhy {best[0]['id']}? What its columns add to the log-odds of a click:")
    for name, added in explained(said["items"][0]["explanation"]["columns"]):
        print(f"  {name:4} {added:+.3f}")


def cells(row: Row, kinds: dict[str, str], columns: Sequence[str]) -> dict[str, Any]:
    """What is not missing of these columns, as the model knows them."""
    return {
        name: float(row[name]) if kinds[name] == "number" else row[name]
        for name in columns
        if row[name] and name in kinds
    }


def explained(columns: dict[str, float]) -> list[tuple[str, float]]:
    """The columns that add or take most."""
    return sorted(columns.items(), key=lambda each: -abs(each[1]))[:SPOKEN]


def _curl(stack: Stack, asked: dict[str, Any]) -> str:
    shown = json.dumps({**asked, "items": asked["items"][:1]})
    header = "-H 'Content-Type: application/json'"
    return f"curl {header} -d '{shown[:200]} ...' {stack.url}/rank/click"


if __name__ == "__main__":
    sys.exit(main())
