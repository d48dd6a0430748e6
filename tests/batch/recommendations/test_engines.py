"""The engine of one machine passes the suite of all engines."""

from typing import Any

from batch.recommendations.engines.engine import Engine
from batch.recommendations.engines.implicit_als import ImplicitALS
from tests.batch.recommendations.engine_suite import EngineSuite


class TestImplicit(EngineSuite):
    breaking = {"alpha": 1e39}

    def engine(self, **settings: Any) -> Engine:
        return ImplicitALS(**settings)
