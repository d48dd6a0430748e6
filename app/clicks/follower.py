"""Which click model is live, and the model itself, loaded outside of requests."""

import os
from typing import TYPE_CHECKING

from app.cache.following import Following, Listener
from app.cache.link import Link
from app.contracts.clicks import Clicks
from app.errors import CacheUnavailable, NothingPublished
from app.settings import Settings

if TYPE_CHECKING:
    from app.clicks.scorer import Scorer


class Follower(Following["Scorer"]):
    """Holds the live model of one namespace, or the last one while no other can be had.

    Make it in the process that will answer: it loads the library, which must not be forked.
    """

    def __init__(self, settings: Settings, link: Link, listener: Listener | None = None) -> None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")  # read once, when the library is loaded
        from app.clicks.loading import load  # here, for the plain API is without it

        super().__init__("clicks", settings, link, listener)
        self.space = Clicks(settings.namespace)
        self._load = load

    def live(self) -> "Scorer":
        """The model that this worker answers from.

        Raises NothingPublished when there is none, CacheUnavailable when nobody can tell.
        """
        if self._held is not None:
            return self._held
        if self._problem:
            raise CacheUnavailable(f"there is no click model to answer from: {self._problem}")
        raise NothingPublished(
            f"namespace {self.space.name!r} holds no click model: run 'larder clicks train "
            f"<examples> --namespace {self.space.name}'"
        )

    def _follow(self) -> None:
        name = self._pointed(self._link.client().get(self.space.live))
        if name is not None and name != self.name:
            self._held = self._loaded(name, lambda client: self._load(client, self.space, name))
