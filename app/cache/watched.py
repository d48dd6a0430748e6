"""The link to the cache of an API that has no lists: a thread sees that it answers."""

from app.cache.connect import CACHE_ERRORS
from app.cache.link import Link
from app.cache.rounds import Rounds
from app.contracts.decisions import Decisions
from app.settings import Settings


class Watched(Link):
    """Asks every ``watch_interval_ms`` whether the cache is there."""

    def __init__(self, settings: Settings) -> None:
        self._key = Decisions(settings.namespace).live
        interval_seconds = settings.watch_interval_ms / 1000
        self._rounds = Rounds("larder-cache", self.poll, lambda: interval_seconds)
        url, timeout_ms = settings.cache_url, settings.cache_timeout_ms
        super().__init__("the cache", url, timeout_ms, self._rounds.wake)

    def start(self) -> None:
        """Ask, then go on asking in a thread."""
        self.poll()
        self._rounds.start()

    def stop(self) -> None:
        """End the asking and close the connections."""
        self._rounds.stop()
        self.close()

    def poll(self) -> None:
        """Ask now. Never raises."""
        try:
            self.opened().get(self._key)
        except CACHE_ERRORS as error:
            self.failed(error)
        else:
            self.answered()
