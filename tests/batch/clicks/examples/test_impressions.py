"""Impressions joined with clicks: each label is right, and nothing tells of what came later."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from batch.clicks.examples.impressions import IDS, RESERVED, Made, make
from batch.clicks.examples.layout import SAID
from batch.clicks.terms import ColumnsFile, Joining
from batch.command.cli import cli
from batch.errors import BadInteractions, BadSettings
from batch.events.export import export
from batch.events.inputs import MARK as EVENTS_MARK
from tests.batch.events.streams import write

START = 1_700_000_000_000
MINUTE = 60_000
PLAIN = Joining(positions_hidden=0)


def event(minute: float, kind: str, item: str = "", user: str = "u1", **more: Any) -> Event:
    """What happened then; ids follow from all of it."""
    time = START + round(minute * MINUTE)
    return Event(more.pop("id", f"{minute}{kind}{item}{user}"), kind, time, user, item=item, **more)


END = event(1000, "scroll", "i")
"""An event long after all others, so that no impression is too young."""


def folder(path: Path, events: Sequence[Event], last: int = START * 2) -> Path:
    """A folder as exports write it, of these, taken as they happened, ``last`` at the latest."""
    (path / "day=2023-11-14").mkdir(parents=True)
    (path / EVENTS_MARK).write_text("{}")
    taken = accumulate((min(each.time, last) for each in events), max)
    ids = [f"{moment}-{n}" for n, moment in enumerate(taken)]
    rows = [{"stream_id": each, **one._asdict()} for each, one in zip(ids, events, strict=True)]
    (path / "rows.json").write_text(json.dumps(rows))
    kinds = (
        "{stream_id:'VARCHAR',id:'VARCHAR',type:'VARCHAR',time:'BIGINT',user:'VARCHAR',"
        "session:'VARCHAR',item:'VARCHAR',items:'VARCHAR[]',value:'DOUBLE',list:'VARCHAR',"
        "position:'INTEGER',properties:'VARCHAR'}"
    )
    target = path / f"day=2023-11-14/{START}-0_{START + len(events)}-0.parquet"
    duckdb.execute(
        f"COPY (FROM read_json('{path / 'rows.json'}', columns = {kinds})) TO '{target}'"
    )
    (path / "rows.json").unlink()
    return path


def made(path: Path, events: Sequence[Event], joining: Joining = PLAIN) -> Made:
    """Make ``path``/out of these events."""
    return make([folder(path / "events", events)], joining, path / "out", lambda done: None)


def rows(path: Path, columns: str = "item, clicked") -> list[Any]:
    """What is in the examples, in their order; of one column its values."""
    file = path / "out" / "examples.parquet"
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {columns} FROM read_parquet('{file}')").fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def test_a_click_is_one_on_the_latest_impression_before_it(tmp_path: Path) -> None:
    done = made(
        tmp_path,
        [
            event(1, "impression", "a"),
            event(2, "impression", "a"),
            event(2.5, "click", "a"),
            event(3, "impression", "a"),
            event(3, "impression", "b"),
            event(33, "click", "b"),  # the last moment that counts
            event(50, "impression", "c"),
            event(80.01, "click", "c"),  # too late
            event(90, "click", "d"),  # before its impression
            event(91, "impression", "d"),
            event(92, "impression", "e"),
            event(93, "click", "e", user="u2"),  # somebody else
            END,
        ],
    )
    assert rows(tmp_path) == [
        *(("a", 0), ("a", 1), ("a", 0), ("b", 1), ("c", 0), ("d", 0), ("e", 0))
    ]
    assert (done.impressions, done.clicks, done.joined) == (7, 5, 2)
    assert (done.rows, done.clicked, done.young, done.negatives_left_out) == (7, 2, 0, 0)


def test_where_both_say_a_list_or_position_it_is_the_same(tmp_path: Path) -> None:
    events = [
        event(1, "impression", "a", list="x", position=0),
        event(2, "impression", "a", list="y", position=3),
        event(3, "impression", "a", list="x", position=5),
        event(4, "impression", "b", position=1),
        event(5, "impression", "b"),
        event(6, "click", "a", list="y"),
        event(7, "click", "a", list="x", position=0),
        event(8, "click", "a", list="z"),
        event(9, "click", "b", list="y", position=2),
        event(10, "cart", "a"),
        END,
    ]
    assert made(tmp_path, events).joined == 4
    assert rows(tmp_path, "item, list, position, clicked") == [
        ("a", "x", 0, 1),
        ("a", "y", 3, 1),
        ("a", "x", 5, 1),
        ("b", "", 1, 0),
        ("b", "", None, 1),
    ]


def test_an_impression_of_several_items_is_a_row_of_each_by_its_place(tmp_path: Path) -> None:
    events = [
        event(1, "impression", items=("a", "b", "c")),
        event(2, "impression", items=("a", "b"), position=10, id="second"),
        event(5, "impression", items=("a",), id="third"),
        event(3.5, "click", "c"),
        event(4, "click", "a", position=10),
        END,
    ]
    made(tmp_path, events)
    assert rows(tmp_path, "item, position, clicked") == [
        *(("a", 0, 0), ("b", 1, 0), ("c", 2, 1), ("a", 10, 1), ("b", 11, 0), ("a", None, 0))
    ]


def test_sessions_join_where_no_user_is_named_or_another_one(tmp_path: Path) -> None:
    events = [
        event(1, "impression", "a", user="", session="s1"),
        event(2, "click", "a", user="", session="s1"),
        event(3, "impression", "b", user="", session="s1"),
        event(4, "click", "b", user="u1", session="s1"),  # logged in meanwhile
        event(5, "impression", "c", user="", session="s1"),
        event(6, "click", "c", user="", session="s2"),
        event(7, "impression", "d", session="s3"),
        event(8, "purchase", "d", session="s4"),  # the same user elsewhere
        END,
    ]
    made(tmp_path, events)
    assert rows(tmp_path) == [("a", 1), ("b", 1), ("c", 0), ("d", 1)]


def test_what_was_sent_again_counts_once_and_other_types_not_at_all(tmp_path: Path) -> None:
    shown, click = event(1, "impression", "a"), event(2, "click", "a")
    returned = event(3, "purchase", "b", value=-1)
    events = [shown, click, shown, click, event(2, "impression", "b"), returned]
    done = made(tmp_path, [*events, event(4, "hide", "b"), END])
    assert (done.again, done.impressions, done.clicks, done.joined) == (2, 2, 1, 1)
    assert rows(tmp_path) == [("a", 1), ("b", 0)]
    only_hearts = replace(PLAIN, click_types=("heart",))
    events = [shown, click, event(2, "impression", "b"), event(5, "heart", "b"), END]
    made(tmp_path / "hearts", events, only_hearts)
    assert rows(tmp_path / "hearts") == [("a", 0), ("b", 1)]


def test_an_impression_on_which_clicks_may_still_come_is_left_out(tmp_path: Path) -> None:
    events = [event(1, "impression", "a"), event(2, "impression", "b"), event(3, "click", "b")]
    done = made(tmp_path, [*events, event(31.99, "click", "x")])
    assert rows(tmp_path) == [("a", 0)]
    assert (done.young, done.joined, done.clicks) == (1, 1, 2)
    with pytest.raises(BadInteractions, match="no impression that is older than the window"):
        made(tmp_path / "young", events)


def test_a_clock_that_is_ahead_makes_nobody_else_older(tmp_path: Path) -> None:
    events = [event(1, "impression", "a"), event(99, "impression", "b"), event(100, "scroll", "c")]
    ahead = event(24 * 60, "scroll", "i", user="u9")
    taken = folder(tmp_path / "events", [*events, ahead], last=events[-1].time)
    assert make([taken], PLAIN, tmp_path / "out", lambda done: None).young == 1
    assert rows(tmp_path) == [("a", 0)]


def records(path: Path, file: str = "examples.parquet") -> list[dict[str, Any]]:
    """The rows of a file of the examples, by name; the moment in ms."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT * FROM read_parquet('{path / 'out' / file}')")
        names = [column[0] for column in found.description or ()]
        named = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    for each in named:
        if "time" in each:
            each["time"] = round(each["time"].timestamp() * 1000)
    return named


