"""One client of a worker: its socket, its deadline, and what is still to be sent to it."""

import socket
from contextlib import suppress
from typing import Any

from app.http.connections.incoming import Incoming, Stage

READ_BYTES = 16_384


class Connection:
    """A connection, and whose turn it is.

    A thread has it while ``is_busy``, and then nobody else writes to it; otherwise the loop has it.
    gunicorn's response writes to it as if it were the socket.
    """

    def __init__(self, sock: socket.socket, client: Any, server: Any, incoming: Incoming) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.client = client
        self.server = server
        self.incoming = incoming
        self.stage = Stage.HEAD
        """What is being waited for; a new client has as long for its head as one that began it."""
        self.deadline = 0.0
        self.since = 0.0
        """When it began to wait; monotonic seconds, as the deadline."""
        self.answers = 0
        self.owed = 0
        """Bytes that it had not taken when its time began."""
        self.is_busy = False
        self.is_last = False
        """Nothing more is answered: it closes when what is to be sent has been."""
        self.is_ended = False
        """The client sends no more."""
        self.is_leaving = False
        """All was sent and the client has been told; what it sends is thrown away."""
        self._unsent = bytearray()

    def sendall(self, data: bytes) -> None:
        """Note what is to be sent."""
        self._unsent += data

    @property
    def host(self) -> str:
        """Where the client is; empty for a socket that is a file."""
        return self.client[0] if isinstance(self.client, tuple) else ""

    @property
    def held(self) -> int:
        """Bytes that this client has the worker hold."""
        return len(self._unsent) + self.incoming.size

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken."""
        return len(self._unsent)

    def flush(self) -> None:
        """Send what the client takes now. Raises OSError when it is gone."""
        with suppress(BlockingIOError):
            del self._unsent[: self.socket.send(self._unsent)]

    def forget(self) -> None:
        """Send nothing of what was noted."""
        self._unsent.clear()

    def read(self) -> bytes | None:
        """What came: empty when the client has ended, None when nothing came. Raises OSError."""
        try:
            return self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
