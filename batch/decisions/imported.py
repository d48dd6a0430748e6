"""Models that were made elsewhere: the file of the cloud service, or what Vowpal Wabbit saved.

The service gave out a model alone, or a zip with ``model.vw``, ``signer.der`` and
``sha512_signature.bin``: who signed it cannot be asked any more, so its signature is passed over.

A file begins with what Vowpal Wabbit would be started with. That is read here first, and refused
where a policy may not have it; then a process of its own loads the model and asks it to choose, for
garbage can end a process.
"""

import io
import json
import lzma
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from app.contracts import policies
from batch.errors import BadModel

MAX_BYTES = 1 << 29
_MAX_FILES = 100
_MAX_OPTIONS = 1 << 16
_SECONDS = 60
_USUAL_BITS = 18
_OLDEST = (8, 6, 0)
"""Before 8.2 a head had no name: what is read here would not be what Vowpal Wabbit reads."""
_ITS_OWN = {
    **{"--cb_adf": 0, "--cb_sample": 0, "--csoaa_ldf": 1, "--csoaa_rank": 0},
    **{"--hash_seed": 1, "--id": 1, "--link": 1},
}
"""Options that no policy says and each model has, and how many words follow them."""
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError),
)
"""What reading a zip raises that is damaged, or packed as nobody here can read it."""
_CHOICE = '{"_multi":[{"a":1},{"b":1}]%s}'
_CHECK = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
import vowpalwabbit
model = vowpalwabbit.Workspace("-i model.vw --json --quiet -t")
print(json.dumps(model.predict(sys.argv[1])))
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that loads and chooses.

    arguments: of its policy; vowpal: the release that saved it; signed: whether a signature came
    with it, which nobody looked at.
    """

    model: bytes
    arguments: str
    vowpal: str
    signed: bool = False


def read(path: Path) -> Imported:
    """Read a file as the service, or Vowpal Wabbit, wrote it. Raises BadModel or OSError."""
    with open(path, "rb") as file:
        return check(file.read(MAX_BYTES + 1), str(path))


def check(data: bytes, name: str) -> Imported:
    """The same of its bytes; name: what errors call it."""
    signed = data.startswith(b"PK\x03\x04")
    model = _of_zip(data, name) if signed else data
    if len(model) > MAX_BYTES:
        raise BadModel(f"{name}: expected a model of at most {MAX_BYTES:,} bytes")
    vowpal, arguments = _head(model, name)
    try:
        policies.check(arguments)
    except policies.BadPolicy as error:
        raise BadModel(
            f"{name}: the model is of a policy that cannot be taken ({arguments}): {error}"
        ) from error
    _load(model, arguments, name)
    return Imported(model, arguments, vowpal, signed)


def _of_zip(data: bytes, name: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = archive.infolist()[:_MAX_FILES]
            models = [each for each in inside if Path(each.filename).name == "model.vw"]
            if len(models) != 1:
                found = ", ".join(repr(each.filename) for each in inside[:5])
                raise BadModel(f"{name}: expected a zip with one model.vw, found {found}")
            with archive.open(models[0]) as file:
                return file.read(MAX_BYTES + 1)
    except _BROKEN as error:
        raise BadModel(f"{name}: this zip cannot be read ({error}): copy it again") from error


def _head(model: bytes, name: str) -> tuple[str, str]:
    """The release that saved it, and the arguments of its policy."""
    try:
        file = io.BytesIO(model)
        vowpal = _text(file, 64)
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){2}", vowpal):
            raise ValueError("it does not begin with a release")
        if tuple(map(int, vowpal.split("."))) < _OLDEST:
            raise ValueError(f"release {vowpal} wrote others, and is older than 8.6")
        _text(file, _MAX_OPTIONS)  # its name
        _, bits, _ = struct.unpack("<c8xII", file.read(17))
        for _ in ("n-grams", "skips"):
            file.seek(3 * _number(file, 1000), io.SEEK_CUR)
        return vowpal, _arguments(_text(file, _MAX_OPTIONS).split(), bits)
    except (struct.error, ValueError) as error:
        raise BadModel(
            f"{name}: is no model of Vowpal Wabbit ({error}): expected model.vw as the service "
            "exported it, or its zip of signed models"
        ) from error


def _number(file: io.BytesIO, most: int) -> int:
    (number,) = struct.unpack("<I", file.read(4))
    if number > most:
        raise ValueError(f"expected at most {most}, found {number}")
    return int(number)


def _text(file: io.BytesIO, longest: int) -> str:
    length = _number(file, longest)
    read = file.read(length)
    if len(read) < length:
        raise ValueError("it is cut")
    return read.rstrip(b"\0").decode("ascii")


def _arguments(words: list[str], bits: int) -> str:
    kept, left = list[str](), iter(words)
    for word in left:
        if word not in _ITS_OWN:
            kept.append(_short(word))
            continue
        for _ in range(_ITS_OWN[word]):
            next(left, "")
    return " ".join(kept if bits == _USUAL_BITS else [*kept, f"--bit_precision {bits}"])


def _short(word: str) -> str:
    """A number of 32 bits as somebody wrote it: .200000002980232 was .2."""
    return f"{float(word):.7g}" if re.fullmatch(r"-?[0-9]+\.[0-9]{7,}(e-?[0-9]+)?", word) else word


def _load(model: bytes, arguments: str, name: str) -> None:
    """Have another process load it and choose between two actions."""
    slots = ',"_slots":[{"c":1}]' if policies.is_for_slots(arguments) else ""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.vw").write_bytes(model)
        command = [sys.executable, "-c", _CHECK, _CHOICE % slots]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise BadModel(f"{name}: the model does not load within {_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise BadModel(
            f"{name}: Vowpal Wabbit cannot load the model "
            f"({said[:200] or f'it died, exit code {done.returncode}'}): export it again"
        )
    chosen = json.loads(done.stdout.decode().strip().split("\n")[-1])
    if len(chosen[0] if slots else chosen) != 2:
        raise BadModel(f"{name}: the model does not choose between actions")