def visits() -> list[Event]:
    """What six users do with eight items, often at the same moment, in random order."""
    chance, events = random.Random(7), []
    for n in range(300):
        minute, user = chance.randrange(150), f"u{chance.randrange(6)}"
        items = tuple(chance.sample([f"i{n}" for n in range(8)], chance.choice((1, 3))))
        events.append(event(minute, "impression", user=user, items=items, id=f"shown {n}"))
        if chance.random() < 0.4:
            later = minute + chance.choice((0, 1, 5, 29))
            events.append(event(later, "click", items[-1], user, id=f"click {n}"))
    chance.shuffle(events)
    return events


def first_clicks(found: Sequence[dict[str, Any]], events: Sequence[Event]) -> dict[int, int]:
    """Which of these rows were clicked, and when first, looked for one by one."""
    first: dict[int, int] = {}
    for click in (each for each in events if each.type == "click"):
        fitting = [
            place
            for place, row in enumerate(found)
            if (row["user"], row["item"]) == (click.user, click.item)
            and 0 <= click.time - row["time"] <= 30 * MINUTE
        ]
        if fitting:
            first[fitting[-1]] = min(click.time, first.get(fitting[-1], click.time))
    return first


def test_nothing_tells_of_what_came_later(tmp_path: Path) -> None:
    """Every count is what somebody found who looked back from that moment, one by one."""
    events = visits()
    made(tmp_path, [*events, END])
    found = records(tmp_path)
    assert len(found) > 500 and set(found[0]) == set(RESERVED)  # what else would, is not there
    first = first_clicks(found, events)
    assert [row["clicked"] for row in found] == [int(place in first) for place in range(len(found))]
    assert 0.1 < len(first) / len(found) < 0.4

    def looked_back(now: int, **of: str) -> tuple[int, int]:
        same = [n for n, row in enumerate(found) if of.items() <= row.items()]
        shown = sum(found[n]["time"] < now for n in same)
        return shown, sum(first.get(n, now) < now for n in same)

    for row in found[::3]:
        now = row["time"]
        all_shown, all_clicked = looked_back(now)
        for of in ("item", "user"):
            shown, clicked = looked_back(now, **{of: row[of]})
            assert (row[f"{of}_impressions"], row[f"{of}_clicks"]) == (shown, clicked)
            overall = all_clicked / all_shown if all_shown else None
            rate = None if overall is None else (clicked + 20 * overall) / (shown + 20)
            assert row[f"{of}_rate"] == pytest.approx(rate)


