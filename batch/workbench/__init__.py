"""Larder in a notebook: its commands as the magic ``%larder``, its servers by ``serve``.

::

    %load_ext batch.workbench
    from batch.workbench import serve, side_by_side, wait_for_another

    %larder refresh {ratings} --live         # what the terminal takes; a failure ends the cell
    found = %larder generations --json       # what it printed, as Python has it
    api = serve(events=True)                 # until the kernel ends, or api.stop()
    felt = wait_for_another(url, before)     # the next answer that is not as before
    print(side_by_side(before, felt.answer))
"""

from typing import TYPE_CHECKING

from batch.command.answers import Felt, changes, side_by_side, titles, wait_for_another
from batch.workbench.service import Service, serve

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Felt", "Service", "changes", "serve", "side_by_side", "titles", "wait_for_another"]


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Give a notebook the line magic ``%larder``."""
    from batch.workbench.commands import larder

    shell.magics_manager.register_function(larder, magic_name="larder")
