"""What a command says of the Spark session that it wants to be lent."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from batch.errors import BadSettings


@dataclass(frozen=True, slots=True)
class SparkOptions:
    """conf: settings of Spark; log: how much of its own log to show."""

    conf: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    log: str = "off"

    @classmethod
    def of(cls, conf: Iterable[str], log: str) -> Self:
        """Read settings as ``spark.<name>=<value>``. Raises BadSettings."""
        return cls(dict(_setting(each) for each in conf), log)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.startswith("spark.") and equals):
        shown = re.split(r"[^\w.-]", text)[0]  # what comes behind may be a secret
        raise BadSettings(f"--conf must be spark.<name>=<value>, not {shown!r} ...")
    return name, value
