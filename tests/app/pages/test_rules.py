"""Rules by the explorer: tried, in force, rolled back, and what they do to a list."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.contracts.recommendations import Namespace
from tests.app.pages.test_pages import OWN, told
from tests.app.served import answering
from tests.generations import publish_by_hand
from tests.servers import Server


@pytest.fixture
def asked(server: Server, client: Any, namespace: Namespace) -> Iterator[FlaskClient]:
    publish_by_hand(client, namespace)
    with answering(server, namespace, explorer=True) as app:
        yield app.test_client()


def post(client: FlaskClient, path: str, status: int = 303, **form: str) -> Any:
    answer = client.post(f"/explorer/{path}", data=form, headers=OWN)
    assert answer.status_code == status, answer.text
    client.application.extensions["larder"].watcher.poll()
    return answer


def shown(client: FlaskClient, user: str) -> list[str]:
    answer = client.get(f"/recommendations/{user}").get_json()
    return [each["item"] for each in answer["recommendations"]]


def test_an_item_is_hidden_and_shown_again(asked: FlaskClient) -> None:
    before = shown(asked, "u3")
    done = post(asked, "hide", id=before[0])
    assert "in force" in asked.get(done.location).text
    assert before[0] not in shown(asked, "u3")
    assert told(asked, f"/explorer/item?id={before[0]}")["hidden"]
    acted = told(asked, "/explorer/user?id=u3")["rules"]
    assert [(each["item"], each["why"]) for each in acted["left"]] == [(before[0], "hidden")]
    assert (
        f'left: <a href="/explorer/item?id={before[0]}"' in asked.get("/explorer/user?id=u3").text
    )
    post(asked, "unhide", id=before[0])
    assert shown(asked, "u3") == before
    versions = told(asked, "/explorer/rules")["versions"]
    assert [(each["version"], each["by"], each["note"]) for each in versions] == [
        (2, "the explorer", f"showed {before[0]} again"),
        (1, "the explorer", f"hid {before[0]}"),
    ]


def test_rules_are_tried_before_they_are_in_force(asked: FlaskClient) -> None:
    before = shown(asked, "u3")
    rules = json.dumps({"pin": [{"item": "i9", "position": 1}]})
    page = post(asked, "rules/try", 200, rules=rules).text
    assert "of 100 users of the sample" in page and "Nothing is in force yet" in page
    assert rules.replace('"', "&#34;") in page, "what was written is there still"
    assert shown(asked, "u3") == before
    post(asked, "rules/publish", rules=rules, seen="0", note="Christmas")
    assert shown(asked, "u3")[0] == "i9"
    (entered,) = told(asked, "/explorer/user?id=u3")["rules"]["entered"]
    assert (entered["item"], entered["why"]) == ("i9", "pinned")
    post(asked, "rules/rollback", version="0")
    assert shown(asked, "u3") == before
    found = told(asked, "/explorer/rules?version=1")
    assert (json.loads(found["text"]), found["version"]) == (json.loads(rules), 2)


def test_who_wrote_beside_others_looks_again(asked: FlaskClient) -> None:
    post(asked, "rules/publish", rules='{"hide":["i1"]}', seen="0")
    page = post(asked, "rules/publish", 412, rules='{"hide":["i2"]}', seen="0", note="mine").text
    assert "Rules changed" in page and "i1" in page.partition("In force now")[2]
    assert "i2&#34;]}</textarea>" in page and 'value="mine"' in page, "what was written is kept"
    assert 'name="seen" value="1"' in page, "who has read the others may replace them"
    assert told(asked, "/explorer/rules")["rules"] == {"hide": ["i1"]}


@pytest.mark.parametrize("path", ["rules/try", "rules/publish"])
@pytest.mark.parametrize(
    ("rules", "said"), [("{", "rules are a JSON object"), ('{"hide":1}', "hide: expected a list")]
)
def test_what_is_wrong_is_said_beside_it(
    asked: FlaskClient, path: str, rules: str, said: str
) -> None:
    page = post(asked, path, 400, rules=rules, seen="0").text
    assert said in page and f">{rules.replace(chr(34), '&#34;')}</textarea>" in page
    assert told(asked, "/explorer/rules")["version"] == 0


def test_another_page_hides_nothing(asked: FlaskClient) -> None:
    for path in ("hide", "unhide", "rules/try", "rules/publish", "rules/rollback"):
        assert asked.post(f"/explorer/{path}", data={"id": "i1", "rules": "{}"}).status_code == 403
    assert told(asked, "/explorer/rules")["version"] == 0
