"""All clients of one worker, as its loop sees them. Nothing here waits but for whoever is first.

What a client is waited for has a deadline: its head and its body, its next request, that it takes
its answer, that it closes.
"""

import heapq
import math
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn.workers.gthread import PollableMethodQueue

from app.http.connections import refusals
from app.http.connections.connection import Connection
from app.http.connections.incoming import Incoming, Stage, Whole

READ, WRITE, NEITHER = selectors.EVENT_READ, selectors.EVENT_WRITE, 0
SWEEP_SECONDS = 0.25
"""How often deadlines are looked at."""

LEAVE_SECONDS = 2.0
"""So long a client may go on sending after its last answer before it is cut off."""

STEP_BYTES = 65_536
"""A client that takes so much of an answer has its time anew."""

AHEAD_BYTES = 65_536
"""So much a client may send ahead while it is being answered."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may cost a worker."""

    timeout_seconds: float
    keep_alive_seconds: float
    body_bytes: int
    connections: int
    held_bytes: int = 64 * 2**20
    """What is half sent, and what is not taken, of all clients together."""


class Clients:
    """The open connections of a worker; ``answer`` takes each whole request elsewhere."""

    def __init__(
        self, cfg: Any, log: Any, limits: Limits, answer: Callable[[Connection, Whole], None]
    ) -> None:
        self._cfg = cfg
        self._log = log
        self._limits = limits
        self._answer = answer
        self._poller = selectors.DefaultSelector()
        self._calls = PollableMethodQueue()
        self._calls.init()
        self._poller.register(self._calls.fileno(), READ, lambda _: self._calls.run_callbacks(None))
        self._keep_alive_seconds = limits.keep_alive_seconds
        self._all: dict[Connection, int] = {}
        self._swept_at = 0.0

    def __len__(self) -> int:
        return len(self._all)

    def wake(self) -> None:
        """End the wait of the loop; from a thread or a signal."""
        self._calls.defer(lambda: None)

    def listen(self, listener: socket.socket, heard: Callable[[int], None]) -> None:
        """Call ``heard`` when a connection waits at the listener."""
        self._poller.register(listener, READ, heard)

    def ignore(self, listener: socket.socket) -> None:
        """Do so no longer."""
        self._poller.unregister(listener)

    def turn(self, seconds: float) -> None:
        """Do what there is to do; wait for it so long at most, and never over SWEEP_SECONDS."""
        for key, events in self._poller.select(min(seconds, SWEEP_SECONDS)):
            key.data(events)
        now = time.monotonic()
        if now >= self._swept_at + SWEEP_SECONDS:
            self._swept_at = now
            self._sweep(now)

    def welcome(self, sock: socket.socket, address: Any, server: Any) -> None:
        """Take a new client; the one that idles longest goes when there are too many."""
        if len(self._all) >= self._limits.connections:
            self.make_room()
        incoming = Incoming(self._cfg, address, self._limits.body_bytes)
        connection = Connection(sock, address, server, incoming)
        connection.since = time.monotonic()
        connection.deadline = connection.since + self._limits.timeout_seconds
        self._all[connection] = NEITHER
        self._watch(connection, READ)

    def make_room(self) -> None:
        """Cut off one in sixteen: those never answered first, of these the oldest."""
        waiting = [each for each in self._all if not each.is_busy]
        for each in heapq.nsmallest(
            len(self._all) // 16 + 1, waiting, key=lambda each: (each.answers > 0, each.since)
        ):
            self._drop(each)

    def answered(self, connection: Connection, is_last: bool) -> None:
        """Its request has its answer, in the thread that made it: send what the client takes."""
        try:
            connection.flush()
        except OSError:
            connection.forget()
            is_last = connection.is_ended = True
        connection.is_last = is_last
        connection.answers += 1
        connection.stage = Stage.NOTHING
        self._wait(connection, self._keep_alive_seconds)
        connection.is_busy = False  # from here on it is the loop's
        if connection.unsent or is_last or connection.is_ended or connection.incoming.size:
            self._calls.defer(self._resume, connection)

    def stop(self, seconds: float) -> None:
        """Wait for further requests so long at most."""
        self._keep_alive_seconds = seconds
        deadline = time.monotonic() + seconds
        for each in self._all:
            if each.incoming.stage is Stage.NOTHING and not each.is_busy:
                each.deadline = min(each.deadline, deadline)

    def close(self) -> None:
        """Cut off all."""
        for each in list(self._all):
            self._drop(each)
        self._poller.close()

    def _watch(self, connection: Connection, events: int) -> None:
        watched = self._all[connection]
        if watched == events:
            return
        self._all[connection] = events
        if not watched:
            heard = partial(self._heard, connection)
            self._poller.register(connection.socket, events, heard)
        elif not events:
            self._poller.unregister(connection.socket)
        else:
            key = self._poller.get_key(connection.socket)
            self._poller.modify(connection.socket, events, key.data)

    def _heard(self, connection: Connection, events: int) -> None:
        if connection not in self._all:
            return  # it was dropped in this turn
        with self._dropped_when_gone(connection):
            if events & WRITE:
                self._send(connection)
            else:
                self._read(connection)

    def _send(self, connection: Connection) -> None:
        connection.flush()
        if not connection.unsent:
            self._wait(connection, self._keep_alive_seconds)
            self._advance(connection)
        elif connection.owed - connection.unsent >= STEP_BYTES:
            self._wait_for_taking(connection)

    def _read(self, connection: Connection) -> None:
        data = connection.read()
        if data is None:
            return
        if connection.is_leaving:
            if not data:
                self._drop(connection)
            return
        if data:
            connection.incoming.feed(data)
        else:
            connection.is_ended = True
            self._watch(connection, NEITHER)
        self._advance(connection)

    def _resume(self, connection: Connection) -> None:
        with self._dropped_when_gone(connection):
            self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """See what is next for a connection, if it is the loop's."""
        if connection not in self._all or connection.is_leaving:
            return
        if connection.is_busy:
            if connection.incoming.size > AHEAD_BYTES:
                self._watch(connection, NEITHER)
        elif connection.unsent:
            self._wait_for_taking(connection)
            self._watch(connection, WRITE)
        elif connection.is_last:
            self._leave(connection)
        else:
            self._look(connection)

    def _look(self, connection: Connection) -> None:
        try:
            whole = connection.incoming.next()
        except refusals.MISTAKES as error:
            self._log.warning("Invalid request from ip=%s: %s", connection.host, error)
            return self._refuse(connection, refusals.of_mistake(error))
        if whole:
            self._hand_over(connection, whole)
        elif not connection.is_ended:
            self._wait_for_more(connection)
        elif connection.incoming.stage is Stage.NOTHING:
            self._drop(connection)
        else:
            self._refuse(connection, refusals.cut_short())

    def _hand_over(self, connection: Connection, whole: Whole) -> None:
        connection.is_busy = True
        connection.deadline = math.inf
        if not connection.is_ended:
            self._watch(connection, READ)
        self._answer(connection, whole)

    def _wait_for_more(self, connection: Connection) -> None:
        stage = connection.incoming.stage
        if stage > connection.stage:
            connection.stage = stage
            self._wait(connection, self._limits.timeout_seconds)
        if connection.incoming.wants_to_be_told:
            connection.incoming.wants_to_be_told = False
            connection.sendall(CONTINUE)
            connection.flush()
        self._watch(connection, READ)

    def _wait_for_taking(self, connection: Connection) -> None:
        connection.owed = connection.unsent
        self._wait(connection, self._limits.timeout_seconds)

    def _wait(self, connection: Connection, seconds: float) -> None:
        connection.since = time.monotonic()
        connection.deadline = connection.since + seconds

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        """Answer, and close."""
        connection.is_last = True
        connection.sendall(answer)
        connection.flush()
        self._advance(connection)

    def _leave(self, connection: Connection) -> None:
        """Let the client read its answer: to close while it sends would take it away again."""
        if connection.is_ended:
            return self._drop(connection)
        connection.is_leaving = True
        connection.socket.shutdown(socket.SHUT_WR)
        self._wait(connection, LEAVE_SECONDS)
        self._watch(connection, READ)

    def _drop(self, connection: Connection) -> None:
        self._watch(connection, NEITHER)
        del self._all[connection]
        connection.socket.close()

    def _sweep(self, now: float) -> None:
        for each in [each for each in self._all if each.deadline <= now]:
            with self._dropped_when_gone(each):
                self._give_up(each)
        held = sum(each.held for each in self._all)
        if held > self._limits.held_bytes:
            self._release(held - self._limits.held_bytes)

    def _release(self, too_many: int) -> None:
        """Cut off those that have most held, until so many bytes are free again."""
        for each in sorted(self._all, key=lambda each: each.held, reverse=True):
            if too_many > 0 and not each.is_busy:
                too_many -= each.held
                self._drop(each)

    def _give_up(self, connection: Connection) -> None:
        unfinished = connection.incoming.stage is not Stage.NOTHING
        if unfinished and not connection.is_leaving and not connection.unsent:
            self._refuse(connection, refusals.too_slow(self._limits.timeout_seconds))
        else:
            self._drop(connection)

    @contextmanager
    def _dropped_when_gone(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except OSError:
            if connection.is_busy:  # a thread may be sending: a new client must not get its socket
                connection.is_ended = True
                self._watch(connection, NEITHER)
            else:
                self._drop(connection)
