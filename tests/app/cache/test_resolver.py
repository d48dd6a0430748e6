"""Addresses are known ahead of time, and a name server that hangs holds up nobody."""

from collections.abc import Iterable
from threading import Event

import pytest

from app.cache.resolver import Resolver, UnknownName
from tests.servers import PATIENCE_SECONDS, wait_until


class Names:
    """A look-up that waits until a test lets it answer."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Iterable[str] = addresses
        self.answering = Event()
        self.asked: list[str] = []

    def __call__(self, host: str) -> Iterable[str]:
        self.asked.append(host)
        assert self.answering.wait(PATIENCE_SECONDS)
        if not self.addresses:
            raise OSError("no such host")
        return self.addresses


def test_one_question_at_a_time_is_on_its_way_for_a_name() -> None:
    names, told = Names("10.0.0.1", "10.0.0.2", "10.0.0.1"), Event()
    resolver = Resolver(told.set, names)
    for _ in range(20):
        with pytest.raises(UnknownName, match="address of cache yet"):
            resolver.addresses("cache")
        resolver.expect(["cache", "127.0.0.1", "::1"])
    resolver.wait("cache", 0.0)
    assert not told.is_set() and names.asked == ["cache"]
    names.answering.set()
    resolver.wait("cache", PATIENCE_SECONDS)
    assert resolver.addresses("cache") == ("10.0.0.1", "10.0.0.2")
    wait_until(told.is_set)
    assert names.asked == ["cache"]


def test_what_is_known_stays_until_there_is_another_answer() -> None:
    names = Names("10.0.0.1")
    names.answering.set()
    resolver = Resolver(lambda: None, names)
    resolver.wait("cache", PATIENCE_SECONDS)
    names.addresses = ()
    resolver.ask_again()
    wait_until(lambda: not resolver._asked)
    assert resolver.addresses("cache") == ("10.0.0.1",)
    names.addresses = ["10.0.0.2"]
    resolver.ask_again()
    wait_until(lambda: resolver.addresses("cache") == ("10.0.0.2",))


def test_a_name_that_nobody_knows_is_not_waited_for() -> None:
    names = Names()
    names.answering.set()
    resolver = Resolver(lambda: None, names)
    resolver.wait("cache", PATIENCE_SECONDS)
    with pytest.raises(UnknownName):
        resolver.addresses("cache")


def test_an_address_needs_nobody() -> None:
    names = Names()
    resolver = Resolver(lambda: None, names)
    for address in ("127.0.0.1", "::1", "fe80::1%lo"):
        assert resolver.addresses(address) == (address,)
        resolver.ask(address)
    assert names.asked == []
