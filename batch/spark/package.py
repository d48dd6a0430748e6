"""Our own code for executors elsewhere: a zip without data and without Flask."""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

import batch
from app.contracts import recommendations

if TYPE_CHECKING:
    from pyspark import SparkContext


def package(path: Path) -> None:
    """Write the zip that executors need: ``batch`` and ``app.contracts``."""
    own, door = Path(batch.__path__[0]), Path(recommendations.__file__).parent
    found = [each for each in own.rglob("*") if "datasets" not in each.relative_to(own).parts]
    names = {each: Path("batch") / each.relative_to(own) for each in found}
    names |= {each: Path("app/contracts") / each.relative_to(door) for each in door.rglob("*")}
    names |= {door.parent / name: Path("app") / name for name in ("__init__.py", "py.typed")}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for source, name in sorted(names.items()):
            if name.suffix == ".py" or name.name == "py.typed":
                archive.write(source, name)


def ship(context: "SparkContext") -> None:
    """Give our code to executors elsewhere, unless it came out of a zip that they have already."""
    from pyspark import SparkFiles

    if is_local(context.master or "") or not Path(batch.__path__[0]).is_dir():
        return
    # There it lives as long as the context: executors that join late fetch it too.
    path = Path(SparkFiles.getRootDirectory()) / "larder-shipped.zip"
    package(path)
    context.addPyFile(str(path))


def is_local(master: str) -> bool:
    """Say whether tasks run in the driver's own process."""
    return re.fullmatch(r"local(\[.*\])?", master) is not None
