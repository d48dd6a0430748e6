"""What ``make demo-decisions`` says of rewards and of policies; .ci/run runs it whole."""

from batch.command.decisions.demo import PART, curve, estimated
from batch.command.decisions.tutorial import ranked


def test_a_curve_has_a_line_for_each_thousand_and_one_for_the_rest() -> None:
    lines = list(curve([0.0] * PART + [1.0] * PART + [1.0, 0.0]))
    assert [line.split() for line in lines] == [
        ["1,000", "0.000"],
        ["2,000", "1.000", "#" * 50],
        ["2,002", "0.500", "#" * 25],
    ]


def test_the_best_policies_are_told_and_all_that_were_not_searched_for() -> None:
    searched = [
        _result(f"hyper{place}", place / 10, "OfflineExperimentation") for place in range(9)
    ]
    lines = estimated(ranked([_result("online", 0.05, "Online"), *searched])).splitlines()
    names = [line.split()[0] for line in lines]
    assert names == ["policy", "hyper8", "hyper7", "hyper6", "hyper5", "hyper4", "hyper3", "online"]
    assert lines[1].split()[1:] == ["0.800", "0.700", "to", "0.900"]


def _result(name: str, reward: float, source: str) -> dict[str, object]:
    summary = {"expectedReward": reward, "confidenceInterval": [reward - 0.1, reward + 0.1]}
    return {"name": name, "policySource": source, "summary": summary}
