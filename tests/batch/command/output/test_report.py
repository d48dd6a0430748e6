"""The tables that a run prints."""

from dataclasses import replace

import pytest

from batch.command.output import report
from batch.command.output.bars import Bars, Lines
from batch.command.output.table import table
from batch.command.published import listing
from batch.recommendations.judge.evaluate import Metrics, Part, Slice
from batch.recommendations.pipeline import Quality
from tests.batch.pairs import interactions
from tests.generations import MANIFEST


def metrics(ndcg: float) -> Metrics:
    intervals = {name: [0.25, 0.75] for name in ("ndcg", "map", "precision", "recall")}
    return Metrics(
        ndcg=ndcg,
        map=0.1,
        precision=0.2,
        recall=0.3,
        coverage=0.4,
        popularity=0.5,
        intervals=intervals,
        users=1234,
        k=10,
        slices={"0": Slice(34, ndcg / 2, [0.1, 0.3])},
        novelty=3.25,
        diversity=0.875,
        half=1081,
        items={
            "head": Part(233, 0.75, 1200, 0.375, [0.3, 0.4]),
            "tail": Part(3473, 0.25, 1234, 0.0625, [0.05, 0.07]),
        },
    )


def test_a_table_is_aligned_and_has_no_blanks_at_line_ends() -> None:
    assert table(["", "n"], [["apples", "7"], ["figs", "1234"]]) == (
        "           n\napples     7\nfigs    1234"
    )


def test_the_model_stands_beside_most_popular() -> None:
    lines = report.quality(Quality(metrics(0.5), metrics(0.125))).splitlines()
    assert lines[0].split() == ["model", "95", "%", "interval", "most", "popular"] + [
        "95",
        "%",
        "interval",
    ]
    assert lines[1].split() == ["nDCG@10", "0.5000", "0.2500-0.7500", "0.1250", "0.2500-0.7500"]
    assert [line.split()[0] for line in lines[1:7]] == [
        "nDCG@10",
        "MAP@10",
        "precision@10",
        "recall@10",
        "coverage",
        "popularity",
    ]
    assert lines[5].split() == ["coverage", "0.4000", "0.4000"]
    assert [line.split("  ")[0] for line in lines[7:15]] == [
        "novelty",
        "diversity",
        "items that make half",
        "nDCG@10, 0 known",
        "head, share",
        "head, recall@10",
        "tail, share",
        "tail, recall@10",
    ]
    assert lines[9].split()[4:] == ["1,081", "1,081"]
    assert lines[10].split()[3:] == ["0.2500", "0.1000-0.3000", "0.0625", "0.1000-0.3000"]
    assert lines[14].split()[2:] == ["0.0625", "0.0500-0.0700"] * 2
    assert lines[15] == "(1,234 users judged)"
    assert max(map(len, lines)) < 100


def test_the_input_is_summed_up_with_every_reason_for_a_rejection() -> None:
    made = interactions([(0, 0), (0, 1), (1, 1)])
    counted = replace(made.report, rows=9, merged=3, zero=1, rejected={"z": 2, "not a number": 1})
    lines = report.interactions(counted, len(made.users), len(made.items)).splitlines()
    assert lines == [
        "9 rows in 1 file(s): 2 pairs of 2 users and 2 items; 3 merged, 1 of weight 0 left out, "
        "3 rejected",
        "  1 x not a number",
        "  2 x z",
    ]


def test_details_name_columns_and_ranges() -> None:
    made = interactions([(0, 0), (0, 1)], [0, 86_400])
    used = {"user": "user", "item": "sku", "timestamp": "when"}
    counted = replace(made.report, used=used, unused=("price", "note"))
    assert report.columns(counted) == (
        "columns used: user, item (sku), timestamp (when); not used: price, note"
    )
    assert report.values(made) == (
        "pairs: weights 1 to 1; first met from 1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z; "
        "at most 2 of one user, 'u0'"
    )


def test_details_of_a_wide_file_stay_short() -> None:
    made = interactions([(0, 0)])
    counted = replace(made.report, unused=tuple("abcdefghijkl"))
    assert report.columns(counted).endswith("not used: a, b, c, d, e, f, g, h, i, j and 2 more")
    assert report.values(made).endswith("no timestamps; at most 1 of one user, 'u0'")


def test_generations_are_listed_newest_first_with_the_live_one_marked() -> None:
    one = replace(MANIFEST, generation="20260101T000000Z-0001", state="complete", users=12345)
    two = replace(
        MANIFEST,
        generation="20260102T000000Z-0001",
        state="complete",
        metrics={"model": {"ndcg": 0.5}},
        forced=True,
    )
    dead = replace(MANIFEST, generation="20260103T000000Z-0001")
    lines = listing([one, dead, two], two.generation).splitlines()
    assert [line.split() for line in lines] == [
        ["generation", "state", "users", "items", "k", "nDCG", "forced"],
        [dead.generation, "writing", "0", "0", "3", "-", "no"],
        [two.generation, "live", "0", "0", "3", "0.5000", "yes"],
        [one.generation, "complete", "12,345", "0", "3", "-", "no"],
    ]


def test_without_a_terminal_a_step_is_one_line_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    with Lines().step("train", 1500, "iterations") as advance:
        advance(700)
        advance(800)
        assert not caplog.messages
    (line,) = caplog.messages
    assert line.startswith("train: 1,500 iterations in ")


def test_a_step_that_failed_is_not_said_to_be_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(ZeroDivisionError), Lines().step("train", 1, "iterations"):
        raise ZeroDivisionError
    assert not caplog.messages


def test_on_a_terminal_a_step_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars().step("train", 4, "iterations") as advance:
        advance(4)
    assert "4/4" in capsys.readouterr().err
