"""What publish writes is what a reader finds; what goes wrong leaves the live generation alone."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.contracts.recommendations import (
    SAMPLE_SIZE,
    Manifest,
    Namespace,
    bucket_count,
    bucket_of,
    encode_record,
    field,
    mark_popular,
)
from batch.errors import CacheUnavailable, LostLock
from batch.generations.connect import connect
from batch.generations.lock import hold
from batch.generations.publish import publish
from batch.generations.registry import Generations
from batch.recommendations.lists import encode_lists
from batch.recommendations.topk import Lists
from tests.generations import MANIFEST, contents, keys_of, publish_by_hand, read_back
from tests.servers import PATIENCE_SECONDS, Server, wait_at_most, wait_until

ODD_IDS = [
    "1",
    "01",
    " ",
    "a:b",
    "a/b",
    'quote"s',
    "back\\slash",
    "{brace}",
    "%00",
    "line\nend",
    "\x00",
    "naïve",
    "日本語",
    "🎬",
    "sixteen bytes !!",
    "seventeen bytes !",
    "x" * 200,
    "x" * 199 + "y",
    "é" * 512,
]
NEW = "20260102T000000Z-0002"


def finish(
    client: Any,
    namespace: Namespace,
    progress: Callable[[int], None] = lambda done: None,
    users: int = 100,
    k: int = 3,
    generation: str = NEW,
) -> Manifest:
    """Publish users u0... and items i0-i9 under the name NEW, with something on the way."""
    manifest, made = contents(
        namespace, [f"u{n}" for n in range(users)], [f"i{n}" for n in range(10)], k
    )
    manifest = replace(manifest, generation=generation)
    with hold(client, namespace) as lease:
        return publish(client, namespace, manifest, made, lease, progress)


def once_all_is_written(members: int, happen: Callable[[], object]) -> Callable[[int], None]:
    """A progress that lets something happen after the last list."""
    left = members

    def progress(done: int) -> None:
        nonlocal left
        left -= done
        if left == 0:
            happen()

    return progress


class Live:
    """A published generation and all that the server holds of it, to see that it stays."""

    def __init__(self, client: Any, namespace: Namespace) -> None:
        self._client, self._namespace = client, namespace
        self.manifest = publish_by_hand(client, namespace)
        self._keys = keys_of(client, namespace)
        self._found = self._read()

    def _read(self) -> Any:
        users, items = [f"u{n}" for n in range(100)], [f"i{n}" for n in range(10)]
        return read_back(self._client, self._namespace, self.manifest, users, items)

    def assert_untouched(self) -> None:
        generations = Generations(self._client, self._namespace)
        assert generations.live_manifest() == self.manifest
        assert self._read() == self._found

    def assert_alone(self) -> None:
        """Untouched, and nothing else is left on the server."""
        self.assert_untouched()
        assert Generations(self._client, self._namespace).all() == [self.manifest]
        assert keys_of(self._client, self._namespace) == self._keys


@pytest.fixture
def live(client: Any, namespace: Namespace) -> Live:
    return Live(client, namespace)


@pytest.fixture
def own_client(own_server: Server) -> Iterator[Any]:
    """A client of the test's own server that does not try again."""
    retry = Retry(NoBackoff(), 0)
    with redis.Redis.from_url(
        own_server.url, socket_timeout=PATIENCE_SECONDS, retry=retry
    ) as opened:
        yield opened


@pytest.mark.parametrize(
    ("users", "items", "k"),
    [(1, 1, 1), (1, 300, 1), (5, 1200, 1000), (500, 20, 10), (81, 257, 3)],
)
def test_what_is_published_is_what_a_reader_finds(
    client: Any, namespace: Namespace, users: int, items: int, k: int
) -> None:
    user_ids, item_ids = [f"u{n}" for n in range(users)], [f"i{n}" for n in range(items)]
    manifest = publish_by_hand(client, namespace, users=user_ids, items=item_ids, k=k)
    found = read_back(client, namespace, manifest, user_ids, item_ids)

    def entries(first: int) -> list[tuple[int, float]]:
        return [((first + n) % items, 1.0 - n / 8) for n in range(k)]

    assert found.users == {user: entries(n) for n, user in enumerate(user_ids)}
    assert found.similar == {item: entries(n + 1) for n, item in enumerate(item_ids)}
    assert found.popular == entries(0)
    assert found.documents == [
        f'{{"item":"{item}","title":"Title of {n}"}}'.encode() for n, item in enumerate(item_ids)
    ]


