"""Names and their addresses, known ahead of time: a request never waits for a name server.

``getaddrinfo`` has no limit of time, and a name server that drops questions holds it for many
seconds. So it is asked in a thread of its own, and whoever connects takes what is known by then.
"""

import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from threading import Condition, Thread


class UnknownName(OSError):
    """No name server has told the address of a host yet."""


class Resolver:
    """The addresses of the hosts that a cache is at; ``told`` is called for each new name."""

    def __init__(
        self, told: Callable[[], None], look_up: Callable[[str], Iterable[str]] | None = None
    ) -> None:
        self._told = told
        self._look_up = look_up or _look_up
        self._known: dict[str, tuple[str, ...]] = {}
        self._asked: set[str] = set()
        self._answered = Condition()

    def addresses(self, host: str) -> tuple[str, ...]:
        """Those known now, at least one; an address is its own.

        Raises UnknownName when there is none, and asks for the next time.
        """
        if _is_address(host):
            return (host,)
        if host not in self._known:
            self.ask(host)
            raise UnknownName(f"no name server has told the address of {host} yet")
        return self._known[host]

    def expect(self, hosts: Iterable[str]) -> None:
        """Ask for the names among them that are not known."""
        for host in hosts:
            if host not in self._known and not _is_address(host):
                self.ask(host)

    def ask(self, host: str) -> None:
        """Ask again, unless an answer is still awaited; what is known stays until it comes."""
        with self._answered:
            if host in self._asked or _is_address(host):
                return
            self._asked.add(host)
        Thread(target=self._resolve, args=(host,), name="larder-resolve", daemon=True).start()

    def ask_again(self) -> None:
        """Ask for every name that is known."""
        for host in tuple(self._known):
            self.ask(host)

    def wait(self, host: str, seconds: float) -> None:
        """Return when the name is known or nobody knows it, so many seconds later at the most."""
        self.expect([host])
        with self._answered:
            self._answered.wait_for(
                lambda: host in self._known or host not in self._asked, timeout=seconds
            )

    def _resolve(self, host: str) -> None:
        try:
            found = tuple(dict.fromkeys(self._look_up(host)))
        except (OSError, UnicodeError):
            found = ()  # whoever connects says that the name is not known
        with self._answered:
            new = bool(found) and host not in self._known
            if found:
                self._known[host] = found
            self._asked.discard(host)
            self._answered.notify_all()
        if new:
            self._told()


def _look_up(host: str) -> Iterable[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