def test_what_comes_after_the_window_changes_no_row(tmp_path: Path) -> None:
    events, cut = visits(), START + 100 * MINUTE
    made(tmp_path / "all", [*events, END])
    made(tmp_path / "until", [each for each in events if each.time <= cut])
    whole, until = records(tmp_path / "all"), records(tmp_path / "until")
    assert len(until) > 200 and until == whole[: len(until)]
    assert whole[len(until)]["time"] >= cut - 30 * MINUTE - MINUTE


def test_negatives_and_positions_are_left_out_by_what_a_row_says(tmp_path: Path) -> None:
    events = visits()
    some = Joining(negatives_kept=0.3, positions_hidden=0.2)
    made(tmp_path / "all", [*events, END])
    done = made(tmp_path / "some", [*events, END], some)
    more = [event(n, "impression", "z", "u9") for n in range(150)]
    made(tmp_path / "again", [*more, *events, END], some)
    other = made(tmp_path / "other", [*events, END], replace(some, seed=1))
    ids = "impression, item"
    kept = rows(tmp_path / "some", f"{ids}, clicked, item_impressions, user_rate")
    whole = rows(tmp_path / "all", f"{ids}, clicked, item_impressions, user_rate")
    assert set(kept) < set(whole)  # counts are those of all
    assert {row for row in whole if row[2]} < set(kept)
    negatives = sum(not row[2] for row in whole)
    assert done.rows == len(kept) and done.negatives_left_out == len(whole) - len(kept)
    assert 0.2 < (len(kept) - done.clicked) / negatives < 0.4
    assert other.rows != done.rows
    assert {row for row in rows(tmp_path / "again", ids) if row[1] != "z"} == {
        row[:2] for row in kept
    }
    said, hidden = (
        rows(tmp_path / name, "count(position), count(*)")[0] for name in ("all", "some")
    )
    assert 0.1 < 1 - hidden[0] / hidden[1] - (1 - said[0] / said[1]) < 0.3
    told = json.loads((tmp_path / "some" / "out" / SAID).read_text())
    assert told["negatives_kept"] == 0.3 and told["positions_hidden"] == 0.2
    assert (told["label"], told["time_column"], told["ignore"]) == ("clicked", "time", [*IDS])


def test_columns_of_items_and_users_come_along_and_their_counts_of_now(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        "sku;price;Shelf;code\na;1.5;x;007\nb;;y;008\na;2;x;007\nunseen;3;;1\n;1;z;1\n"
    )
    one = "SELECT 'u1' AS user, 30 AS age, [1] AS tags, true AS old"
    duckdb.execute(f"COPY ({one}) TO '{tmp_path / 'users.parquet'}'")
    items = ColumnsFile("items", tmp_path / "items.csv", "sku", delimiter=";", max_rejects=0.5)
    users = ColumnsFile("users", tmp_path / "users.parquet", "user")
    events = [
        event(1, "impression", "a"),
        event(2, "click", "a"),
        event(3, "impression", "b", user="", session="s"),
        event(4, "impression", "c", user="u2"),
        END,
    ]
    done = made(tmp_path, events, replace(PLAIN, items=items, users=users))
    assert rows(tmp_path, "item, price, Shelf, code, user, age, old") == [
        ("a", 2.0, "x", "007", "u1", 30, True),
        ("b", None, "y", "008", "", None, None),
        ("c", None, None, None, "u2", None, None),
    ]
    assert done.unknown == {"items": 1, "users": 1}
    now = {each.pop("item"): each for each in records(tmp_path, "_now/items.parquet")}
    assert now["a"].pop("item_rate") == pytest.approx((1 + 20 / 3) / 21)
    assert now["a"] == {
        **{"item_impressions": 1, "item_clicks": 1},
        **{"price": 2.0, "Shelf": "x", "code": "007"},
    }
    assert now["unseen"]["item_impressions"] == 0 and now["unseen"]["item_rate"] == 1 / 3
    assert set(now) == {"a", "b", "c", "unseen"}
    of_users = {
        each["user"]: each["user_clicks"] for each in records(tmp_path, "_now/users.parquet")
    }
    assert of_users == {"u1": 1, "u2": 0}


