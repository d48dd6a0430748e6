"""How often a key may ask: a bucket of tokens for each key, filled all the time.

Each worker has its share of the rate. The exact limit of a whole deployment is a proxy's to hold.
"""

from threading import Lock


class Limits:
    """The buckets of this worker; it remembers each key that has asked.

    rate: tokens that come in a second; burst: tokens that a bucket holds at most.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = Lock()

    def wait_seconds(self, key: str, now: float) -> float:
        """Take a token and return 0.0, or return how long there will be none."""
        with self._lock:
            left, then = self._buckets.get(key, (self._burst, now))
            left = min(left + (now - then) * self._rate, self._burst)
            is_taken = left >= 1.0
            self._buckets[key] = (left - is_taken, now)
        return 0.0 if is_taken else (1.0 - left) / self._rate