def test_odd_and_long_ids_keep_their_own_lists(client: Any, namespace: Namespace) -> None:
    manifest = publish_by_hand(client, namespace, users=ODD_IDS, items=ODD_IDS)
    found = read_back(client, namespace, manifest, ODD_IDS, ODD_IDS)
    firsts = [entries[0][0] for entries in found.users.values()]
    assert firsts == list(range(len(ODD_IDS)))
    assert [found.similar[item][0][0] for item in ODD_IDS] == [*firsts[1:], 0]


def test_the_manifest_is_published_complete(client: Any, namespace: Namespace) -> None:
    manifest, made = contents(namespace, ["u"], ["i"])
    moment = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    with hold(client, namespace) as lease:
        published = publish(client, namespace, manifest, made, lease, now=lambda: moment)
    assert published == replace(
        manifest,
        state="complete",
        published_at="2026-05-04T03:02:01+00:00",
        checksum=published.checksum,
        document_bytes=52,
    )
    assert len(published.checksum) == 8
    assert Generations(client, namespace).all() == [published]
    assert Generations(client, namespace).live_manifest() == published


def test_the_checksum_is_that_of_the_contents(client: Any, namespace: Namespace) -> None:
    first = finish(client, namespace)
    again = finish(client, namespace, generation="20260103T000000Z-0003")
    other = finish(client, namespace, k=2, generation="20260104T000000Z-0004")
    assert first.checksum == again.checksum != other.checksum


def test_exactly_the_keys_of_the_manifest_exist_and_none_expires(
    client: Any, namespace: Namespace
) -> None:
    manifest = publish_by_hand(client, namespace, users=[f"u{n}" for n in range(1000)])
    control = {namespace.live, namespace.generations}
    keys = keys_of(client, namespace)
    assert keys == control | set(manifest.keys(namespace))
    assert {client.ttl(key) for key in keys} == {-1}


@pytest.mark.parametrize("users", [0, 1, 1000, 1001, 2500])
def test_a_sample_of_the_users_is_published(client: Any, namespace: Namespace, users: int) -> None:
    ids = [f"é{n}" for n in range(users)]
    manifest = publish_by_hand(client, namespace, users=ids)
    sample = json.loads(client.get(namespace.sample(manifest.generation)))
    assert min(users, 500) <= len(sample) <= SAMPLE_SIZE
    assert len(set(sample)) == len(sample) and set(sample) <= set(ids)


def test_a_bucket_that_nobody_is_in_has_a_key_all_the_same(
    client: Any, namespace: Namespace
) -> None:
    users = [user for n in range(500) if bucket_of(field(user := f"u{n}"), 2) == 1][:81]
    assert bucket_count(len(users)) == 2
    manifest = publish_by_hand(client, namespace, users=users)
    empty = namespace.user_bucket(manifest.generation, 0)
    control = {namespace.live, namespace.generations}
    assert keys_of(client, namespace) == control | set(manifest.keys(namespace))
    assert client.hgetall(empty) == {b"": b""}
    assert len(read_back(client, namespace, manifest, users, []).users) == 81


def test_no_users_at_all_can_be_published(client: Any, namespace: Namespace) -> None:
    manifest = publish_by_hand(client, namespace, users=[])
    assert read_back(client, namespace, manifest, [], ["i0"]).popular[0] == (0, 1.0)


def test_short_and_empty_lists_stay_short_and_empty(client: Any, namespace: Namespace) -> None:
    users = [f"u{n}" for n in range(200)]
    manifest, made = contents(namespace, users, [f"i{n}" for n in range(10)], k=5)

    def shorter(chosen: Any) -> Lists:
        lists = made.user_lists(chosen)
        return Lists(lists.items, lists.scores, (chosen % 6).astype(np.int32))

    with hold(client, namespace) as lease:
        manifest = publish(client, namespace, manifest, replace(made, user_lists=shorter), lease)
    found = read_back(client, namespace, manifest, users, [])
    assert [len(found.users[user]) for user in users] == [n % 6 for n in range(200)]
    assert found.users["u4"] == [(4, 1.0), (5, 0.875), (6, 0.75), (7, 0.625)]


def test_packed_lists_are_the_records_of_the_contract() -> None:
    chance = np.random.default_rng(7)
    scores = np.concatenate(
        [
            chance.normal(0, 1, 3000),
            chance.normal(0, 1e4, 3000),
            chance.normal(0, 1e-6, 3000),
            np.repeat([0.0, -0.0, 1 + 2**-11, 1 + 3 * 2**-11, 65503.9, 65504, 2**-25, 5e-8], 125),
        ]
    ).astype(np.float32)
    scores = np.clip(scores, -65504, 65504).reshape(-1, 10)
    items = chance.integers(0, 2**31, scores.shape).astype(np.int32)
    lengths = chance.integers(0, 11, len(scores)).astype(np.int32)
    packed = encode_lists(Lists(items, scores, lengths))
    for record, row, values, length in zip(packed, items, scores, lengths, strict=True):
        entries = zip(row[:length].tolist(), values[:length].tolist(), strict=True)
        assert record == encode_record(entries)


