"""Which model is live and what the desk says: asked a few times a second, never in a request."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

from app.cache.connect import no_answer
from app.cache.link import Link
from app.cache.rounds import Rounds
from app.contracts import policies
from app.contracts.decisions import MODEL, Configuration, Decisions, Manifest, Policy
from app.contracts.generations import BrokenRecord
from app.decisions.chooser import Model
from app.errors import CacheUnavailable
from app.settings import Settings

LOAD_TIMEOUT_MS = 20_000
"""In place of ``cache_timeout_ms`` for a load, which no request waits for."""

_TRY_AGAIN_SECONDS = 10.0
"""After a model that cannot be read: it may be one of which a part is on its way to a replica."""

log = logging.getLogger("larder.decisions")


class Listener(Protocol):
    """Who wants to know how a worker fares."""

    def followed(self, published_at: str | None) -> None:
        """The desk is known: when was the model published that decides, if there is one?"""

    def decided(self, logged: bool) -> None:
        """A decision was answered."""

    def rewarded(self) -> None:
        """A reward was taken."""


@dataclass(frozen=True, slots=True)
class State:
    """What decisions are made by now; model: None while nothing was published."""

    configuration: Configuration
    policy: Policy
    model: Model | None = None
    published_at: str | None = None


class Follower:
    """Holds what one namespace decides by, or the last of it while nothing else can be had."""

    def __init__(self, settings: Settings, link: Link, listener: Listener | None = None) -> None:
        self.space = Decisions(settings.namespace)
        self._link, self._listener = link, listener
        self._state: State | None = None
        self._problem = "nobody has looked yet"
        self._refused, self._lost = ("", 0.0), False
        interval_seconds = settings.watch_interval_ms / 1000
        self._rounds = Rounds("larder-decisions", self.poll, lambda: interval_seconds)

    def start(self) -> None:
        """Look, then follow in a thread."""
        self.poll()
        self._rounds.start()

    def stop(self) -> None:
        """End the following."""
        self._rounds.stop()

    def wake(self) -> None:
        """Look now: somebody has changed the desk."""
        self._rounds.wake()

    @property
    def degraded(self) -> bool:
        """Whether this worker decides by what is not live any more, or nobody can tell."""
        return self._lost or not self._link.reachable or bool(self._state and self._problem)

    @property
    def name(self) -> str | None:
        """The generation of the model that this worker has."""
        return self._state.model.generation if self._state and self._state.model else None

    def state(self) -> State:
        """What to decide by. Raises CacheUnavailable when the desk was never seen."""
        if self._state is None:
            raise CacheUnavailable(f"nobody can tell how to decide: {self._problem}")
        return self._state

    def poll(self) -> None:
        """Read the desk, and load the live model when it is another one. Never raises."""
        try:
            self._follow()
            self._problem = ""
        except CacheUnavailable as error:
            self._problem = str(error)  # whose watcher has told it
        except Exception as error:
            self._tell(error)
        if self._listener and self._state:
            self._listener.followed(self._state.published_at)

    def _follow(self) -> None:
        pipeline = self._link.client().pipeline(transaction=False)
        pipeline.get(self.space.live)
        pipeline.hmget(self.space.desk, "configuration", "policy")
        live, (configuration, policy) = pipeline.execute()
        self._state = state = State(
            Configuration.from_json(configuration) if configuration else Configuration(),
            Policy.from_json(policy) if policy else policies.DEFAULT,
            self._state.model if self._state else None,
            self._state.published_at if self._state else None,
        )
        name = None if live is None else live.decode(errors="replace")
        self._lost = name is None and self.name is not None
        model = state.model
        has = (model.generation, model.exploration) if model else None
        if name and has != (name, state.configuration.exploration):
            self._state = self._with_model(name, state)

    def _with_model(self, name: str, state: State) -> State:
        refused, at = self._refused
        if name == refused and time.monotonic() < at + _TRY_AGAIN_SECONDS:
            raise BrokenRecord(self._problem)
        try:
            with closing(self._link.open(LOAD_TIMEOUT_MS)) as client:
                manifest, text = read(client, self.space, name)
            model = Model(manifest, text, state.configuration.exploration)
        except BrokenRecord:
            self._refused = name, time.monotonic()
            raise
        log.info("deciding by model %s", name)
        return replace(state, model=model, published_at=manifest.published_at)

    def _tell(self, error: Exception) -> None:
        problem = str(error) if isinstance(error, BrokenRecord) else no_answer(error)
        if problem != self._problem:
            log.error("not all that decisions are made by can be had: %s", problem)
        self._problem = problem


def read(client: Any, space: Decisions, name: str) -> tuple[Manifest, bytes]:
    """The manifest and the bytes of a model. Raises BrokenRecord and the errors of the client."""
    text = client.hget(space.generations, name)
    if text is None:
        raise BrokenRecord(f"model {name} is live but has no manifest")
    manifest = space.read(text)
    model: bytes = client.get(space.part(name, MODEL)) or b""
    if manifest.generation != name or sha256(model).hexdigest() != manifest.hash:
        raise BrokenRecord(f"model {name} is not what its manifest says")
    return manifest, model
