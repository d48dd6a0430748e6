"""What is asked of the logs, and told of it, in both shapes of the service."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.contracts.decisions import Evaluation, Importance
from app.decisions.desk import MAX_JOBS
from tests.app.api.decisions.office import Office

FIRST, LAST = "2022-09-20T00:00:00Z", "2022-09-30T00:00:00Z"
SQUARE = "--cb_explore_adf --epsilon 0.2 -q ::"
ASKED: dict[str, Any] = {
    "name": "of September",
    "startTime": FIRST,
    "endTime": "2022-09-30T02:00:00+02:00",
    "enablePolicyOptimization": True,
    "policies": [{"name": "square", "arguments": SQUARE}],
}
AT = 1_663_700_400_000
"""2022-09-20T19:00:00Z in ms; then two rows within the hour, and one after it."""
ROWS = [
    [AT, 4, 2, 3.0, 1.5, 5.0, 2.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    [AT + 300_000, 6, 3, 5.0, 3.5, 6.0, 3.0, 2.0, 0.0, 0.0, 0.0, 1.0],
    [AT + 3_600_000, 10, 10, 10.0, 1.0, 10.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0],
]
RESULTS = [
    {"name": "online", "arguments": "", "source": "Online", "slot": "", "rows": ROWS},
    {"name": "square", "arguments": SQUARE, "source": "Custom", "slot": "", "rows": []},
]


@pytest.fixture
def logged(office: Office) -> Office:
    """A desk that has logs of these days."""
    office.has_logs(**{"from": "2022-09-01T00:00:00Z", "to": "2022-10-01T00:00:00Z"})
    return office


def done(office: Office, id: str, **changes: Any) -> None:
    """What the trainer does in the end."""
    found = office.desk.evaluations.find(id)
    assert found
    told = {"status": "succeeded", "optimal": "square", **changes}
    office.cache.hset(office.space.evaluations, id, replace(found, **told).to_json())
    office.cache.hset(office.space.results, id, json.dumps(RESULTS))


def test_an_evaluation_is_filed_for_the_trainer(logged: Office) -> None:
    response = logged.ask("PUT", "/evaluations/e1", ASKED)
    assert (response.status_code, response.data) == (200, b"")
    found = logged.desk.evaluations.find("e1")
    assert found and (found.start, found.end, found.search) == (FIRST, LAST, True)
    assert found.policies == [["square", SQUARE]] and found.status == "queued"


def test_each_version_takes_the_words_of_the_others(logged: Office) -> None:
    asked = {name: value for name, value in ASKED.items() if name != "enablePolicyOptimization"}
    logged.ask("PUT", "/evaluations/e1", {**asked, "enableOfflineExperimentation": True})
    logged.ask("PUT", "/evaluations/e2", asked)
    found = {each.id: each.search for each in logged.desk.evaluations.all()}
    assert found == {"e1": True, "e2": False}


def test_while_it_runs_it_has_no_results(logged: Office) -> None:
    logged.ask("PUT", "/evaluations/a b/c", ASKED)
    found = logged.ask("GET", "/evaluations/a b/c").json
    assert found.pop("creationTime").endswith("Z")
    content = {"startTime": FIRST, "endTime": LAST, "intervalInMinutes": 5, "value": []}
    assert found == {
        "id": "a b/c",
        "name": ASKED["name"],
        "startTime": FIRST,
        "endTime": LAST,
        "status": "Running",
        "evaluationType": "Manual",
        "content": content,
    }


def test_results_grow_from_five_minutes_to_five_minutes(logged: Office) -> None:
    logged.ask("PUT", "/evaluations/e1", ASKED)
    done(logged, "e1")
    found = logged.ask("GET", "/evaluations/e1").json
    assert (found["status"], found["optimalPolicy"]) == ("Succeeded", "square")
    online, square = found["content"]["value"]
    assert (online["name"], online["policySource"], online["slotId"]) == ("online", "Online", "")
    assert square["arguments"] == SQUARE and "arguments" not in online
    points = online["timeseries"]["data"]
    assert [(each["timeStamp"], each["expectedReward"]) for each in points] == [
        ("2022-09-20T19:05:00Z", 0.5),
        ("2022-09-20T19:10:00Z", 0.625),
        ("2022-09-20T20:05:00Z", 6 / 18),
    ]
    low, high = online["summary"]["confidenceInterval"]
    assert online["summary"]["expectedReward"] == 6 / 18 and low < 6 / 18 < high
    assert points[-1] == {"timeStamp": "2022-09-20T20:05:00Z", **online["summary"]}
    assert square["timeseries"]["data"] == []


def test_longer_intervals_stand_for_themselves(logged: Office) -> None:
    logged.ask("PUT", "/evaluations/e1", ASKED)
    done(logged, "e1")
    query = {"intervalInMinutes": "60", "window": "Rolling", "endTime": "2022-09-20T20:00:00.000Z"}
    found = logged.ask("GET", "/evaluations/e1", query_string=query).json["content"]
    assert (found["intervalInMinutes"], found["endTime"]) == (60, "2022-09-20T20:00:00Z")
    points = found["value"][0]["timeseries"]["data"]
    assert [(each["timeStamp"], each["expectedReward"]) for each in points] == [
        ("2022-09-20T20:00:00Z", 0.625)
    ]
    assert found["value"][0]["summary"]["expectedReward"] == 0.625


def test_the_first_row_may_begin_before_the_evaluation(logged: Office) -> None:
    start = {"startTime": "2022-09-20T19:02:00Z"}
    logged.ask("PUT", "/evaluations/e1", {**ASKED, **start})
    done(logged, "e1")
    for query, reward in ((start, 6 / 18), ({"startTime": "2022-09-20T19:03:00Z"}, 4.5 / 15)):
        found = logged.ask("GET", "/evaluations/e1", query_string=dict(query)).json
        assert found["content"]["value"][0]["summary"]["expectedReward"] == reward


@pytest.mark.parametrize(
    "query",
    [
        {"intervalInMinutes": "7"},
        {"intervalInMinutes": "five"},
        {"window": "Rolling"},
        {"window": "Expanding", "intervalInMinutes": "60"},
        {"startTime": "yesterday"},
    ],
)
def test_a_wrong_question_is_told_by_its_name(logged: Office, query: dict[str, str]) -> None:
    logged.ask("PUT", "/evaluations/e1", ASKED)
    response = logged.ask("GET", "/evaluations/e1", query_string=query)
    assert response.status_code == 400
    assert response.json["error"]["target"] == next(iter(query))


def test_the_first_versions_have_a_shape_of_their_own(logged: Office) -> None:
    logged.version = "v1.0"
    asked = {**ASKED, "enableOfflineExperimentation": True}
    response = logged.ask("POST", "/evaluations", asked)
    id = response.json["id"]
    assert response.status_code == 201
    assert response.location == f"http://localhost/personalizer/v1.0/evaluations/{id}"
    assert (response.json["status"], response.json["policyResults"]) == ("pending", [])
    done(logged, id, importance=[["f1", "f2"]])
    found = logged.ask("GET", f"/evaluations/{id}").json
    assert (found["status"], found["optimalPolicy"]) == ("completed", "square")
    assert found["featureImportance"] == [["f1", "f2"]]
    online = found["policyResults"][0]
    first = {name: value for name, value in online["summary"][0].items() if "conf" not in name}
    assert first == {
        "timeStamp": "2022-09-20T19:00:00Z",
        "ipsEstimatorNumerator": 1.5,
        "ipsEstimatorDenominator": 4,
        "snipsEstimatorDenominator": 3.0,
        "aggregateTimeWindow": "PT0S",
        "nonZeroProbability": 2,
        "sumOfSquares": 1.0,
        "averageReward": 0.375,
    }
    total = online["totalSummary"]
    assert (total["ipsEstimatorNumerator"], total["ipsEstimatorDenominator"]) == (6.0, 20)
    assert total["timeStamp"] == LAST and total["confidenceInterval"] > 0
    listed = logged.ask("GET", "/evaluations").json
    assert [(each["id"], each["policyResults"]) for each in listed] == [(id, [])]
    assert logged.ask("DELETE", f"/evaluations/{id}").status_code == 204
    assert not logged.cache.exists(logged.space.results)


@pytest.mark.parametrize(
    ("status", "v1_0", "v1_1", "v2022"),
    [
        ("queued", "pending", "pending", "Running"),
        ("running", "pending", "pending", "Running"),
        ("failed", "failed", "failed", "Failed"),
        ("applied", "completed", "optimalPolicyApplied", "OptimalPolicyApplied"),
        ("retained", "completed", "onlinePolicyRetained", "OnlinePolicyRetained"),
    ],
)
def test_each_version_has_its_words_for_a_status(
    logged: Office, status: str, v1_0: str, v1_1: str, v2022: str
) -> None:
    logged.ask("PUT", "/evaluations/e1", ASKED)
    done(logged, "e1", status=status, problem="why")
    for version, word in (("v1.0", v1_0), ("v1.1-preview.2", v1_1), ("2022-09-01-preview", v2022)):
        logged.version = version
        found = logged.ask("GET", "/evaluations/e1").json
        assert (found["status"], found["description"]) == (word, "why")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "InvalidEvaluationContract"),
        ({"startTime": None}, "InvalidEvaluationContract"),
        ({"startTime": "September"}, "InvalidEvaluationContract"),
        ({"endTime": FIRST}, "InvalidEvaluationContract"),
        ({"policies": {}}, "InvalidEvaluationContract"),
        ({"policies": ["square"]}, "InvalidEvaluationContract"),
        ({"policies": [{"name": "square"}]}, "InvalidEvaluationContract"),
        ({"policies": [{"name": "no", "arguments": "-q ::"}]}, "InvalidPolicyConfiguration"),
        ({"policies": ASKED["policies"] * 2}, "DuplicateCustomPolicyNames"),
        ({"policies": [{"name": "online", "arguments": SQUARE}]}, "DuplicateCustomPolicyNames"),
        ({"enablePolicyOptimization": 1}, "InvalidEvaluationContract"),
        ({"startTime": "2022-10-02T00:00:00Z", "endTime": "2022-10-03"}, "NoLogsExistInDateRange"),
        ({"startTime": "2022-08-01", "endTime": "2022-09-01"}, "NoLogsExistInDateRange"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    logged: Office, change: dict[str, Any], code: str
) -> None:
    assert logged.refused("PUT", "/evaluations/e1", {**ASKED, **change})[0] == code
    assert logged.desk.evaluations.all() == []


def test_more_than_ten_policies_are_refused(logged: Office) -> None:
    policies = [{"name": f"p{n}", "arguments": SQUARE} for n in range(11)]
    code, _ = logged.refused("PUT", "/evaluations/e1", {**ASKED, "policies": policies})
    assert code == "InvalidEvaluationContract"
    ten = {**ASKED, "policies": policies[:10]}
    assert logged.ask("PUT", "/evaluations/e1", ten).status_code == 200


def test_without_logs_nothing_is_evaluated(office: Office) -> None:
    for path in ("/evaluations/e1", "/featureImportances/i1"):
        assert office.refused("PUT", path, ASKED)[0] == "NoLogsExistInDateRange"


def test_an_id_is_given_once(logged: Office) -> None:
    for _ in range(2):
        assert logged.ask("PUT", "/evaluations/e1", ASKED).status_code == 200
    code, message = logged.refused("PUT", "/evaluations/e1", {**ASKED, "name": "another"})
    assert code == "InvalidEvaluationContract" and "Another one has this id" in message
    for id in ("x" * 257, "%00", "a%0Ab"):
        for path in (f"/evaluations/{id}", f"/featureImportances/{id}"):
            assert "An id must be printable text" in logged.refused("PUT", path, ASKED)[1]


def test_no_more_are_filed_than_are_kept(logged: Office) -> None:
    for number in range(MAX_JOBS):
        logged.desk.evaluations.add(Evaluation(f"e{number}", "one", FIRST, LAST, FIRST))
    assert "delete one first" in logged.refused("PUT", "/evaluations/more", ASKED)[1]
    assert logged.ask("DELETE", "/evaluations/e0").status_code == 204
    assert logged.ask("PUT", "/evaluations/more", ASKED).status_code == 200


def test_a_part_of_them_is_told(logged: Office) -> None:
    for number in range(7):
        created = f"2022-10-0{number + 1}T00:00:00Z"
        one = Evaluation(f"e{number}", "one", FIRST, LAST, created, automatic=number % 2 == 1)
        logged.desk.evaluations.add(one)
    query = {"top": "5", "skip": "1", "maxpagesize": "2"}
    found = logged.ask("GET", "/evaluations", query_string=query).json
    assert [each["id"] for each in found["value"]] == ["e5", "e4", "e3", "e2", "e1"]
    assert found.keys() == {"value"}, "all that was asked for is on one page"
    automatic = {"filter": "evaluationType eq 'Auto'"}
    found = logged.ask("GET", "/evaluations", query_string=automatic).json
    assert [each["id"] for each in found["value"]] == ["e5", "e3", "e1"]
    assert found["value"][0]["evaluationType"] == "Auto" and "content" not in found["value"][0]
    for wrong in ({"filter": "name eq 'one'"}, {"top": "-1"}, {"skip": "all"}):
        assert logged.ask("GET", "/evaluations", query_string=wrong).status_code == 400


def test_what_was_deleted_is_not_found(logged: Office) -> None:
    for path, code in (
        ("/evaluations/e1", "EvaluationNotFound"),
        ("/featureImportances/i1", "FeatureImportanceNotFound"),
    ):
        assert logged.ask("PUT", path, ASKED).status_code == 200
        assert logged.ask("DELETE", path).status_code == 204
        for method in ("GET", "DELETE"):
            response = logged.ask(method, path)
            assert (response.status_code, response.json["error"]["code"]) == (404, code)


def test_importances_of_features_are_told(logged: Office) -> None:
    path = "/featureImportances/i1"
    assert logged.ask("PUT", path, ASKED).data == b""
    assert logged.ask("GET", path).json["featureScores"] == []
    scores = [["FromUrl", "favoriteGenre", 1.0], ["i", "id", 0.0]]
    times = (FIRST, LAST, FIRST)
    record = Importance("i1", "of September", *times, status="succeeded", scores=scores)
    logged.cache.hset(logged.space.importances, "i1", record.to_json())
    assert logged.ask("GET", path).json == {
        "id": "i1",
        "name": "of September",
        "startTime": FIRST,
        "endTime": LAST,
        "creationTime": FIRST,
        "status": "Succeeded",
        "featureScores": [
            {"namespace": "FromUrl", "featureName": "favoriteGenre", "score": 1.0},
            {"namespace": "i", "featureName": "id", "score": 0.0},
        ],
    }
    assert [each["id"] for each in logged.ask("GET", "/featureImportances").json["value"]] == ["i1"]
