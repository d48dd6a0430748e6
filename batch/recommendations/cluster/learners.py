"""Which model a cluster learns: ``--als`` and ``--feedback``."""

from dataclasses import replace
from typing import Any

from batch.errors import BadSettings
from batch.recommendations.cluster.als import BlockedALS
from batch.recommendations.cluster.mllib import DEFAULTS
from batch.recommendations.cluster.walk import Learner
from batch.recommendations.engines.implicit_als import ImplicitALS


def learner(als: str | None, feedback: str, whole_mb: int | None, **model: Any) -> Learner:
    """Make the learner of that name, with these hyper-parameters and its own others.

    als: "blocked", "mllib", or None for what suits the feedback; whole_mb: see ``BlockedALS``.
    Raises BadSettings when the two do not go together.
    """
    if als == "mllib" or (als is None and feedback == "explicit"):
        if whole_mb is not None:
            raise BadSettings("--whole-mb needs --als blocked: MLlib ships factors in its own way")
        if feedback == "explicit" and "alpha" in model:
            raise BadSettings("--alpha means nothing to --feedback explicit: leave it out")
        return replace(DEFAULTS[feedback], **model)
    if feedback == "explicit":
        raise BadSettings("--feedback explicit needs --als mllib: the blocked solver has none")
    blocked = BlockedALS(ImplicitALS(**model))
    return blocked if whole_mb is None else replace(blocked, whole_bytes=whole_mb * 2**20)
