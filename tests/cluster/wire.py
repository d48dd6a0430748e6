"""What goes over this machine's networks, as somebody on the way would read it."""

import socket
from contextlib import suppress
from threading import Event, Thread
from typing import Self

EVERY_PROTOCOL = 3
IPV4, TCP = b"\x08\x00", 6


class Wire:
    """Listens on all interfaces to TCP from and to these ports, for as long as it is entered.

    bytes: how much went by; betrayed: how many packets held the secret.
    """

    def __init__(self, ports: set[int], secret: bytes) -> None:
        self._ports, self._secret = ports, secret
        self._ended = Event()
        self._thread = Thread(target=self._listen, daemon=True)
        self.bytes = self.betrayed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        self._thread.join()

    def _listen(self) -> None:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
        with raw:
            raw.settimeout(0.2)
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    self._read(raw.recv(65535))

    def _read(self, packet: bytes) -> None:
        if packet[12:14] != IPV4 or packet[23] != TCP:
            return
        start = 14 + 4 * (packet[14] & 15)  # after Ethernet's header and that of IP
        ports = {int.from_bytes(packet[at : at + 2], "big") for at in (start, start + 2)}
        if ports & self._ports:
            self.bytes += len(packet)
            self.betrayed += self._secret in packet
