"""What LightGBM would die of, or never come back from, is refused before it reads it."""

import zlib

import lightgbm
import numpy as np
import pytest

from app.contracts.generations import BrokenRecord
from app.contracts.trees import MAX_TEXT_BYTES, unpacked
from tests.clicks import trees


def read(text: str, width: int = 5) -> str:
    return unpacked(zlib.compress(text.encode()), width)


def grown(leaves: int = 8, rows_of_a_leaf: int = 20) -> str:
    """By LightGBM itself."""
    rng = np.random.default_rng(1)
    matrix = rng.random((1_000, 5), np.float32)
    settings = {
        "objective": "binary",
        "num_leaves": leaves,
        "min_data_in_leaf": rows_of_a_leaf,
        "verbosity": -1,
        "num_threads": 1,
    }
    data = lightgbm.Dataset(matrix, rng.random(1_000) < matrix[:, 0])
    return lightgbm.train(settings, data, 3).model_to_string()


@pytest.mark.parametrize("text", [trees(), grown(), grown(2), grown(8, 900)])
def test_trees_are_read_as_they_were_written(text: str) -> None:
    assert read(text) == text


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("left_child=-1", "left_child=0", "make no tree"),
        ("right_child=-2", "right_child=-1", "make no tree"),
        ("right_child=-2", "right_child=-99999999", "make no tree"),
        ("split_feature=3", "split_feature=5", "a column beyond the 5"),
        ("split_feature=3", "split_feature=-1", "split_feature must be|a column beyond the 5"),
        ("decision_type=8", "decision_type=9", "a column beyond the 5"),
        ("num_cat=0", "num_cat=1", "of a kind"),
        ("is_linear=0", "is_linear=1", "of a kind"),
        ("leaf_value=0.5 -0.5", "leaf_value=nan -0.5", "finite number for each leaf"),
        ("leaf_value=0.5 -0.5", "leaf_value=1e999 -0.5", "finite number for each leaf"),
        ("leaf_value=0.5 -0.5", "leaf_value=0.5", "finite number for each leaf"),
        ("leaf_value=0.5 -0.5\n", "", "leaf_value"),
        ("num_leaves=2", "num_leaves=0", "finite number for each leaf"),
        ("num_leaves=2", "num_leaves=two", "must be whole numbers"),
        ("left_child=-1", "left_child=1_0", "must be whole numbers"),
        ("left_child=-1", "left_child=-1 -2", "must be 1 numbers, not 2"),
        ("left_child=-1", "left_child=-1\nleft_child=-1", "of a kind"),
        ("threshold=10.0", "threshold=10.0 9", "a threshold for each split"),
        ("leaf_count=100 100", "leaf_count=100", "must be 2 numbers, not 1"),
        ("shrinkage=1\n\n\nend of trees\n", "shrinkage=1", "it is cut off"),
        ("num_class=1", "num_class=999999999", "num_class=999999999, expected 1"),
        ("max_feature_idx=4", "max_feature_idx=9", "max_feature_idx=9, expected 4"),
        ("objective=", "tree_sizes=1 2 3\nobjective=", "tree_sizes=1 2 3, expected"),
        ("objective=", "\x00objective=", "out of place"),
    ],
)
def test_trees_that_cannot_be_used_are_refused(old: str, new: str, sentence: str) -> None:
    assert old in trees()
    with pytest.raises(BrokenRecord, match=sentence):
        read(trees().replace(old, new))


def test_trees_that_go_around_in_a_circle_are_refused() -> None:
    """Each split and each leaf hangs below one split, but the second is its own."""
    text = grown(4)
    children = text.partition("left_child=")[2].partition("\nleaf_value")[0]
    with pytest.raises(BrokenRecord, match="tree 0 .* make a circle"):
        read(text.replace(children, "-1 1 2\nright_child=-2 -3 -4", 1))


def test_few_bytes_that_unpack_to_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.contracts.trees.MAX_TEXT_BYTES", 1_000_000)
    bomb = zlib.compress(bytes(10_000_000))
    with pytest.raises(BrokenRecord, match="of more than 1000000 bytes"):
        unpacked(bomb, 5)
    assert MAX_TEXT_BYTES == 1 << 26


@pytest.mark.parametrize(
    "section", [b"", b"tree", zlib.compress(b"\xff"), zlib.compress(b"t")[:-1]]
)
def test_what_is_no_text_of_trees_is_refused(section: bytes) -> None:
    with pytest.raises(BrokenRecord, match="cut off|cannot be read"):
        unpacked(section, 5)
