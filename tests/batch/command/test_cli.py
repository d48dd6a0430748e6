"""The command as a user or a scheduler runs it: a process, its output, its exit code."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import redis

from app.contracts import variables
from app.contracts.recommendations import Namespace
from app.contracts.refreshes import refreshes_key
from batch.command.cli import cli
from batch.errors import BadSettings
from batch.generations.lock import hold
from batch.generations.registry import Generations
from tests import servers
from tests.batch.pairs import checkerboard, missing
from tests.contracts.variables import commands
from tests.generations import MANIFEST
from tests.servers import Server, wait_until

ENDED = [refreshes_key("default").encode()]
"""All that a run leaves that came to nothing: how it ended."""
FILMS = Path(__file__).parents[3] / "batch" / "datasets" / "ml-latest-small" / "ratings.csv"
COMMANDS = commands(cli)
OPTIONS = [
    (name, parameter)
    for name in sorted(COMMANDS)
    for parameter in COMMANDS[name].params
    if isinstance(parameter, click.Option)
    and (name, parameter.opts[0]) != ("users delete", "--events")  # the API's variable is another
]
Done = subprocess.CompletedProcess[str]


def larder(*arguments: str | Path, **variables: str) -> Done:
    """Run the command in this process."""
    return servers.run_here(*map(str, arguments), variables=prefixed(variables))


def process(*arguments: str | Path, **variables: str) -> Done:
    """Run the command as its users do; whatever happens, nobody must read a traceback."""
    done = servers.run(*map(str, arguments), variables=prefixed(variables))
    assert "Traceback" not in done.stderr
    return done


def prefixed(variables: Mapping[str, str]) -> dict[str, str]:
    return {f"LARDER_{name.upper()}": value for name, value in variables.items()}


def write(path: Path, pairs: list[tuple[int, int]], *extra: str) -> Path:
    lines = ["user,item", *(f"u{user},i{item}" for user, item in pairs), *extra]
    path.write_text("\n".join(lines) + "\n")
    return path


def refused(done: Done, *sentences: str, code: int = 2) -> None:
    """It ended with that code, one error, and these words in it."""
    assert done.returncode == code, done.stderr
    assert len(re.findall("^error: ", done.stderr, re.MULTILINE)) == 1
    for sentence in sentences:
        assert sentence in done.stderr


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("cli") / "board.csv", checkerboard())


@pytest.fixture
def where(server: Server, namespace: Namespace) -> dict[str, str]:
    """The variables that lead to this test's own namespace."""
    return {"cache_url": server.url, "namespace": namespace.name}


def one_object(done: Done) -> dict[str, Any]:
    """Its output: one JSON object and nothing else."""
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout, parse_constant=lambda constant: pytest.fail(constant))
    assert isinstance(found, dict) and done.stdout.count("\n") == 1
    return found


