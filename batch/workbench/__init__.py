"""Larder in a notebook: its commands as the magic ``%larder``, its servers by ``serve``.

::

    %load_ext batch.workbench
    from batch.workbench import serve, start

    %larder refresh {ratings} --live         # what the terminal takes; a failure ends the cell
    found = %larder generations --json       # what it printed, as Python has it
    api = serve()                            # until the kernel ends, or api.stop()
    start("decisions", "train", "logs", "--follow")   # the same for what is no server
"""

from typing import TYPE_CHECKING

from batch.workbench.beside import Beside, start
from batch.workbench.service import Service, serve

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Beside", "Service", "serve", "start"]


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Give a notebook the line magic ``%larder``."""
    from batch.workbench.commands import larder

    shell.magics_manager.register_function(larder, magic_name="larder")
