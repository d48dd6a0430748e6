"""Models that were made elsewhere: the file of the cloud service, or what Vowpal Wabbit saved.

The service gave out a model alone, or a zip with ``model.vw``, ``signer.der`` and
``sha512_signature.bin``: who signed it cannot be asked any more, so its signature is passed over.

A file begins with what Vowpal Wabbit would be started with, which may name files to write. That is
read here first, where nothing may be read in two ways, and refused where a policy may not have it.
Then a process of its own loads the model, for garbage can end a process, asks it to choose, and
says what Vowpal Wabbit has read.
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.contracts.learning import policies
from batch.errors import BadModel

MAX_BYTES = 1 << 29
_MAX_FILES = 100
_MAX_OPTIONS = 1 << 16
_SECONDS = 60
_USUAL_BITS = 18
_RELEASE = re.compile("(8[.]([6-9]|1[01])|9[.][0-9]{1,2})[.][0-9]{1,2}")
"""Earlier ones, of before the service, began in other ways."""
_ID = "[A-Za-z0-9_./:][A-Za-z0-9_./:-]*"
"""Vowpal Wabbit adds it to its options as it is: what follows a blank would be the next one."""
_ITS_OWN = {
    **{"--cb_adf": "", "--cb_sample": "", "--csoaa_ldf": "multiline", "--csoaa_rank": ""},
    **{"--hash_seed": "[0-9]+", "--id": _ID, "--link": "identity"},
}
"""Options that no policy says and each model has, and what the word behind them may be."""
_LOADED = _ITS_OWN | {
    **{"--initial_regressor": "model.vw", "--json": "", "--quiet": "", "--testonly": ""},
    **{"--no_stdin": "", "--no_predict": ""},
}
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, RuntimeError, ValueError),
)
_CHOICE = '{"_multi":[{"a":1},{"b":1}]%s}'
_CHECK = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
import vowpalwabbit
model = vowpalwabbit.Workspace("-i model.vw --json --quiet -t")
print(json.dumps([model.get_arguments(), model.predict(sys.argv[1])]))
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
    _expect_policy(arguments, name)
    read = _loaded(model, arguments, name)
    _expect_policy(_arguments(read.split(), _LOADED), name)
    return Imported(model, arguments, vowpal, signed)


def _expect_policy(arguments: str, name: str) -> None:
    try:
        policies.check(arguments)
    except policies.BadPolicy as error:
        raise BadModel(
            f"{name}: the model is of a policy that cannot be taken ({arguments}): {error}"
        ) from error


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
        if not _RELEASE.fullmatch(vowpal):
            raise ValueError("it does not begin with a release from 8.6 on")
        if not re.fullmatch(f"({_ID})?", id := _text(file, 512)):
            raise ValueError(f"its id is {id!r:.60}")
        bits, *others = struct.unpack("<c8xIIII", file.read(25))[1:]
        if any(others):
            raise ValueError("it makes topics, n-grams or skips")
        arguments = _arguments(_text(file, _MAX_OPTIONS).split(), _ITS_OWN)
        return vowpal, arguments + (f" --bit_precision {bits}" if bits != _USUAL_BITS else "")
    except (struct.error, ValueError) as error:
        raise BadModel(
            f"{name}: is no model of Vowpal Wabbit ({error}): expected model.vw as the service "
            "exported it, or its zip of signed models"
        ) from error


def _text(file: io.BytesIO, longest: int) -> str:
    (length,) = struct.unpack("<I", file.read(4))
    if length > longest:
        raise ValueError(f"expected at most {longest} characters, found {length}")
    read = file.read(length)
    if len(read) < length:
        raise ValueError("it is cut")
    return read.rstrip(b"\0").decode("ascii")


def _arguments(words: list[str], own: Mapping[str, str]) -> str:
    """Those of the policy, and whatever else is not as each model has it."""
    kept, left = list[str](), iter(words)
    for word in left:
        if word not in own:
            kept.append(_short(word))
        elif own[word] and not re.fullmatch(own[word], value := next(left, "")):
            kept += [word, value]
    return " ".join(kept)


def _short(word: str) -> str:
    """A number of 32 bits as somebody wrote it: .200000002980232 was .2."""
    return f"{float(word):.7g}" if re.fullmatch(r"-?[0-9]+\.[0-9]{7,}(e-?[0-9]+)?", word) else word


def _loaded(model: bytes, arguments: str, name: str) -> str:
    """Have another process load it and choose between two actions; returns all its options."""
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
    read, chosen = json.loads(done.stdout.decode().strip().split("\n")[-1])
    if len(chosen[0] if slots else chosen) != 2:
        raise BadModel(f"{name}: the model does not choose between actions")
    return str(read)
