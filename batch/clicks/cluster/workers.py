"""A model fitted by one task of Spark, or its trees by several that LightGBM connects by sockets.

Several are the tasks of one barrier stage: all run at once, or none. Each holds a share of the rows
and adds its histograms to those of the others, so that all end with the same trees. When one dies
the others notice, and Spark runs the stage again (``spark.stage.maxConsecutiveAttempts``).
"""

import pickle
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import BarrierTaskContext, SparkContext, TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.clicks.model import Model
from batch.clicks.terms import Fit
from batch.errors import BadSettings, ClusterUnavailable
from batch.progress import Silent
from batch.spark.package import is_local

if TYPE_CHECKING:
    from batch.clicks.fit.matrix import Encoded

TIMEOUT_MINUTES = 5
"""How long a worker waits for what another one sends, before it takes it for lost."""

_NETWORK = r"^\[(machines|num_machines|local_listen_port|time_out|tree_learner|pre_partition): .*\n"
_FITTED = "model binary"

Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def require_slots(context: SparkContext, workers: int) -> None:
    """Raise BadSettings or ClusterUnavailable when not all workers could run at once.

    Spark itself would ask again and again for ten minutes.
    """
    if workers == 1:
        return
    if context.getConf().get("spark.dynamicAllocation.enabled") == "true":
        raise BadSettings(
            "--spark-workers above 1 does not go with spark.dynamicAllocation.enabled: start the "
            "session with a fixed number of executors"
        )
    java: Any = context._jsc
    profile = java.sc().resourceProfileManager().defaultResourceProfile()
    slots = java.sc().maxNumConcurrentTasks(profile)
    if slots < workers:
        raise (BadSettings if is_local(context.master or "") else ClusterUnavailable)(
            f"--spark-workers {workers} need as many tasks at once, and {context.master} has room "
            f"for {slots}: ask for fewer workers, or give it more executors or cores"
        )


def fit(model: Model, matrix: DataFrame, fit: Fit, workers: int = 1) -> Model:
    """Fit the members of a model. matrix: see ``Encoder.encode``.

    One worker stops by the held rows as one machine does, and its model is the same. To several the
    number of trees is told: what one finds by a share of the rows. Raises BadSettings,
    ClusterUnavailable, NotGoodEnough.
    """
    require_slots(matrix.sparkSession.sparkContext, workers)
    if workers == 1:
        return _alone(model, matrix, fit)
    if not matrix.where("held").isEmpty():
        some = matrix.where(f"held OR row % {workers} = 0")
        fit = replace(fit, trees=_alone(model, some, fit).tree_count)
    return _together(model, matrix.where("NOT held"), fit, workers)


def _alone(model: Model, matrix: DataFrame, fit: Fit) -> Model:
    rows = matrix.repartition(1).sortWithinPartitions("row")
    return _collected(rows.mapInArrow(_worker(model, fit, lambda rows: {}), _FITTED))


def _together(model: Model, matrix: DataFrame, fit: Fit, workers: int) -> Model:
    """The same shares in the same order, and so the same trees, whatever ran where."""
    shares = matrix.repartitionById(workers, (F.col("row") % workers).cast("int"))
    rows = shares.sortWithinPartitions("row")
    stage = rows.mapInArrow(_worker(model, fit, _network), _FITTED, barrier=True)
    # Spark runs a barrier stage again only where another one comes behind it.
    return _collected(stage.repartition(1))


def _collected(fitted: DataFrame) -> Model:
    model = pickle.loads(fitted.collect()[0]["model"])
    assert isinstance(model, Model)
    return model


def _worker(model: Model, fit: Fit, network: Callable[[int], dict[str, Any] | None]) -> Work:
    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found, task = list(batches), TaskContext.get()
        extra = network(sum(batch.num_rows for batch in found))
        if extra is None:
            return
        threads = fit.threads or (task.cpus() if task else 1)
        fitted = _fitted(model, pa.Table.from_batches(found), replace(fit, threads=threads), extra)
        yield pa.RecordBatch.from_pydict({"model": [pickle.dumps(fitted)]})

    return work


def _fitted(model: Model, table: pa.Table, fit: Fit, extra: dict[str, Any]) -> Model:
    """What is of this network alone is left out of the text of the trees."""
    require_library()
    from batch.clicks.fit import members

    held = table["held"].to_numpy()
    rows, stopping = _encoded(table, ~held), _encoded(table, held) if held.any() else None
    fitted = members.fitted(model, rows, stopping, fit, Silent(), **extra)
    text = re.sub(_NETWORK, "", fitted.trees, flags=re.MULTILINE) if extra else fitted.trees
    return replace(fitted, trees=text)


def require_library() -> None:
    """Raise BadSettings where LightGBM cannot be loaded."""
    try:
        import lightgbm  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: the system lacks libgomp
        raise BadSettings(
            f"an executor cannot load LightGBM ({error}): it needs what pip install '.[clicks]' "
            "installs, and libgomp (Debian: libgomp1)"
        ) from error


def _encoded(table: pa.Table, taken: NDArray[np.bool_]) -> "Encoded":
    """These rows of a table, column by column in memory."""
    from batch.clicks.fit.matrix import Encoded

    numbers, codes = ([name for name in table.column_names if name[0] == kind] for kind in "xk")
    matrix = np.empty((int(taken.sum()), len(numbers)), np.float32, "F")
    places = np.empty((len(matrix), len(codes)), np.int32, "F")
    for array, names in ((matrix, numbers), (places, codes)):
        for at, name in enumerate(names):
            array[:, at] = table[name].to_numpy()[taken]
    return Encoded(table["label"].to_numpy()[taken].astype(bool), matrix, places)


def _network(rows: int) -> dict[str, Any] | None:
    """What LightGBM needs to find the others; None for a worker without rows, who is not needed."""
    context = BarrierTaskContext.get()
    own = context.getTaskInfos()[context.partitionId()].address.rpartition(":")[0]
    with socket.socket() as free:  # all rows are here by now: nobody takes the port so soon
        free.bind(("", 0))
        port = free.getsockname()[1]
        told = f"{socket.gethostbyname(own)}:{port}" if rows else ""
        machines = [each for each in context.allGather(told) if each]
    if not rows:
        return None
    if len(machines) == 1:
        return {}
    return {
        "tree_learner": "data",
        "pre_partition": True,
        "machines": ",".join(machines),
        "num_machines": len(machines),
        "local_listen_port": port,
        "time_out": TIMEOUT_MINUTES,
    }
