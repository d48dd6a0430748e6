"""The link of an API without lists: it knows whether the cache is there."""

from app.cache.watched import Watched
from app.contracts.recommendations import Namespace
from tests.app.served import patient
from tests.servers import Server


def test_it_tells_when_the_cache_goes_and_when_it_comes(own_server: Server) -> None:
    link = Watched(patient(own_server, Namespace("shop"), cache_timeout_ms=1000))
    try:
        assert not link.reachable
        link.poll()
        assert link.reachable
        own_server.kill()
        link.poll()
        assert not link.reachable
        own_server.start()
        link.poll()
        assert link.reachable
    finally:
        link.stop()
