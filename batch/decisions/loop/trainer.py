"""The trainer: reads the log of decisions, joins, learns, publishes; each event exactly once.

A generation's manifest says how far its model has learned: that is the one commit. What a run that
died had done behind it is done again, from the same entries in the same order::

    read -> join -> learn -> [rows into LOGS -> publish, with the position -> mark LOGS -> trim]

When somebody moves the pointer (``rollback``, the guard) the trainer goes on from the model that is
live then. It passes over what newer models have learned: their position stays the newest. A cache
that lost generations is mended by LOGS, which say themselves how far they are committed.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import vowpalwabbit

from app.contracts.decisions import Decisions, Manifest, Policy
from app.contracts.events import ms_of, order
from app.contracts.generations import BrokenRecord
from app.contracts.learning import policies
from app.contracts.learning.policies import BadPolicy
from batch.decisions import logs, merged
from batch.decisions.contents import Contents, read_model
from batch.decisions.desk import Desk
from batch.decisions.judge.guard import Guard, replaced, resumed, same
from batch.decisions.judge.jobs import Jobs
from batch.decisions.learner import BrokenModel, Learner
from batch.decisions.loop import mark, orders
from batch.decisions.loop.join import Rules
from batch.decisions.loop.log import AT_A_TIME, Log
from batch.decisions.loop.training import Training, discard_rejects
from batch.decisions.terms import iso
from batch.errors import (
    BadModel,
    CacheFull,
    DiskUnavailable,
    Locked,
    Terminal,
    Transient,
    UnknownGeneration,
)
from batch.generations.connect import Client
from batch.generations.lock import Lease, Unbroken, hold
from batch.generations.publish import code_version, publish
from batch.generations.registry import Generations

log = logging.getLogger("larder.decisions")

LEASE_SECONDS = 10.0
"""So long after a trainer died the next one begins."""
PAUSE_SECONDS = 0.25
_TELL_SECONDS = 1.0
_AGAIN_SECONDS = 2.0
_AHEAD_MS = 60_000


@dataclass(slots=True)
class Trainer:
    """Of one namespace, for the holder of its lock.

    folder: of the logs, None for none; keep: how many generations stay, beside those of a day.
    """

    client: Client
    log: Log
    space: Decisions
    folder: Path | None
    keep: int
    lease: Lease
    ours: Training = field(init=False)
    live: str | None = field(init=False, default=None)
    problem: str = field(init=False, default="")
    _published_at: float = field(init=False, default=0.0)
    _told_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.resume()

    @property
    def generations(self) -> Generations[Manifest]:
        return Generations(self.client, self.space)

    @property
    def desk(self) -> Desk:
        return Desk(self.client, self.space)

    # To go on from what is live

    def resume(self) -> None:
        """Forget what is in no generation; go on from the live one, behind the newest position."""
        newest = max(
            self.generations.published(),
            key=lambda each: order(each.position),
            default=None,
        )
        position = self._settled(newest.position if newest else "")
        live = self.generations.live_manifest()
        self.live = self.generations.live()
        self.ours = self._begun(live, newest, position)
        self._tell_losses()

    def _settled(self, position: str) -> str:
        """Take away what a run that died wrote; returns how far the logs are committed."""
        if self.folder is None:
            return position
        marked = mark.position_of(self.folder, self.space.name)
        position = max(position, marked, key=order)
        position = logs.discard_behind(self.folder, position, self.log.has)
        discard_rejects(self.folder, position, self.log.has)
        mark.note(self.folder, self.space.name, position)
        return position

    def _begun(self, live: Manifest | None, newest: Manifest | None, position: str) -> Training:
        if live is None or newest is None:
            return self._anew(position)
        try:
            learner = Learner.load(read_model(self.client, self.space, live))
        except (BrokenModel, UnknownGeneration) as error:
            self._say(f"{error}: its model is learned anew from the logs")
            return self._anew(position)
        policy, told = Policy(live.policy, live.arguments), newest.settings
        rules = Rules(told["wait_ms"], told["default_reward"], told["aggregation"])
        settings = resumed(live, self.generations.published()[-1], self.log.now()[0])
        made = Training(learner, policy, rules, position, live.events, settings, live.metrics)
        if self.folder is not None and newest.position != position:
            self._say(f"the cache lost what was learned behind {newest.position}: learned again")
            orders.catch_up(made, self.folder, newest.position)
            made.committed = newest.position  # so that it is published though nothing has closed
        return made

    def _anew(self, position: str) -> Training:
        """A model of the last days of the logs, by the policy that is wanted, or the default."""
        folder, now = self.folder if position else None, self.log.now()[0]
        given = self.desk, folder, now, position, lambda: None
        try:
            made = orders.retrained(*given)
        except BadPolicy as error:
            self._say(f"{error}: {policies.DEFAULT.name!r} is learned until there is another one")
            made = orders.retrained(*given, policies.DEFAULT)
        made.committed = ""  # so that it is published though nothing has closed
        return made

    def _tell_losses(self) -> None:
        position = self.ours.position
        if not position or self.log.has(position):
            return
        found = self.log.behind(position)
        goes_on = found[0][0].decode() if found else "nothing"
        self._say(
            f"the log lacks {position}, the last entry that was learned: what stood between it and "
            f"{goes_on} was deleted, and is learned by no model"
        )

    # One round

    def round(self) -> bool:
        """Read, join and learn what has come; True where there is more of it."""
        self._follow_pointer()
        self._obey()
        self._follow_exploration()
        clock, last = self.log.now()
        if last and order(last) < order(self.ours.read):
            self.resume()  # the log was restored, or a replica took over that had less of it
        if ms_of(last) > clock + _AHEAD_MS:
            self._say(
                f"the log's clock is behind its last entry, {last}: nothing closes until then"
            )
        entries = self.log.behind(self.ours.read)
        more = len(entries) == AT_A_TIME
        self.ours.take(entries)
        if not more:
            self.ours.close(clock)
        if self.ours.is_full:
            self._write()
        self._tell()
        return more

    def _write(self) -> None:
        """Put rows into files, which is for the holder of the lock alone. Raises LostLock."""
        self.lease.prove("")
        self.ours.write(self.folder)

    def publish_if_due(self) -> bool:
        """Publish what was learned, once an export interval; says whether it did."""
        self._follow_pointer()
        seconds = self.desk.configuration().export_ms / 1000
        is_new = self.ours.position != self.ours.committed
        if not is_new or time.monotonic() < self._published_at + seconds:
            return False
        self.publish()
        return True

    def publish(self) -> None:
        """Commit all that was learned: rows, the generation with its position, then the trim."""
        ours, started = self.ours, datetime.now(UTC)
        self._write()
        problem = self._unspoiled()
        model, metrics = ours.learner.save(), ours.measured(started.isoformat(timespec="seconds"))
        manifest = self._manifest(started, model, metrics)
        self._point_at(manifest, model)
        self.lease.settled = False  # there is more to come
        self.live, self._published_at = manifest.generation, time.monotonic()
        ours.commit(metrics)
        self.problem = problem
        self._clean_up(manifest)

    def _manifest(self, started: datetime, model: bytes, metrics: dict[str, Any]) -> Manifest:
        ours, digest = self.ours, sha256(model).hexdigest()
        return Manifest(
            generation=self.generations.next_name(started),
            state="writing",
            policy=ours.policy.name,
            arguments=ours.policy.arguments,
            position=ours.position,
            events=ours.events,
            bytes=len(model),
            hash=digest,
            vowpal=vowpalwabbit.__version__,
            settings={**ours.settings, **asdict(ours.rules)},
            metrics=metrics,
            fingerprint=digest[:16],
            forced=False,
            code_version=code_version(),
            started_at=started.isoformat(timespec="seconds"),
        )

    def _unspoiled(self) -> str:
        """Go back to the live model where what was learned since has spoiled it; says so then."""
        ours, live = self.ours, self.generations.live_manifest()
        arguments = ours.policy.arguments
        if not ours.is_spoiled:
            return ""
        ours.learner.close()
        if live and same(live.arguments, arguments):
            ours.learner = Learner.load(read_model(self.client, self.space, live), arguments)
            ours.events = live.events
        else:
            ours.learner, ours.events = Learner.fresh(arguments), 0
        ours.is_spoiled = False
        problem = f"what was learned until {ours.position} had spoiled the model: it is forgotten"
        log.warning(problem)
        return problem

    def _point_at(self, manifest: Manifest, model: bytes) -> None:
        """Publish; make room where the cache is full. Raises CacheFull if that is vain."""
        made = manifest, Contents(self.space, model), self.lease
        for make_room in (self._trim_early, partial(self.generations.prune, 2)):
            try:
                publish(self.client, self.space, *made, built_on=self.live or "")
                return
            except CacheFull as error:
                self._say(str(error))
                make_room()
        publish(self.client, self.space, *made, built_on=self.live or "")

    def _trim_early(self) -> None:
        """Trim what LOGS hold, for the log may fill the cache; ``resume`` learns it of them."""
        if self.folder is not None:
            mark.note(self.folder, self.space.name, self.ours.position)
            self.log.trim(self.ours.trimmed_ms)

    def _clean_up(self, manifest: Manifest) -> None:
        """Do what may be done again at any time: trim, prune, tell."""
        previous, ours = manifest.settings.get("previous"), self.ours
        spared = [previous and previous["generation"], *_of_a_day(self.generations.published())]
        self.generations.prune(self.keep, *spared)
        if self.folder is not None:
            mark.note(self.folder, self.space.name, manifest.position)
        self.log.trim(ours.trimmed_ms)
        told: dict[str, Any] = {
            "previous": previous,
            "apprentice": ours.metrics.get("apprentice"),
        }
        if self.folder is not None:
            days = self.desk.configuration().retention_days
            logs.retain(self.folder, days, self.log.now()[0])
            span = logs.span(self.folder)
            told["logs"] = dict(zip(("from", "to"), map(iso, span))) if span else None
        self.desk.tell(told)
        self._told_at = 0.0
        self._tell()
        if self.folder is not None:
            self._merge(self.folder, manifest.position)

    def _merge(self, folder: Path, position: str) -> None:
        """Merge small files of the logs; where that fails they stay, and learning goes on."""
        try:
            merged.merge(folder, position, time.time(), partial(self.lease.prove, ""))
        except (DiskUnavailable, Terminal) as error:
            self._say(str(error))

    # What others want

    def _follow_pointer(self) -> None:
        if (live := self.generations.live()) != self.live:
            self._say(f"{live or 'nothing'} is live, not {self.live}: going on from it")
            self.resume()

    def _follow_exploration(self) -> None:
        """Let the model choose with another epsilon; it has learned the same."""
        exploration, ours = self.desk.configuration().exploration, self.ours
        wanted = policies.with_exploration(ours.policy.arguments, exploration)
        if wanted == ours.policy.arguments:
            return
        model = ours.learner.save()
        ours.learner.close()
        ours.learner = Learner.load(model, wanted)
        ours.policy = replace(ours.policy, arguments=wanted)
        if self.live:
            self.publish()

    def _obey(self) -> None:
        """Do what operators ordered, one after another; each is done before it is forgotten."""
        while wanted := self._order():
            ours, now = self.ours, self.log.now()[0]
            self._write()
            try:
                made = orders.follow(wanted, self.desk, self.folder, now, ours, self._tell)
            except (BadModel, BadPolicy, BrokenModel) as error:
                self._say(f"not done: {wanted.do}: {error}")
                made = ours
            if wanted.do == "retrain":
                made = orders.unless_empty(made, ours)
            if made is not ours:
                made.settings = self._settings(ours, made)
                ours.learner.close()
                self.ours = made
                self.publish()
            self.desk.done()

    def _order(self) -> Any:
        while True:
            try:
                return self.desk.order()
            except BrokenRecord as error:
                self._say(f"passed over an order that cannot be read: {error}")
                self.desk.done()

    def _settings(self, ours: Training, made: Training) -> Mapping[str, Any]:
        """What was there before the policy in use, for whoever wants to go back."""
        if same(ours.policy.arguments, made.policy.arguments) or not self.live:
            return ours.settings
        return replaced(ours.settings, ours.policy, self.live, self.log.now()[0])

    # What it tells

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            log.warning(problem)
        self.problem = problem

    def _tell(self) -> None:
        """Say how far it is; some time passes between."""
        if time.monotonic() < self._told_at + _TELL_SECONDS:
            return
        self._told_at, ours = time.monotonic(), self.ours
        told = {
            "at": time.time(),
            "position": ours.position,
            "pending": len(ours.joiner),
            "learned": ours.events,
            "problem": self.problem,
        }
        with suppress(CacheFull):  # the next generation makes room
            self.desk.tell({"trainer": told})


def _of_a_day(published: Sequence[Manifest]) -> Iterator[str]:
    """The last model of each of 24 hours, and as many that somebody went back from.

    So a bad night is undone in the morning, and a rollback by mistake as well.
    """
    names = [each.generation for each in published]
    hours = {name[: len("20261122T14")]: name for name in names}
    yield from [*hours.values()][-24:]
    yield from [each.generation for each in published if each.state == "withdrawn"][-24:]


def _held(client: Client, space: Decisions) -> AbstractContextManager[Lease]:
    return hold(client, space, lease_seconds=LEASE_SECONDS, doing="trained", kind=Unbroken)


def once(client: Client, log_of: Log, space: Decisions, folder: Path | None, keep: int) -> Training:
    """Learn all that has closed, publish one generation if anything has; returns what is known.

    Raises Locked where another trainer runs, BadSettings for a folder of another namespace,
    CacheUnavailable, DiskUnavailable or LostLock.
    """
    with _held(client, space) as lease:
        trainer = Trainer(client, log_of, space, folder, keep, lease)
        while trainer.round():
            pass
        if trainer.ours.position != trainer.ours.committed:
            trainer.publish()
        return trainer.ours


def follow(
    client: Client,
    log_of: Log,
    space: Decisions,
    folder: Path | None,
    keep: int,
    jobs: Jobs | None = None,
    guard: Guard | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Do so without end; what is away is waited for, and so is a trainer that runs already.

    jobs, guard: what else it does, None for not. Raises BadSettings where waiting is vain.
    """
    said = ""
    while True:
        try:
            with _held(client, space) as lease:
                log.info("training the decisions of namespace %r", space.name)
                said = ""
                _run(Trainer(client, log_of, space, folder, keep, lease), jobs, guard, pause)
        except Transient as error:
            told = (
                "another trainer runs; this one waits" if isinstance(error, Locked) else str(error)
            )
            if told != said:
                log.warning("%s", told)
            said = told
            pause(_AGAIN_SECONDS)


def _run(
    trainer: Trainer, jobs: Jobs | None, guard: Guard | None, pause: Callable[[float], None]
) -> None:
    while True:
        more = trainer.round()
        if trainer.publish_if_due() and guard:
            guard.check()  # where it moves the pointer, the next round sees that
        if jobs:
            jobs.poll()
        if not more:
            pause(PAUSE_SECONDS)
