"""Which rows count and how much: types, age, caps and lists of items."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.contracts.events import Streams
from app.contracts.recommendations import Namespace
from batch.errors import BadInteractions, BadSettings
from batch.events.inputs import Inputs, Weighing
from batch.events.load import load_all
from batch.interactions.pairs import Capped, Interactions
from batch.interactions.reading import Reading
from batch.interactions.sources.layout import Layout
from tests.batch.events.streams import event
from tests.batch.events.test_load import exported, pairs, text
from tests.batch.interactions.test_interactions import parquet

TYPED = (
    "user,item,kind,qty,timestamp",
    "u1,a,buy,2,2026-01-21",
    "u1,a,view,1,2026-01-11",
    "u1,b,view,1,2026-01-01",
    "u2,c,spam,1,2026-01-21",
    "u2,c,,1,2026-01-21",
    "u2,d,view,3,2026-01-31",
    ",d,buy,1,2027-01-01",
)
TYPES: dict[str, Any] = {"weights": "buy=5,view=1", "type_column": "kind"}
QUANTITIES = Layout(weight_column="qty")


@pytest.fixture
def typed(tmp_path: Path) -> str:
    return text(tmp_path / "typed.csv", *TYPED)


def counted(*paths: str, layout: Layout = Layout(), **options: Any) -> Interactions:
    said = {"weights": None, "half_life": None, **options}
    return load_all(Inputs(paths, Weighing.of(**said)), Reading("", layout, None, 1.0), None)


def test_a_row_counts_with_the_weight_of_its_type(typed: str) -> None:
    found = counted(typed, **TYPES)
    assert pairs(found) == {("u1", "a"): 6, ("u1", "b"): 1, ("u2", "d"): 1}
    report = found.report
    assert (report.left_out, report.rejected) == ({"type": 2}, {"missing user": 1})
    assert (report.merged, report.zero, report.pairs, report.used["type"]) == (1, 0, 3, "kind")
    both = counted(typed, layout=QUANTITIES, **TYPES)
    assert pairs(both) == {("u1", "a"): 11, ("u1", "b"): 1, ("u2", "d"): 3}
    without = pairs(counted(typed))
    assert without == {("u1", "a"): 2, ("u1", "b"): 1, ("u2", "c"): 2, ("u2", "d"): 1}


def test_types_may_be_numbers_and_parquet(tmp_path: Path) -> None:
    path = str(tmp_path / "typed.parquet")
    rows = "(VALUES ('u', 1, 4, 1.5), ('u', 1, 1, 2), ('u', 2, 3, 1)) t(user, item, kind, weight)"
    parquet(Path(path), f"FROM {rows}")
    found = counted(path, weights="4=10,1=1,3=0", type_column="kind")
    assert pairs(found) == {("u", "1"): 17} and found.report.left_out == {"type": 1}


def test_rows_fade_back_from_the_newest_of_all_inputs(tmp_path: Path, typed: str) -> None:
    older = text(tmp_path / "older.csv", "user,item,kind,timestamp", "u3,a,view,2025-12-22")
    found = pairs(counted(typed, older, half_life="10d", **TYPES))
    assert found == pytest.approx(
        {
            ("u1", "a"): 5 / 2 + 1 / 4,
            ("u1", "b"): 1 / 8,
            ("u2", "d"): 1,
            ("u3", "a"): 1 / 16,
        }
    )
    untyped = pairs(counted(typed, half_life="10d"))
    assert untyped[("u1", "a")] == pytest.approx(3 / 4)


def test_events_fade_with_the_rows_beside_them(
    client: Any, namespace: Namespace, tmp_path: Path
) -> None:
    folder = exported(
        client,
        Streams(namespace.name),
        tmp_path / "events",
        event(0, item="i1"),
        event(1, item="i2"),
    )
    orders = text(
        tmp_path / "orders.csv", "user,item,timestamp", f"u1,i1,{1_700_000_000 + 864_000}"
    )
    found = counted(orders, folder, half_life="10d", items_deny=text(tmp_path / "no", "i2"))
    assert pairs(found) == pytest.approx({("u1", "i1"): 1.5})
    assert found.report.left_out == {"items_deny": 1}
    recent = counted(orders, folder, since="9d")
    assert pairs(recent) == {("u1", "i1"): 1} and recent.report.left_out == {"since": 2}


def test_the_latest_rating_fades_by_its_own_age(tmp_path: Path) -> None:
    ratings = "user,item,rating,timestamp", "u,a,5,0", "u,a,3,86400", "u,b,4,172800"
    found = pairs(counted(text(tmp_path / "ratings.csv", *ratings), half_life="1d"))
    assert found == {("u", "a"): 1.5, ("u", "b"): 4}


def test_without_timestamps_nothing_fades_and_nothing_is_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    orders = text(tmp_path / "orders.csv", "user,item", "u1,i1")
    assert pairs(counted(orders, half_life="30d")) == {("u1", "i1"): 1}
    assert "orders.csv, which has no timestamps" in caplog.text
    for since in ("2026-01-01", "30d"):
        with pytest.raises(BadInteractions, match="orders.csv: --since needs timestamps"):
            counted(orders, since=since)


@pytest.mark.parametrize("since", ["2026-01-11", "20d", "480h", "2026-01-11T01:00:00+01:00"])
def test_what_is_older_is_left_out(tmp_path: Path, typed: str, since: str) -> None:
    old = text(tmp_path / "old.csv", "user,item,timestamp", "u1,z,2025-01-01", "u1,z,2025-01-02")
    found = counted(typed, old, since=since)
    assert pairs(found) == {("u1", "a"): 2, ("u2", "c"): 2, ("u2", "d"): 1}
    assert found.report.left_out == {"since": 3} and found.items == ["a", "c", "d"]
    assert found.report.pairs == 3


def test_one_row_of_the_future_makes_nothing_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "future.csv"
    today = datetime.now(UTC).date().isoformat()
    rows = [f"u{n},i{n % 3},{today}" for n in range(9)] + ["u9,i0,2999-01-01"]
    path.write_text("\n".join(["user,item,timestamp", *rows]))
    made = counted(str(path), since="90d", half_life="30d")
    assert len(made) == 10 and made.weight.min() > 0.9
    assert "is of 2999-01-01, which is to come" in caplog.text


def test_only_items_that_are_allowed_and_not_denied_make_pairs(tmp_path: Path, typed: str) -> None:
    allow = text(tmp_path / "allow.csv", "name,item", "A,a", "B,b", "?,unknown")
    deny = text(tmp_path / "deny.txt", "b", "", "c", "none")
    found = counted(typed, items_allow=allow, items_deny=deny)
    assert pairs(found) == {("u1", "a"): 2} and found.users == ["u1"]
    assert found.report.left_out == {"items_allow": 3, "items_deny": 1}
    assert found.report.unknown == {
        "items_allow": frozenset({"unknown"}),
        "items_deny": frozenset({"none"}),
    }


def test_a_list_is_unknown_when_no_input_knows_it(tmp_path: Path, typed: str) -> None:
    other = text(tmp_path / "other.csv", "user,item", "u1,e")
    found = counted(typed, other, items_deny=text(tmp_path / "deny", "e", "a", "x"))
    assert found.report.unknown == {"items_deny": frozenset({"x"})}


def test_a_robot_keeps_its_strongest_and_latest_pairs(tmp_path: Path) -> None:
    rows = [f"robot,i{n},{1 + (n == 3)},{n // 2}" for n in range(10)]
    path = text(
        tmp_path / "a.csv", "user,item,weight,timestamp", *rows, "u,i0,1,0", "u,x,1,0", "v,i9,1,1"
    )
    found = counted(path, max_items_per_user=2)
    assert [*pairs(found)] == [
        ("robot", "i3"),
        ("robot", "i8"),
        *(("u", n) for n in ("i0", "x")),
        ("v", "i9"),
    ]
    assert found.report.capped == Capped(users=1, pairs=8, worst="robot", most=10)
    assert (found.report.pairs, found.items) == (5, ["i0", "i3", "i8", "i9", "x"])
    assert counted(path, max_items_per_user=10).report.capped is None


@pytest.mark.parametrize(
    "lines, options, sentence",
    [
        (TYPED, {"weights": "sale=1", "type_column": "kind"}, "6 of types without a weight"),
        (TYPED, {"since": "2026-02-01"}, "found none in 7 rows: 6 from before --since"),
        (TYPED, {"type_column": "type"}, "expected a column 'type'.*name it with --type-column"),
        (("user,item,rating,kind", "u,i,1,buy"), TYPES, "expected a rating or a type"),
    ],
)
def test_a_choice_that_leaves_nothing_says_why(
    tmp_path: Path, lines: tuple[str, ...], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInteractions, match=sentence):
        counted(text(tmp_path / "in.csv", *lines), **options)


def test_lists_of_items_that_are_none_are_refused(tmp_path: Path, typed: str) -> None:
    empty, other = text(tmp_path / "empty"), text(tmp_path / "other", "z")
    with pytest.raises(BadInteractions, match="--items-allow .*: expected ids, found none"):
        counted(typed, items_allow=empty)
    with pytest.raises(BadInteractions, match="6 of items not in --items-allow"):
        counted(typed, items_allow=other)
    assert len(counted(typed, items_deny=empty)) == 4
    with pytest.raises(BadInteractions, match="there is no such file"):
        counted(typed, items_deny=f"{empty}x")
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    with pytest.raises(BadInteractions, match="latin: cannot be read"):
        counted(typed, items_deny=str(tmp_path / "latin"))


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "0d", "90", "-3d"])
def test_dates_and_lengths_that_are_none_are_refused(since: str) -> None:
    with pytest.raises(BadSettings, match="--since must be a date such as 2026-01-31, or hours"):
        Weighing.of(None, None, since)


def test_weights_need_types(tmp_path: Path, typed: str) -> None:
    with pytest.raises(BadSettings, match="name the column of the types with --type-column"):
        Inputs((typed,), Weighing.of("view=1", None)).check()
    for fine in (Weighing.of("Buy now=1", None, type_column="kind"), Weighing.of(None, None)):
        Inputs((typed,), fine).check()
    Inputs((typed, str(tmp_path / "events")), Weighing.of("view=1", None)).check()


def test_the_manifest_has_what_was_chosen(typed: str) -> None:
    options: dict[str, Any] = {
        "since": "90d",
        "max_items_per_user": 5,
        "items_allow": "a",
        "items_deny": "b",
    }
    said = Inputs((typed,), Weighing.of(half_life=None, **TYPES, **options)).weighed("").settings
    weights = {"event_weights": {"buy": 5, "view": 1}, "type_column": "kind"}
    assert said == weights | options
    assert not Inputs((typed,), Weighing.of(None, None)).weighed("").settings