def test_a_list_that_is_what_is_popular_is_marked_as_such() -> None:
    items, scores = np.array([[3, 1], [2, 0], [5, 5]], np.int32), np.ones((3, 2), np.float32)
    marks = np.array([True, False, True])
    packed = encode_lists(Lists(items, scores, np.array([2, 2, 0], np.int32), marks))
    assert packed[0] == mark_popular(encode_record([(3, 1.0), (1, 1.0)]))
    assert packed[1:] == [encode_record([(2, 1.0), (0, 1.0)]), b""]


def test_scores_beyond_a_half_float_are_capped() -> None:
    scores = np.array([[np.inf, 3e38, 65520, -65520, -3e38, -np.inf]], np.float32)
    items = np.arange(6, dtype=np.int32)[np.newaxis]
    (record,) = encode_lists(Lists(items, scores, np.array([6], np.int32)))
    capped = [65504.0] * 3 + [-65504.0] * 3
    assert record == encode_record(zip(range(6), capped, strict=True))


def test_lists_of_no_items_are_empty_records() -> None:
    nothing = np.zeros((3, 0))
    empty = Lists(nothing.astype(np.int32), nothing.astype(np.float32), np.zeros(3, dtype=np.int32))
    assert encode_lists(empty) == [b"", b"", b""]


def test_the_lists_are_asked_for_in_blocks_and_progress_adds_up(
    client: Any, namespace: Namespace
) -> None:
    users = [f"u{n}" for n in range(20_000)]
    manifest, made = contents(namespace, users, ["i0", "i1"])
    asked: list[int] = []
    shown: list[int] = []

    def lists(chosen: Any) -> Lists:
        asked.append(len(chosen))
        return made.user_lists(chosen)

    with hold(client, namespace) as lease:
        counted = replace(made, user_lists=lists)
        publish(client, namespace, manifest, counted, lease, shown.append)
    assert asked.pop(0) == SAMPLE_SIZE, "the sample is of users who have a list of their own"
    assert sum(asked) == 20_000 and max(asked) < 9_000
    assert sum(shown) == 20_000 + 2


SABOTAGE: dict[str, Callable[[Any, Namespace, Manifest], object]] = {
    "a bucket is lost": lambda c, s, m: c.delete(s.user_bucket(m.generation, 1)),
    "a user is lost": lambda c, s, m: c.hdel(s.user_bucket(m.generation, 1), *_a_field(c, s, m)),
    "a list is changed": lambda c, s, m: c.hset(
        s.user_bucket(m.generation, 1), *_a_field(c, s, m), b"\1" * 18
    ),
    "a neighbour is lost": lambda c, s, m: c.delete(s.similar_bucket(m.generation, 0)),
    "the documents are lost": lambda c, s, m: c.delete(s.chunk(m.generation, 0)),
    "the documents are cut": lambda c, s, m: c.set(s.chunk(m.generation, 0), b"x"),
    "a byte is changed": lambda c, s, m: c.setrange(s.chunk(m.generation, 0), 60, b"\0"),
    "popular is changed": lambda c, s, m: c.setrange(s.popular(m.generation), 0, b"\7"),
    "a part is something else": lambda c, s, m: [
        c.delete(s.popular(m.generation)),
        c.rpush(s.popular(m.generation), "x"),
    ],
}


def _a_field(client: Any, namespace: Namespace, manifest: Manifest) -> list[bytes]:
    names: list[bytes] = client.hkeys(namespace.user_bucket(manifest.generation, 1))
    return names[:1]


@pytest.mark.parametrize("what", SABOTAGE)
def test_a_server_that_does_not_keep_what_it_got_publishes_nothing(
    client: Any, namespace: Namespace, live: Live, what: str
) -> None:
    new = replace(live.manifest, generation=NEW)
    sabotage = once_all_is_written(110, lambda: SABOTAGE[what](client, namespace, new))
    with pytest.raises(CacheUnavailable):
        finish(client, namespace, sabotage)
    live.assert_alone()


