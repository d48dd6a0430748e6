"""The whole walk on real films, for a newcomer: ``make demo``.

What ``larder up`` starts, on MovieLens ml-latest-small: a real cache server on a free loopback
port, a refresh, the API under gunicorn. Then a list, a click, and the list that follows from it.
Everything ends with this process, the data of the cache included.
"""

import argparse
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.contracts.recommendations import Namespace
from batch.command.options import CacheOptions
from batch.command.stack.answers import changes, side_by_side, titles, wait_for_another
from batch.command.stack.up import Stack, check_port, get, post, run, stay, where
from batch.datasets.movielens import SMALL
from batch.errors import LarderError

USER = "15"
CLICKING, NEWCOMER = "1", "a-newcomer"
CLICKED_BY_NEWCOMER = ("595", "Beauty and the Beast (1991)")


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    return begin("The whole walk on real films.", walk)


def begin(description: str, walk: Callable[[Path, str, bool], None]) -> int:
    """Run a demo: a walk of a folder for its data, a port, and whether to show it once."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--once", action="store_true", help="show it and end")
    parser.add_argument("--port", default="8000", help="of the API; 0 takes a free one")
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in step with what the commands print
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="larder-demo-") as folder:
            walk(Path(folder), arguments.port, arguments.once)
    except LarderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        pass
    print("\nstopped; nothing is left running")
    return 0


def walk(folder: Path, port: str, once: bool) -> None:
    """Refresh, serve and show; stay until interrupted unless ``once``."""
    switched = dict.fromkeys(("LARDER_EVENTS", "LARDER_EXPLORER", "LARDER_DOCS"), "true")
    stack = stack_of(folder, port, "make demo PORT=8001", switched)
    refresh = [str(SMALL / "ratings.csv"), "--items", str(SMALL / "movies.csv")]
    options = ["--preset", "ml-latest", "--live", "--filter-columns", "genres"]
    run(stack, [*refresh, *options], _show_once if once else _show)


def stack_of(folder: Path, port: str, other: str, switched: Mapping[str, str]) -> Stack:
    """What a demo starts. other: what to do when the port is taken; switched: its settings."""
    url = f"redis://127.0.0.1:{check_port('127.0.0.1:0', '')}/0"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LARDER_")}
    settings = {"LARDER_CACHE_URL": url, "LARDER_NAMESPACE": "demo", **switched}
    stack = Stack(
        folder,
        CacheOptions(url, Namespace("demo")),
        f"127.0.0.1:{check_port(f'127.0.0.1:{port}', other)}",
        2,
        {**kept, **settings, "OPENBLAS_NUM_THREADS": "1"},
        log_is_kept=False,
    )
    print(f"A Valkey server listens on {url} as long as the demo runs.\n")
    return stack


def _show(stack: Stack) -> None:
    _show_once(stack)
    print(f"\nLook at it all in a browser: {stack.url}/explorer/")
    print(f"The API answers on {stack.url} until you press Ctrl-C. Try:")
    for path in ("/recommendations/1?n=3", "/recommendations/a-stranger"):
        print(f"  curl '{stack.url}{path}'")
    print(f"  curl '{stack.url}/recommendations/{USER}?filter=genres:Comedy&filter=-genres:Drama'")
    print(f"  curl '{stack.url}/items/1/similar'")
    print(f"  curl '{stack.url}/generation'")
    print(f"  {_curl(stack, _click(CLICKING, '1'))}")
    print(f"  {sys.executable} -m batch events tail {where(stack.cache)}")
    print("Other commands of larder take the same two options.")
    print(f"\nAll that it answers, to read and to try: {stack.url}/docs")
    stay(stack)


def _show_once(stack: Stack) -> None:
    path = f"/recommendations/{USER}?n=5"
    answer = get(stack.url + path)
    print(f"\n$ curl '{stack.url}{path}'\n{json.dumps(answer, ensure_ascii=False)}\n")
    print(f"What user {USER} should see next:")
    for place, film in enumerate(answer["recommendations"], start=1):
        print(f"  {place}. {film['title']:50} {film['genres']}")
    _show_click(stack, CLICKING, *next(iter(titles(_list(stack, CLICKING)).items())))
    _show_click(stack, NEWCOMER, *CLICKED_BY_NEWCOMER)


def _show_click(stack: Stack, user: str, item: str, title: str) -> None:
    """Click as the user, and lay the lists of before and after beside each other."""
    before, event = _list(stack, user), _click(user, item)
    print(f"\nUser {user} clicks on {title}:\n$ {_curl(stack, event)}")
    print(json.dumps(post(f"{stack.url}/events", event)))
    after = wait_for_another(_list_of(stack, user), before).answer
    print(f"\n{side_by_side(before, after)}\n")
    print(changes(before, after, item))


def _click(user: str, item: str) -> dict[str, str]:
    return {"type": "click", "user": user, "item": item}


def _curl(stack: Stack, event: dict[str, str]) -> str:
    header = "-H 'Content-Type: application/json'"
    return f"curl {header} -d '{json.dumps(event)}' {stack.url}/events"


def _list(stack: Stack, user: str) -> Any:
    return get(_list_of(stack, user))


def _list_of(stack: Stack, user: str) -> str:
    return f"{stack.url}/recommendations/{user}"


if __name__ == "__main__":
    sys.exit(main())
