"""Writes ``app/contracts/variables.py`` from the settings and options: ``make variables``."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click

from app import contracts
from app.settings import Settings, variable
from batch.command.cli import cli

PATH = Path(contracts.__path__[0]) / "variables.py"


def text() -> str:
    """The module, as it should be."""
    serving = _block("SERVING", {variable(each) for each in fields(Settings)})
    return (
        '"""The names of all settings and options. Generated: ``make variables`` writes it."""\n\n'
        f"{serving}\n{_block('BATCH', set(_variables()))}"
    )


def _block(name: str, variables: Iterable[str]) -> str:
    lines = "".join(f'        "{each}",\n' for each in sorted(variables))
    return f"{name} = frozenset(\n    {{\n{lines}    }}\n)\n"


def _variables() -> Iterator[str]:
    for command in commands(cli).values():
        for parameter in command.params:
            if isinstance(parameter.envvar, str):
                yield parameter.envvar


def commands(group: click.Group, words: str = "") -> dict[str, click.Command]:
    """Every command that runs, by the words after ``larder``: those of groups, too."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{words}{name} ")
        else:
            found[words + name] = command
    return found


if __name__ == "__main__":
    PATH.write_text(text())
