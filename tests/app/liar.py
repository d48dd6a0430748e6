"""Servers that speak something else than the truth, or than the protocol."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

LIES = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "no permission": b"-NOPERM this user has no permissions\r\n",
    "moved": b"-MOVED 3999 127.0.0.1:1\r\n",
    "read only": b"-READONLY You can't write against a read only replica.\r\n",
    "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "binary": b"\x00\xff\x16\x03\x01",
    "ok to everything": b"+OK\r\n",
    "a number to everything": b":1\r\n",
    "a list to everything": b"*1\r\n:1\r\n",
    "half an answer": b"$100\r\nabc",
    "silence": b"",
}


@contextmanager
def lying(
    answer: bytes,
    port: int = 0,
    heard: list[bytes] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """A TCP server that has one answer to everything, and notes what it heard; yields its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    opened: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if tls:
                connection = tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            opened.append(connection)
            Thread(target=_lie, args=(connection, answer, heard), daemon=True).start()

    thread = Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in opened:
            connection.close()


def _lie(connection: socket.socket, answer: bytes, heard: list[bytes] | None) -> None:
    try:
        while words := connection.recv(65536):
            if heard is not None:
                heard.append(words)
            connection.sendall(answer)
    except OSError:
        return  # the other side has had enough
