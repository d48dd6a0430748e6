"""What a user did is gone from their next list: at once here, at the next look everywhere else."""

import pickle
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contracts.events import MAX_RECENT, Actor, Streams
from app.contracts.recommendations import Namespace
from app.recommendations.deletion import delete
from app.recommendations.live import neighbours, tail
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.generations.registry import Generations
from tests.app.served import Worker, count_reads, following
from tests.generations import live_contents, publish_by_hand
from tests.servers import Cluster, Server, wait_until

FIRST = "20260101T000000Z-0001"
SECOND = "20260101T000001Z-0002"
U1 = "/recommendations/u1"

publish_plain = partial(publish_by_hand, similar_buckets=0)
"""Of a generation that only takes items away."""


@pytest.fixture
def worker(server: Server, client: Any, namespace: Namespace) -> Iterator[Worker]:
    publish_plain(client, namespace)
    with following(server, namespace) as found:
        yield found


def test_it_is_gone_at_once_here_and_at_the_next_look_there(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_plain(client, namespace)
    with following(server, namespace) as here, following(server, namespace) as there:
        assert here.items(U1) == there.items(U1) == ["i1", "i2", "i3"]
        here.did("purchase", "i2", "u1")
        assert here.items(U1) == ["i1", "i3"]
        assert here.get(U1)["source"] == "personal+recent"
        assert there.items(U1) == ["i1", "i2", "i3"]  # it was near, so nobody was asked
        there.tail.poll()
        assert there.items(U1) == ["i1", "i3"]
        assert here.items("/recommendations/u2") == ["i2", "i3", "i4"]


def test_only_the_types_that_are_named_take_an_item_away(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_plain(client, namespace)
    with following(server, namespace, events_exclude="hide,my.own") as worker:
        for type, item in [("purchase", "i1"), ("my.own", "i2"), ("impression", "i3")]:
            worker.did(type, item, "u1")
        assert worker.items(U1) == ["i1", "i3"]
        worker.did("hide", "i1", "u1")
        assert worker.items(U1) == ["i3"]


def test_no_number_of_other_events_brings_a_purchase_back(worker: Worker) -> None:
    worker.did("purchase", "i1", "u1")
    worker.did("click", "i2", "u1")
    for type in ("page_view", "impression"):  # neither takes items away, nor weighs anything
        _did_many(worker, type, MAX_RECENT)
    assert worker.items(U1) == ["i3"]
    _did_many(worker, "click", MAX_RECENT)
    assert worker.items(U1) == ["i2", "i3"]
    ordered = [{"product_id": f"p{n}"} for n in range(153)] + [{"product_id": "i3"}]
    order = {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m"}
    api = worker.app.test_client()
    api.post("/v1/track", json={**order, "properties": {"products": ordered[::-1]}})
    assert worker.items(U1) == ["i2"]


def test_a_return_brings_its_item_back(worker: Worker) -> None:
    worker.did("purchase", "i1", "u1")
    worker.did("purchase", "i1", "u1", value=-1)
    assert worker.items(U1) == ["i1", "i2", "i3"]


def test_an_event_that_changes_nothing_leaves_the_source_as_it_was(worker: Worker) -> None:
    worker.did("click", "i9", "u1")
    assert worker.get(U1)["source"] == "personal"


def test_who_had_it_all_is_told_so(server: Server, client: Any, namespace: Namespace) -> None:
    publish_plain(client, namespace, items=["i0", "i1", "i2", "i3"], k=2)
    with following(server, namespace) as worker:
        for item in ["i1", "i2"]:
            worker.did("purchase", item, "u1")
        assert worker.get(U1)["source"] == "popular"
        assert worker.items(U1) == ["i0"]
        assert worker.get(f"{U1}?fallback=none")["source"] == "exhausted"
        (answer,) = _batch(worker, ["u1"], fallback="none")["answers"]
        assert (answer["source"], answer["recommendations"]) == ("exhausted", [])


def test_a_stranger_gets_what_is_popular_but_for_what_they_had(worker: Worker) -> None:
    worker.did("click", "i0", "somebody")
    assert worker.items("/recommendations/somebody") == ["i1", "i2"]
    assert worker.get("/recommendations/somebody")["source"] == "popular"
    answer = worker.app.test_client().get("/recommendations/somebody?fallback=none")
    assert answer.status_code == 404


def test_a_batch_takes_everybodys_recents_into_account_in_one_round_trip(
    worker: Worker, client: Any
) -> None:
    worker.did("purchase", "i2", "u1")
    worker.did("purchase", "i0", "somebody")
    _batch(worker, ["u9"])  # connects
    reads = count_reads(client, lambda: _batch(worker, ["u1", "u2", "somebody", "nobody"]))
    assert reads == 1
    lists = [
        [each["item"] for each in answer["recommendations"]]
        for answer in _batch(worker, ["u1", "u2", "somebody", "nobody"])["answers"]
    ]
    assert lists == [["i1", "i3"], ["i2", "i3", "i4"], ["i1", "i2"], ["i0", "i1", "i2"]]


def test_a_cold_request_is_one_round_trip_and_a_warm_one_none(
    server: Server, own_server: Server, client: Any, namespace: Namespace
) -> None:
    publish_plain(client, namespace)
    for more in ({}, {"events_url": own_server.url}):
        with following(server, namespace, **more) as worker:
            worker.did("purchase", "i2", "u1")
            worker.get("/recommendations/u9")
            assert count_reads(client, lambda: worker.get(U1)) == 1
            assert count_reads(client, lambda: worker.get(U1)) == 0
            assert worker.items(U1) == ["i1", "i3"]


def test_a_switch_brings_nothing_back_and_loses_nothing(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_plain(client, namespace, FIRST)
    with following(server, namespace) as worker:
        worker.did("purchase", "i2", "u1")
        worker.did("click", "new", "u1")
        assert worker.items(U1) == ["i1", "i3"]
        publish_plain(client, namespace, SECOND, items=["i0", "new", "i2", "i3", "i4"])
        worker.watcher.poll()
        assert worker.get(U1)["generation"] == SECOND
        assert worker.items(U1) == ["i3"]
        Generations(client, namespace).roll_back(None)
        worker.watcher.poll()
        assert worker.get(U1)["generation"] == FIRST
        assert worker.items(U1) == ["i1", "i3"]


def test_an_etag_lasts_until_the_user_does_something(worker: Worker) -> None:
    api = worker.app.test_client()
    before = api.get(U1).headers["ETag"]
    assert api.get(U1, headers={"If-None-Match": before}).status_code == 304
    assert api.get(U1, headers={"If-None-Match": f'"{FIRST}-1"'}).status_code == 200
    worker.did("click", "i7", "u2")
    assert api.get(U1, headers={"If-None-Match": before}).status_code == 304
    worker.did("click", "i2", "u1")
    changed = api.get(U1, headers={"If-None-Match": before})
    assert changed.status_code == 200
    again = api.get(U1, headers={"If-None-Match": changed.headers["ETag"]})
    assert again.status_code == 304


def test_an_etag_does_not_outlive_its_user_nor_the_settings(
    server: Server, client: Any, namespace: Namespace
) -> None:
    publish_plain(client, namespace)
    with following(server, namespace) as worker:
        api = worker.app.test_client()
        before, other = (api.get(f"/recommendations/{u}").headers["ETag"] for u in ("u1", "u2"))
        delete(client, namespace, "u1")
        worker.tail.clear()
        answer = api.get(U1, headers={"If-None-Match": before})
        assert (answer.status_code, answer.get_json()["source"]) == (200, "popular")
    with following(server, namespace, events_exclude="hide") as worker:
        api = worker.app.test_client()
        assert api.get("/recommendations/u2", headers={"If-None-Match": other}).status_code == 200


def test_what_is_near_does_not_grow_with_what_a_user_did(worker: Worker) -> None:
    sizes = []
    for count in (1, MAX_RECENT):
        _did_many(worker, "click", count)
        worker.get(U1)
        near = worker.watcher.near()
        assert near is not None
        sizes.append(len(pickle.dumps(near.get("u1"))))
    assert sizes[1] < sizes[0] + 100


def test_a_session_has_a_list_of_its_own(server: Server, client: Any, namespace: Namespace) -> None:
    publish_plain(client, namespace)
    with following(server, namespace) as here, following(server, namespace) as there:
        path = "/recommendations?session=s1"
        assert here.items(path) == there.items(path) == ["i0", "i1", "i2"]
        here.did("click", "i0", session="s1")
        assert here.items(path) == ["i1", "i2"]
        assert here.get(path)["session"] == "s1"
        there.tail.poll()
        assert there.items(path) == ["i1", "i2"]
        assert here.items("/recommendations/s1") == ["i0", "i1", "i2"]
        here.did("click", "i1", "u9", session="s1")
        assert here.items(path) == ["i2"]


class TestLive:
    """Of a live generation, whose lists are twice as long as what is served."""

    @pytest.fixture
    def worker(self, server: Server, client: Any, namespace: Namespace) -> Iterator[Worker]:
        publish_live(client, namespace)
        with following(server, namespace) as found:
            yield found

    def test_a_list_stays_full(self, worker: Worker) -> None:
        for number, item in enumerate(["i1", "i2", "i3"], 4):
            assert len(worker.items(U1)) == 3
            worker.did("purchase", item, "u1")
            listed = worker.items(U1)
            assert set(listed) <= {f"i{n}" for n in range(number - 2, 7)}
            assert len(listed) == 3

    def test_a_list_lasts_as_long_as_what_is_stored(self, worker: Worker) -> None:
        lengths = [len(worker.items(U1))]
        for number in range(1, 7):
            worker.did("purchase", f"i{number}", "u1")
            lengths.append(len(worker.items(f"{U1}?fallback=none")))
        assert lengths == [3, 3, 3, 3, 2, 1, 0]
        assert worker.get(f"{U1}?fallback=none")["source"] == "exhausted"
        assert worker.get(U1)["source"] == "popular"

    def test_a_list_is_put_in_order_anew_by_what_came_after_training(
        self, worker: Worker, client: Any, namespace: Namespace
    ) -> None:
        before = worker.get(U1)
        worker.did("purchase", "i9", "u1")
        after = worker.get(U1)
        assert after["source"] == "personal+recent"
        assert after["recommendations"] != before["recommendations"]
        publish_live(client, namespace, SECOND, events_until="99999999999999-0")
        worker.watcher.poll()
        trained = worker.get(U1)
        assert (trained["generation"], trained["source"]) == (SECOND, "personal")
        assert trained["recommendations"] == before["recommendations"]

    def test_what_is_hidden_is_gone_and_draws_nothing_near(self, worker: Worker) -> None:
        worker.did("click", "i1", "u1")
        worker.did("hide", "i1", "u1")
        assert worker.items(U1) == ["i2", "i3", "i4"]  # as they were

    def test_a_newcomer_has_a_list_after_one_event(self, worker: Worker) -> None:
        assert worker.get("/generation")["following"] == "re-ranking"
        worker.did("click", "i5", "newcomer")
        worker.did("click", "i5", session="s1")
        mine = worker.get("/recommendations/newcomer?fallback=none")
        assert mine["source"] == "recent"
        for path in ("/recommendations?session=s1", "/recommendations?items=i5"):
            other = worker.get(path)
            assert other["source"] == "recent"
            assert other["recommendations"] == mine["recommendations"]
        assert len(mine["recommendations"]) == 3
        assert "i5" not in [each["item"] for each in mine["recommendations"]]
        worker.did("click", "i4", "newcomer")
        assert worker.get("/recommendations/newcomer") != mine

    def test_weights_of_training_are_those_of_the_answer(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_live(client, namespace, settings={"event_weights": {"my.own": 4.0}})
        with following(server, namespace) as worker:
            worker.did("click", "i5", "newcomer")
            assert worker.get("/recommendations/newcomer")["source"] == "popular"
            worker.did("my.own", "i5", "newcomer")
            assert worker.get("/recommendations/newcomer")["source"] == "recent"

    def test_an_etag_tells_whether_lists_are_put_in_order_anew(
        self, server: Server, client: Any, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish_live(client, namespace)
        with following(server, namespace) as worker:
            api = worker.app.test_client()
            paths = (U1, "/recommendations?items=i5")
            tags = {path: api.get(path).headers["ETag"] for path in paths}
        monkeypatch.setitem(sys.modules, "numpy", None)
        with following(server, namespace) as worker:
            api = worker.app.test_client()
            for path, tag in tags.items():
                assert api.get(path, headers={"If-None-Match": tag}).status_code == 200

    def test_items_that_nobody_knows_are_no_reason_for_a_list(self, worker: Worker) -> None:
        assert worker.get("/recommendations?items=unheard,of")["source"] == "popular"
        answer = worker.app.test_client().get("/recommendations?items=unheard&fallback=none")
        assert answer.status_code == 404

    def test_without_numpy_items_still_leave_and_lists_stay_full(
        self, server: Server, client: Any, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish_live(client, namespace)
        monkeypatch.setitem(sys.modules, "numpy", None)
        with following(server, namespace) as worker:
            worker.did("purchase", "i2", "u1")
            worker.did("purchase", "i0", "newcomer")
            assert worker.items(U1) == ["i3", "i4", "i5"]  # they are near to i2
            assert worker.items("/recommendations/newcomer") == ["i1", "i2", "i3"]
            assert worker.get("/generation")["following"] == "neighbours"


class TestNeighbours:
    """Of a generation without factors. The neighbours of i1 are i2, i3, i4: 1, .875, .75 near."""

    @pytest.fixture
    def worker(self, server: Server, client: Any, namespace: Namespace) -> Iterator[Worker]:
        publish_by_hand(client, namespace)
        with following(server, namespace) as found:
            yield found

    def test_a_known_users_list_is_put_in_order_anew_and_nothing_comes_in(
        self, worker: Worker
    ) -> None:
        assert worker.get("/generation")["following"] == "neighbours"
        worker.did("page_view", "i0", "u1")  # it weighs nothing
        assert worker.get(U1)["source"] == "personal"
        worker.did("click", "i2", "u1")
        answer = worker.get(U1)
        assert (answer["source"], _scored(answer)) == ("personal+recent", {"i3": 1.25, "i1": 1})
        worker.did("purchase", "i8", "u1")  # i1 is beside it, in the third place
        assert _scored(worker.get(U1)) == {"i1": 1.375, "i3": 0.85}

    def test_a_newcomer_gets_what_is_near_beside_what_is_popular(self, worker: Worker) -> None:
        worker.did("click", "i1", "newcomer")
        worker.did("click", "i1", session="s1")
        paths = ("/recommendations/newcomer?", "/recommendations?session=s1&")
        for path in (*paths, "/recommendations?items=i1&"):
            answer = worker.get(f"{path}fallback=none")
            scored = {"i0": 1, "i2": 1, "i3": 0.2188}
            assert (answer["source"], _scored(answer)) == ("recent", scored)
        assert worker.get("/recommendations?items=i99")["source"] == "popular"

    def test_only_the_latest_items_count_and_not_what_training_knew(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        items = [f"i{n}" for n in range(50)]
        publish_by_hand(client, namespace, items=items, events_until="99999999999999-0")
        with following(server, namespace) as worker:
            for item in ("i30", "i0", "i1", "i2"):
                worker.did("click", item, "newcomer")
            assert worker.items("/recommendations/newcomer") == ["i3", "i4", "i31"]
            for number in range(neighbours.MOST_ITEMS - 3):
                worker.did("click", f"i{40 + number}", "newcomer")
            assert set(worker.items("/recommendations/newcomer?n=2")) == {"i3", "i42"}
            worker.did("click", "i0", "u1")
            assert worker.get(U1)["source"] == "personal"

    def test_only_those_who_did_something_new_cost_a_second_round_trip(
        self, worker: Worker, client: Any
    ) -> None:
        worker.did("click", "i2", "u1")
        worker.did("click", "i2", "newcomer")
        worker.did("page_view", "i2", "u2")
        worker.get("/recommendations/u9")
        for user, reads in (("u1", 2), ("newcomer", 2), ("u2", 1), ("u3", 1), ("nobody", 1)):
            assert count_reads(client, lambda: worker.get(f"/recommendations/{user}")) == reads
        assert count_reads(client, lambda: worker.get(U1)) == 0
        worker.did("click", "i3", "u1")
        worker.did("click", "i3", "u4")
        assert count_reads(client, lambda: _batch(worker, ["u1", "u4", "u5"])) == 2

    @pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "broken"])
    def test_without_the_neighbours_items_still_leave_and_the_answer_is_degraded(
        self, server: Server, client: Any, namespace: Namespace, is_lost: bool
    ) -> None:
        manifest = publish_by_hand(client, namespace)
        bucket, name = manifest.item_place(namespace, "i2")
        kept = client.dump(bucket)
        with following(server, namespace) as worker:
            worker.did("click", "i2", "u1")
            client.delete(bucket) if is_lost else client.hset(bucket, name, b"no record")
            for path in (U1, "/recommendations?items=i2"):
                assert worker.get(path)["degraded"]
            assert worker.items(U1) == ["i1", "i3"]
            client.restore(bucket, 0, kept, replace=True)
            assert "degraded" not in worker.get(U1)  # it was not kept
            assert worker.items(U1) == ["i3", "i1"]

    def test_in_a_cluster_it_is_the_same(
        self, cluster: Cluster, cluster_client: Any, namespace: Namespace
    ) -> None:
        publish_by_hand(cluster_client, namespace)
        with following(cluster, namespace) as worker:
            worker.did("click", "i2", "u1")
            worker.did("click", "i1", "newcomer")
            lists = _batch(worker, ["u1", "newcomer"])["answers"]
            assert [list(_scored(each)) for each in lists] == [["i3", "i1"], ["i0", "i2", "i3"]]


def publish_live(client: Any, namespace: Namespace, generation: str = FIRST, **told: Any) -> None:
    """Users u0-u99 and items i0-i9, as ``publish_by_hand`` has them."""
    users, items = [f"u{n}" for n in range(100)], [f"i{n}" for n in range(10)]
    manifest, made = live_contents(namespace, users, items)
    with hold(client, namespace) as lease:
        publish(client, namespace, replace(manifest, generation=generation, **told), made, lease)


class TestTail:
    @pytest.fixture
    def stream(self, namespace: Namespace) -> str:
        return Streams(namespace.name).events

    @pytest.fixture(autouse=True)
    def published(self, client: Any, namespace: Namespace) -> None:
        publish_plain(client, namespace)

    def _is_near(self, worker: Worker) -> bool:
        near = worker.watcher.near()
        return near is not None and near.get("u1") is not None

    def test_other_users_stay_near(
        self, server: Server, client: Any, namespace: Namespace, stream: str
    ) -> None:
        client.xadd(stream, {"user": "u3"})
        with following(server, namespace) as worker:
            worker.get(U1)
            client.xadd(stream, {"user": "u2", "session": "u1"})
            worker.tail.poll()
            assert self._is_near(worker)
            client.xadd(stream, {"user": "u1", "of": "a later version"})
            worker.tail.poll()
            assert not self._is_near(worker)

    def test_all_is_forgotten_when_nobody_can_say_who_did_something(
        self, server: Server, client: Any, namespace: Namespace, stream: str
    ) -> None:
        with following(server, namespace) as worker:

            def is_forgotten() -> bool:
                worker.get(U1)
                worker.tail.poll()
                return not self._is_near(worker)

            client.xadd(stream, {"user": "u2"})
            is_forgotten()
            assert not is_forgotten()
            client.xadd(stream, {"clear": "1"})
            assert is_forgotten() and not is_forgotten()
            client.delete(stream)
            assert is_forgotten() and not is_forgotten()
            for _ in range(2):
                client.xadd(stream, {"user": "u2"})
            client.xtrim(stream, maxlen=1)
            assert is_forgotten() and not is_forgotten()
            pipeline = client.pipeline(transaction=False)
            for _ in range(tail.MOST_ENTRIES + 1):
                pipeline.xadd(stream, {"user": "u2"})
            pipeline.execute()
            assert is_forgotten() and not is_forgotten()

    def test_it_looks_by_itself_and_while_a_generation_is_loaded(
        self, server: Server, client: Any, namespace: Namespace, stream: str
    ) -> None:
        with following(server, namespace, watch_interval_ms=50) as worker:
            worker.get(U1)
            worker.tail.start()
            client.xadd(stream, {"user": "u1"})
            wait_until(lambda: not self._is_near(worker))


def test_ten_thousand_events_of_one_user_are_as_quick_as_a_hundred(
    worker: Worker, client: Any, namespace: Namespace
) -> None:
    api = worker.app.test_client()
    for start in range(0, 10_000, 500):
        events = [
            {"type": "click", "user": "u1", "item": f"i{n % 5000}"}
            for n in range(start, start + 500)
        ]
        assert api.post("/events", json=events).status_code == 202
    worker.did("click", "i2", "u1")
    key = Streams(namespace.name).recent(Actor.user("u1"))
    assert client.zcard(key) == MAX_RECENT
    assert worker.items(U1) == ["i1", "i3"]


def test_a_clients_clock_does_not_matter(worker: Worker) -> None:
    for item, time in [("i1", 0), ("i2", "2126-01-01T00:00:00Z"), ("i3", "1999-01-01")]:
        worker.did("purchase", item, "u1", time=time)
    assert worker.get(U1)["source"] == "popular"
    assert worker.items(U1) == ["i0"]


class TestOutages:
    @pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
    def test_the_events_server_is_killed_and_comes_back(
        self, server: Server, client: Any, namespace: Namespace, tmp_path: Path, is_kept: bool
    ) -> None:
        publish_plain(client, namespace)
        kept = {"appendonly": "yes", "appendfsync": "always"} if is_kept else {}
        with Server(tmp_path if is_kept else None, **kept) as events:
            with following(server, namespace, events_url=events.url) as worker:
                worker.did("purchase", "i2", "u1")
                worker.tail.poll()
                assert worker.items(U1) == ["i1", "i3"]
                assert worker.get("/health/ready")["degraded"] is False
                events.kill()
                assert worker.get("/recommendations/u2")["degraded"]  # it was not near
                assert worker.items("/recommendations/u2") == ["i2", "i3", "i4"]
                assert worker.get(U1)["degraded"]
                assert worker.items(U1) == ["i1", "i3"]
                assert "degraded" in worker.get("/recommendations?session=s1")
                worker.tail.poll()
                ready = worker.app.test_client().get("/health/ready")
                assert (ready.status_code, ready.get_json()["degraded"]) == (200, True)
                events.start()
                worker.tail.poll()
                assert worker.get("/health/ready")["degraded"] is False
                assert "degraded" not in worker.get(U1)
                assert worker.items(U1) == (["i1", "i3"] if is_kept else ["i1", "i2", "i3"])
                worker.did("purchase", "i2", "u2")
                assert worker.items("/recommendations/u2") == ["i3", "i4"]

    def test_lists_are_not_kept_while_the_stream_is_not_followed(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_plain(client, namespace)
        stream = Streams(namespace.name).events
        with following(server, namespace) as worker, following(server, namespace) as other:
            client.set(stream, "no stream")
            worker.tail.poll()
            client.delete(stream)
            assert worker.get(U1)["degraded"]
            other.did("purchase", "i2", "u1")
            assert worker.items(U1) == ["i1", "i3"]

    def test_the_cache_is_away_and_the_events_are_not(
        self, server: Server, own_server: Server, client: Any, namespace: Namespace
    ) -> None:
        with redis.Redis.from_url(own_server.url) as own:
            publish_plain(own, namespace)
        with following(own_server, namespace, events_url=server.url) as worker:
            worker.get(U1)
            own_server.kill()
            worker.did("purchase", "i0", "u2")
            assert worker.items("/recommendations/u2") == ["i1", "i2"]  # of what is popular
            assert worker.items(U1) == ["i1", "i2", "i3"]
            assert worker.get(U1)["degraded"]
            worker.did("purchase", "i0", "u1")
            assert worker.items(U1) == ["i1", "i2"]

    def test_recents_that_cannot_be_read_degrade_nobody_else(
        self, server: Server, client: Any, namespace: Namespace
    ) -> None:
        publish_plain(client, namespace)
        keys = [Streams(namespace.name).recent(Actor.user(user)) for user in ("u1", "u2")]
        client.set(keys[0], "no set")
        client.zadd(keys[1], {b"\xff": 1})
        with following(server, namespace) as worker:
            answers = _batch(worker, ["u1", "u2", "u3"])["answers"]
            assert ["degraded" in each for each in answers] == [True, True, False]
            assert all(each["source"] == "personal" for each in answers)
            assert worker.watcher.reachable and worker.tail.reachable


def test_nothing_comes_back_while_events_pour_in_and_generations_are_published(
    server: Server, client: Any, namespace: Namespace
) -> None:
    """Two workers with threads of their own: one takes the events, both are asked."""
    items = [f"i{n}" for n in range(200)]
    publish_plain(client, namespace, FIRST, items=items, k=150)
    settings = {"watch_interval_ms": 50}
    with (
        following(server, namespace, **settings) as here,
        following(server, namespace, **settings) as there,
    ):
        for worker in (here, there):
            worker.watcher.start()
            worker.tail.start()
        ended, wrong = threading.Event(), list[str]()

        def ask() -> None:
            while not ended.is_set():
                there.get(U1)

        asking = threading.Thread(target=ask)
        asking.start()
        for number in range(1, 91):
            if number % 30 == 0:
                publish_plain(client, namespace, f"{FIRST}-{number}", items=items, k=150)
            here.did("purchase", f"i{number}", "u1")
            bought = {f"i{n}" for n in range(1, number + 1)}
            wrong += bought & set(here.items(U1))
        wait_until(lambda: here.get(U1)["generation"] == f"{FIRST}-90")
        wait_until(lambda: there.get(U1)["generation"] == f"{FIRST}-90")
        wait_until(lambda: not bought & set(there.items(U1)))
        assert not wrong
        assert here.items(U1) == there.items(U1) == [f"i{n}" for n in range(91, 151)]
        ended.set()
        asking.join()


def test_a_cluster_answers_the_same(
    cluster: Cluster, cluster_client: Any, namespace: Namespace
) -> None:
    publish_plain(cluster_client, namespace)
    with following(cluster, namespace) as worker:
        worker.did("purchase", "i2", "u1")
        worker.did("click", "i0", session="s1")
        assert worker.items(U1) == ["i1", "i3"]
        assert worker.items("/recommendations?session=s1") == ["i1", "i2"]
        lists = _batch(worker, ["u1", "u2", "nobody"])["answers"]
        assert [len(each["recommendations"]) for each in lists] == [2, 3, 3]
        assert not any("degraded" in each for each in lists)


def _batch(worker: Worker, users: list[str], **more: Any) -> Any:
    answer = worker.app.test_client().post("/recommendations", json={"users": users, **more})
    return answer.get_json()


def _scored(answer: Any) -> dict[str, float]:
    return {each["item"]: each["score"] for each in answer["recommendations"]}


def _did_many(worker: Worker, type: str, count: int) -> None:
    events = [{"type": type, "user": "u1", "item": f"{type}{n}"} for n in range(count)]
    assert worker.app.test_client().post("/events", json=events).status_code == 202
