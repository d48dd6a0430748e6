"""A tiny server that answers as Larder does, or deliberately not: the target of load in tests."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

GENERATION = "20260101T000000Z-0001"
USERS = [f"user {number}" for number in range(50)]
K = 10
COLUMNS = [{"name": "hour", "kind": "number"}, {"name": "shelf", "kind": "category"}]


@dataclass
class Likeness:
    """The API's shapes on a free port of loopback. What is wrong with it can change any time."""

    users: list[str] = field(default_factory=lambda: list(USERS))
    generation: str = GENERATION
    gives_sample: bool = True
    sleep_seconds: float = 0.0
    fault: str = ""
    """What is wrong: nothing, or one of the words looked for below."""
    seen: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    keys: set[str | None] = field(default_factory=set)
    """What requests brought to be let in."""
    done: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The items of each user's events."""

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"likeness": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *raised: object) -> None:
        self.die()
        self._thread.join()

    def die(self) -> None:
        """Stop listening; connections that are open are closed with their next request."""
        self.fault = "dead"
        self._server.shutdown()
        self._server.server_close()

    def entries(self, count: int, without: Set[str] = frozenset()) -> list[dict[str, Any]]:
        """A list of items with their documents."""
        listed: list[dict[str, Any]] = [
            {"item": f"item {number}", "edition": "1", "score": 1 - number / 100}
            for number in range(count + len(without))
            if f"item {number}" not in without
        ][:count]
        if self.fault == "nothing":
            return []
        if self.fault == "twice":
            listed[-1] = listed[0]
        if self.fault == "editions":
            listed[-1]["edition"] = "2"
        if self.fault == "too many":
            listed += [{"item": f"more {number}", "score": 0.1} for number in range(K)]
        return listed

    def answer(self, user: str, n: int, generation: str = GENERATION) -> dict[str, Any]:
        """A user's answer."""
        known = user in self.users or self.fault == "stranger"
        done = self.done.get(user)
        source = ("personal" + "+recent" * bool(done)) if known else "recent" if done else "popular"
        answer = {
            "user": user,
            "generation": generation,
            "source": source,
            "recommendations": self.entries(n, self._gone(user)),
        }
        return {**answer, "degraded": True} if self.fault == "degraded" else answer

    def _gone(self, user: str) -> set[str]:
        if self.fault == "comes back":
            return set()
        return self.done.get(user, set())

    def etag(self, answer: dict[str, Any]) -> str:
        """What changes with an answer."""
        done = len(self._gone(answer.get("user", "")))
        return f'{answer.get("generation", "")}-{done}'

    def take(self, told: Any) -> int:
        """Take events; how many."""
        events = told.get("events", [told]) if isinstance(told, dict) else told
        for event in events:
            self.done[event["user"]].add(event["item"])
        return len(events)

    def rank(self, asked: Any) -> dict[str, Any]:
        """The items of a request, the last first, at scores that are those of the generation."""
        step = 0.01 if self.generation == GENERATION else 0.02
        items = [
            {"item": item["id"], "score": 0.5 - place * step, "rank": place + 1}
            for place, item in enumerate(reversed(asked["items"]))
        ]
        if self.fault == "rising":
            items.reverse()
        if self.fault == "one less":
            items.pop()
        return {"model": "click", "version": self.generation, "items": items}


class _Handler(BaseHTTPRequestHandler):
    likeness: Likeness
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._note()
        parts = urlsplit(self.path)
        n = int(parse_qs(parts.query).get("n", [str(K)])[0])
        match [unquote(part) for part in parts.path.split("/")[1:]]:
            case ["version"]:
                self._version()
            case ["generation"]:
                self._generation()
            case ["users", "sample"]:
                self._sample()
            case ["recommendations", user]:
                self._list(self.likeness.answer(user, n, self.likeness.generation))
            case ["items", item, "similar"]:
                self._similar(item, n)
            case _:
                self._problem(404)

    def do_POST(self) -> None:
        self._note()
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/events":
            self._take(asked)
        elif self.path == "/rank/click":
            self._say(200, self.likeness.rank(asked))
        else:
            self._lists(asked)

    def _note(self) -> None:
        self.likeness.seen.append(self.path)
        self.likeness.keys.add(self.headers["Authorization"])

    def _generation(self) -> None:
        if self.likeness.fault == "empty":
            return self._problem(503)
        live = self.likeness.generation
        self._say(200, {"generation": live, "k": K, "following": "re-ranking"})

    def _version(self) -> None:
        if self.likeness.fault == "empty":
            return self._problem(503)
        self._say(200, {"columns": COLUMNS})

    def _similar(self, item: str, n: int) -> None:
        neighbours = [{"item": f"near {place}", "score": 0.5} for place in range(n)]
        live = self.likeness.generation
        self._list({"item": item, "generation": live, "similar": neighbours})

    def _lists(self, asked: Any) -> None:
        live = self.likeness.generation
        answers = [self.likeness.answer(user, asked["n"], live) for user in asked["users"]]
        if self.likeness.fault == "generations":
            answers[-1]["generation"] = "20260101T000000Z-0002"
        time.sleep(self.likeness.sleep_seconds)
        self._say(200, {"generation": live, "answers": answers})

    def _take(self, told: Any) -> None:
        if self.likeness.fault == "no events":
            return self._problem(404)
        if self.likeness.fault == "full":
            return self._problem(503)
        count = self.likeness.take(told)
        answer = {"accepted": count, "rejected": []}
        self._say(202, answer) if count else self._problem(400)

    def _sample(self) -> None:
        if not self.likeness.gives_sample:
            return self._problem(404)
        self._say(200, {"generation": self.likeness.generation, "users": self.likeness.users})

    def _list(self, answer: dict[str, Any]) -> None:
        time.sleep(self.likeness.sleep_seconds)
        if self.headers["If-None-Match"] == f'"{self.likeness.etag(answer)}"':
            self.likeness.seen.append("304")
            return self._send(304, b"", self.likeness.etag(answer))
        if self.likeness.fault == "500":
            return self._problem(500)
        if self.likeness.fault == "html":
            return self._send(200, b"<html>", "")
        self._say(200, answer)

    def _problem(self, status: int) -> None:
        self._say(status, {"title": "Wrong", "status": status, "detail": "as the test asks"})

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, json.dumps(answer).encode(), self.likeness.etag(answer))

    def _send(self, status: int, body: bytes, etag: str) -> None:
        if self.likeness.fault == "dead":
            self.close_connection = True
            return
        moved = self.likeness.fault == "moved" and self.path.startswith("/recommendations")
        self.send_response(302 if moved else status)
        if moved:
            self.send_header("Location", "/elsewhere")
        version = "another" if self.likeness.fault == "mixed" else self.likeness.generation
        self.send_header("X-Model-Version", version)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(body)))
        self._headers_buffer.append(b"\r\n" + body)  # type: ignore[attr-defined]
        self.flush_headers()

    def log_message(self, *said: Any) -> None:
        pass
