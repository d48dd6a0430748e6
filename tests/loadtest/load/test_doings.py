"""Who does something, and from when on it must be felt."""

from loadtest.load.doings import FELT_SECONDS, MOST, Doings
from loadtest.load.population import Caller, Role

USERS = [Caller(f"user {number}", is_stranger=False) for number in range(60)]
STRANGER = Caller("nobody", is_stranger=True)
ACTING = next(caller for caller in USERS if Doings().may_act(caller))


def test_what_was_done_must_be_gone_once_every_worker_can_know() -> None:
    doings = Doings()
    doings.did(ACTING.user, {"a": "click", "b": "purchase"}, 100.0)
    doings.did(ACTING.user, {"a": "purchase"}, 200.0)
    assert doings.caller(ACTING, 100.0 + FELT_SECONDS / 2).gone == {}
    later = doings.caller(ACTING, 100.0 + FELT_SECONDS)
    assert (later.gone, later.role) == ({"a": "click", "b": "purchase"}, Role.ACTS)
    others = {doings.caller(each, 300.0).gone == {} for each in USERS if each != ACTING}
    assert others == {True}


def test_every_user_of_a_half_acts_in_one_process_alone_and_the_rest_stand_by() -> None:
    processes = [Doings(index, 3) for index in range(3)]
    for caller in USERS:
        roles = {each.caller(caller, 0.0).role for each in processes}
        acts = sum(each.may_act(caller) for each in processes)
        assert (acts, roles) in [(1, {Role.ACTS}), (0, {Role.STANDS_BY})]
    assert {each.may_act(caller) for each in processes for caller in USERS} == {True, False}


def test_a_stranger_stands_by_until_doing_something() -> None:
    doings = Doings(2, 3)
    assert doings.caller(STRANGER, 0.0).role is Role.STANDS_BY
    assert doings.may_act(STRANGER)
    doings.did(STRANGER.user, {"a": "click"}, 0.0)
    assert doings.caller(STRANGER, 0.0).role is Role.ACTS


def test_nobody_does_more_than_the_api_remembers() -> None:
    doings = Doings()
    for number in range(MOST):
        assert doings.may_act(ACTING)
        doings.did(ACTING.user, {f"item {number}": "click"}, 0.0)
    assert not doings.may_act(ACTING)
