"""Every engine passes the suite; and the front door picks the one that was asked for."""

from typing import Any

import pytest

from batch.engines import Engine
from batch.errors import BadSettings
from batch.train import ENGINES, engine
from tests.batch.engine_suite import EngineSuite


class TestImplicit(EngineSuite):
    breaking = {"alpha": 1e39}

    def engine(self, **settings: Any) -> Engine:
        return engine("implicit", **settings)


def test_each_engine_goes_by_the_name_it_is_chosen_by() -> None:
    for name in ENGINES:
        assert engine(name).name == name


def test_an_unknown_engine_is_told_the_known_ones() -> None:
    with pytest.raises(BadSettings, match="--engine must be one of .*implicit.*, not 'sparkle'"):
        engine("sparkle")


def test_a_setting_that_an_engine_does_not_have_is_named() -> None:
    with pytest.raises(BadSettings, match="engine implicit: .*'temperature'"):
        engine("implicit", temperature=1)