def test_every_key_is_counted_not_only_the_sampled_ones(
    client: Any, namespace: Namespace, live: Live
) -> None:
    users = 90_000
    last = namespace.user_bucket(NEW, bucket_count(users) - 2)
    lost = once_all_is_written(users + 10, lambda: client.delete(last))
    with pytest.raises(CacheUnavailable, match=f"{last} should have size .*maxmemory-policy"):
        finish(client, namespace, lost, users=users)
    live.assert_alone()


class Interrupted(BaseException):
    """Ctrl-C, or an error of the engine."""


def test_what_was_written_before_an_interruption_is_deleted(
    client: Any, namespace: Namespace, live: Live
) -> None:
    def interrupt(done: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        finish(client, namespace, interrupt)
    live.assert_alone()


def test_a_server_without_memory_keeps_the_live_generation_and_nothing_of_the_new(
    own_client: Any, namespace: Namespace
) -> None:
    live = Live(own_client, namespace)

    def fill(done: int) -> None:
        own_client.config_set("maxmemory", 1)

    with pytest.raises(CacheUnavailable, match="out of memory: raise its maxmemory"):
        finish(own_client, namespace, fill)
    live.assert_alone()
    own_client.config_set("maxmemory", 0)
    finish(own_client, namespace)


def test_a_server_that_is_full_at_the_last_step_publishes_nothing(
    own_client: Any, namespace: Namespace
) -> None:
    live = Live(own_client, namespace)
    fill = once_all_is_written(110, lambda: own_client.config_set("maxmemory", 1))
    with pytest.raises(CacheUnavailable, match="out of memory"):
        finish(own_client, namespace, fill)
    live.assert_alone()


def test_a_full_server_can_be_pruned_and_rolled_back(own_client: Any, namespace: Namespace) -> None:
    names = [f"2026010{n}T000000Z-000{n}" for n in range(1, 5)]
    for name in names:
        publish_by_hand(own_client, namespace, name)
    own_client.config_set("maxmemory", 1)
    generations = Generations(own_client, namespace)
    generations.roll_back()
    assert generations.live() == names[2]
    with hold(own_client, namespace):
        assert generations.prune(2) == [names[0], names[3]]
    assert [each.generation for each in generations.all()] == names[1:3]


def test_a_server_that_dies_half_way_publishes_nothing(
    own_server: Server, own_client: Any, namespace: Namespace
) -> None:
    publish_by_hand(own_client, namespace)
    with pytest.raises(CacheUnavailable, match="cannot be used now"):
        finish(own_client, namespace, lambda done: own_server.kill())
    own_server.start()
    assert Generations(own_client, namespace).live() is None
    finish(own_client, namespace)


def test_what_a_frozen_server_kept_is_deleted_by_the_next_run(
    own_server: Server,
    own_client: Any,
    namespace: Namespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def freeze(done: int) -> None:
        own_server.freeze()
        wait_at_most(0.2, own_client)

    live = Live(own_client, namespace)
    with pytest.raises(CacheUnavailable, match="cannot be used now"):
        finish(own_client, namespace, freeze)
    assert f"{NEW} is left half-written for the next run" in caplog.text
    own_server.thaw()
    wait_at_most(PATIENCE_SECONDS, own_client)
    live.assert_untouched()
    assert namespace.similar_bucket(NEW, 0) in keys_of(own_client, namespace)
    own_client.pexpire(namespace.lock, 1)  # as if the lease had passed
    wait_until(lambda: not own_client.exists(namespace.lock))
    with hold(own_client, namespace):
        assert Generations(own_client, namespace).prune(3) == [NEW]
    live.assert_alone()


def test_a_connection_that_is_cut_once_is_opened_again(
    own_server: Server, own_client: Any, namespace: Namespace
) -> None:
    client = connect(own_server.url)
    cut = once_all_is_written(110, lambda: own_client.client_kill_filter(_type="normal"))
    manifest = finish(client, namespace, cut)
    assert Generations(client, namespace).live_manifest() == manifest
    client.close()


def test_a_run_that_lost_its_lock_publishes_nothing(
    client: Any, namespace: Namespace, live: Live
) -> None:
    def lose() -> None:
        client.set(namespace.lock, "another run")

    with pytest.raises(LostLock, match=f"{NEW} was not published: this run lost its lock"):
        finish(client, namespace, once_all_is_written(110, lose))
    assert client.get(namespace.lock) == b"another run"
    client.delete(namespace.lock)
    live.assert_alone()


def test_a_lock_that_ran_out_while_writing_and_that_nobody_took_costs_nothing(
    client: Any, namespace: Namespace, live: Live
) -> None:
    manifest = finish(
        client, namespace, once_all_is_written(110, lambda: expire(client, namespace))
    )
    assert Generations(client, namespace).live_manifest() == manifest
    assert not client.exists(namespace.lock)


def expire(client: Any, namespace: Namespace) -> None:
    assert client.delete(namespace.lock)


def test_a_run_without_the_lock_writes_not_one_key(
    client: Any, namespace: Namespace, live: Live
) -> None:
    manifest, made = contents(namespace, ["u0"], ["i0"])
    with pytest.raises(LostLock), hold(client, namespace) as lease:
        client.set(namespace.lock, "another run")
        before = keys_of(client, namespace)
        try:
            publish(client, namespace, replace(manifest, generation=NEW), made, lease)
        finally:
            assert keys_of(client, namespace) == before
            assert [each.generation for each in Generations(client, namespace).all()] != [NEW]
    client.delete(namespace.lock)
    live.assert_alone()


def test_a_run_that_stood_still_while_another_published_leaves_that_alone(
    client: Any, namespace: Namespace
) -> None:
    other = "20260103T000000Z-0003"

    def another_run(done: int) -> None:
        client.delete(namespace.lock)
        with hold(client, namespace):
            assert Generations(client, namespace).prune(3) == [NEW]
        publish_by_hand(client, namespace, other)

    with pytest.raises(LostLock):
        finish(client, namespace, once_all_is_written(110, lambda: another_run(0)))
    generations = Generations(client, namespace)
    assert [each.generation for each in generations.all()] == [other]
    assert generations.live() == other
    kept = set(generations.all()[0].keys(namespace))
    assert keys_of(client, namespace) == kept | {namespace.live, namespace.generations}


def test_the_pointer_moves_only_for_the_holder_of_the_lock(
    client: Any, namespace: Namespace, live: Live
) -> None:
    generations = Generations(client, namespace)
    with hold(client, namespace), pytest.raises(LostLock):
        generations.commit(replace(MANIFEST, generation=NEW), "not the token")
    live.assert_alone()


def test_a_cache_that_may_evict_is_named_and_published_to(
    own_client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    own_client.config_set("maxmemory-policy", "allkeys-lru")
    finish(own_client, namespace)
    own_client.config_set("maxmemory", "1gb")
    own_client.config_set("maxmemory-policy", "noeviction")
    finish(own_client, namespace)
    assert caplog.text == ""  # neither a policy nor a limit alone evicts anything
    own_client.config_set("maxmemory-policy", "allkeys-lru")
    finish(own_client, namespace, generation="20260103T000000Z-0003")
    assert "its maxmemory-policy is allkeys-lru: set maxmemory-policy noeviction" in caplog.text
    assert Generations(own_client, namespace).live() == "20260103T000000Z-0003"


@pytest.mark.parametrize(
    ("configuration", "k", "advice"),
    [
        ({"hash-max-listpack-value": 64}, 3, ""),
        ({"hash-max-listpack-value": 12}, 3, "hash-max-listpack-value to 64 or more"),
        ({"hash-max-listpack-value": 64}, 10, ""),
        ({"hash-max-listpack-value": 59}, 10, "hash-max-listpack-value to 64 or more"),
        ({"hash-max-listpack-entries": 16}, 3, "hash-max-listpack-entries to 128 or more"),
    ],
)
def test_a_cache_that_does_not_pack_the_buckets_is_named_and_published_to(
    own_client: Any,
    namespace: Namespace,
    caplog: pytest.LogCaptureFixture,
    configuration: dict[str, Any],
    k: int,
    advice: str,
) -> None:
    for name, value in configuration.items():
        own_client.config_set(name, value)
    finish(own_client, namespace, k=k)
    assert advice in caplog.text and bool(advice) == bool(caplog.text)
    assert Generations(own_client, namespace).live() == NEW


def test_long_lists_are_said_to_need_a_larger_limit(
    client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    publish_by_hand(client, namespace, items=[f"i{n}" for n in range(50)], k=20)
    assert "hash-max-listpack-value to 120 or more" in caplog.text


def test_a_server_that_forbids_questions_is_published_to_without_advice(
    own_server: Server,
    own_client: Any,
    namespace: Namespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own_client.execute_command(
        "ACL", "SETUSER", "batch", "on", ">pw", "~larder:*", "+@all", "-@dangerous", "-object"
    )
    caplog.set_level(logging.WARNING)
    client = connect(own_server.url.replace("//", "//batch:pw@"))
    finish(client, namespace)
    assert Generations(client, namespace).live() == NEW
    assert caplog.text == ""
    client.close()
