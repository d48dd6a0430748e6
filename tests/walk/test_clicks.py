"""From rows to scores over HTTP, under each server: as in training, also while it swaps."""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from prometheus_client.parser import text_string_to_metric_families

from app.clicks.scorer import calibrated
from app.contracts.clicks import Calibration, Clicks
from app.contracts.recommendations import Namespace
from batch.clicks.one_machine import LocalExamples
from batch.clicks.terms import EVERYTHING, Fit, Split
from batch.progress import Silent
from tests.app.served import answering
from tests.app.wire import get, kept_alive, send
from tests.batch.clicks.rows import COLUMNS, examples
from tests.clicks import log_odds, model, publish_by_hand
from tests.servers import SERVERS, Api, Server, wait_until

JSON = {"Content-Type": "application/json"}
ONE, TWO = "20260101T000000.000Z-0001", "20260101T000000.000Z-0002"
CLIENTS, SWAPS = 4, 6
OFF = {ONE: 0.0, TWO: 1.0}
"""What the two models add to the same log-odds."""


@pytest.fixture(params=SERVERS)
def api(server: Server, client: Any, namespace: Namespace, request: Any) -> Iterator[Api]:
    """Two workers that serve the first of two models."""
    publish_by_hand(client, Clicks(namespace.name), ONE)
    settings = {"clicks": "only", "metrics": "true", "server": request.param}
    settings["clicks_unknown"] = "ignore"
    with Api(server.url, namespace.name, watch_interval_ms="50", **settings) as started:
        wait_until(lambda: get(started.url, "/health/ready").status == 200)
        yield started


def told(api: Api, name: str) -> float:
    families = text_string_to_metric_families(get(api.url, "/metrics").body.decode())
    return sum(each.value for family in families for each in family.samples if each.name == name)


def test_no_request_fails_and_no_answer_is_of_two_models_while_they_are_swapped(
    api: Api, client: Any, namespace: Namespace
) -> None:
    space = Clicks(namespace.name)
    publish_by_hand(client, space, TWO, model(Calibration(1.0, OFF[TWO])))
    prices = (5.0, 15.0)
    items = [{"id": f"{price}", "features": {"price": price}} for price in prices]
    body, ended = json.dumps({"items": items}), Event()
    scores = {
        name: [round(1 / (1 + math.exp(-off - log_odds(price))), 6) for price in prices]
        for name, off in OFF.items()
    }

    def ask() -> list[str]:
        """The versions of all answers, each of whose scores are its own."""
        seen = []
        with kept_alive(api.url) as connection:
            while not ended.is_set():
                connection.request("POST", "/rank/click", body, JSON)
                answer = connection.getresponse()
                found, version = json.loads(answer.read()), answer.headers["X-Model-Version"]
                assert answer.status == 200 and found["version"] == version
                assert [round(each["score"], 6) for each in found["items"]] == scores[version]
                seen.append(version)
        return seen

    def is_everywhere(name: str) -> bool:
        """So many connections in a row are answered by both workers."""
        return all(get(api.url, "/version").json()["version"] == name for _ in range(20))

    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask) for _ in range(CLIENTS)]
        try:
            for name in [TWO, ONE] * (SWAPS // 2):
                client.set(space.live, name)
                wait_until(lambda name=name: is_everywhere(name))  # type: ignore[misc]
        finally:
            ended.set()
        seen = [version for each in asking for version in each.result()]
    assert set(seen) == {ONE, TWO}
    assert told(api, "larder_click_rows_total") == len(prices) * len(seen)
    assert told(api, "larder_click_unknown_values_total") == 0
    send(api.url, "POST", "/rank/click", '{"items":["x"],"features":{"brand":"new"}}', JSON)
    assert told(api, "larder_click_unknown_values_total") == 1
    stray = '{"items":[{"id":"x","features":{"gone":1}}],"features":{"gone":2,"lost":3}}'
    assert send(api.url, "POST", "/rank/click", stray, JSON).status == 200
    assert told(api, "larder_click_unknown_columns_total") == 2
    assert told(api, "larder_click_model_created_timestamp_seconds") > 0
    assert (
        b'larder_click_model_info{version="%b"} 1.0' % ONE.encode() in get(api.url, "/metrics").body
    )


@pytest.fixture(scope="module")
def rows() -> LocalExamples:
    found = examples(2_000)
    found.split(Split(0.1, 0.1))
    return found


@pytest.mark.parametrize("blend", [False, True], ids=["trees", "blend"])
def test_training_and_serving_see_the_same(
    server: Server, client: Any, namespace: Namespace, rows: LocalExamples, blend: bool
) -> None:
    """The rows of a part, by SQL and by HTTP: texts of digits are sent as numbers there."""
    fit = Fit(trees=20, leaves=15, threads=1, blend=blend, folds=3)
    made = replace(rows.fit(EVERYTHING, None, fit, Silent()), negatives_kept=0.5)
    made = replace(made, calibration=Calibration(knots=((-3.0, -2.5), (0.0, 0.25), (3.0, 2.0))))
    publish_by_hand(client, Clicks(namespace.name), ONE, made)
    expected = calibrated(made.calibration, rows.predict(made, "test").log_odds) + math.log(0.5)
    cells = rows.connection.execute(
        "SELECT n0, CAST(c0 AS BIGINT), n1, c1 FROM rows WHERE part = 'test' ORDER BY row"
    ).fetchall()
    assert len(cells) > 100 and any(price is None for _, _, price, _ in cells)
    frame = {"columns": [each.name for each in COLUMNS], "data": cells}
    with answering(server, namespace, clicks="only") as app:
        answer: Any = app.test_client().post("/invocations", json={"dataframe_split": frame})
    scores: list[float] = answer.json["predictions"]
    assert_allclose(np.array(scores), 1 / (1 + np.exp(-expected)), atol=1e-6, rtol=0)
