"""What callers do not show, memory, generations and slow clients, and the verdict with it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from loadtest.judge.measured import Measured
from loadtest.judge.verdict import Verdict
from loadtest.load.decisions import HUNDREDTHS, Settled

MIB = 2**20
WARM_UP_SHARE = 0.2
GROWTH_SHARE, GROWTH_BYTES = 0.05, 4 * MIB
MORE_CONNECTIONS = 5
SOAK_SECONDS = 120
"""A shorter soak says nothing about memory."""
_FAILED = "requests failed, before or after the measured time if not in it"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the local stack uses at a moment: bytes and connections."""

    at: float
    workers: dict[str, int]
    """Resident bytes of each worker of the API, by process id."""
    cache_bytes: int
    descriptors: int
    """Open files and sockets of all workers."""
    cache_clients: int


@dataclass(frozen=True, slots=True)
class Published:
    """What went live while the load lasted."""

    published: int
    rolled_back: int
    went_live: Sequence[float]
    """Seconds since the epoch."""
    failed: str | None
    """Why publishing ended early, if it did."""


@dataclass(slots=True)
class Dawdled:
    """What became of slow clients; it is counted up while the load lasts."""

    count: int
    """How many there were at a time."""
    opened: int = 0
    refused: int = 0
    """They could not connect."""
    ended: int = 0
    """The API ended them."""
    told: int = 0
    """The API answered them 408."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What callers do not show of a run; None is what the run did not have."""

    usage: Sequence[Usage] | None = None
    """None also when the API runs elsewhere."""
    published: Published | None = None
    dawdled: Dawdled | None = None
    settled: Settled | None = None


def complete(measured: Measured, inside: Inside) -> Measured:
    """What was measured, its verdict being the one on the inside too."""
    outside = measured.verdict
    broke: list[str] = []
    remarks: list[str] = []
    if measured.scenario == "soak":
        broke, remarks = _soaked(measured, inside.usage)
    elif measured.scenario in ("refresh", "clicks"):
        broke, remarks = _refreshed(measured, inside.published)
    elif measured.scenario == "live":
        broke, remarks = _followed(measured)
    elif inside.settled:
        broke, remarks = _settled(measured, inside.settled)
    elif inside.dawdled:
        broke, remarks = _dawdled(measured, inside.dawdled)
    if not broke:
        verdict = Verdict(outside.passed, [*outside.sentences, *remarks])
    else:
        verdict = Verdict(False, broke if outside.passed else [*outside.sentences, *broke])
    return replace(measured, verdict=verdict)


def _soaked(measured: Measured, usage: Sequence[Usage] | None) -> tuple[list[str], list[str]]:
    """What broke, and what is to be remarked if nothing did."""
    if usage is None:
        return [], ["memory was not watched: the API runs elsewhere"]
    if not measured.steps:
        return [], []
    start, end = measured.steps[0].window
    flat = "memory and connections stayed flat after warm-up"
    if end - start < SOAK_SECONDS:
        flat = f"too short to say whether memory is flat: give it {SOAK_SECONDS} s or more"
    return leaks(usage, start, end), [flat]


def _refreshed(measured: Measured, published: Published | None) -> tuple[list[str], list[str]]:
    """The same of generations."""
    if not published:
        return [], ["nothing was published by this run: the API runs elsewhere"]
    broke = [published.failed] if published.failed else []
    if len(measured.generations) < 2:
        broke.append("the answers never showed a new generation")
    if measured.errors:
        broke.append(_FAILED)
    remark = (
        f"{published.published} generations were published and {published.rolled_back} rolled "
        f"back meanwhile; answers came from {len(measured.generations)}"
    )
    return broke, [remark]


def _dawdled(measured: Measured, dawdled: Dawdled) -> tuple[list[str], list[str]]:
    """The same of slow clients."""
    broke = []
    if dawdled.refused:
        broke.append(f"{dawdled.refused:,} slow clients could not connect")
    if measured.errors:
        broke.append(_FAILED)
    remark = (
        f"{dawdled.count:,} slow clients were connected meanwhile: the API ended "
        f"{dawdled.ended:,}, of which it told {dawdled.told:,} why (408)"
    )
    return broke, [remark]


