"""Spark makes of events, and of several inputs, the pairs that a single machine makes."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace, encode_document
from batch.command.output.bars import Lines
from batch.errors import BadInteractions
from batch.events.export import export
from batch.events.inputs import Inputs, Weighed, Weighing
from batch.events.load import exported_until, load_all
from batch.generations.publish import turn
from batch.interactions.reading import Reading
from batch.recommendations.cluster.candidate import ClusterCandidate
from batch.recommendations.cluster.ids import hidden_of, index
from batch.recommendations.cluster.learners import learner
from batch.recommendations.pipeline import refresh
from batch.recommendations.published.show import show
from batch.recommendations.terms import Gate, Holdout, Model, Terms
from batch.spark.read.events import read_all
from tests.batch.events.streams import event, write
from tests.servers import Server
from tests.spark.test_read import kept, singly

DAY = 86_400
TYPED = "\n".join(
    [
        "user,item,kind,weight,timestamp",
        *(
            f"{'robot' if n % 3 else f'u{n % 5}'},i{n % 13},{('buy', 'view', 'click')[n % 7 % 3]},"
            f"{n % 4},{1_700_000_000 + n * DAY}"
            for n in range(150)
        ),
        "u1,i1,buy,-1,0",
        "u1,,buy,1,4e9",
    ]
)
READING = Reading(max_rejects=1.0)


def events() -> list[Event]:
    made = [
        event(n * DAY // 3, f"u{n % 7}", ("click", "cart", "purchase")[n % 3], f"i{n % 11}")
        for n in range(200)
    ]
    again = [made[5], made[6], made[6], made[5]._replace(user="u9"), made[5]._replace(session="s")]
    return made + [
        *again,
        event(100_001, "u1", "hide", "i1"),
        event(100_002, "u2", "hide", "i9"),
        event(100_003, "u1", "hide", "unknown"),
        event(100_004, "u1", "purchase", "i3", value=-500),
        event(100_005, "", "click", "i1", session="s"),
        Event("x", "impression", 5, "u1", items=("i1", "i2")),
    ]


@pytest.fixture
def inputs(client: Any, namespace: Namespace, tmp_path: Path) -> Inputs:
    (tmp_path / "orders.csv").write_text("user,item,rating,timestamp\nu1,i2,3,5\nu9,i1,2,6\n")
    (tmp_path / "more.tsv").write_text("user\titem\trating\ttimestamp\nu1\ti2\t1\t9\nu9\t\t1\t1\n")
    write(client, Streams(namespace.name), events())
    export(client, namespace.name, tmp_path / "events")
    paths = [str(tmp_path / name) for name in ("orders.csv", "more.tsv", "events")]
    return Inputs(tuple(paths), Weighing.of(None, "30d"))


def test_pairs_hidden_ones_and_reports_are_those_of_a_single_machine(
    spark: SparkSession, inputs: Inputs, tmp_path: Path
) -> None:
    (tmp_path / "typed.csv").write_text(TYPED)
    typed = str(tmp_path / "typed.csv")
    (tmp_path / "allow").write_text("\n".join([*(f"i{n}" for n in range(9)), "x"]))
    (tmp_path / "deny.csv").write_text("title,item\nx,i3\nx,i4\nx,none\n")
    chosen = Weighing.of(
        "buy=4,click=2",
        "40d",
        "9w",
        type_column="kind",
        max_items_per_user=3,
        items_allow=str(tmp_path / "allow"),
        items_deny=str(tmp_path / "deny.csv"),
    )
    for some in (
        inputs,
        Inputs(inputs.paths[2:]),
        Inputs(inputs.paths[:2]),
        Inputs((typed,), Weighing.of("buy=4,click=2", None, type_column="kind")),
        Inputs((typed, inputs.paths[2]), chosen),
        Inputs(inputs.paths[:2], Weighing.of(None, None, "1970-01-01T00:00:06")),
    ):
        before = kept(spark)
        found = read_all(spark, some, READING, str(tmp_path / "rejects"))
        rows = found.frame.toArrow().to_pylist()
        local = load_all(some, READING, None)
        both = zip(
            sorted((r["user"], r["item"], r["weight"], r.get("timestamp")) for r in rows),
            singly(local),
            strict=True,
        )
        for ours, theirs in both:
            assert ours[:2] == theirs[:2] and ours[2:] == pytest.approx(theirs[2:], rel=1e-6)
        assert found.report == local.report and found.until == exported_until(some)
        with ExitStack() as stack:
            indexed = index(found.frame, stack)
            assert hidden_pairs(indexed, found.hidden, stack) == named(local)
        found.release()
        assert kept(spark) <= before


def hidden_pairs(indexed: Any, hidden: Any, stack: ExitStack) -> list[tuple[str, str]]:
    blocks = hidden_of(indexed, hidden, stack)
    if blocks is None:
        return []
    users = indexed.users.orderBy("block", "row").toArrow()["user"].to_pylist()
    pairs = []
    for start, block in zip(indexed.starts, blocks.collect()):
        rows, columns = block.nonzero()
        pairs += [(users[start + row], indexed.items[column]) for row, column in zip(rows, columns)]
    return sorted(pairs)


def named(local: Any) -> list[tuple[str, str]]:
    if local.hidden is None:
        return []
    return sorted((local.users[user], local.items[item]) for user, item in zip(*local.hidden))


def test_a_hidden_item_is_in_no_list_of_its_user(
    spark: SparkSession, server: Server, client: Any, namespace: Namespace, inputs: Inputs
) -> None:
    terms = Terms(k=100, holdout=Holdout(share=0), gate=Gate(force=True), similar=False)
    with ExitStack() as stack:
        found = read_all(spark, Inputs(inputs.paths[2:]), READING, "unused")
        indexed = index(found.frame, stack)
        candidate = ClusterCandidate(
            found.report,
            indexed,
            learner(Model(engine="spark", factors=4, iterations=2, repeat=True)),
            server.url,
            stack,
            True,
            Weighed(found.until, inputs.weighing.settings),
            hidden_of(indexed, found.hidden, stack),
        )
        documents = [encode_document(item) for item in indexed.items]
        with turn(client, namespace, 3) as ours:
            manifest = refresh(ours, candidate, documents, terms, Lines())
        found.release()
    assert manifest.events_until == found.until
    assert manifest.settings["half_life"] == "30d"
    for user, without in (("u1", "i1"), ("u2", "i9"), ("u3", None)):
        listed = {json.loads(each)["item"] for each, _ in show(client, namespace, user).entries}
        assert listed == {*indexed.items} - {without}


def test_an_empty_folder_of_events_is_told(spark: SparkSession, tmp_path: Path) -> None:
    inputs = Inputs((str(tmp_path / "events"),), Weighing.of("click=1", None))
    with pytest.raises(BadInteractions, match="expected interactions, found none in 0 rows"):
        read_all(spark, inputs, READING, str(tmp_path / "rejects"))
