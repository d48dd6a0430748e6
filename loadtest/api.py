"""The API before the load: is it there, is it Larder, has it something to serve?"""

import http.client
import json
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0
KEY = "LOADTEST_KEY"
"""The variable that holds a key, where the API asks for one: no list of processes shows it."""

# No proxy of the environment: the load goes straight to the URL, so must the look before it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CannotRun(Exception):
    """There can be no verdict; the sentence says what is missing."""


class Api:
    """A URL under which Larder should answer. Raises CannotRun when it is not a base URL."""

    def __init__(self, url: str) -> None:
        self.url = _checked(url)

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and body of an answer, whatever the status. Raises CannotRun for none."""
        return self._answer(path)

    def reranks(self) -> bool:
        """Whether events put the lists of the live generation in order anew. Raises CannotRun."""
        status, body = self.get("/generation")
        return status == 200 and json.loads(body).get("following") == "re-ranking"

    def check_events(self) -> None:
        """See that what users do is taken, by sending nothing. Raises CannotRun."""
        status, body = self._answer("/events", b"[]")
        if status == 400:
            return
        if status in (404, 405):
            raise CannotRun(
                f"{self.url} takes no events (POST /events answers {status}): set "
                f"LARDER_EVENTS=true on it"
            )
        raise CannotRun(f"POST {self.url}/events answers {status}: {excerpt(body)}")

    def columns(self) -> list[tuple[str, str]]:
        """Name and kind of each column that the live click model knows. Raises CannotRun."""
        status, body = self.get("/version")
        try:
            return [(each["name"], each["kind"]) for each in json.loads(body)["columns"]]
        except (ValueError, KeyError, TypeError):
            raise CannotRun(
                f"{self.url} has no click model (GET /version answers {status}): {excerpt(body)}"
            ) from None

    def send(self, method: str, path: str, told: object = None) -> tuple[int, bytes]:
        """The status and body of the answer to some JSON, or to nothing. Raises CannotRun."""
        return self._answer(path, b"" if told is None else json.dumps(told).encode(), method)

    def _answer(
        self, path: str, data: bytes | None = None, method: str | None = None
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", **key_header()}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
                if response.url != request.full_url:
                    raise CannotRun(f"{self.url} sends callers on to {response.url}: name that")
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise CannotRun(f"nothing answers at {self.url}: {reason}") from error

    def k(self) -> int:
        """How many items a list holds: the manifest of the live generation has it.

        Raises CannotRun when nothing is published, or when what answers is not Larder.
        """
        status, body = self.get("/generation")
        try:
            manifest = json.loads(body)
            if status == 200 and isinstance(manifest["generation"], str):
                return int(manifest["k"])
            problem = f"{manifest['title']}: {manifest['detail']}"
        except (ValueError, KeyError, TypeError):
            problem = "what answers there is not Larder, or the URL has a wrong path"
        raise CannotRun(f"GET {self.url}/generation answers {status}; {problem}")


def key_header() -> dict[str, str]:
    """What a request needs to be let in; nothing where no key was given."""
    key = os.environ.get(KEY, "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def excerpt(body: bytes) -> str:
    """What a body begins with, for a sentence."""
    return repr(body[:300].decode(errors="replace"))


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - parsing the port is the check
    except ValueError as error:
        raise CannotRun(f"the URL {url!r} is not one: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotRun(f"the URL must look like http://host:8000, not {url!r}")
    if parts.query or parts.fragment:
        raise CannotRun(f"the URL must end before any ? or #, not {url!r}")
    if parts.username or parts.password:
        raise CannotRun("the URL must hold no user and password: they would stand in the report")
    return url.rstrip("/")
