"""Estimates from weights and rewards that can be counted by hand."""

import pytest

from app.contracts.learning.estimates import Sums, Z


def of(*decisions: tuple[float, float]) -> Sums:
    sums = Sums()
    for weight, reward in decisions:
        sums.add(weight, reward)
    return sums


def test_sums_add_up() -> None:
    ours = [(0.5, 1.0), (2.0, -0.5), (0.0, 3.0)]
    assert of(*ours[:1]) + of(*ours[1:]) == of(*ours)
    assert (of(*ours).least, of(*ours).most) == (-0.5, 3.0)
    assert Sums() + of((1.0, 2.0)) == of((1.0, 2.0)) + Sums() == of((1.0, 2.0))
    assert (of((1.0, 2.0)).least, (Sums() + Sums()).most) == (2.0, 0.0)


def test_nothing_says_nothing() -> None:
    sums = Sums()
    assert (sums.ips, sums.snips, sums.effective, sums.doubly_robust) == (0.0,) * 4
    assert sums.interval == (0.0, 0.0)


def test_what_a_model_expects_is_mended_by_what_it_got_wrong() -> None:
    sums = Sums()
    sums.add(2.0, 1.0, expected=0.5, predicted=0.75)
    sums.add(0.0, 1.0, expected=0.5, predicted=0.0)
    assert sums.doubly_robust == (0.5 + 2.0 * 0.25 + 0.5) / 2
    assert sums.doubly_robust_half_width == pytest.approx(Z * (0.0625 / 2) ** 0.5)


def test_an_interval_knows_what_was_hardly_ever_tried() -> None:
    # A policy that does what was done in a third of the contexts, where that is right. In the
    # others it was never seen doing the other thing: nobody knows what that earns.
    sums = of(*[(1 / 0.99, 1.0)] * 100, *[(0.0, 1.0)] * 150, *[(0.0, 0.0)] * 50)
    assert sums.snips == pytest.approx(1.0)
    low, high = sums.interval
    assert low < 1 / 3 and high == 1.0
    # With weights whose mean is 1, it is that of a hundred rewards which all were 1.
    sums = of(*[(3.0, 1.0)] * 100, *[(0.0, 1.0)] * 150, *[(0.0, 0.0)] * 50)
    assert sums.interval == pytest.approx((1 / (1 + Z**2 / 100), 1.0))


def test_an_interval_of_what_was_in_use_is_wilsons() -> None:
    # Three of ten: R's prop.test(3, 10, correct=FALSE) says 0.1077913 to 0.6032219.
    sums = of(*[(1.0, 1.0)] * 3, *[(1.0, 0.0)] * 7)
    assert sums.interval == pytest.approx((0.1077913, 0.6032219), abs=1e-7)
    moved = of(*[(1.0, 3.0)] * 3, *[(1.0, -1.0)] * 7)
    assert moved.interval == pytest.approx((-1 + 4 * 0.1077913, -1 + 4 * 0.6032219), abs=1e-6)
    assert of(*[(1.0, 0.5)] * 9).interval == (0.5, 0.5)


def test_where_nothing_was_the_same_all_is_open() -> None:
    assert of((0.0, 0.25), (0.0, -1.0)).interval == (-1.0, 0.25)