def live(client: Any, where: Mapping[str, str]) -> str | None:
    return Generations(client, Namespace(where["namespace"])).live()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_each_command_says_what_every_option_is_for(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"


OF_THEIR_OWN = {
    ("tune", "--json"),
    ("clicks train", "--blend"),
    ("clicks train", "--engine"),
    ("clicks train", "--users"),
    ("clicks score", "--engine"),
}
"""The same words mean something else to other commands."""


@pytest.mark.parametrize(
    "name, option", OPTIONS, ids=[f"{name} {option.opts[0]}" for name, option in OPTIONS]
)
def test_every_option_is_also_a_variable_that_the_house_knows(
    name: str, option: click.Option
) -> None:
    own = name == "size" or (name, option.opts[0]) in OF_THEIR_OWN
    prefix = f"LARDER_{name.split()[0].upper()}_" if own else "LARDER_"
    assert option.envvar == prefix + option.opts[0].lstrip("-").replace("-", "_").upper()
    assert option.envvar in variables.BATCH


def test_the_house_knows_no_variable_that_no_command_reads() -> None:
    read = {option.envvar for _, option in OPTIONS} | {"LARDER_INTERACTIONS", "LARDER_EXAMPLES"}
    assert variables.BATCH == read


def test_the_help_lists_the_commands_in_whole_sentences() -> None:
    done = process("--help")
    assert done.returncode == 0
    for name in cli.commands:
        assert re.search(rf"^  {name} +[A-Z].*[^.][.]$", done.stdout, re.MULTILINE), name
    assert larder("refresh", "-h").stdout.startswith("Usage: larder refresh [OPTIONS] INTERACTIONS")


def test_the_help_of_refresh_has_groups_and_three_examples(capsys: Any) -> None:
    cli.main(["refresh", "--help"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert re.findall("^([A-Z].*):$", shown, re.MULTILINE) == [
        "How the interactions are written",
        "Which rows and events count, and how much",
        "What answers show of each item",
        "What is published, and when it is not",
        "How the model is trained",
        "Spark",
        "Where the lists are",
        "Other options",
    ]
    assert shown.count("\n    larder refresh ") == 3
    for option in cli.commands["refresh"].params:
        if isinstance(option, click.Option):
            assert shown.count(f"\n  {option.opts[0]} ") == 1, option.opts[0]


def test_an_option_is_taken_from_its_variable(board: Path, where: dict[str, str]) -> None:
    done = process(
        "refresh",
        interactions=str(board),
        k="3",
        holdout="0",
        force="1",
        header="yes",
        engine="als",
        iterations="2",
        items_id_column="",
        **where,
    )
    assert done.returncode == 0, done.stderr
    assert "top 3" in done.stdout
    assert "train on all: 2 iterations" in done.stderr


def test_the_command_line_wins_over_the_variable(board: Path, where: dict[str, str]) -> None:
    done = larder("refresh", board, "--k", "4", "--no-force", k="3", force="1", **where)
    assert done.returncode == 0, done.stderr
    assert "top 4" in done.stdout


@pytest.mark.parametrize(
    "wrong, hint",
    [("iteration", "did you mean LARDER_ITERATIONS?"), ("zzz", "see larder --help")],
)
def test_a_misspelt_variable_is_an_error_with_a_suggestion(
    board: Path, wrong: str, hint: str
) -> None:
    done = larder("check", board, **{wrong: "3"})
    refused(done, f"unknown setting LARDER_{wrong.upper()}: ", hint)


@pytest.mark.parametrize(
    "arguments",
    [
        ("refresh",),
        ("refresh", "x", "--itms", "y"),
        ("refresh", "x", "--k", "ten"),
        ("refresh", "x", "--k", "0"),
        ("refresh", "x", "--min-ndcg", "nan"),
        ("refresh", "x", "--min-coverage", "50"),
        ("refresh", "x", "--max-drop", "nan"),
        ("refresh", "x", "--alpha", "inf"),
        ("refresh", "x", "--regularization", "nan"),
        ("refresh", "x", "--holdout", "1"),
        ("refresh", "x", "--max-rejects", "nan"),
        ("refresh", "x", "--keep", "1"),
        ("evaluate", "--train", "x"),
    ],
    ids=" ".join,
)
def test_a_wrong_value_is_a_wrong_use(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        cli.main(list(arguments), standalone_mode=False)


@pytest.mark.parametrize("arguments", [(), ("shw",), ("refresh", "x", "--k", "ten")])
def test_a_wrong_use_is_terminal_and_shows_the_right_one(arguments: tuple[str, ...]) -> None:
    done = larder(*arguments)
    assert done.returncode == 2
    assert "Usage: larder" in done.stderr


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--holdout", "0"), "add --force"),
        (("--after", "yesterday"), "--after must be a date such as 2026-01-31, not 'yesterday'"),
        (("--namespace", "A B"), "namespace must be"),
        (("--cache-url", "http://x"), "--cache-url must be redis://"),
        (("--items", "x", "--document-types", "price:number"), "such as price=number,"),
        (("--items", "x", "--document-types", "price=float"), "such as price=number,"),
        (("--items", "x", "--document-types", "a=number,a=boolean"), "each column once"),
        (("--history", "5"), "--history needs --live"),
        (("--filter-columns", "genre"), "add --items FILE"),
        (("--items", "x", "--filter-columns", "genre:text"), "such as genre,price:number"),
        (("--items", "x", "--filter-columns", "-genre"), "such as genre,price:number"),
        (("--items", "x", "--filter-columns", "a,a:flag"), "32 columns at most, each once"),
        (("--items", "x", "--filter-columns", "available_from:flag"), "it must be a date"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_read(
    arguments: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(BadSettings, match=re.escape(sentence)):
        cli.main(["refresh", "/no/such/file", *arguments], standalone_mode=False)


def test_a_cache_that_is_away_is_transient_and_told_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = f"redis://:secret@127.0.0.1:{servers.free_port()}/0"
    done = process("refresh", "/no/such/file", cache_url=away)
    refused(done, "cannot be used now", code=75)
    assert "secret" not in done.stderr
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)  # between its attempts
    refused(larder("generations", cache_url=away), "cannot be used now", code=75)


def test_a_run_that_finds_another_one_is_transient_and_told_before_anything_is_read(
    client: Any, namespace: Namespace, where: dict[str, str]
) -> None:
    with hold(client, namespace):
        done = larder("refresh", "/no/such/file", **where)
    refused(done, f"is being refreshed by process {os.getpid()} on", code=75)


def test_a_cache_that_is_too_small_is_transient_and_told_before_any_training(
    board: Path, own_server: Server
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory", 1)
    done = larder("refresh", board, cache_url=own_server.url)
    refused(done, "the cache has room for 0.0 MB, and this generation will take about", code=75)
    assert "train" not in done.stderr.replace("Nothing was trained", "")


@pytest.mark.parametrize("command", ["refresh", "check"])
def test_bad_input_is_terminal(command: str, tmp_path: Path, where: dict[str, str]) -> None:
    variables = where if command == "refresh" else {}
    refused(larder(command, tmp_path / "none.csv", **variables), "none.csv")
    (tmp_path / "columns.csv").write_text("customer,item\n1,2\n")
    refused(larder(command, tmp_path / "columns.csv", **variables), "'user'", "'customer'")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--split", "chronological"), "--timestamp-column"),
        (("--after", "2026-01-31"), "--timestamp-column"),
        (("--engine", "als", "--alpha", "1e39"), "training failed"),
        (("--min-ndcg", "1"), "below --min-ndcg 1"),
        (("--k", "1", "--min-coverage", "1"), "is below --min-coverage 1"),
    ],
)
def test_what_cannot_be_judged_or_is_not_good_enough_publishes_nothing(
    board: Path, client: Any, where: dict[str, str], arguments: tuple[str, ...], sentence: str
) -> None:
    done = larder("refresh", board, *arguments, **where)
    refused(done, sentence)
    assert "Warning" not in done.stderr
    assert live(client, where) is None


def test_a_model_that_popularity_beats_publishes_nothing(
    tmp_path: Path, client: Any, where: dict[str, str]
) -> None:
    """Nothing but popularity is in these data: who has what is chance."""
    rng = np.random.default_rng(1)
    liked = rng.random((300, 40)) < np.geomspace(0.5, 0.02, 40)
    pairs = [(user, item) for user, item in np.argwhere(liked).tolist()]
    done = larder("refresh", write(tmp_path / "chance.csv", pairs), **where)
    refused(done, "does not beat most-popular's", "Nothing was published; --force")
    assert re.search(r"nDCG@10 +0[.]\d{4} +", done.stdout), "it shows what it judged by"
    left = list(client.scan_iter(f"larder:1:*{where['namespace']}*"))
    assert left == [refreshes_key(where["namespace"]).encode()], "how it ended, and nothing else"


def test_one_user_of_one_item_can_be_published_unjudged(
    tmp_path: Path, where: dict[str, str]
) -> None:
    one = write(tmp_path / "one.csv", [(0, 0)])
    refused(larder("refresh", one, **where), "--holdout 0 --force")
    assert larder("refresh", one, "--holdout", "0", "--force", **where).returncode == 0
    shown = larder("show", "u0", **where).stdout.splitlines()
    assert shown[1:] == ["(empty: this user has had every item)"]
    assert '{"item":"i0"}' in larder("show", "somebody", **where).stdout


def test_a_day_of_refreshes(board: Path, client: Any, where: dict[str, str]) -> None:
    first = process("refresh", board, "--k", "3", **where)
    second = larder("refresh", board, "--k", "4", **where)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    one, two = (
        re.findall("published generation (.*?): 40 users, 20 items, top [34]", done.stdout)[0]
        for done in (first, second)
    )
    assert live(client, where) == two

    listed = process("generations", **where)
    assert [line.split()[:5] for line in listed.stdout.splitlines()[1:]] == [
        [two, "live", "40", "20", "4"],
        [one, "complete", "40", "20", "3"],
    ]

    shown = process("show", "u7", **where).stdout.splitlines()
    assert shown[0] == f"'u7' in generation {two}: personal"
    assert len(shown) == 5
    assert f'{{"item":"i{missing(7)}"}}' in shown[1]
    assert "popular" in larder("show", "stranger", **where).stdout

    rolled = process("rollback", **where)
    assert (rolled.returncode, live(client, where)) == (0, one)
    assert one in rolled.stdout
    assert "columns used: user, item; not used: none\n" in first.stdout
    refused(
        larder("rollback", **where),
        f"cannot roll back to an older good generation; live is {one}, {two} was rolled back from",
        "'larder rollback GENERATION' takes any that is whole",
    )
    refused(larder("rollback", "nonsense", **where), "there is no generation 'nonsense'", two)
    assert larder("rollback", two, **where).returncode == 0
    assert live(client, where) == two

    assert process("prune", "--keep", "2", **where).stdout == "deleted nothing\n"


def test_a_live_generation_says_what_it_stores(
    client: Any, board: Path, where: dict[str, str]
) -> None:
    done = larder("refresh", board, "--engine", "als", "--live", "--k", "40", **where)
    assert done.returncode == 0, done.stderr
    assert "documents and factors take" in done.stdout
    (told,) = one_object(larder("generations", "--json", **where))["generations"]
    assert (told["stored"], told["k"]) == (80, 40)

    nearby = larder("refresh", board, "--engine", "knn", "--live", "--force", **where)
    assert nearby.returncode == 0 and "followed what users do" not in nearby.stderr
    assert larder("rollback", **where).returncode == 0

    deny = board.with_name("deny")
    deny.write_text("i1\n")
    plain = larder("refresh", board, "--half-life", "30d", "--items-deny", deny, **where)
    assert plain.returncode == 0 and "the lists until now followed what users do" in plain.stderr
    assert "--half-life changes nothing" in plain.stderr and "--half-life" not in done.stderr
    manifest = Generations(client, Namespace(where["namespace"])).live_manifest()
    assert manifest is not None and manifest.items == 19
    chosen = {"half_life": "30d", "items_deny": str(deny)}
    assert chosen.items() <= manifest.settings.items()
    assert "event_weights" not in manifest.settings


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--stored", "20"], "--stored needs --live"),
        (["--live", "--stored", "9"], "stores --k (10) to 900 items of a user, not 9"),
        (["--live", "--feedback", "explicit", "--engine", "spark"], "say --no-live, or leave out"),
    ],
)
def test_what_cannot_be_live_is_told_before_anything_is_read(
    arguments: list[str], sentence: str, where: dict[str, str]
) -> None:
    refused(larder("refresh", "nowhere.csv", *arguments, **where), sentence)


def test_programs_read_what_is_published(board: Path, where: dict[str, str]) -> None:
    assert one_object(larder("generations", "--json", **where)) == {
        "namespace": where["namespace"],
        "live": None,
        "generations": [],
    }
    assert (
        larder("refresh", board, "--engine", "als", "--k", "3", "--no-similar", **where).returncode
        == 0
    )
    told = one_object(larder("generations", "--json", **where))
    (only,) = told["generations"]
    assert told["live"] == only["generation"]
    assert 0 < only.pop("ndcg") <= 1 and only.pop("document_bytes") > 0
    assert all(only.pop(name) for name in ("generation", "started_at", "published_at"))
    assert only == {
        "state": "complete",
        "users": 40,
        "items": 20,
        "interactions": 360,
        "k": 3,
        "stored": 0,
        "similar": False,
        "follows": "exclusion",
        "engine": "als",
        "forced": False,
    }
    shown = one_object(larder("show", "u7", "--n", "2", "--json", **where))
    first, second = shown.pop("recommendations")
    assert shown == {"user": "u7", "generation": told["live"], "source": "personal"}
    assert first["item"] == f"i{missing(7)}" and first["score"] >= second["score"]
    assert len(larder("show", "u7", "--n", "1", **where).stdout.splitlines()) == 2
    assert len(larder("show", "u7", "--n", "9", **where).stdout.splitlines()) == 4


def test_prune_says_what_it_kept_and_why(board: Path, client: Any, where: dict[str, str]) -> None:
    quick = ("--holdout", "0", "--force", "--iterations", "1", "--keep", "9")
    first, second, third, fourth = (
        re.findall("published generation (.*?):", larder("refresh", board, *quick, **where).stdout)[
            0
        ]
        for _ in range(4)
    )
    assert larder("rollback", third, **where).returncode == 0
    dead = replace(MANIFEST, generation="20250101T000000.000Z-dead")
    Generations(client, Namespace(where["namespace"])).begin(dead)
    done = larder("prune", "--keep", "4", **where)
    assert done.stdout == f"deleted {dead.generation}: nobody finished it\n"
    assert done.stderr.splitlines() == [
        f"kept {fourth}: within --keep 4, though somebody rolled back from it",
        f"kept {third}: it is live",
        f"kept {second}: a rollback goes to it",
        f"kept {first}: within --keep 4",
    ]
    done = larder("prune", "--keep", "2", **where)
    assert done.stdout.splitlines() == [
        f"deleted {fourth}: beyond --keep 2",
        f"deleted {first}: beyond --keep 2",
    ]
    assert done.stderr.splitlines() == [
        f"kept {third}: it is live",
        f"kept {second}: a rollback goes to it",
    ]


def test_an_empty_namespace_says_so(where: dict[str, str]) -> None:
    listed = larder("generations", **where)
    assert listed.stdout == f"nothing is published in namespace {where['namespace']!r}\n"
    assert listed.returncode == 0
    refused(larder("show", "u", **where), "nothing is live in namespace", "run refresh")
    refused(larder("rollback", **where), "live is nothing, published are: none")


def test_what_is_no_text_is_refused(where: dict[str, str]) -> None:
    no_text = os.fsdecode(b"\xff")
    refused(process("rollback", no_text, **where), "cannot be written as utf-8")
    assert process("show", no_text, **where).returncode == 2


def test_a_user_without_an_id_is_refused(where: dict[str, str]) -> None:
    refused(larder("show", "", **where), "USER must be the id of a user, not ''")


def test_a_port_that_is_none_is_refused() -> None:
    done = process("serve", "--bind", "127.0.0.1:99999")
    assert done.returncode != 0
    assert "not '127.0.0.1:99999'" in done.stderr


def test_check_publishes_nothing_and_needs_no_cache(board: Path) -> None:
    done = larder("check", board, cache_url="redis://127.0.0.1:1/0")
    assert done.returncode == 0
    assert "360 pairs of 40 users and 20 items" in done.stdout
    assert "columns used: user, item; not used: none\n" in done.stdout
    assert done.stdout.endswith(
        "pairs: weights 1 to 1; no timestamps; at most 9 of one user, 'u0'\n"
    )


def test_check_counts_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    rows = ["robot,a,view", "robot,b,buy", "robot,c,view", "u,a,sale", "u,d,buy", "u,e,buy"]
    path.write_text("\n".join(["user,item,kind", *rows]))
    (tmp_path / "deny").write_text("e\nx\n")
    deny = ("--items-deny", tmp_path / "deny", "--max-items-per-user", "2")
    refused(larder("check", path, weights="buy=2"), "--type-column")
    options = {"type_column": "kind", "weights": "buy=2,view=1"}
    said = larder("check", path, *deny, **options).stdout
    assert "left out: 1 rows of types without a weight\n" in said
    assert "left out: 1 rows of items in --items-deny\n" in said
    assert "--items-deny has 1 ids without a row: 'x'\n" in said
    assert "1 pairs of 1 users beyond --max-items-per-user; 'robot' had the most, 3\n" in said
    told = one_object(larder("check", path, "--json", *deny, **options))
    assert told["left_out"] == {"type": 1, "items_deny": 1} and told["unknown"] == {"items_deny": 1}
    assert told["capped"] == {"users": 1, "pairs": 1, "worst": "robot", "most": 3}
    assert (told["pairs"], told["busiest"]) == (3, {"user": "robot", "pairs": 2})


def test_check_tells_programs_the_same(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("user,item,timestamp,note\nu,a,0,x\nu,a,86400,x\nu,b,86400,x\n,b,1,x\n")
    asked = ("check", path, "--max-rejects", "1", "--rejects", tmp_path / "out.csv")
    done = process(*asked, "--json")
    assert one_object(done) == {
        "files": 1,
        "rows": 4,
        "pairs": 2,
        "users": 1,
        "items": 2,
        "merged": 1,
        "zero": 0,
        "rejected": {"missing user": 1},
        "used": {"user": "user", "item": "item", "timestamp": "timestamp"},
        "unused": ["note"],
        "left_out": {},
        "unknown": {},
        "capped": None,
        "weights": [1.0, 2.0],
        "first_met": ["1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"],
        "busiest": {"user": "u", "pairs": 2},
        "documents": None,
    }
    assert larder(*asked).stdout in done.stderr


def test_check_writes_nothing_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    (tmp_path / "rejects.csv").write_text("file,line,reason,content\n")
    refused(larder("check", write(tmp_path / "a.csv", [(0, 0)], ",x")), "; --rejects FILE lists")
    assert (tmp_path / "rejects.csv").read_text() == "file,line,reason,content\n"


@pytest.mark.parametrize("options", [("--user-column", "item"), ("--item-column", "user")])
def test_users_and_items_are_two_columns(board: Path, options: tuple[str, str]) -> None:
    refused(larder("check", board, *options), "--user-column and --item-column are both")


@pytest.mark.parametrize(
    "command, output",
    [
        ("check {in} --rejects {in}", "in.csv"),
        ("check {in} --rejects {link}", "link.csv"),
        ("check {in} --items {items} --rejects {items}", "items.csv"),
        ("check {in} --items {beside} --rejects {out}", "out-items.csv"),
        ("check {folder} --rejects {in}", "in.csv"),
        ("refresh {in} --rejects {in}", "in.csv"),
        ("evaluate --train {in} --test {items} --rejects {in}", "in.csv"),
        ("evaluate --train {in} --test {beside} --rejects {out}", "out-test.csv"),
    ],
)
def test_an_output_never_overwrites_an_input(
    tmp_path: Path, where: dict[str, str], command: str, output: str
) -> None:
    names = {"in": "in.csv", "items": "items.csv", "link": "link.csv", "out": "out.csv"}
    paths = {key: tmp_path / name for key, name in names.items()} | {"folder": tmp_path}
    paths["beside"] = tmp_path / ("out-test.csv" if "--test" in command else "out-items.csv")
    for key in ("in", "items", "beside"):
        paths[key].write_text("neither users nor items\n")
    paths["link"].symlink_to(paths["in"])
    done = larder(*(word.format(**paths) for word in command.split()), **where)
    refused(done, f"--rejects {tmp_path / output} is the input itself: name another file")
    for key in ("in", "items", "beside"):
        assert paths[key].read_text() == "neither users nor items\n"


def test_rejects_may_lie_among_the_files_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "in.csv", [(0, 0)], ",x")
    for _ in range(2):
        asked = ("check", tmp_path, "--rejects", tmp_path / "rejects.csv", "--max-rejects", "1")
        done = larder(*asked)
        assert done.returncode == 0, done.stderr
        assert "2 rows in 1 file(s)" in done.stdout


def test_check_finds_what_is_wrong_with_the_items(board: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("id,title,price\ni1,One,2\n,None,3\ni3,Three,4\n")
    rejects = tmp_path / "rejects.csv"
    asked = ("check", board, "--items", items, "--rejects", rejects)
    refused(larder(*asked), "expected a column 'item', found 'id'")
    refused(larder(*asked, items_id_column="id"), "1 of 3 rows are rejected", "rejects-items.csv")
    assert "None,3" in (tmp_path / "rejects-items.csv").read_text()
    done = larder(*asked, "--items-id-column", "id", "--max-rejects", "0.5")
    assert done.returncode == 0, done.stderr
    assert (
        "expected documents for the 20 items of the interactions, found them for 2" in done.stderr
    )
    listed = f"{items}: the rejected rows are listed in {tmp_path / 'rejects-items.csv'}\n"
    assert done.stderr.count("are listed in") == 1 and listed in done.stderr
    said = "3 rows of items in 1 file(s): documents for 2 of 20 items; 0 replaced, 1 rejected\n"
    assert said + "  1 x missing item\n" in done.stdout
    assert "nobody has touched" not in done.stdout


def test_items_that_nobody_has_touched_are_counted(
    board: Path, tmp_path: Path, where: dict[str, str]
) -> None:
    items = tmp_path / "items.csv"
    every = [f"i{n},Title {n}" for n in range(20)]
    items.write_text("\n".join(["item,title", *every, "new-1,New", "new-2,Newer"]))
    said = "documents for 20 of 20 items; 0 replaced, 0 rejected\n2 items of the file that nobody"
    assert said in larder("check", board, "--items", items).stdout
    quick = ("--holdout", "0", "--force", "--iterations", "1")
    assert said in larder("refresh", board, "--items", items, *quick, **where).stdout
    documents = one_object(larder("check", board, "--items", items, "--json"))["documents"]
    assert documents == {
        "files": 1,
        "rows": 22,
        "described": 20,
        "untouched": 2,
        "replaced": 0,
        "rejected": {},
        "columns": {},
    }


@pytest.mark.parametrize("command", ["check", "refresh"])
def test_items_that_match_nothing_are_terminal(
    board: Path, tmp_path: Path, where: dict[str, str], command: str
) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item,title\n1,One\n")
    refused(larder(command, board, "--items", items, **where), "found them for 0", "'i0'", "'1'")


@pytest.fixture(scope="module")
def held_out(board: Path) -> Path:
    pairs = [(user, missing(user)) for user in range(40)]
    return write(board.with_name("held-out.csv"), pairs)


def test_evaluate_tells_people_and_programs_of_the_model_and_most_popular(
    board: Path, held_out: Path
) -> None:
    done = process("evaluate", "--train", board, "--test", held_out, "--k", "5", "--json")
    written = one_object(done)
    assert written.keys() == {"model", "popular", "ratings", "tried"}
    for part in (written["model"], written["popular"]):
        assert {"ndcg", "map", "precision", "recall", "coverage"} <= part.keys()
        assert {"novelty", "diversity", "half"} <= part.keys()
        assert part["items"].keys() == {"head", "tail"}
        assert (part["k"], part["users"]) == (5, 40)
    assert written["model"]["ndcg"] == written["model"]["recall"] == 1.0
    assert written["popular"]["ndcg"] < 0.5
    assert re.search(r"nDCG@5 +1[.]0000 ", done.stderr)
    plain = larder("evaluate", "--train", board, "--test", held_out, "--k", "5")
    assert re.search(r"nDCG@5 +1[.]0000 ", plain.stdout)


def test_the_same_evaluation_gives_the_same_bytes(board: Path, held_out: Path) -> None:
    asked = ("evaluate", "--train", board, "--test", held_out, "--json")
    one, other = (process(*asked) for _ in range(2))
    assert one.stdout == other.stdout != ""


def test_a_full_disk_is_told_in_a_sentence(board: Path, tmp_path: Path) -> None:
    rejected = write(tmp_path / "rejected.csv", checkerboard(), ",x")
    checked = larder("check", rejected, "--rejects", "/dev/full")
    assert checked.returncode == 0
    assert "/dev/full: the rejects file cannot be written (No space left" in checked.stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "batch", "check", str(board)],
            env=servers.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    refused(done, "No space left on device", code=75)


def test_without_a_terminal_progress_is_plain_lines(board: Path, where: dict[str, str]) -> None:
    done = larder("refresh", board, "--engine", "als", "--iterations", "3", **where)
    steps = [line.rsplit(" in ", 1)[0] for line in done.stderr.splitlines()]
    assert steps == [
        "train: 3 iterations",
        "evaluate the model: 40 users",
        "evaluate most-popular: 40 users",
        "train on all: 3 iterations",
        "publish: 60 lists",
    ]
    assert "\r" not in done.stderr


def test_on_a_terminal_progress_is_bars(board: Path, where: dict[str, str]) -> None:
    shown = on_a_terminal(120, "refresh", board, "--engine", "als", "--iterations", "3", **where)
    for step, total in (("train", 3), ("evaluate the model", 40), ("publish", 60)):
        assert re.search(rf"\r{step} *:.* {total}/{total} ", shown), shown


def test_on_a_terminal_without_a_width_progress_is_lines(
    board: Path, where: dict[str, str]
) -> None:
    """As in a container with a terminal that nobody looks at; a bar would be as wide: nothing."""
    shown = on_a_terminal(0, "refresh", board, "--engine", "als", "--iterations", "3", **where)
    assert "train: 3 iterations in" in shown


def on_a_terminal(columns: int, *arguments: str | Path, **variables: str) -> str:
    """What the command shows on a terminal of that width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, columns))
    with subprocess.Popen(
        [sys.executable, "-m", "batch", *map(str, arguments)],
        env=servers.environment(prefixed(variables)),
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
    os.close(ours)
    assert process.returncode == 0
    return shown


def read_all(terminal: int) -> str:
    """Everything until the other side is closed, which Linux reports as an I/O error."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            return shown.decode()


def start(own_server: Server, *arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "batch", *map(str, arguments)],
        env=servers.environment({"LARDER_CACHE_URL": own_server.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_when(
    ready: Callable[[], bool], process: "subprocess.Popen[str]", number: signal.Signals
) -> str:
    """Send the signal as soon as it is time; return what was said, once all of it ended well."""
    with process:
        wait_until(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.send_signal(number)
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
    assert process.returncode == 128 + number
    assert said.endswith(f"error: stopped by {number.name}\n"), said
    assert "Traceback" not in said
    return said


@pytest.fixture
def watching(own_server: Server) -> Any:
    with redis.Redis.from_url(own_server.url) as client:
        yield client


SIGNALS = [signal.SIGTERM, signal.SIGINT]
LONG = ("--preset", "ml-latest", "--iterations", "1000")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_stopped_while_it_reads_ends_in_order(
    own_server: Server, watching: Any, tmp_path: Path, number: signal.Signals
) -> None:
    """It looks for the cache first, so its connection says that it reads now."""
    large = tmp_path / "large.csv"
    large.write_text("user,item\n" + "".join(f"u{n},i{n % 1000}\n" for n in range(1_500_000)))
    alone = watching.info("clients")["connected_clients"]
    process = start(own_server, "refresh", large)
    stop_when(lambda: bool(watching.info("clients")["connected_clients"] > alone), process, number)
    assert watching.keys() == ENDED


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_stopped_while_it_trains_gives_its_lock_back(
    own_server: Server, watching: Any, number: signal.Signals
) -> None:
    def asks_for_room() -> bool:
        """It has read all, and trains next; the log keeps the question, however short it is."""
        return any(each["command"] == b"INFO memory" for each in watching.slowlog_get(10_000))

    watching.config_set("slowlog-log-slower-than", 0)
    watching.config_set("slowlog-max-len", 10_000)
    process = start(own_server, "refresh", FILMS, *LONG)
    stop_when(asks_for_room, process, number)
    assert watching.keys() == ENDED, "neither a lock nor a part is left"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_stopped_while_it_publishes_leaves_nothing_half_published(
    own_server: Server, watching: Any, tmp_path: Path, number: signal.Signals
) -> None:
    """The server stands still for a moment, so that the signal surely comes in between."""
    many = tmp_path / "many.csv"
    many.write_text("user,item\n" + "".join(f"u{n},i{n % 97}\n" for n in range(100_000)))
    options = ("--holdout", "0", "--force", "--factors", "4", "--iterations", "1")
    process = start(own_server, "refresh", many, *options)

    def writes() -> bool:
        if not watching.hlen(Namespace("default").generations):
            return False
        own_server.freeze()
        return True

    try:
        wait_until(lambda: writes() or process.poll() is not None)
        process.send_signal(number)
    finally:
        own_server.thaw()
    _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
    assert process.returncode == 128 + number
    assert said.endswith(f"error: stopped by {number.name}\n")
    assert "Traceback" not in said
    space = Namespace("default")
    assert not watching.exists(space.live) and not watching.exists(space.lock)
    # Stopped in the very first command, it may leave its note of what it was about to write.
    assert larder("prune", cache_url=own_server.url).returncode == 0
    assert watching.keys() == ENDED


def test_a_cache_that_dies_during_the_training_is_transient(
    own_server: Server, watching: Any
) -> None:
    lock = Namespace("default").lock
    arguments = ("refresh", FILMS, "--preset", "ml-latest", "--iterations", "3")
    with start(own_server, *arguments) as process:
        wait_until(lambda: bool(watching.exists(lock)) or process.poll() is not None)
        own_server.kill()
        _, said = process.communicate(timeout=servers.PATIENCE_SECONDS)
    assert process.returncode == 75
    assert "cannot be used now" in said
    assert "Traceback" not in said
