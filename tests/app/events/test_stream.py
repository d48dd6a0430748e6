"""What is written for an event, and what happens to events that cannot be written."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest
import redis

from app.contracts.events import MAX_LASTING, MAX_RECENT, Actor, Event, Recent, Streams
from app.contracts.recommendations import Namespace
from app.errors import EventsUnavailable
from app.events.stream import Stream
from app.settings import Settings
from tests.app.served import Heedful
from tests.servers import Server, wait_at_most, wait_until

NOW = 1_795_000_000_000


def event(number: int = 0, **members: Any) -> Event:
    return Event(**{"id": f"e{number}", "type": "click", "time": 5, "user": "u", **members})


def click(number: int, item: str, **members: Any) -> Event:
    return event(number, item=item, **members)


class Writing(Stream):
    """A stream that is patient, and closes."""

    def __init__(self, url: str, name: str, **settings: Any) -> None:
        patient = {"cache_timeout_ms": 60_000, **settings}
        super().__init__(Settings(cache_url=url, namespace=name, **patient), Heedful())

    def __enter__(self) -> "Writing":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


@pytest.fixture
def stream(server: Server, namespace: Namespace) -> Iterator[Stream]:
    with Writing(server.url, namespace.name) as opened:
        yield opened


def written(client: Any, name: str) -> list[Event]:
    return [Event.decode(entry) for _, entry in client.xrange(Streams(name).events)]


def recents(client: Any, name: str, actor: Actor) -> list[Recent]:
    keys = Streams(name).keys_of(actor)
    found = [each for key in keys for each in client.zrevrange(key, 0, -1, withscores=True)]
    return [Recent.decode(*each) for each in found]


def test_an_event_is_in_the_stream_and_among_the_recents_of_user_and_session(
    stream: Stream, client: Any, namespace: Namespace
) -> None:
    events = [click(1, "i1", session="s"), click(2, "i2", type="purchase", value=3.0)]
    stream.add(events, NOW)
    name = namespace.name
    assert written(client, name) == events
    of_user = {Recent("click", "i1", NOW), Recent("purchase", "i2", NOW)}
    assert set(recents(client, name, Actor.user("u"))) == of_user
    assert recents(client, name, Actor.session("s")) == [Recent("click", "i1", NOW)]
    for key in Streams(name).keys_of(Actor.user("u")):
        assert 0 < client.ttl(key) <= 2_592_000


def test_an_impression_is_no_recent_event(
    stream: Stream, client: Any, namespace: Namespace
) -> None:
    stream.add([event(1, type="impression", items=("a", "b"))], NOW)
    assert len(written(client, namespace.name)) == 1
    assert not recents(client, namespace.name, Actor.user("u"))


def test_the_latest_recents_stay_and_what_is_sent_again_changes_none(
    stream: Stream, client: Any, namespace: Namespace
) -> None:
    for number in range(0, MAX_RECENT + 20, 20):
        stream.add([click(each, f"i{each}") for each in range(number, number + 20)], NOW + number)
    stream.add([click(MAX_RECENT, f"i{MAX_RECENT}")], NOW + MAX_RECENT)
    left = recents(client, namespace.name, Actor.user("u"))
    assert {each.item for each in left} == {f"i{each}" for each in range(20, MAX_RECENT + 20)}


def test_what_was_bought_or_hidden_stays_whatever_else_is_done(
    stream: Stream, client: Any, namespace: Namespace
) -> None:
    user, name = Actor.user("u"), namespace.name
    stream.add([click(1, "i1", type="purchase"), click(2, "i2", type="hide")], NOW)
    stream.add([click(n, f"c{n}") for n in range(3, MAX_RECENT + 20)], NOW + 1)
    found = recents(client, name, user)
    assert len(found) == MAX_RECENT + 2
    assert found[MAX_RECENT:] == [Recent("hide", "i2", NOW), Recent("purchase", "i1", NOW)]
    stream.add([click(n, f"p{n}", type="purchase") for n in range(MAX_LASTING)], NOW + 2)
    assert client.zcard(Streams(name).lasting(user)) == MAX_LASTING


def test_events_of_a_request_keep_their_order(
    stream: Stream, client: Any, namespace: Namespace
) -> None:
    items = [f"i{number}" for number in range(480)]
    stream.add([click(n, item, type="hide") for n, item in enumerate(items)], NOW)
    assert recents(client, namespace.name, Actor.user("u")) == [
        Recent("hide", item, NOW) for item in reversed(items)
    ]


def test_a_return_takes_a_purchase_back(stream: Stream, client: Any, namespace: Namespace) -> None:
    bought = [click(n, f"i{n}", type="purchase") for n in range(3)]
    stream.add([*bought, click(3, "i0", type="purchase", value=-1.0)], NOW)
    stream.add([click(4, "i1", type="purchase", value=0.0), click(5, "i1")], NOW + 1)
    left = recents(client, namespace.name, Actor.user("u"))
    assert left == [Recent("click", "i1", NOW + 1), Recent("purchase", "i2", NOW)]
    stream.add([bought[0]], NOW + 2)
    assert Recent("purchase", "i0", NOW + 2) in recents(client, namespace.name, Actor.user("u"))


def test_whoever_listens_is_told_after_the_server_has_answered(
    server: Server, client: Any, namespace: Namespace
) -> None:
    told: list[tuple[Sequence[Event], int]] = []

    class Listener(Heedful):
        def taken(self, events: Sequence[Event]) -> None:
            told.append((events, len(written(client, namespace.name))))

    stream = Stream(Settings(cache_url=server.url, namespace=namespace.name), Listener())
    stream.add([click(1, "i1")], NOW)
    stream.close()
    assert told == [([click(1, "i1")], 1)]


def test_a_full_stream_takes_no_more_until_it_was_exported(
    server: Server, client: Any, namespace: Namespace
) -> None:
    with Writing(server.url, namespace.name, events_max=1000) as stream:
        for start in (0, 500):
            stream.add([click(each, f"i{each}") for each in range(start, start + 500)], NOW)
        with pytest.raises(EventsUnavailable, match="the stream holds 1000 events of at most 1000"):
            stream.add([click(1000, "i1")], NOW)
        assert client.xlen(Streams(namespace.name).events) == 1000
        client.xtrim(Streams(namespace.name).events, maxlen=10, approximate=False)
        stream.add([click(1000, "i1")], NOW)
    assert client.xlen(Streams(namespace.name).events) == 11


def test_a_server_without_memory_takes_none_and_says_so(own_server: Server) -> None:
    with redis.Redis.from_url(own_server.url) as client, Writing(own_server.url, "shop") as stream:
        stream.add([click(1, "i1")], NOW)
        client.config_set("maxmemory", "1kb")
        with pytest.raises(EventsUnavailable, match="OutOfMemoryError"):
            stream.add([click(2, "i2")], NOW)
        client.config_set("maxmemory", "0")
        stream.add([click(2, "i2")], NOW)
        assert [each.id for each in written(client, "shop")] == ["e1", "e2"]


def test_a_replica_takes_none(own_server: Server) -> None:
    with redis.Redis.from_url(own_server.url) as client, Writing(own_server.url, "shop") as stream:
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(EventsUnavailable, match="ReadOnlyError"):
            stream.add([click(1, "i1")], NOW)
        client.replicaof("NO", "ONE")
        stream.add([click(1, "i1")], NOW)


def test_a_server_that_hangs_holds_one_request_at_a_time(own_server: Server) -> None:
    with Writing(own_server.url, "shop") as stream:
        stream.add([click(1, "i1")], NOW)
        own_server.freeze()
        wait_at_most(0.4, stream._writer.open())
        with pytest.raises(EventsUnavailable, match="TimeoutError"):
            stream.add([click(2, "i2")], NOW)
        stream._writer._asking.acquire()  # another request asks whether it is back
        with pytest.raises(EventsUnavailable, match="TimeoutError"):
            stream.add([click(3, "i3")], NOW)
        stream._writer._asking.release()
        own_server.thaw()
        wait_until(lambda: _is_taken(stream, click(4, "i4")))


def test_a_request_that_fails_disturbs_no_other(own_server: Server) -> None:
    with (
        redis.Redis.from_url(own_server.url) as client,
        Writing(own_server.url, "shop") as stream,
        ThreadPoolExecutor(1) as thread,
    ):
        stream.add([click(1, "i1")], NOW)
        pool: Any = stream._writer.open().connection_pool  # type: ignore[attr-defined]
        own_server.freeze()
        waiting = thread.submit(stream.add, [click(2, "i2")], NOW)
        wait_until(lambda: bool(pool._in_use_connections))
        stream._writer.lost(redis.ConnectionError("of another request"))
        own_server.thaw()
        waiting.result()
        assert [each.id for each in written(client, "shop")] == ["e1", "e2"]


def _is_taken(stream: Stream, one: Event) -> bool:
    try:
        stream.add([one], NOW)
    except EventsUnavailable:
        return False
    return True


def test_many_threads_share_a_stream(stream: Stream, client: Any, namespace: Namespace) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 50):
            stream.add([click(number, "i1")], NOW)

    threads = [Thread(target=write, args=[start]) for start in (0, 50, 100, 150)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {each.id for each in written(client, namespace.name)} == {f"e{n}" for n in range(200)}
