"""The arguments of the container that this takes the place of: ``Eula=accept Billing=...``.

They are read as they were there, names in any case. Nothing of a value is ever repeated: one of
them is a key.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from batch.errors import BadSettings

TOGETHER = ("Eula", "Billing", "ApiKey")
IGNORED = ("ApplicationInsights", "Fluentd", "Http", "Logging", "Mounts")
"""What its other settings begin with; a colon or an underscore and a name follow."""


@dataclass(frozen=True, slots=True)
class Told:
    """What they say that is of use here; ignored: the names of the others, as they were given."""

    api_key: str = field(default="", repr=False)
    ignored: tuple[str, ...] = ()


class OrUp(click.Group):
    """Of commands; ``Key=Value`` in the place of one is what ``up`` is told."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        is_setting = "=" in args[0] and not args[0].startswith("-")
        return super().resolve_command(ctx, ["up", *args] if is_setting else args)


def read(arguments: Sequence[str]) -> Told:
    """Read them. Raises BadSettings, which names what is missing or in which place it is wrong."""
    given: dict[str, str] = {}
    ignored: list[str] = []
    names = {name.lower(): name for name in TOGETHER}
    for place, argument in enumerate(arguments, start=1):
        name, sign, value = argument.partition("=")
        if known := names.get(name.lower()):
            given[known] = value if sign else ""
        elif sign and re.split("[:_]", name)[0].lower() in map(str.lower, IGNORED):
            ignored.append(name)
        else:
            raise BadSettings(
                f"argument {place} is no setting of the container: expected Name=Value with a name "
                f"that is one of {', '.join(TOGETHER)}, or begins with {', '.join(IGNORED)}"
            )
    _check(given)
    return Told(given.get("ApiKey", ""), (*ignored, *(["Billing"] if given else [])))


def _check(given: dict[str, str]) -> None:
    missing = [name for name in TOGETHER if not given.get(name)]
    if given and missing:
        raise BadSettings(
            f"Eula=accept, Billing=... and ApiKey=... belong together: {', '.join(missing)} "
            f"{'has' if len(missing) == 1 else 'have'} no value"
        )
    if given and given["Eula"].lower() != "accept":
        raise BadSettings("Eula must be accept, as the container that this replaces asked for")
