"""A name server on loopback that drops, delays and changes its answers, and processes that ask it.

A process of its own mount namespace has its own ``/etc/resolv.conf``, so the machine's stays as it
is. That takes root.
"""

import os
import random
import socket
import struct
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Self

import pytest

from tests.servers import Gunicorn

_A = 1


class NameServer:
    """Gives one address for every name; it drops questions while it is ``silent``.

    It waits for ``answering`` before each answer.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.silent = False
        self.asked = 0
        self.answering = Event()
        self.answering.set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        if os.geteuid() or subprocess.run(["unshare", "-m", "true"]).returncode:
            self._socket.close()
            pytest.skip("needs root: a name server has port 53, and a process its own resolv.conf")
        self.host = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.53"
        self._socket.bind((self.host, 53))
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.answering.set()
        self._socket.sendto(b"", (self.host, 53))
        self._thread.join()
        self._socket.close()

    def asked_by(self, server: Gunicorn, folder: Path) -> Gunicorn:
        """The server, not started yet, whose processes will ask here and give up soon."""
        resolv = folder / "resolv.conf"
        resolv.write_text(f"nameserver {self.host}\noptions timeout:1 attempts:1\n")
        become = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        server._command = [
            *("-c", become, "unshare", "-m", "sh", "-c", mount, str(resolv)),
            sys.executable,
            *server._command,
        ]
        return server

    def _serve(self) -> None:
        while question := self._socket.recvfrom(512):
            words, caller = question
            if not words:
                return
            self.asked += 1
            self.answering.wait()
            if not self.silent:
                self._socket.sendto(self._answer(words), caller)

    def _answer(self, words: bytes) -> bytes:
        end = words.index(b"\0", 12) + 5
        question, (kind,) = words[12:end], struct.unpack(">H", words[end - 4 : end - 2])
        found = b""
        if kind == _A:
            found = b"\xc0\x0c" + struct.pack(">HHIH", _A, 1, 1, 4) + socket.inet_aton(self.address)
        head = struct.pack(">HHHH", 1, 1 if found else 0, 0, 0)
        return words[:2] + b"\x81\x80" + head + question + found
