"""A model on its way from one generation to the next: what it has learned, and is yet to commit."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from app.contracts.decisions import Policy
from app.contracts.events import Entry, ms_of, order
from app.contracts.learning import policies
from batch.decisions import dsjson, logs
from batch.decisions.learner import Learner, Unlearnable, problem_of
from batch.decisions.loop.join import Joiner, Outcome, Rules, Unreadable
from batch.decisions.terms import Joined, Late, iso
from batch.events.folder import replace, text, write_text, writing

REJECTS = "_rejects"
"""The folder of entries that are nothing that can be learned."""
HISTORY = 100
_PIECE_BYTES = 1 << 25

Numbers = dict[str, Any]


@dataclass(slots=True)
class Training:
    """learner: has learned ``events`` decisions until ``position``, the last entry that closed.

    settings: of the manifest, beside the rules; metrics: those of the generation that it goes on
    from; is_spoiled: whether the model said no numbers of the last decision that it learned.
    """

    learner: Learner
    policy: Policy
    rules: Rules
    position: str = ""
    events: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    joiner: Joiner = field(init=False)
    read: str = field(init=False)
    committed: str = field(init=False)
    is_spoiled: bool = field(init=False, default=False)
    _passed: str = field(init=False)
    _clock: int = field(init=False, default=0)
    _rewards: float = 0.0
    _learned: int = 0
    _apprentice: list[tuple[int, float, bool]] = field(default_factory=list)
    _rows: list[Joined] = field(default_factory=list)
    _late: list[Late] = field(default_factory=list)
    _rejects: list[Unreadable] = field(default_factory=list)
    _bytes: int = 0

    def __post_init__(self) -> None:
        self.joiner = Joiner(self.rules)
        self.committed = self._passed = self.position
        self.read = self._begin()

    def _begin(self) -> str:
        """Behind which entry to read on: all that has a say in what closes next."""
        if not self.position:
            return ""
        return f"{max(0, ms_of(self.position) - self.rules.reach_ms)}-0"

    @property
    def trimmed_ms(self) -> int:
        """What was written before is not needed any more; the last entry that closed stays."""
        settled = self._clock - self.rules.wait_ms - self.rules.reach_ms
        return max(ms_of(self._begin()), min(ms_of(self.position), settled))

    def take(self, entries: Sequence[Entry]) -> None:
        """Take more of the log, and learn what has closed until its end."""
        self._count(self.joiner.take(entries))
        if entries:
            self.read = entries[-1][0].decode()

    def close(self, clock_ms: int) -> None:
        """Learn what closes until that moment; all before it must have been taken."""
        self._count(self.joiner.close(clock_ms))
        self._clock = clock_ms

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        """Count those that nothing has counted before: the others were read again."""
        for outcome in outcomes:
            if self._passed and order(outcome.position) <= order(self._passed):
                continue
            self._passed, self.position = "", outcome.position
            if isinstance(outcome, Joined):
                self._add(outcome)
            elif isinstance(outcome, Late):
                self._late.append(outcome)
            elif isinstance(outcome, Unreadable):
                self._rejects.append(outcome)

    def _add(self, joined: Joined) -> None:
        if problem := problem_of(joined):
            told = {b"id": joined.id.encode(), b"context": joined.context}
            self._rejects.append(Unreadable(joined.position, problem, told))
            return
        self._rows.append(joined)
        self._bytes += len(joined.context)
        if joined.counts:
            self.learn(joined)

    def learn(self, joined: Joined) -> None:
        """Learn a decision that counts, if the policy decides its like."""
        try:
            if not self.learner.fits(joined):
                return
            if not policies.is_bounded(self.policy.arguments, joined.context):
                raise Unlearnable("it has too many features for the policy")
            said = self.learner.teach(dsjson.line(joined))
        except Unlearnable as error:
            self._rejects.append(Unreadable(joined.position, str(error), {}))
            return
        self.is_spoiled = not all(isfinite(pmf[0]) for pmf in said)
        reward = sum(joined.rewards) / len(joined.rewards)
        self._learned += 1
        self.events += 1
        self._rewards += reward
        if joined.mode == "Apprentice":
            self._apprentice.append((joined.time, reward, joined.imitated))

    @property
    def is_full(self) -> bool:
        """Whether rows should go to files before more are taken."""
        return self._bytes >= _PIECE_BYTES

    def write(self, folder: Path | None) -> None:
        """Put all rows into files. Raises DiskUnavailable or Terminal."""
        if folder is not None:
            if self._rows or self._late:
                logs.append(folder, self._rows, self._late)
            _keep_aside(folder, self._rejects)
        self._rows, self._late, self._rejects, self._bytes = [], [], [], 0

    def measured(self, at: str) -> Numbers:
        """The metrics of the next generation, published at that time."""
        ours: Numbers = {"events": self._learned}
        if self._learned:
            ours["reward"] = self._rewards / self._learned
        history = [*self.metrics.get("history", ()), ours | {"at": at}][-HISTORY:]
        return {"model": ours, "history": history} | self._imitated()

    def _imitated(self) -> Numbers:
        """How often an apprentice would have done the same, over all and in this batch."""
        known = self.metrics.get("apprentice")
        if not self._apprentice:
            return {"apprentice": known} if known else {}
        batch = {
            "events": len(self._apprentice),
            "imitated": sum(imitated for *_, imitated in self._apprentice),
            "rewards": sum(reward for _, reward, _ in self._apprentice),
            "imitated_rewards": sum(r for _, r, imitated in self._apprentice if imitated),
        }
        before = known or {"start": iso(self._apprentice[0][0])}
        total = {name: before.get(name, 0) + value for name, value in batch.items()}
        ends = {
            "start": before["start"],
            "last": iso(self._apprentice[-1][0]),
            "batch": batch,
        }
        return {"apprentice": total | ends}

    def commit(self, metrics: Mapping[str, Any]) -> None:
        """All until now is in a generation of these metrics."""
        self.metrics, self.committed = metrics, self.position
        self._rewards, self._learned, self._apprentice = 0.0, 0, []


def discard_rejects(folder: Path, position: str, comes_again: Callable[[str], bool]) -> None:
    """Delete what was kept aside behind a position, by a run that died, if it comes again."""
    for path in (folder / REJECTS).glob("*.jsonl"):
        if order(path.stem) > order(position) and comes_again(path.stem):
            path.unlink()


def _keep_aside(folder: Path, rejects: Sequence[Unreadable]) -> None:
    if not rejects:
        return
    lines = "".join(f"{_line(each)}\n" for each in rejects)
    name = f"{rejects[0].position or '0-0'}.jsonl"
    with writing(folder):
        replace(folder / REJECTS / name, lambda beside: write_text(beside, lines))


def _line(reject: Unreadable) -> str:
    entry = {text(name): text(value) for name, value in reject.entry.items()}
    return json.dumps({"position": reject.position, "why": reject.why, "entry": entry})
