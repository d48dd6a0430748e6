"""The front door of training: picks the engine by name."""

from typing import Any

from batch.engines import Engine
from batch.engines.implicit_als import ImplicitALS
from batch.errors import BadSettings

ENGINES = {"implicit": ImplicitALS}


def engine(name: str, **settings: Any) -> Engine:
    """Make the engine of that name. Raises BadSettings for a name or setting it does not know."""
    if name not in ENGINES:
        raise BadSettings(f"--engine must be one of {', '.join(ENGINES)}, not {name!r}")
    try:
        return ENGINES[name](**settings)
    except TypeError as error:
        raise BadSettings(f"engine {name}: {error}") from error
