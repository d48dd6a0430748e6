"""The verdict on a run: green or red, and why, in sentences. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.scenarios import Scenario
from loadtest.slo import Outcome, broken, figure

KNEE_SHARE = 0.9
MIB = 2**20
WARM_UP_SHARE = 0.2
GROWTH_SHARE, GROWTH_BYTES = 0.05, 4 * MIB
MORE_CONNECTIONS = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the promise held; the sentences say what was broken, or what was reached."""

    passed: bool
    sentences: Sequence[str]


def judge(scenario: Scenario, outcomes: Sequence[Outcome], stopped: str | None) -> Verdict:
    """Judge the outcomes of the steps that were run, in their order.

    ``stopped`` says why the run ended early; nothing that ended early is green.
    """
    if stopped is not None:
        held = _paced(scenario, outcomes).sentences if len(scenario.steps) == 1 else []
        return Verdict(False, [stopped, *(each for each in held if "was kept" not in each)])
    if len(scenario.steps) == 1:
        return _paced(scenario, outcomes)
    if scenario.stops_when_broken:
        return _ramp(scenario, outcomes)
    return _capacity(scenario, outcomes)


def _paced(scenario: Scenario, outcomes: Sequence[Outcome]) -> Verdict:
    if not outcomes:
        return Verdict(False, ["nothing was measured"])
    sentences = broken(scenario.objective, outcomes[0])
    return Verdict(not sentences, sentences or ["every limit of the objective was kept"])


def _capacity(scenario: Scenario, outcomes: Sequence[Outcome]) -> Verdict:
    if not outcomes:
        return Verdict(False, ["nothing was measured"])
    bend = outcomes[knee(outcomes)]
    sentences = [
        f"the knee is at {bend.users:,} users: {bend.requests_per_second:,.0f} requests/s with a "
        f"median of {figure(bend.median_ms)} ms; with more users the wait grows, the rate hardly"
    ]
    return _reached(scenario, held(scenario, outcomes), "users", sentences)


def _ramp(scenario: Scenario, outcomes: Sequence[Outcome]) -> Verdict:
    good = held(scenario, outcomes)
    sentences = []
    if len(good) < len(outcomes):
        step = scenario.steps[len(good)]
        why = "; ".join(broken(step.objective, outcomes[len(good)]))
        sentences = [f"at {step.objective.requests_per_second:,.0f} arrivals/s it broke: {why}"]
    return _reached(scenario, good, "sources", sentences)


def held(scenario: Scenario, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of the steps whose limits held; in a ramp those before the first that broke."""
    good: list[Outcome] = []
    for step, outcome in zip(scenario.steps, outcomes, strict=False):
        if not broken(step.objective, outcome):
            good.append(outcome)
        elif scenario.stops_when_broken:
            break
    return good


def _reached(scenario: Scenario, good: list[Outcome], unit: str, said: list[str]) -> Verdict:
    if not good:
        return Verdict(False, [*said, "the limits of the objective held at no load at all"])
    best = max(good, key=lambda outcome: outcome.requests_per_second)
    rate = best.requests_per_second
    sentence = (
        f"the highest rate with the objective's limits kept: {rate:,.0f} requests/s "
        f"(median {figure(best.median_ms)} ms, p99 {figure(best.p99_ms)} ms, {best.users:,} {unit})"
    )
    # Of random arrivals, which the ramp has, a few may be missing.
    if rate >= scenario.goal * (0.98 if scenario.stops_when_broken else 1.0):
        return Verdict(True, [*said, sentence])
    return Verdict(False, [*said, sentence, f"promised was {scenario.goal:,.0f} requests/s"])


def knee(outcomes: Sequence[Outcome]) -> int:
    """The index of the knee: the fewest users that reach 90 % of the highest throughput.

    Beyond it a closed loop only queues: each further user adds wait, hardly any throughput.
    """
    highest = max(outcome.requests_per_second for outcome in outcomes)
    for index, outcome in enumerate(outcomes):
        if outcome.requests_per_second >= KNEE_SHARE * highest:
            return index
    raise AssertionError("the highest throughput reaches 90 % of itself")


@dataclass(frozen=True, slots=True)
class Sample:
    """The local stack at a moment: bytes and connections."""

    at: float
    workers: dict[str, int]
    """Resident bytes of each worker of the API, by process id."""
    cache_bytes: int
    descriptors: int
    """Open files and sockets of all workers."""
    cache_clients: int


def leaks(samples: Sequence[Sample], start: float, end: float = math.inf) -> list[str]:
    """What grew while the load stayed the same, each as a sentence.

    The first fifth of the time from ``start`` to ``end`` is warm-up. Of the rest, the median of the
    last quarter is compared with that of the first: bytes may grow by 5 % or 4 MiB, whichever is
    more, open files of all workers and clients of the cache by 5.
    """
    during = [sample for sample in samples if start <= sample.at <= end]
    warm = during[int(len(during) * WARM_UP_SHARE) :]
    if len(warm) < 8:
        return ["too few samples to say whether memory is flat: let it run longer"]
    sentences = []
    pids = {pid for sample in warm for pid in sample.workers}
    for pid in sorted(pids, key=int):
        series = [sample.workers[pid] for sample in warm if pid in sample.workers]
        if len(series) < len(warm):
            sentences.append(f"worker {pid} of the API did not live through the run")
        else:
            sentences += _growth(f"worker {pid} of the API", series)
    sentences += _growth("the cache", [sample.cache_bytes for sample in warm])
    sentences += _more("open files of the API", [sample.descriptors for sample in warm])
    sentences += _more("clients of the cache", [sample.cache_clients for sample in warm])
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
