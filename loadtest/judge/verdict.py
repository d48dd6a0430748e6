"""The verdict on a run: green or red, and why, in sentences. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.load.scenarios import Scenario
from loadtest.slo import Outcome, broken, digits

KNEE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the promise held; the sentences say what was broken, or what was reached."""

    passed: bool
    sentences: Sequence[str]


def pronounce(scenario: Scenario, outcomes: Sequence[Outcome], stopped: str | None) -> Verdict:
    """The verdict on the outcomes of the steps that were run, in their order.

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
        f"median of {digits(bend.median_ms)} ms; with more users the wait grows, the rate hardly"
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
        f"(median {digits(best.median_ms)} ms, p99 {digits(best.p99_ms)} ms, {best.users:,} {unit})"
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
