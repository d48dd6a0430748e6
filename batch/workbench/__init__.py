"""Larder in a notebook: its commands as the magic ``%larder``, its servers by ``serve``.

::

    %load_ext batch.workbench
    from batch.workbench import larder, serve, spark_cluster

    %larder refresh {ratings} --live         # what the terminal takes; a failure ends the cell
    found = %larder generations --json       # what it printed, as Python has it
    larder("size --users 10 --items 5 --json")   # the same as a function
    api = serve()                            # until the kernel ends, or api.stop()
    %loadtest slo --url {api.url}            # as python -m loadtest; a red verdict ends no cell
    cluster = spark_cluster()                # Spark's master and a worker, as long; cluster.url
"""

from typing import TYPE_CHECKING

from batch.workbench.cluster import SparkCluster, spark_cluster
from batch.workbench.commands import larder, loadtest
from batch.workbench.service import Service, serve

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Service", "SparkCluster", "larder", "serve", "spark_cluster"]


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Give a notebook the line magics ``%larder`` and ``%loadtest``."""
    for magic in (larder, loadtest):
        shell.magics_manager.register_function(magic, magic_name=magic.__name__)
