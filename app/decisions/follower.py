"""Which model is live and what the desk says: asked a few times a second, never in a request."""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

from app.cache import following
from app.cache.link import Link
from app.contracts.decisions import MODEL, Configuration, Decisions, Manifest, Policy
from app.contracts.generations import BrokenRecord
from app.contracts.learning import policies
from app.decisions.chooser import Model
from app.errors import CacheUnavailable
from app.settings import Settings


class Listener(following.Listener, Protocol):
    """Who wants to know how a worker fares; ``followed`` is called once the desk is known."""

    def decided(self, logged: bool) -> None:
        """A decision was answered."""

    def rewarded(self) -> None:
        """A reward was taken."""


@dataclass(frozen=True, slots=True)
class State:
    """What decisions are made by now; model, and its manifest: None while none was published."""

    configuration: Configuration
    policy: Policy
    model: Model | None = None
    manifest: Manifest | None = None


class Follower(following.Following[State]):
    """Holds what one namespace decides by, or the last of it while nothing else can be had."""

    def __init__(self, settings: Settings, link: Link, listener: Listener | None = None) -> None:
        super().__init__("decisions", settings, link, listener)
        self.space = Decisions(settings.namespace)

    def state(self) -> State:
        """What to decide by. Raises CacheUnavailable when the desk was never seen."""
        if self._held is None:
            raise CacheUnavailable(f"nobody can tell how to decide: {self._problem}")
        return self._held

    def _follow(self) -> None:
        pipeline = self._link.client().pipeline(transaction=False)
        pipeline.get(self.space.live)
        pipeline.hmget(self.space.desk, "configuration", "policy")
        live, (configuration, policy) = pipeline.execute()
        self._held = state = State(
            (Configuration.from_json(configuration) if configuration else Configuration()),
            Policy.from_json(policy) if policy else policies.DEFAULT,
            self._held.model if self._held else None,
            self._held.manifest if self._held else None,
        )
        name, exploration = self._pointed(live), state.configuration.exploration
        has = (state.model.generation, state.model.exploration) if state.model else None
        if name and has != (name, exploration):
            self._held = self._loaded(name, lambda client: self._with_model(client, name, state))

    def _with_model(self, client: Any, name: str, state: State) -> State:
        manifest, text = read(client, self.space, name)
        model = Model(manifest, text, state.configuration.exploration)
        return replace(state, model=model, manifest=manifest)

    def _report(self) -> None:
        if self._held:
            super()._report()


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
