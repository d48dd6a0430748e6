"""The whole walk on real films, for a newcomer: ``make demo``.

What ``larder up`` starts, on MovieLens ml-latest-small: a real cache server on a free loopback
port, a refresh, the API under gunicorn, one answer. Everything ends with this process, the data of
the cache included.
"""

import argparse
import io
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from app.contracts.recommendations import Namespace
from batch.command.options import CacheOptions
from batch.command.up import Stack, check_port, get, run, stay
from batch.datasets.movielens import SMALL
from batch.errors import LarderError

USER = "15"


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    parser = argparse.ArgumentParser(description="The whole walk on real films.")
    parser.add_argument("--once", action="store_true", help="print one answer and end")
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
    url = f"redis://127.0.0.1:{check_port('127.0.0.1:0', '')}/0"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LARDER_")}
    settings = {"LARDER_CACHE_URL": url, "LARDER_NAMESPACE": "demo", "OPENBLAS_NUM_THREADS": "1"}
    stack = Stack(
        folder,
        CacheOptions(url, Namespace("demo")),
        f"127.0.0.1:{check_port(f'127.0.0.1:{port}', 'make demo PORT=8001')}",
        2,
        {**kept, **settings},
    )
    print(f"A Valkey server listens on {url} as long as the demo runs.\n")
    refresh = [str(SMALL / "ratings.csv"), "--items", str(SMALL / "movies.csv")]
    run(stack, [*refresh, "--preset", "ml-latest"], _show_once if once else _show)


def _show(stack: Stack) -> None:
    _show_once(stack)
    print(f"\nThe API answers on {stack.url} until you press Ctrl-C. Try:")
    for path in ("/recommendations/1?n=3", "/recommendations/a-stranger"):
        print(f"  curl '{stack.url}{path}'")
    print(f"  curl '{stack.url}/items/1/similar'")
    print(f"  curl '{stack.url}/generation'")
    stay(stack)


def _show_once(stack: Stack) -> None:
    path = f"/recommendations/{USER}?n=5"
    answer = get(stack.url + path)
    print(f"\n$ curl '{stack.url}{path}'\n{json.dumps(answer, ensure_ascii=False)}\n")
    print(f"What user {USER} should see next:")
    for place, film in enumerate(answer["recommendations"], start=1):
        print(f"  {place}. {film['title']:50} {film['genres']}")


if __name__ == "__main__":
    sys.exit(main())