@pytest.mark.parametrize("name", ["clicked", "Item_Rate", "price"])
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "items.csv").write_text("id,price\na,1\n")
    (tmp_path / "users.csv").write_text(f"id,{name}\na,1\n")
    files = [ColumnsFile(kind, tmp_path / f"{kind}.csv", "id") for kind in ("items", "users")]
    joining = replace(PLAIN, items=files[0], users=files[1])
    with pytest.raises(BadInteractions, match=f"another column '{name}'.*--user-columns"):
        made(tmp_path, [event(1, "impression", "a"), END], joining)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    events = [event(1, "impression", "a"), END]
    (tmp_path / "out").mkdir()  # an empty one is free
    made(tmp_path, events)
    before = (tmp_path / "out" / SAID).stat().st_ino
    with pytest.raises(BadInteractions, match="no impression"):
        make([folder(tmp_path / "none", [END])], PLAIN, tmp_path / "out", lambda done: None)
    assert (tmp_path / "out" / SAID).stat().st_ino == before and rows(tmp_path) == [("a", 0)]

    def die(done: int) -> None:
        assert [*tmp_path.glob(".larder-*/new")]
        raise SystemExit

    with pytest.raises(SystemExit):
        make([tmp_path / "events"], PLAIN, tmp_path / "out", die)
    assert (tmp_path / "out" / SAID).stat().st_ino == before and not [*tmp_path.glob(".*")]
    make([tmp_path / "events"], PLAIN, tmp_path / "out", lambda done: None)
    assert (tmp_path / "out" / SAID).stat().st_ino != before
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "_now",
        "examples.json",
        "examples.parquet",
    ]
    with pytest.raises(BadSettings, match="is no folder of examples"):
        make([tmp_path / "events"], PLAIN, tmp_path / "events", lambda done: None)
    with pytest.raises(BadSettings, match="'larder events export' has made"):
        make([tmp_path / "out"], PLAIN, tmp_path / "new", lambda done: None)


def test_what_the_api_took_becomes_examples(
    client: Any, namespace: Namespace, tmp_path: Path, capsys: Any
) -> None:
    """From the stream, by the exporter and the command, to the files that train reads."""
    shown = [event(n, "impression", f"i{n % 4}", list="home", position=n % 4) for n in range(80)]
    clicks = [
        event(n + 0.5, "click", f"i{n % 4}", list="home", position=n % 4) for n in range(0, 80, 4)
    ]
    lost = event(70, "click", "elsewhere")
    events = sorted([*shown, *clicks, lost, END], key=lambda each: each.time)
    write(client, Streams(namespace.name), [*events, shown[0]])
    export(client, namespace.name, tmp_path / "events")
    (tmp_path / "items.csv").write_text("item,price\n" + "".join(f"i{n},{n}\n" for n in range(4)))
    arguments = ["clicks", "examples", tmp_path / "events", "--items", tmp_path / "items.csv"]
    arguments += ["--window", "10m", "--negatives-kept", "0.5", "--out", tmp_path / "out"]

    cli.main([*map(str, arguments)], standalone_mode=False)

    said = capsys.readouterr().out
    assert "80 impressions of an item, 21 clicks (click, cart, purchase); 1 events were" in said
    assert "joined 20 clicks; 1 have no impression" in said
    assert "clicked: 20 of 80 (25.00%)" in said
    assert "0                  20       20  100.00%" in said
    assert {row for row in rows(tmp_path, "item, price, clicked")} == {
        *((f"i{n}", float(n), int(n == 0)) for n in range(4))
    }
    cli.main([*map(str, arguments), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["joined"] == told["clicked"] == 20 and 20 < told["rows"] < 80
    assert len(rows(tmp_path)) == told["rows"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--window", "30", "--window must be seconds, minutes, hours or days"),
        ("--window", "0m", "--window must be"),
        ("--click-types", "click,impression", "--click-types must be types"),
        ("--item-columns", ",", "--item-columns must name columns, such as a,b, not ','"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, option: str, value: str, said: str) -> None:
    files = ["--items", str(tmp_path / "items.csv"), "--out", str(tmp_path)]
    arguments = ["clicks", "examples", str(tmp_path), *files, option, value]
    with pytest.raises(BadSettings, match=said):
        cli.main(arguments, standalone_mode=False)
