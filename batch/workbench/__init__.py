"""Larder in a notebook: its commands as the magic ``%larder``, its servers by ``serve``.

::

    %load_ext batch.workbench
    from batch.workbench import larder, serve, side_by_side, start, wait_for_another

    %larder refresh {ratings} --live         # what the terminal takes; a failure ends the cell
    found = %larder generations --json       # what it printed, as Python has it
    larder("size --users 10 --items 5 --json")   # the same as a function
    api = serve(events=True)                 # until the kernel ends, or api.stop()
    felt = wait_for_another(url, before)     # the next answer that is not as before
    print(side_by_side(before, felt.answer))
    start("decisions", "train", "logs", "--follow")   # the same for what is no server
    %loadtest slo --url {api.url}            # as python -m loadtest; a red verdict ends no cell
    cluster = spark_cluster()                # Spark's master and a worker, as long; cluster.url
"""

from typing import TYPE_CHECKING

from batch.command.decisions import tutorial
from batch.command.stack.answers import Felt, changes, side_by_side, titles, wait_for_another
from batch.workbench.cluster import SparkCluster, spark_cluster
from batch.workbench.commands import larder, loadtest
from batch.workbench.service import Service, serve, start

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "Felt",
    "Service",
    "SparkCluster",
    "changes",
    "larder",
    "serve",
    "side_by_side",
    "spark_cluster",
    "start",
    "titles",
    "tutorial",
    "wait_for_another",
]


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Give a notebook the line magics ``%larder`` and ``%loadtest``."""
    for magic in (larder, loadtest):
        shell.magics_manager.register_function(magic, magic_name=magic.__name__)
