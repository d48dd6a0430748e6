"""What changed between two generations, against counts that are made user by user."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.contracts.recommendations import Manifest, Namespace
from batch.errors import GenerationGone, UnknownGeneration
from batch.generations.connect import connect
from batch.generations.registry import Generations
from batch.recommendations.published import read
from batch.recommendations.published.compare import (
    Change,
    Comparison,
    Listed,
    compare,
    metrics,
    settings,
)
from batch.recommendations.published.deletion import forget
from batch.recommendations.published.read import Reader, manifest_before, manifest_of
from tests.batch.recommendations.published.by_hand import publish_lists
from tests.generations import publish_by_hand
from tests.servers import Cluster

QUALITY = {"ndcg": 0.25, "k": 3, "slices": {}}


def compared(
    client: Any,
    namespace: Namespace,
    old: Manifest,
    new: Manifest,
    advance: Callable[[int], None] = lambda done: None,
) -> Comparison:
    readers = [Reader(client, namespace, each, min(old.k, new.k)) for each in (old, new)]
    return compare(readers[0], readers[1], advance)


def test_a_change_is_counted_by_hand(client: Any, namespace: Namespace) -> None:
    old = publish_lists(
        client,
        namespace,
        "g1",
        {"same": ["a", "b"], "moved": ["a", "b"], "new first": ["a"], "gone": ["c"], "done": []},
        ["a", "b", "c", "never listed"],
        settings={"alpha": 6.0, "factors": 128},
        metrics={"model": QUALITY, "popular": {"ndcg": 0.1}},
        engine="als",
    )
    new = publish_lists(
        client,
        namespace,
        "g2",
        {"same": ["a", "b"], "moved": ["b", "a"], "new first": ["d", "a"], "done": [], "in": ["d"]},
        ["d", "b", "a"],
        settings={"alpha": 6.0, "K": 20},
        metrics={"model": {**QUALITY, "ndcg": 0.5, "novelty": 1.0}},
        engine="knn",
    )
    found = compared(client, namespace, old, new)
    assert found.users == Change(both=4, entered=1, left=1)
    assert found.items == Change(both=2, entered=1, left=2)
    assert found.overlap == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert (found.changed, found.first_changed) == (2 / 4, 2 / 4)
    assert found.listed == Change(both=2, entered=1, left=1)
    assert (found.top_entered, found.top_left) == ([Listed("d", 2)], [Listed("c", 1)])
    assert metrics(old, new) == {"ndcg": (0.25, 0.5), "k": (3, 3)}
    assert settings(old, new) == {"engine": ("als", "knn"), "factors": (128, None), "K": (None, 20)}


def test_it_is_exact_whatever_the_buckets_and_indices(
    client: Any, cluster: Cluster, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other users, items in another order, other buckets, and longer lists; long ids, too."""
    monkeypatch.setattr(read, "ENTRIES_AT_A_TIME", 500)
    rng = random.Random(7)
    items = [f"item-{n:020}" for n in range(30)]
    users = [f"u{n:0{rng.randint(3, 30)}}" for n in range(300)]
    was = {user: rng.sample(items[:25], rng.randint(0, 3)) for user in users[:200]}
    now = {user: rng.sample(items[5:], rng.randint(0, 5)) for user in users[50:]}
    with connect(cluster.url) as spread:
        for opened in (client, spread):
            old = publish_lists(opened, namespace, "g1", was, items[:25], user_buckets=7)
            new = publish_lists(opened, namespace, "g2", now, items[:4:-1], k=5, user_buckets=3)
            found = compared(opened, namespace, old, new)
            cut = {user: items[:3] for user, items in now.items()}
            both = [(was[user], cut[user]) for user in users[50:200]]
            overlaps = [len({*a} & {*b}) / (max(len(a), len(b)) or 1) or a == b for a, b in both]
            assert found.overlap == pytest.approx(sum(overlaps) / 150)
            assert found.changed == sum(a != b for a, b in both) / 150
            assert found.first_changed == sum(a[:1] != b[:1] for a, b in both) / 150
            assert found.users == Change(150, 100, 50) and found.items == Change(20, 5, 5)
            before, after = {*sum(was.values(), [])}, {*sum(cut.values(), [])}
            assert found.listed == Change(
                len(before & after), len(after - before), len(before - after)
            )
            for each in found.top_entered:
                assert each.item not in before
                assert each.lists == sum(each.item in listed for listed in cut.values())
            assert len(found.top_entered) == len(after - before)


def test_generations_without_a_user_in_common_have_no_shares(
    client: Any, namespace: Namespace
) -> None:
    old = publish_lists(client, namespace, "g1", {"u1": ["a"], "u3": ["a"]}, ["a"], k=1)
    new = publish_lists(client, namespace, "g2", {"u2": ["a"], "u3": ["a"]}, ["a"], k=1)
    forget(client, namespace, "u3")
    found = compared(client, namespace, old, new)
    assert found.users == Change(0, 1, 1)
    assert found.overlap is found.changed is found.first_changed is None


def test_the_same_generation_has_not_changed(client: Any, namespace: Namespace) -> None:
    one = publish_lists(client, namespace, "g1", {"u1": ["a", "b"], "u2": []}, ["a", "b"])
    found = compared(client, namespace, one, one)
    assert (found.overlap, found.changed) == (1, 0)
    assert settings(one, one) == metrics(one, one) == {}
    assert found.users == Change(2, 0, 0)


def test_one_that_is_deleted_meanwhile_is_told(client: Any, namespace: Namespace) -> None:
    old, new = (
        publish_lists(client, namespace, name, {"u1": ["a"]}, ["a"], k=1) for name in ("g1", "g2")
    )

    def delete(done: int) -> None:
        Generations(client, namespace).delete(old)

    with pytest.raises(GenerationGone, match="g1 was deleted while it was read"):
        compared(client, namespace, old, new, delete)


def test_what_to_compare_is_found(client: Any, namespace: Namespace) -> None:
    with pytest.raises(UnknownGeneration, match="nothing is live"):
        manifest_of(client, namespace, None)
    made = [publish_by_hand(client, namespace, name) for name in ("g1", "g2", "g3")]
    assert manifest_of(client, namespace, None) == made[2]
    assert manifest_before(client, namespace, made[2]) == made[1]
    with pytest.raises(UnknownGeneration, match="no older good generation than g1"):
        manifest_before(client, namespace, made[0])
    with pytest.raises(UnknownGeneration, match="no generation 'g9'; published are: g1, g2, g3"):
        manifest_of(client, namespace, "g9")
    known = Generations(client, namespace)
    known.roll_back("g1")
    client.hset(namespace.generations, "g2", replace(made[1], state="deleting").to_json())
    assert manifest_of(client, namespace, "g3").state == "withdrawn"
    with pytest.raises(UnknownGeneration, match="no generation 'g2'"):
        manifest_of(client, namespace, "g2")
    with pytest.raises(UnknownGeneration, match="no older good generation than g1"):
        manifest_before(client, namespace, made[0])
