"""To wait for something: until it is there, until it cannot come, or until it took too long."""

import pytest

from batch.command.stack.waiting import soon
from batch.errors import Transient


def test_it_is_returned_once_it_is_there() -> None:
    tries = iter([None, 0, "it"])
    assert soon(lambda: next(tries), 60, "not there") == "it"


def test_what_takes_too_long_is_said_in_the_sentence_that_was_given() -> None:
    with pytest.raises(Transient, match="^not there within no time$"):
        soon(lambda: None, 0, "not there within no time")


def test_what_can_never_come_is_not_waited_for() -> None:
    def ended() -> None:
        raise ChildProcessError

    with pytest.raises(ChildProcessError):
        soon(ended, 60, "not there")
