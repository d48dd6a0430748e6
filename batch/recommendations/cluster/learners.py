"""Which model a cluster learns: ``--engine``, ``--als`` and ``--feedback``."""

from dataclasses import replace

from batch.errors import BadSettings
from batch.recommendations.cluster.als import BlockedALS
from batch.recommendations.cluster.candidate import Learner
from batch.recommendations.cluster.knn import SlicedKNN
from batch.recommendations.cluster.mllib import DEFAULTS
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.engines.knn import ItemKNN
from batch.recommendations.terms import Model


def learner(model: Model) -> Learner:
    """Make the learner that was asked for, with its own values of what was not.

    als: "blocked", "mllib", or None for what suits the feedback; whole_mb: see ``BlockedALS``.
    Raises BadSettings when the two do not go together.
    """
    if model.engine == "spark-knn":
        return SlicedKNN(ItemKNN(**model.of_knn))
    als, feedback, whole_mb = model.als, model.feedback, model.whole_mb
    if als == "mllib" or (als is None and feedback == "explicit"):
        if whole_mb is not None:
            raise BadSettings("--whole-mb needs --als blocked: MLlib ships factors in its own way")
        if feedback == "explicit" and model.alpha is not None:
            raise BadSettings("--alpha means nothing to --feedback explicit: leave it out")
        return replace(DEFAULTS[feedback], **model.of_als)
    if feedback == "explicit":
        raise BadSettings("--feedback explicit needs --als mllib: the blocked solver has none")
    blocked = BlockedALS(ImplicitALS(**model.of_als))
    return blocked if whole_mb is None else replace(blocked, whole_bytes=whole_mb * 2**20)
