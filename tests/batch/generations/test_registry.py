"""Generations are listed, pointed at and deleted exactly; the pointer never names a deleted one."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, Namespace
from app.contracts.refreshes import refreshes_key
from batch.command.published import listing
from batch.errors import LostLock, Overtaken, UnknownGeneration
from batch.generations.lock import hold
from batch.generations.publish import turn
from batch.generations.registry import Generations
from tests.generations import MANIFEST, contents, keys_of, publish_by_hand, read_back
from tests.servers import Server, run_here

NAMES = [f"2026010{n}T000000Z-000{n}" for n in range(1, 6)]


def published(client: Any, namespace: Namespace, names: list[str]) -> Generations[Manifest]:
    for name in names:
        publish_by_hand(client, namespace, name)
    return Generations(client, namespace)


def names_of(generations: Generations[Manifest]) -> list[str]:
    return [each.generation for each in generations.all()]


def assert_only(client: Any, namespace: Namespace, names: list[str]) -> None:
    """The server holds every key of these generations, and nothing else but what commands noted."""
    generations = Generations(client, namespace)
    assert names_of(generations) == names
    parts = {key for each in generations.all() for key in each.keys(namespace)}
    held = keys_of(client, namespace) - {refreshes_key(namespace.name)}
    assert held == parts | {namespace.live, namespace.generations}


def unfinished(client: Any, namespace: Namespace, name: str, state: str) -> Manifest:
    """What a run leaves that was killed while it wrote, or while it deleted."""
    manifest = replace(MANIFEST, generation=name, state=state, user_buckets=20)
    client.hset(namespace.generations, name, manifest.to_json())
    client.hset(namespace.user_bucket(name, 7), "u", "x")
    client.set(namespace.popular(name), "x")
    return manifest


class Meanwhile:
    """A client that lets something happen just before its next script."""

    def __init__(self, client: Any, happen: Callable[[], object]) -> None:
        self._client = client
        self._happen: Callable[[], object] | None = happen

    def eval(self, *arguments: Any) -> Any:
        happen, self._happen = self._happen, None
        if happen is not None:
            happen()
        return self._client.eval(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_nothing_is_live_before_the_first_generation(client: Any, namespace: Namespace) -> None:
    generations = Generations(client, namespace)
    assert generations.all() == []
    assert generations.live() is None
    assert generations.live_manifest() is None
    with pytest.raises(UnknownGeneration, match="live is nothing, published are: none"):
        generations.roll_back()


def test_generations_are_listed_oldest_first(client: Any, namespace: Namespace) -> None:
    generations = published(client, namespace, [NAMES[1], NAMES[0], NAMES[2]])
    assert names_of(generations) == NAMES[:3]
    assert generations.live() == NAMES[2]
    assert generations.find(NAMES[0]) == generations.all()[0]
    assert generations.find("nothing") is None


def test_rolling_back_goes_one_step_at_a_time(client: Any, namespace: Namespace) -> None:
    generations = published(client, namespace, NAMES[:3])
    assert generations.roll_back().generation == generations.live() == NAMES[1]
    assert generations.roll_back().generation == generations.live() == NAMES[0]
    with pytest.raises(UnknownGeneration, match=f"an older good generation; live is {NAMES[0]}"):
        generations.roll_back()
    assert generations.live() == NAMES[0]


@pytest.mark.parametrize("state", ["writing", "deleting"])
def test_an_unfinished_generation_cannot_be_pointed_at(
    client: Any, namespace: Namespace, state: str
) -> None:
    generations = published(client, namespace, NAMES[2:3])
    unfinished(client, namespace, NAMES[1], state)
    for name in (NAMES[1], None):
        with pytest.raises(UnknownGeneration, match=f"{NAMES[2]}(, and no other is published)?$"):
            generations.roll_back(name)
    assert generations.live() == NAMES[2]


@pytest.mark.parametrize("state", ["writing", "deleting"])
def test_rolling_back_steps_over_an_unfinished_generation(
    client: Any, namespace: Namespace, state: str
) -> None:
    generations = published(client, namespace, [NAMES[0], NAMES[2]])
    unfinished(client, namespace, NAMES[1], state)
    assert generations.roll_back().generation == generations.live() == NAMES[0]


@pytest.mark.parametrize("name", ["20260101T000000Z-ffff", "", "é", "a b"])
def test_an_unknown_generation_cannot_be_pointed_at(
    client: Any, namespace: Namespace, name: str
) -> None:
    generations = published(client, namespace, NAMES[:2])
    with pytest.raises(UnknownGeneration):
        generations.roll_back(name)
    assert generations.live() == NAMES[1]


def test_a_rollback_that_cannot_be_says_why_of_each_that_is_there(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:1])
    with pytest.raises(UnknownGeneration, match=f"live is {NAMES[0]}, and no other is published"):
        generations.roll_back()
    with pytest.raises(UnknownGeneration, match=f"no generation 'a' .*the only one is {NAMES[0]}"):
        generations.roll_back("a")
    published(client, namespace, NAMES[1:3])
    generations.roll_back(NAMES[1])
    client.delete(namespace.popular(NAMES[0]))
    with pytest.raises(UnknownGeneration) as raised:
        generations.roll_back()
    assert f"{NAMES[0]} is not whole any more, {NAMES[2]} was rolled back from" in str(raised.value)


def test_a_refresh_after_a_rollback_is_live(client: Any, namespace: Namespace) -> None:
    generations = published(client, namespace, NAMES[:3])
    generations.roll_back(NAMES[0])
    publish_by_hand(client, namespace, NAMES[3])
    assert generations.live() == NAMES[3]
    assert generations.prune(3) == NAMES[2:3]  # which was rolled back from


def test_rolling_back_skips_what_was_rolled_back_from_before(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:2])
    generations.roll_back()
    publish_by_hand(client, namespace, NAMES[2])
    assert generations.roll_back().generation == NAMES[0]
    assert [each.state for each in generations.all()] == ["complete", "withdrawn", "withdrawn"]
    assert generations.roll_back(NAMES[1]).state == "complete"


def test_the_one_good_generation_outlives_those_that_were_rolled_back_from(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:2])
    generations.roll_back()
    publish_by_hand(client, namespace, NAMES[2])
    generations.roll_back()
    publish_by_hand(client, namespace, NAMES[3])
    assert generations.prune(3) == NAMES[1:2]
    assert generations.prune(2) == NAMES[2:3]
    assert generations.roll_back().generation == NAMES[0]


def test_what_a_rollback_would_go_to_stays_beyond_the_number_to_keep(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES)
    generations.roll_back(NAMES[2])
    assert generations.prune(2) == [NAMES[0], NAMES[4]]
    assert_only(client, namespace, NAMES[1:4])
    assert generations.roll_back().generation == NAMES[1]


LOSSES: dict[str, Callable[[Any, Namespace, Manifest], object]] = {
    "every key": lambda c, s, m: c.delete(*m.keys(s)),
    "a bucket of users": lambda c, s, m: c.delete(s.user_bucket(m.generation, 1)),
    "a bucket of neighbours": lambda c, s, m: c.delete(s.similar_bucket(m.generation, 0)),
    "a chunk of documents": lambda c, s, m: c.delete(s.chunk(m.generation, 0)),
    "the popular list": lambda c, s, m: c.delete(s.popular(m.generation)),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_generation_that_is_not_whole_is_not_rolled_back_to(
    client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    generations = published(client, namespace, NAMES[:3])
    before = generations.all()
    LOSSES[what](client, namespace, before[1])
    with pytest.raises(UnknownGeneration, match="not whole any more: .* should hold .*, found"):
        generations.roll_back(NAMES[1])
    assert (generations.live(), generations.all()) == (NAMES[2], before)
    assert generations.roll_back().generation == generations.live() == NAMES[0]
    assert f"{NAMES[1]} is not whole any more" in caplog.text


@pytest.mark.parametrize("target", [None, NAMES[0]])
def test_a_rollback_that_meets_a_refresh_leaves_the_new_generation_live(
    client: Any, namespace: Namespace, target: str | None
) -> None:
    generations = published(client, namespace, NAMES[:2])
    late = Meanwhile(client, lambda: publish_by_hand(client, namespace, NAMES[2]))
    with pytest.raises(Overtaken, match=f"another process made '{NAMES[2]}' live just now"):
        Generations(late, namespace).roll_back(target)
    assert generations.live() == NAMES[2]
    assert [each.state for each in generations.all()] == ["complete"] * 3


def test_prune_keeps_the_newest_and_deletes_every_key_of_the_others(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES)
    assert generations.prune(3) == NAMES[:2]
    assert_only(client, namespace, NAMES[2:])
    assert generations.prune(3) == []
    users, items = [f"u{n}" for n in range(100)], [f"i{n}" for n in range(10)]
    for each in generations.all():
        read_back(client, namespace, each, users, items)


def test_prune_keeps_the_live_generation_however_old(client: Any, namespace: Namespace) -> None:
    generations = published(client, namespace, NAMES)
    generations.roll_back(NAMES[0])
    assert generations.prune(2) == [NAMES[1], NAMES[4]]  # the last one is withdrawn
    assert_only(client, namespace, [NAMES[0], *NAMES[2:4]])
    assert generations.live() == NAMES[0]


@pytest.mark.parametrize("state", ["writing", "deleting"])
def test_prune_deletes_what_dead_runs_left(client: Any, namespace: Namespace, state: str) -> None:
    generations = published(client, namespace, NAMES[:2])
    unfinished(client, namespace, NAMES[2], state)
    unfinished(client, namespace, NAMES[3], state)
    assert generations.prune(3) == NAMES[2:4]
    assert_only(client, namespace, NAMES[:2])


def test_a_deletion_that_was_cut_short_is_done_again(client: Any, namespace: Namespace) -> None:
    generations = published(client, namespace, NAMES[:2])
    manifest = generations.all()[0]
    for key in list(manifest.keys(namespace))[:2]:
        client.delete(key)
    client.hset(namespace.generations, NAMES[0], replace(manifest, state="deleting").to_json())
    assert generations.prune(3) == NAMES[:1]
    assert_only(client, namespace, NAMES[1:2])


def test_the_live_generation_is_never_deleted(client: Any, namespace: Namespace) -> None:
    generations = published(client, namespace, NAMES[:1])
    assert not generations.delete(generations.all()[0])
    assert_only(client, namespace, NAMES[:1])


def test_deleting_does_not_block_the_server(own_server: Server, namespace: Namespace) -> None:
    with redis.Redis.from_url(own_server.url) as client:
        generations = published(client, namespace, NAMES[:3])
        expected = len(list(generations.all()[0].keys(namespace)))
        client.config_resetstat()
        generations.prune(2)
        used = client.info("commandstats")
        assert used["cmdstat_unlink"]["calls"] == expected
        assert not {"cmdstat_del", "cmdstat_scan", "cmdstat_keys"} & used.keys()


def test_a_neighbour_with_a_longer_name_is_left_alone(client: Any, namespace: Namespace) -> None:
    neighbour = Namespace(f"{namespace.name}.x")
    published(client, neighbour, NAMES[:3])
    before = keys_of(client, neighbour)
    published(client, namespace, NAMES[:3]).prune(2)
    assert keys_of(client, neighbour) == before
    assert Generations(client, neighbour).live() == NAMES[2]


def test_what_is_deleted_in_the_last_moment_is_not_pointed_at(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:2])
    old = generations.all()[0]
    late = Meanwhile(client, lambda: generations.delete(old))
    with pytest.raises(UnknownGeneration, match=f"{NAMES[0]} was deleted just now"):
        Generations(late, namespace).roll_back(NAMES[0])
    assert_only(client, namespace, NAMES[1:2])
    assert generations.live() == NAMES[1]


def test_what_is_half_deleted_in_the_last_moment_is_not_pointed_at(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:2])
    condemned = replace(generations.all()[0], state="deleting").to_json()
    late = Meanwhile(client, lambda: client.hset(namespace.generations, NAMES[0], condemned))
    with pytest.raises(UnknownGeneration):
        Generations(late, namespace).roll_back(NAMES[0])
    assert generations.live() == NAMES[1]


def test_what_is_pointed_at_in_the_last_moment_is_not_deleted(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:3])
    late = Meanwhile(client, lambda: generations.roll_back(NAMES[0]))
    assert Generations(late, namespace).prune(2) == []
    assert_only(client, namespace, NAMES[:3])
    assert generations.live() == NAMES[0]


@pytest.mark.parametrize("pointer", ["20990101T000000Z-ffff", "", b"\xff"])
def test_a_pointer_to_nothing_can_be_set_right(
    client: Any, namespace: Namespace, pointer: str | bytes
) -> None:
    generations = published(client, namespace, NAMES[:2])
    client.set(namespace.live, pointer)
    assert generations.live_manifest() is None
    assert generations.roll_back(NAMES[1]).generation == generations.live() == NAMES[1]


def test_a_manifest_of_another_schema_is_left_alone_and_told(
    client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    generations = published(client, namespace, NAMES[:2])
    client.hset(namespace.generations, NAMES[1], '{"schema":2}')
    assert [each.generation for each in generations.all()] == [NAMES[0]]
    assert "left alone" in caplog.text and NAMES[1] in caplog.text
    assert generations.live_manifest() is None
    assert generations.prune(1) == []


def test_a_manifest_under_the_name_of_another_is_left_alone(
    client: Any, namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    generations = published(client, namespace, NAMES[:2])
    text = replace(generations.all()[0], state="writing").to_json()
    client.hset(namespace.generations, "another", text)
    assert generations.prune(2) == []
    assert "left alone" in caplog.text and "another" in caplog.text
    with pytest.raises(BrokenRecord, match=f"it has the manifest of '{NAMES[0]}'"):
        generations.roll_back("another")
    assert names_of(generations) == NAMES[:2]


@pytest.mark.parametrize("key", ["live", "generations", "lock"])
def test_a_control_key_of_another_type_is_named_and_no_reason_to_try_again(
    server: Server, client: Any, namespace: Namespace, key: str
) -> None:
    name = getattr(namespace, key)
    client.rpush(name, "x")
    with pytest.raises(BrokenRecord) as told, turn(client, namespace, 3):
        pytest.fail("somebody's turn")
    assert name in str(told.value) and "is of another type; delete that key" in str(told.value)
    if key == "generations":
        code, _, complaint = larder(server, namespace, "rollback", "x")
        assert code == 2 and name in complaint


@pytest.mark.parametrize(
    "metrics", [{"model": []}, {"model": {"ndcg": "x"}}, {"model": {"ndcg": 10**400}}, {"model": 1}]
)
def test_odd_metrics_are_shown_as_none(
    client: Any, namespace: Namespace, metrics: dict[str, Any]
) -> None:
    generations = published(client, namespace, NAMES[:1])
    odd = replace(generations.all()[0], metrics=metrics)
    client.hset(namespace.generations, NAMES[0], odd.to_json())
    row = listing(generations.all(), NAMES[0]).splitlines()[1]
    assert row.split() == [NAMES[0], "live", "100", "10", "3", "-", "no"]


def test_a_new_generation_sorts_behind_that_of_a_clock_that_was_ahead(
    client: Any, namespace: Namespace
) -> None:
    ahead = "20990101T000000.000Z-0001"
    generations = published(client, namespace, [NAMES[0], ahead])
    name = generations.next_name(datetime(2026, 5, 4, tzinfo=UTC))
    assert name.startswith("20990101T000000.001Z-")
    publish_by_hand(client, namespace, name)
    assert generations.prune(2) == NAMES[:1]
    assert generations.roll_back().generation == ahead


def test_rolling_back_to_what_another_version_wrote_works(
    client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:2])
    raw = json.loads(client.hget(namespace.generations, NAMES[0]))
    client.hset(namespace.generations, NAMES[0], json.dumps({**raw, "added_later": 1}))
    assert generations.roll_back().generation == generations.live() == NAMES[0]


def test_a_generation_that_another_run_condemned_is_never_published(
    client: Any, namespace: Namespace
) -> None:
    """Of a run that stood still while writing, and whose lease another run took and gave back."""
    generations = Generations(client, namespace)
    manifest, _ = contents(namespace, ["u"], ["i"])
    with hold(client, namespace) as lease:
        generations.begin(manifest)
        client.hset(
            namespace.generations,
            manifest.generation,
            replace(manifest, state="deleting").to_json(),
        )
        with pytest.raises(LostLock):
            generations.commit(replace(manifest, state="complete"), lease.token)
    assert generations.live() is None


def larder(server: Server, namespace: Namespace, *arguments: str) -> tuple[int, str, str]:
    """Run the command; its exit code, what it printed, and what it complained of."""
    variables = {"LARDER_CACHE_URL": server.url, "LARDER_NAMESPACE": namespace.name}
    done = run_here(*arguments, variables=variables)
    return done.returncode, done.stdout, done.stderr


def test_the_command_lists_rolls_back_and_prunes(
    server: Server, client: Any, namespace: Namespace
) -> None:
    generations = published(client, namespace, NAMES[:4])
    code, listed, _ = larder(server, namespace, "generations")
    assert code == 0 and [name for name in reversed(NAMES[:4]) if name in listed]
    assert listed.index(NAMES[3]) < listed.index(NAMES[0])
    code, said, _ = larder(server, namespace, "rollback")
    assert (code, generations.live()) == (0, NAMES[2]) and f"live is {NAMES[2]}" in said
    code, _, complaint = larder(server, namespace, "rollback", "20200101T000000Z-0000")
    assert code == 2 and f"published are: {', '.join(NAMES[:4])}" in complaint
    assert generations.live() == NAMES[2]
    code, said, _ = larder(server, namespace, "prune", "--keep", "2")
    told = [f"deleted {name}: beyond --keep 2" for name in (NAMES[3], NAMES[0])]
    assert (code, said.splitlines()) == (0, told)
    assert_only(client, namespace, NAMES[1:3])


def test_the_command_shows_a_list(server: Server, client: Any, namespace: Namespace) -> None:
    code, _, complaint = larder(server, namespace, "show", "u2")
    assert code == 2 and "run refresh" in complaint
    published(client, namespace, NAMES[:1])
    code, said, _ = larder(server, namespace, "show", "u2")
    assert code == 0 and "personal" in said
    positions = [said.index(f'"item":"i{n}"') for n in (2, 3, 4)]
    assert positions == sorted(positions)
    code, said, _ = larder(server, namespace, "show", "a stranger/of:Köln")
    assert code == 0 and "popular" in said and '"item":"i0"' in said
    code, _, complaint = larder(server, namespace, "show", "\udcff")
    assert code == 2 and "UTF-8" in complaint
    client.delete(namespace.popular(NAMES[0]))
    code, _, complaint = larder(server, namespace, "show", "a stranger")
    assert code == 75 and "maxmemory-policy" in complaint


def test_the_command_says_who_holds_the_lock_and_to_try_again(
    server: Server, client: Any, namespace: Namespace
) -> None:
    published(client, namespace, NAMES[:4])
    with hold(client, namespace):
        code, _, complaint = larder(server, namespace, "prune")
    assert code == 75 and "is being refreshed by process" in complaint
    assert_only(client, namespace, NAMES[:4])
