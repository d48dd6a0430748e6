"""The engine that ``--engine`` asks for."""

from collections.abc import Mapping

from batch.errors import BadSettings
from batch.recommendations.engines.blend import Blend
from batch.recommendations.engines.ease import Ease
from batch.recommendations.engines.engine import Engine
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from batch.recommendations.terms import BLEND, Model


def make(model: Model) -> Engine:
    """The engine of one machine. Raises BadSettings."""
    if model.engine != "blend":
        return parts(model)[model.engine]
    weights = shares(model.blend or BLEND)
    known = parts(model)
    return Blend(tuple(known[name] for name in weights), tuple(weights.values()))


def parts(model: Model) -> Mapping[str, Engine]:
    """The engines that stand alone, by name."""
    engines = (
        ImplicitALS(**model.of_als),
        ItemKNN(**model.of_knn),
        Ease(**model.of_ease),
    )
    return {engine.name: engine for engine in engines}


def candidates(model: Model) -> list[Engine]:
    """What ``auto`` chooses from, in the order to try them."""
    als, knn, ease = parts(model).values()
    if model.of_knn:
        return [als, knn, ease]
    return [als, knn, ease, ItemKNN(shrinkage=300.0)]


def shares(text: str) -> dict[str, float]:
    """Parts and weights such as als=0.3,knn=0.7. Raises BadSettings."""
    try:
        pairs = [each.split("=") for each in text.split(",")]
        found = {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        found = {}
    known = set(found) <= {"als", "knn", "ease"} and all(0 < each < 1e6 for each in found.values())
    if not known or not 2 <= len(found) == text.count(",") + 1:
        raise BadSettings(
            "--blend must name two or three of als, knn and ease with their weights, such as "
            f"{BLEND}, not {text!r}"
        )
    return found
