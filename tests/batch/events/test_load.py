"""Events as pairs: weights, half-life, what is hidden, and several inputs together."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.contracts.events import Event, Streams
from app.contracts.recommendations import Namespace
from batch.errors import BadInteractions, BadSettings
from batch.events.export import export
from batch.events.inputs import Inputs, Weighing
from batch.events.load import exported_until, load_all
from batch.interactions.load import load
from batch.interactions.pairs import Interactions
from batch.interactions.reading import Reading
from tests.batch.events.streams import event, write

DAY = 86_400


@pytest.fixture
def keys(namespace: Namespace) -> Streams:
    return Streams(namespace.name)


def exported(client: Any, keys: Streams, folder: Path, *events: Event) -> str:
    write(client, keys, events)
    export(client, keys.name, folder)
    return str(folder)


def loaded(*paths: str, weights: str | None = None, half_life: str | None = None) -> Interactions:
    inputs = Inputs(paths, Weighing.of(weights, half_life))
    return load_all(inputs, Reading(max_rejects=1.0), None)


def pairs(found: Interactions) -> dict[tuple[str, str], float]:
    named = zip(found.user.tolist(), found.item.tolist(), found.weight.tolist(), strict=True)
    return {(found.users[user], found.items[item]): weight for user, item, weight in named}


def hidden(found: Interactions) -> list[tuple[str, str]]:
    if found.hidden is None:
        return []
    named = zip(*(each.tolist() for each in found.hidden), strict=True)
    return [(found.users[user], found.items[item]) for user, item in named]


def text(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_weights_by_type_add_up_and_a_purchase_counts_its_quantity(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    folder = exported(
        client,
        keys,
        tmp_path / "events",
        event(1),
        event(2),
        event(3, kind="cart"),
        event(4, kind="purchase", item="i2", value=3),
        event(5, kind="purchase", item="i3", value=2),
        event(6, kind="purchase", item="i3", value=-2),
        event(7, kind="scroll", item="i4", value=9),
        event(8, kind="impression", item="i5"),
        event(9, user="", session="s1"),
        Event("e10", "impression", 1, "u1", items=("i1", "i6")),
    )
    found = loaded(folder)
    assert pairs(found) == {("u1", "i1"): 5.0, ("u1", "i2"): 15.0}
    assert found.timestamp is not None and found.timestamp.tolist() == [1.7e9 + 1, 1.7e9 + 4]
    assert (found.report.rows, found.report.zero, found.report.pairs) == (6, 1, 2)
    assert pairs(loaded(folder, weights="scroll=0.5, click=2")) == {
        ("u1", "i1"): 4.0,
        ("u1", "i4"): 0.5,
    }


def test_what_was_sent_twice_counts_once(client: Any, keys: Streams, tmp_path: Path) -> None:
    again = [event(1), event(2), event(1), event(1, kind="cart")]
    folder = exported(client, keys, tmp_path / "events", *again)
    assert pairs(loaded(folder)) == {("u1", "i1"): 2.0}
    export(client, keys.name, tmp_path / "other", take_over=True)  # the last minute comes again
    assert pairs(loaded(folder, str(tmp_path / "other"))) == {("u1", "i1"): 2.0}


def test_two_who_use_the_same_id_are_both_counted(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    events = [event(1), event(1, user="u2"), event(1, session="s1"), event(1, session="s1")]
    folder = exported(client, keys, tmp_path / "events", *events)
    assert pairs(loaded(folder)) == {("u1", "i1"): 2.0, ("u2", "i1"): 1.0}


def test_a_weight_halves_with_each_half_life_before_the_newest_event(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    folder = exported(
        client,
        keys,
        tmp_path / "events",
        event(0),
        event(30 * DAY, item="i2"),
        event(60 * DAY, item="i3", kind="impression"),
    )
    weights = pairs(loaded(folder, half_life="30d"))
    assert weights == {("u1", "i1"): 0.25, ("u1", "i2"): 0.5}
    assert (
        loaded(folder, half_life="30d").fingerprint()
        == loaded(folder, half_life="720h").fingerprint()
    )


def test_a_hidden_item_is_no_pair_and_is_kept_from_its_user_alone(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    folder = exported(
        client,
        keys,
        tmp_path / "events",
        event(1),
        event(2, item="i2"),
        event(3, item="i2", kind="hide"),
        event(4, item="i9", kind="hide"),
        event(5, user="u2", item="i2"),
        event(6, user="u3", item="i2", kind="hide"),
    )
    found = loaded(folder, text(tmp_path / "orders.csv", "user,item", "u1,i2", "u1,i3"))
    assert pairs(found) == {("u1", "i1"): 1, ("u1", "i3"): 1, ("u2", "i2"): 1}
    assert hidden(found) == [("u1", "i2")]
    matrix = found.hidden_matrix()
    assert matrix is not None and matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 0]]
    without = loaded(text(tmp_path / "all.csv", "user,item", "u1,i1", "u1,i3", "u2,i2"))
    assert found.fingerprint() != without.fingerprint()


def test_what_several_inputs_say_of_a_pair_adds_up(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    orders = text(tmp_path / "orders.csv", "user,item,weight,timestamp", "u1,i1,2,5", "u2,i2,1,6")
    more = text(tmp_path / "more.tsv", "user\titem", "u1\ti1", "u1\ti1", "u0\ti0")
    folder = exported(client, keys, tmp_path / "events", event(1, kind="cart"))
    found = loaded(orders, folder)
    assert pairs(found) == {("u1", "i1"): 5, ("u2", "i2"): 1}
    assert found.timestamp is not None and found.timestamp.tolist() == [5, 6]
    three = loaded(orders, more, folder)
    assert pairs(three) == {("u0", "i0"): 1, ("u1", "i1"): 7, ("u2", "i2"): 1}
    assert three.timestamp is None  # one of them has none
    assert (three.users, three.items) == (["u0", "u1", "u2"], ["i0", "i1", "i2"])
    assert (three.report.rows, three.report.merged, three.report.files) == (6, 3, 3)


def test_ratings_are_never_added_the_last_input_counts(
    client: Any, keys: Streams, tmp_path: Path
) -> None:
    old = text(tmp_path / "old.csv", "user,item,rating", "u1,i1,4", "u1,i2,2")
    new = text(tmp_path / "new.csv", "user,item,rating", "u1,i1,1")
    assert pairs(loaded(old, new)) == {("u1", "i1"): 1, ("u1", "i2"): 2}
    assert pairs(loaded(new, old)) == {("u1", "i1"): 4, ("u1", "i2"): 2}
    folder = exported(client, keys, tmp_path / "events", event(1))
    assert pairs(loaded(old, new, folder)) == {("u1", "i1"): 2, ("u1", "i2"): 2}


def test_one_input_without_events_is_read_as_it_always_was(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "user,item,weight", "b,x,0.1", "b,x,0.2", "a,y,3")
    assert loaded(path).fingerprint() == load(path).fingerprint()
    assert load(path).fingerprint() == "6018a0ed4c4826de28ca1a9537f6c1b4"


def test_each_input_lists_its_rejects(tmp_path: Path) -> None:
    one = text(tmp_path / "one.csv", "user,item", "u1,i1", ",i2")
    two = text(tmp_path / "two.csv", "user,item", "u1,i1", "u3,")
    load_all(Inputs((one, two)), Reading(max_rejects=1.0), tmp_path / "rejects.csv")
    assert "missing user" in (tmp_path / "rejects.csv").read_text()
    assert "missing item" in (tmp_path / "rejects-2.csv").read_text()


def test_an_empty_folder_is_one_of_events_when_their_weights_are_given(tmp_path: Path) -> None:
    orders = text(tmp_path / "orders.csv", "user,item", "u1,i1")
    missing = str(tmp_path / "events")
    assert pairs(loaded(orders, missing, weights="click=1")) == {("u1", "i1"): 1}
    for wrong in (Inputs((missing,)), Inputs((f"{missing}.csv",), Weighing.of("click=1", None))):
        with pytest.raises(BadInteractions, match="there is no such file"):
            load_all(wrong, Reading(), None)
    with pytest.raises(BadInteractions, match="expected interactions, found none in 0 rows"):
        loaded(missing, weights="click=1")


def test_how_far_the_events_go_is_known(client: Any, keys: Streams, tmp_path: Path) -> None:
    folder = exported(client, keys, tmp_path / "events", event(1), event(2))
    last = client.xrevrange(keys.events, count=1)[0][0].decode()
    assert exported_until(Inputs((folder,))) == last
    assert exported_until(Inputs((str(tmp_path),))) == ""


@pytest.mark.parametrize(
    "weights, half_life",
    [
        ("click", None),
        ("click=x", None),
        ("click=-1", None),
        ("click=nan", None),
        ("Click=1", None),
        ("hide=1", None),
        ("impression=1", None),
        (None, "30"),
        (None, "0d"),
        (None, "3 days"),
    ],
)
def test_weights_and_half_lives_that_are_none_are_refused(
    weights: str | None, half_life: str | None
) -> None:
    with pytest.raises(BadSettings, match="--weights" if weights else "--half-life"):
        Weighing.of(weights, half_life)


def test_the_settings_are_those_of_the_manifest() -> None:
    told: Mapping[str, Any] = Weighing.of("click=1,cart=3", "30d").settings
    assert json.loads(json.dumps(told)) == {
        "event_weights": {"click": 1, "cart": 3},
        "half_life": "30d",
    }
    assert np.isclose(Weighing.of(None, "8w").half_life_seconds or 0, 56 * DAY)
