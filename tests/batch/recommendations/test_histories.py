"""The items of users' own: many at once are packed as the contract packs one."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from app.contracts.recommendations import decode_history, encode_history
from batch.recommendations.histories import histories

USERS, ITEMS = 60, 40_000


def drawn(seed: int, most: int) -> csr_matrix:
    """Weights of many sizes; the first user has nothing."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most, USERS)
    counts[0] = 0
    chosen = [rng.choice(ITEMS, count, replace=False) for count in counts]
    weights = 10 ** rng.uniform(-6, 12, counts.sum())
    rows = np.repeat(np.arange(USERS), counts)
    found = csr_matrix((weights, (rows, np.concatenate(chosen))), (USERS, ITEMS), np.float32)
    return found


SEEN = drawn(1, 200)
HIDDEN = csr_matrix(drawn(2, 5) + SEEN.multiply(SEEN > 4e11))


def whole(user: int, hidden: csr_matrix | None) -> dict[int, float]:
    """What there is to tell of a user: of each item the weight, 0 where the user hid it."""
    seen = SEEN[user]
    mine = dict(zip(seen.indices.tolist(), map(float, seen.data), strict=True))
    return mine | dict.fromkeys([] if hidden is None else hidden[user].indices.tolist(), 0.0)


@pytest.mark.parametrize("hidden", [None, HIDDEN], ids=["nothing hidden", "hidden"])
def test_each_is_packed_as_the_contract_says(hidden: csr_matrix | None) -> None:
    found = histories(SEEN, hidden, ITEMS)
    assert found[0] == encode_history(sorted(whole(0, hidden).items()))
    assert found == [encode_history(sorted(whole(user, hidden).items())) for user in range(USERS)]


def test_the_strongest_stay_and_what_was_hidden_before_all() -> None:
    assert any(len(whole(user, HIDDEN)) > 20 for user in range(USERS))
    for user, packed in enumerate(histories(SEEN, HIDDEN, 20)):
        kept, mine = dict(decode_history(packed)), whole(user, HIDDEN)
        assert len(kept) == min(20, len(mine)) and kept.keys() <= mine.keys()
        gone = [mine[item] for item in mine.keys() - kept.keys()]
        assert 0.0 not in gone
        if gone:
            least = min(weight for item, weight in kept.items() if mine[item])
            assert np.log1p(max(gone)) <= np.log1p(least) * 1.05


def test_nobody_has_no_history() -> None:
    assert histories(SEEN[:0], None, 20) == []
    assert histories(SEEN[:1], None, 20) == [b""]
