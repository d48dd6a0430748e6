"""``/rank/click`` and its like, over films and a model of which every score is known."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask import Flask

from app.contracts.clicks import Calibration, Clicks, body_part
from app.contracts.recommendations import Namespace
from app.contracts.rules import Version, rules_key
from tests.app.films import click_model, publish_films
from tests.app.served import answering
from tests.clicks import publish_by_hand
from tests.servers import Server

NAME = "20260101T000000.000Z-0001"


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[Flask]:
    """For who only asks."""
    namespace = Namespace("ranked")
    with redis.Redis.from_url(server.url) as client:
        publish_films(client, namespace)
    with answering(server, namespace, clicks="on", max_body_bytes=10_000_000) as made:
        yield made


def client_of(app: Flask) -> Any:
    return app.test_client()


def post(app: Flask, body: Any, path: str = "/rank/click") -> Any:
    return client_of(app).post(path, json=body)


def score(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def ranked(answer: Any) -> list[tuple[str, float]]:
    assert answer.status_code == 200, answer.data
    assert [each["rank"] for each in answer.json["items"]] == [
        *range(1, len(answer.json["items"]) + 1)
    ]
    return [(each["item"], each["score"]) for each in answer.json["items"]]


def detail(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    return str(answer.json["detail"])


def near(log_odds: float) -> Any:
    return pytest.approx(score(log_odds), abs=1e-6)


def test_items_come_in_the_order_of_their_scores(app: Flask) -> None:
    """The trees: price <= 10: +.5, else -.5; liked genres +1, else -1; device +.25 or -.25."""
    answer = post(
        app,
        {
            "features": {"device": "phone"},
            "items": [
                {"id": "a", "features": {"price": 12, "genres": "Comedy"}},
                {"id": "b", "features": {"price": 9.5, "genres": "Crime|Drama"}},
                {"id": "c", "features": {"price": 9.5, "device": "desk"}},
                {"id": "d", "features": {"price": 50}},
            ],
        },
    )
    assert ranked(answer) == [
        ("b", near(1.75)),
        ("c", near(-0.75)),
        ("a", near(-1.25)),
        ("d", near(-1.25)),
    ]
    assert answer.json.keys() == {"model", "version", "items"}
    assert answer.json["version"] == answer.headers["X-Model-Version"] == NAME
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_columns_of_a_user_come_from_the_generation_and_the_requests_win(app: Flask) -> None:
    items = [{"id": "a", "features": {}}]
    assert ranked(post(app, {"user": "15", "items": items})) == [("a", near(-1.75))]
    asked = {"user": "15", "features": {"device": "phone"}, "items": items}
    assert ranked(post(app, asked)) == [("a", near(-1.25))]
    assert ranked(post(app, {"user": "nobody", "items": items})) == [("a", near(-1.25))]


def test_items_of_the_lists_come_as_ids_alone(app: Flask) -> None:
    """Film 318 is of a genre that is liked; nobody knows "nix", which is told."""
    for _ in range(2):
        answer = post(app, {"items": ["356", {"id": "318"}, "nix"], "top": 2})
        assert ranked(answer) == [("318", near(0.75)), ("356", near(-1.25))]
        assert answer.json["unknown"] == ["nix"]


def test_what_an_item_comes_with_stands_beside_what_the_lists_know_of_it(app: Flask) -> None:
    items = [{"id": "318", "features": {"price": 5}}, {"id": "nix", "features": {}}]
    answer = post(app, {"items": items})
    assert ranked(answer) == [("318", near(1.75)), ("nix", near(-1.25))]
    changed = {"id": "318", "features": {"genres": "Comedy"}}
    assert ranked(post(app, {"items": [changed]})) == [("318", near(-1.25))]


def test_what_metarank_sends_is_answered_as_metarank_does(app: Flask) -> None:
    body = {
        "id": "request-1",
        "timestamp": "1661431886711",
        "user": "15",
        "session": "alice1",
        "fields": [{"name": "device", "value": "phone"}],
        "items": [
            {"id": "356", "fields": [{"name": "price", "value": 5}]},
            {"id": "318"},
        ],
    }
    answer = client_of(app).post("/rank/click?explain=true", json=body)
    assert ranked(answer) == [("318", near(0.75)), ("356", near(-0.25))]
    assert isinstance(answer.json["took"], int)
    for each in answer.json["items"]:
        told = each["explanation"]
        total = sum((told["base"], *told["columns"].values(), told["user"], told["calibration"]))
        assert score(total) == pytest.approx(each["score"], abs=1e-5)
        assert told["columns"].keys() == {"price", "genres", "device"} and told["user"] == 0


def test_what_only_the_cache_tells_of_a_user_is_explained_as_one_sum(app: Flask) -> None:
    """That 15 is at a desk is what the model knows, and no request has said."""
    asked = {"user": "15", "items": ["318"], "explain": True}
    told = post(app, asked).json["items"][0]["explanation"]
    assert told["columns"].keys() == {"price", "genres"} and told["user"] == -0.25
    total = sum((told["base"], *told["columns"].values(), told["user"], told["calibration"]))
    assert score(total) == near(0.25)
    said = post(app, {**asked, "features": {"device": "desk"}}).json["items"][0]["explanation"]
    assert said["columns"]["device"] == -0.25 and said["user"] == 0


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"items": [{"id": "x", "features": {"size": 1, "colour": 2}}]}, "'colour', 'size'"),
        ({"items": ["1"], "features": {"size": 1}}, "features: the model has no column 'size'"),
        ({"items": [{"id": "x", "features": {"price": "9"}}]}, "item 'x': 'price' must be a num"),
        ({"items": [{"id": "x", "features": {"price": 1e300}}]}, "item 'x': 'price'"),
        ({"items": [{"id": "x", "features": {"price": math.nan}}]}, "item 'x': 'price'"),
        ({"items": [{"id": "x", "features": {"genres": ["a"]}}]}, "item 'x': 'genres'"),
        ({"items": ["1"], "features": {"device": {}}}, "features: 'device' must be"),
        ({"items": []}, "items must be a list of 1 to 500"),
        ({}, "items must be a list of 1 to 500"),
        ({"items": [7]}, "items must be text"),
        ({"items": [{"features": {}}]}, "the id of an item must be text"),
        ({"items": [{"id": "x", "feature": {}}]}, "unknown member of an item 'feature'"),
        ({"items": ["1"], "feature": {}}, "unknown member 'feature'"),
        ({"items": ["1"], "features": []}, "features of the request must be an object"),
        ({"items": ["1"], "fields": [{"name": 1, "value": 2}]}, "fields of the request must be"),
        ({"items": ["1"], "fields": {"price": 2}}, "fields of the request must be"),
        ({"items": ["1"], "top": 0}, "top must be"),
        ({"items": ["1"], "top": "1"}, "top must be"),
        ({"items": ["1"], "explain": 1}, "explain must be"),
        ({"items": ["1"] * 51, "explain": True}, "at most 50 items are explained"),
        ({"items": ["1"], "user": ""}, "user must be text"),
        ([], "the body must be a JSON object"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(app: Flask, body: Any, wanted: str) -> None:
    assert wanted in detail(post(app, body), 400)


def test_columns_that_the_model_does_not_have_are_passed_over_where_that_is_allowed(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_by_hand(client, Clicks(namespace.name))
    with answering(server, namespace, clicks="only", clicks_unknown="ignore") as app:
        item = {"id": "a", "features": {"price": 1, "colour": "red", "size": [1]}}
        answer = post(app, {"features": {"device": "desk", "campaign": "x1"}, "items": [item, "b"]})
        assert ranked(answer) == [("a", near(-0.75)), ("b", near(-1.75))]
        rows = {"instances": [{"price": 1, "colour": "red"}]}
        assert post(app, rows, "/invocations").json == {"predictions": [near(-0.25)]}
        wrong = {"features": {"price": "dear", "campaign": "x1"}, "items": ["a"]}
        assert "'price' must be a number" in detail(post(app, wrong), 400)


def test_too_much_is_refused_and_what_nobody_has_seen_is_not(app: Flask) -> None:
    assert "at most 500, not 501" in detail(post(app, {"items": ["1"] * 501}), 413)
    answer = client_of(app).post(
        "/rank/click", data=b"x" * 10_000_001, content_type="application/json"
    )
    assert "10000000 bytes" in detail(answer, 413)
    unknown = [{"id": str(n), "features": {"genres": f"g{n}", "device": "x"}} for n in range(500)]
    assert ranked(post(app, {"items": unknown}))[0] == ("0", near(-1.75))
    answer = client_of(app).post("/rank/click", data="{", content_type="application/json")
    assert "the body must be JSON" in detail(answer, 400)
    assert client_of(app).post("/rank/click", data="{}").status_code == 415


ROWS: list[dict[str, Any]] = [
    {"price": 9.5, "genres": "Crime|Drama"},
    {"price": None, "genres": "new"},
]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": [*ROWS[0]], "data": [[*row.values()] for row in ROWS]}},
        {"dataframe_records": ROWS, "params": {}},
        {"instances": ROWS},
        {"inputs": ROWS},
        {"inputs": {name: [row[name] for row in ROWS] for name in ROWS[0]}},
    ],
)
def test_clients_of_mlflow_and_sagemaker_get_predictions(app: Flask, body: Any) -> None:
    answer = post(app, body, "/invocations")
    assert answer.json == {"predictions": [near(1.75), near(-1.25)]}
    assert answer.headers["X-Model-Version"] == NAME


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"dataframe_split": {"columns": ["price"], "data": [[1, 2]]}}, "as many values"),
        ({"dataframe_split": [[1]]}, "as many values"),
        ({"inputs": {"price": [1], "genres": []}}, "as many values"),
        ({"instances": [[1, 2]]}, "row 0 of instances must be an object"),
        ({"instances": {}}, "instances must be a list"),
        ({"instances": [{"price": 1}, {"price": "a"}]}, "row '1': 'price'"),
        ({"instances": [], "inputs": []}, "must have one of"),
        ({"rows": []}, "unknown member 'rows'"),
    ],
)
def test_what_is_wrong_with_rows_is_said(app: Flask, body: Any, wanted: str) -> None:
    assert wanted in detail(post(app, body, "/invocations"), 400)


def test_rows_have_a_cap_and_none_are_no_error(app: Flask) -> None:
    assert "at most 500" in detail(post(app, {"instances": [{}] * 501}, "/invocations"), 413)
    assert post(app, {"instances": []}, "/invocations").json == {"predictions": []}


def test_a_list_is_put_in_the_order_of_the_clicks(app: Flask) -> None:
    """What is stored of 15's list is 356, 296, 318 and more; 318 is what the model likes."""
    asked = client_of(app)
    plain = asked.get("/recommendations/15").json
    found = asked.get("/recommendations/15?rank=click")
    assert found.json["source"] == "click" and plain["source"] == "personal"
    items = [(each["item"], each["score"]) for each in found.json["recommendations"]]
    liked, others = pytest.approx(score(0.25), abs=1e-4), pytest.approx(score(-1.75), abs=1e-4)
    assert items == [("318", liked), ("356", others), ("296", others)]
    assert "ETag" not in found.headers
    stranger = asked.get("/recommendations/a-stranger?rank=click&n=1").json
    assert (stranger["source"], stranger["recommendations"][0]["item"]) == ("click", "318")
    assert asked.get("/recommendations/15?rank=list").json == plain
    assert asked.get("/recommendations/a-stranger?rank=click&fallback=none").status_code == 404
    assert asked.get("/recommendations/15?rank=best").status_code == 400


