"""How often a key may ask: a bucket of tokens for each key, filled all the time.

Each worker has its share of the rate. The exact limit of a whole deployment is a proxy's to hold.
"""

from threading import Lock
from typing import Self

from app.settings import Settings


class Limits:
    """The buckets of this worker; it remembers each key that has asked.

    rate: tokens that come in a second; burst: tokens that a bucket holds at most.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Those of one worker; None where each key may ask as often as it likes."""
        if not settings.rate:
            return None
        burst = settings.burst or settings.rate
        return cls(settings.rate / settings.workers, burst / settings.workers)

    def wait_seconds(self, key: str, now: float) -> float:
        """Take a token and return 0.0, or return how long there will be none."""
        with self._lock:
            left, then = self._buckets.get(key, (self._burst, now))
            left = min(left + (now - then) * self._rate, self._burst)
            is_taken = left >= 1.0
            self._buckets[key] = (left - is_taken, now)
        return 0.0 if is_taken else (1.0 - left) / self._rate
