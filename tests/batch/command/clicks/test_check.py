"""``larder clicks check`` and ``generate`` as users run them."""

import json
from pathlib import Path

import pytest

from tests import servers

LINES = ["clicked,hour,brand,user_id,dwell"] + [
    f"{clicked},{n % 23},{'abcde'[n % 5]},u{n % 3},{'12' if clicked else ''}"
    for n in range(200)
    for clicked in [int(n % 4 == 0)]
]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.csv"
    path.write_text("\n".join(LINES))
    return path


def larder(*arguments: str | Path) -> str:
    done = servers.run_here("clicks", *map(str, arguments))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_check_says_what_the_columns_are_and_what_is_wrong_with_them(examples: Path) -> None:
    assert servers.run_here("clicks", "check", str(examples), "--label", "clicked").stderr == ""
    assert larder("check", examples, "--label", "clicked").splitlines() == [
        "read 200 rows from 1 file(s): 200 examples, 50 of them clicks (25.00% by 'clicked')",
        "column       kind  values, about  missing  example",
        "clicked     label              2     0.0%      '0'",
        "hour       number             23     0.0%      '0'",
        "brand    category              5     0.0%      'a'",
        "user_id  left out              3     0.0%     'u0'",
        "dwell      number              1    75.0%     '12'",
        "left out 'user_id': by its name it is an id (--categorical takes it in)",
        "leak? 'dwell' alone has an AUC of 1.000: if it is not known before the click, "
        "--ignore dwell, for no gate stops a model that has it",
    ]


def test_check_tells_programs_too(examples: Path) -> None:
    options = "--label", "clicked", "--categorical", "hour, user_id", "--ignore", "dwell"
    told = json.loads(larder("check", examples, *options, "--negatives-kept", ".1", "--json"))
    assert {each["name"]: each["kind"] for each in told["columns"]} == {
        "clicked": "label",
        "hour": "category",
        "brand": "category",
        "user_id": "category",
        "dwell": "left out",
    }
    assert told["left_out"] == {"dwell": "--ignore"} and told["leaks"] == {}
    assert (told["rows"], told["clicks"], told["negatives_kept"]) == (200, 50, 0.1)


def test_check_lists_rejects_only_when_asked(examples: Path, tmp_path: Path) -> None:
    with examples.open("a") as stream:
        stream.write("\n,1,a,u,3\n")
    listed = tmp_path / "rejects.csv"
    check = "check", examples, "--label", "clicked"
    assert "rejected 1 x missing label: clicked" in larder(*check)
    assert not listed.exists()
    larder(*check, "--rejects", listed)
    assert "missing label" in listed.read_text()


def test_rejects_never_overwrite_the_input(examples: Path) -> None:
    before = examples.read_bytes()
    done = servers.run_here("clicks", "check", str(examples), "--rejects", str(examples))
    assert done.returncode == 2 and "is the input itself" in done.stderr
    assert examples.read_bytes() == before


def test_a_table_that_is_no_table_of_examples_ends_with_a_sentence(examples: Path) -> None:
    done = servers.run_here("clicks", "check", str(examples))
    assert done.returncode == 2
    assert "expected a column 'label', found 'clicked', 'hour'" in done.stderr
    assert "--label" in done.stderr


def test_generate_prints_what_is_best_possible_and_check_reads_it(tmp_path: Path) -> None:
    out = tmp_path / "rows.tsv"
    said = larder("generate", out, "--rows", "3000", "--format", "criteo", "--seed", "7")
    assert said.startswith(f"wrote 3,000 rows to {out}: 0.2") and "best possible AUC 0.8" in said
    told = json.loads(larder("check", out, "--preset", "criteo", "--json"))
    assert told["rows"] == 3000 and len(told["columns"]) == 40


def test_generate_tells_programs_what_is_best_possible(tmp_path: Path) -> None:
    told = json.loads(larder("generate", tmp_path / "rows.csv", "--rows", "2000", "--json"))
    assert told["rows"] == 2000 and 0 < told["clicks"] < 1000
    assert 0.75 < told["auc"] < 0.9 and 0.35 < told["log_loss"] < 0.55