def test_rules_have_the_last_word(server: Server, client: Any, namespace: Namespace) -> None:
    publish_films(client, namespace)
    rules = Version(1, "", "", "", {"pin": [{"item": "1", "position": 1}], "hide": ["356"]})
    client.hset(rules_key(namespace.name), "1", rules.to_json())
    with answering(server, namespace, clicks="on") as app:
        found = client_of(app).get("/recommendations/15?rank=click").json
        assert [each["item"] for each in found["recommendations"]] == ["1", "318", "296"]
        assert found["source"] == "click"


def test_while_the_cache_is_away_the_last_model_answers_without_the_columns_of_users(
    own_server: Server, namespace: Namespace
) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        publish_films(client, namespace)
    with answering(own_server, namespace, clicks="on") as app:
        own_server.kill()
        for body in ({"user": "15", "items": ["318"]}, {"items": ["318"]}):  # the first finds out
            answer = post(app, body)
            assert ranked(answer) == [("318", near(0.75))]
            assert answer.json["degraded"] is True
        found = client_of(app).get("/recommendations/15?rank=click").json
        assert (found["source"], found["degraded"]) == ("click", True)


def test_an_answer_by_a_model_that_is_not_the_live_one_says_so(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_films(client, namespace)
    space, newer = Clicks(namespace.name), "20260101T000000.000Z-0002"
    with answering(server, namespace, clicks="on") as app:
        asked = client_of(app)
        assert asked.get("/health/ready").json["degraded"] is False
        publish_by_hand(client, space, newer, click_model())
        client.delete(space.part(newer, body_part(0)))
        app.extensions["larder"].ranker.follower.poll()
        answer = post(app, {"items": ["318"]})
        assert (answer.json["version"], answer.json["degraded"]) == (NAME, True)
        assert asked.get("/health/ready").json["degraded"] is True


def test_without_a_model_lists_are_as_they_were(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_films(client, namespace)
    client.delete(Clicks(namespace.name).live)
    with answering(server, namespace, clicks="on") as app:
        asked = client_of(app)
        assert asked.get("/recommendations/15?rank=click").json["source"] == "personal"
        assert "larder clicks train" in detail(post(app, {"items": ["1"]}), 503)
        assert asked.get("/health/ready").status_code == 200
        assert asked.get("/ping").status_code == asked.get("/version").status_code == 503


def test_a_server_of_the_model_alone_needs_no_lists(
    server: Server, client: Any, namespace: Namespace
) -> None:
    with answering(server, namespace, clicks="only") as app:
        asked, follower = client_of(app), app.extensions["larder"].ranker.follower
        assert asked.get("/health/ready").status_code == 503
        publish_by_hand(client, Clicks(namespace.name))
        follower.poll()
        assert asked.get("/health/ready").json["generation"] == NAME
        assert asked.get("/ping").json == {"status": "ready"}
        assert asked.get("/version").json["columns"][0] == {"name": "price", "kind": "number"}
        answer = post(app, {"items": [{"id": "a", "features": {"price": 1}}, "b"]})
        assert ranked(answer) == [("a", near(-0.25)), ("b", near(-1.25))]
        assert answer.json["unknown"] == ["b"]
        assert asked.get("/recommendations/15").status_code == 503


def test_without_the_setting_there_is_no_model(server: Server, namespace: Namespace) -> None:
    with answering(server, namespace) as app:
        for path in ("/rank/click", "/invocations"):
            assert "LARDER_CLICKS=on" in detail(post(app, {"items": ["1"]}, path), 404)
        assert client_of(app).get("/ping").status_code == 404


def test_the_answer_names_the_model_whose_scores_it_has(
    server: Server, client: Any, namespace: Namespace
) -> None:
    items = [{"id": "a", "features": {"price": 1}}, "318"]
    publish_films(client, namespace)
    with answering(server, namespace, clicks="on") as app:
        before = post(app, {"items": items})
        other = replace(click_model(), calibration=Calibration(1.0, 2.0))
        publish_by_hand(client, Clicks(namespace.name), "20260101T000000.000Z-0002", other)
        assert post(app, {"items": items}).json == before.json
        app.extensions["larder"].ranker.follower.poll()
        after = post(app, {"items": items})
    assert after.json["version"] == after.headers["X-Model-Version"] == f"{NAME[:-1]}2"
    assert ranked(before) == [("318", near(0.75)), ("a", near(-0.25))]
    assert ranked(after) == [("318", near(2.75)), ("a", near(1.75))]


def test_both_ways_give_the_same_answer(app: Flask) -> None:
    """A query goes through Flask, a plain request around it."""
    asked, body = client_of(app), json.dumps({"items": ["318", "356"]})
    plain, flask = (
        asked.post(path, data=body, content_type="application/json")
        for path in ("/rank/click", "/rank/click?explain=false")
    )
    assert plain.data == flask.data
    assert dict(plain.headers) == dict(flask.headers)