def _followed(measured: Measured) -> tuple[list[str], list[str]]:
    """The same of events."""
    counts = measured.counts
    later, short = counts.get("lists after an event", 0), counts.get("short lists", 0)
    broke = [] if later else ["not one list was asked for after an event: nothing is proved"]
    if measured.errors:
        broke.append(_FAILED)
    remark = (
        f"{counts.get('events', 0):,} events were taken; nothing came back in the {later:,} lists "
        f"that their users asked for afterwards; {short:,} lists were short"
    )
    return broke, [remark]


def _settled(measured: Measured, settled: Settled) -> tuple[list[str], list[str]]:
    """The same of decisions: each that was acknowledged is in the logs and learned, once."""
    counts = measured.counts
    decisions, rewards = counts.get("decisions", 0), counts.get(HUNDREDTHS, 0) / 100
    broke = [] if decisions else ["nothing was decided: nothing is proved"]
    if settled.decisions != decisions:
        broke.append(
            f"{decisions:,} decisions were acknowledged, the logs have {settled.decisions:,}"
        )
    if settled.rewards != rewards:
        broke.append(
            f"rewards of {rewards:,g} were acknowledged, the logs have {settled.rewards:,g}"
        )
    if settled.learned not in (None, decisions):
        broke.append(f"of {decisions:,} decisions the model has learned {settled.learned:,}")
    if measured.errors:
        broke.append(_FAILED)
    told = "" if settled.learned is None else ", and as many are learned"
    remark = (
        f"lost events: 0. {decisions:,} decisions with {counts.get('rewards', 0):,} rewards, "
        f"{rewards:,g} in all, are in the logs{told}"
    )
    return broke, [remark]


def leaks(usages: Sequence[Usage], start: float, end: float = math.inf) -> list[str]:
    """What grew while the load stayed the same, each as a sentence.

    The first fifth of the time from ``start`` to ``end`` is warm-up. Of the rest, the median of the
    last quarter is compared with that of the first: bytes may grow by 5 % or 4 MiB, whichever is
    more, open files of all workers and clients of the cache by 5.
    """
    during = [each for each in usages if start <= each.at <= end]
    warm = during[int(len(during) * WARM_UP_SHARE) :]
    if len(warm) < 8:
        return ["too few samples to say whether memory is flat: let it run longer"]
    sentences = []
    pids = {pid for each in warm for pid in each.workers}
    for pid in sorted(pids, key=int):
        series = [each.workers[pid] for each in warm if pid in each.workers]
        if len(series) < len(warm):
            sentences.append(f"worker {pid} of the API did not live through the run")
        else:
            sentences += _growth(f"worker {pid} of the API", series)
    sentences += _growth("the cache", [each.cache_bytes for each in warm])
    sentences += _more("open files of the API", [each.descriptors for each in warm])
    sentences += _more("clients of the cache", [each.cache_clients for each in warm])
    return sentences


def _growth(what: str, series: Sequence[int]) -> list[str]:
    early, late = _ends(series)
    if late - early <= max(early * GROWTH_SHARE, GROWTH_BYTES):
        return []
    return [
        f"{what} grew from {early / MIB:,.1f} to {late / MIB:,.1f} MiB after warm-up, promised was "
        f"flat memory (at most {GROWTH_SHARE:.0%} or {GROWTH_BYTES // MIB} MiB more)"
    ]


def _more(what: str, series: Sequence[int]) -> list[str]:
    early, late = _ends(series)
    if late - early <= MORE_CONNECTIONS:
        return []
    return [
        f"{what} rose from {early:,.0f} to {late:,.0f} after warm-up, promised were at most "
        f"{MORE_CONNECTIONS} more"
    ]


def _ends(series: Sequence[int]) -> tuple[float, float]:
    quarter = max(len(series) // 4, 1)
    return median(series[:quarter]), median(series[-quarter:])
