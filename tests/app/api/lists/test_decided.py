"""A list in the order of a decision, which is logged, and rewarded by events of that list."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.contracts.decisions import Decisions, Logged, Ranked, Rewarded, decode
from app.contracts.events import Streams
from app.contracts.recommendations import Namespace
from tests.app.films import publish_films
from tests.app.served import Worker, answering, following
from tests.servers import Server

PATH = "/recommendations/15/rank"


@pytest.fixture
def worker(server: Server, client: Any, namespace: Namespace) -> Iterator[Worker]:
    """One that decides by chance, for there is no model."""
    publish_films(client, namespace)
    with following(server, namespace, decisions="on") as made:
        yield made


def ask(worker: Worker, path: str = PATH, **body: Any) -> Any:
    return worker.app.test_client().post(path, json=body)


def logged(client: Any, namespace: Namespace) -> list[Logged]:
    """What stands in the log, of which nothing is left."""
    key = Decisions(namespace.name).log
    found = [decode(entry) for _, entry in client.xrange(key)]
    client.delete(key)
    return found


def detail(answer: Any, status: int) -> str:
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    return str(answer.json["detail"])


def test_the_list_is_what_may_be_chosen_and_its_columns_what_is_known(
    worker: Worker, client: Any, namespace: Namespace
) -> None:
    told = ask(worker, context={"device": "phone"}).json
    listed = worker.get("/recommendations/15")["recommendations"]
    shown = told["recommendations"]
    assert sum(each.pop("probability") for each in shown) == pytest.approx(1)
    assert sorted(shown, key=str) == sorted(listed, key=str)
    assert told.keys() == {"user", "generation", "source", "list", "recommendations"}
    (decision,) = logged(client, namespace)
    assert isinstance(decision, Ranked) and decision.id == told["list"]
    context = json.loads(decision.context)
    assert context["FromUrl"] == [{"device": "phone"}]
    assert [each["_tag"] for each in context["_multi"]] == [each["item"] for each in listed]
    assert context["_multi"][0]["j"] == [
        {"list": {"score": 1}},
        {"item": {"title": "Forrest Gump (1994)", "genres": "Comedy|Drama|Romance|War"}},
    ]
    first = listed[decision.slots[0].actions[0] - 1]
    assert shown[0] == first


def test_decisions_differ_so_that_something_is_learned(worker: Worker) -> None:
    first = {ask(worker).json["recommendations"][0]["item"] for _ in range(50)}
    assert len(first) == 3


def test_an_event_of_what_came_first_is_a_reward(
    worker: Worker, client: Any, namespace: Namespace
) -> None:
    told = ask(worker).json
    item, name = told["recommendations"][0]["item"], told["list"]
    logged(client, namespace)
    worker.did("click", item, "15", list=name, position=0)
    worker.did("purchase", item, "15", list=name, position=0)
    for type, more in (
        ("click", {"list": name}),
        ("click", {"list": name, "position": 1}),
        ("hide", {"list": name, "position": 0}),
        ("impression", {"list": name, "position": 0}),
        ("seen", {"list": name, "position": 0}),
        ("click", {"list": told["generation"], "position": 0}),
        ("click", {}),
    ):
        worker.did(type, item, "15", **more)
    assert logged(client, namespace) == [Rewarded(name, 1.0)] * 2


def test_a_reward_that_has_no_room_is_acknowledged_no_more_than_its_event(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_films(client, namespace)
    log = Decisions(namespace.name).log
    event: Any = {"type": "click", "item": "1", "user": "15"}
    for number in range(999):
        client.xadd(log, {"id": number, "value": 1})
    with following(server, namespace, decisions="on", events_max=1000) as worker:
        worker.did(**event, list="decision-1", position=0)
        asked = worker.app.test_client()
        answer = asked.post("/events", json=event | {"list": "decision-1", "position": 0})
        assert "holds 1000 decisions of at most 1000: see that the trainer" in detail(answer, 503)
        assert client.xlen(Streams(namespace.name).events) == 1
        client.xtrim(log, maxlen=999, approximate=False)
        worker.did(**event, list="decision-1", position=0)
        worker.did(**event)


def test_events_are_no_rewards_where_nothing_is_decided(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_films(client, namespace)
    with following(server, namespace) as worker:
        worker.did("click", "1", "15", list="decision-1", position=0)
        assert "LARDER_DECISIONS=on" in detail(ask(worker), 404)
        assert worker.get(PATH)["user"] == "15/rank"
    assert logged(client, namespace) == []


def test_only_what_would_be_shown_may_be_chosen(
    worker: Worker, client: Any, namespace: Namespace
) -> None:
    told = ask(worker, "/recommendations/a-stranger/rank", n=1).json
    assert (told["source"], len(told["recommendations"])) == ("popular", 1)
    assert told["recommendations"][0]["probability"] == 1
    (decision,) = logged(client, namespace)
    assert isinstance(decision, Ranked) and decision.slots[0].actions == (1,)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"context": 5}, 400, "context must be an object"),
        ({"context": {"a": ["b"]}}, 400, "array with non-number items"),
        ({"n": 0}, 400, "n must be a whole number from 1 to 3"),
        ({"user": "15"}, 400, "unknown member 'user'"),
        ({"filter": ["genres:x"]}, 400, "filter"),
    ],
)
def test_what_is_wrong_is_told_as_everywhere(
    worker: Worker, client: Any, namespace: Namespace, body: Any, status: int, sentence: str
) -> None:
    assert sentence in detail(ask(worker, **body), status)
    assert logged(client, namespace) == []


def test_a_policy_of_several_slots_decides_no_list(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_films(client, namespace)
    policy = '{"name":"p","arguments":"--ccb_explore_adf --epsilon 0.2 -q ::"}'
    client.hset(Decisions(namespace.name).desk, "policy", policy)
    with answering(server, namespace, decisions="on", cache_timeout_ms=60_000) as app:
        told = app.test_client().post(PATH, json={})
    assert "no decision" in detail(told, 404)


def test_without_the_log_the_list_says_that_nothing_is_learned_of_it(
    server: Server, own_server: Server, client: Any, namespace: Namespace
) -> None:
    publish_films(client, namespace)
    with answering(server, namespace, decisions="on", events_url=own_server.url) as app:
        own_server.kill()
        told: Any = app.test_client().post(PATH, json={}).json
    assert told["logged"] is False and len(told["recommendations"]) == 3
