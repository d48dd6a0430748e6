"""What a worker does again and again in a thread of its own, and at once when it is asked to."""

from collections.abc import Callable
from threading import Event, Thread


class Rounds:
    """Calls ``look`` every so many seconds, which ``pause_seconds`` says each time anew.

    look must not raise: without its rounds a worker would be deaf for good.
    """

    def __init__(
        self, name: str, look: Callable[[], None], pause_seconds: Callable[[], float]
    ) -> None:
        self._look, self._pause_seconds = look, pause_seconds
        self._wake, self._ended = Event(), False
        self._thread = Thread(target=self._go, name=name, daemon=True)

    def start(self) -> None:
        """The first look is now."""
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Return when no look is under way, and none will be."""
        self._ended = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _go(self) -> None:
        while not self._ended:
            self._look()
            self._wake.wait(self._pause_seconds())
            self._wake.clear()
