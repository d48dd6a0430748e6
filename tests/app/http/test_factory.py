"""What the API warns of at its start."""

import pytest

from app.contracts.recommendations import Namespace
from app.http.factory import _started_tail
from tests.app.served import patient, watching
from tests.servers import Server


@pytest.mark.parametrize(
    ("auth", "is_apart", "warns"),
    [("on", False, True), ("on", True, False), ("off", False, False)],
)
def test_keys_of_web_pages_may_fill_a_cache_that_holds_events_too(
    server: Server,
    namespace: Namespace,
    caplog: pytest.LogCaptureFixture,
    auth: str,
    is_apart: bool,
    warns: bool,
) -> None:
    url = server.url.replace("127.0.0.1", "localhost") if is_apart else ""
    settings = patient(server, namespace, events=True, auth=auth, events_url=url)
    with watching(server, namespace) as watcher:
        tail = _started_tail(settings, watcher)
        assert tail is not None
        tail.stop()
    assert ("LARDER_EVENTS_URL" in caplog.text) == warns
