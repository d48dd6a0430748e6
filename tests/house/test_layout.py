"""The house keeps its plan: what lies at the top, who imports whom, which settings exist."""

import fnmatch
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from app.contracts import variables

HOUSE = Path(__file__).parents[2]
TOP = {
    ".ci",
    ".dockerignore",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "app",
    "batch",
    "compose.yaml",
    "k8s",
    "loadtest",
    "pyproject.toml",
    "setup.cfg",
    "tests",
}
TOOLS = [".git"]


def ignored() -> list[str]:
    return [line.rstrip("/") for line in (HOUSE / ".gitignore").read_text().split()]


def sources() -> list[Path]:
    """The files that may name a setting; tests misspell them on purpose."""
    folders = ("app", "batch", "k8s", "loadtest", ".ci")
    inside = [path for folder in folders for path in (HOUSE / folder).rglob("*") if path.is_file()]
    files = [*inside, HOUSE / "Makefile", HOUSE / "README.md"]
    kinds = {".py", ".md", ".yaml", ".yml", ".toml", ".cfg", ".sh", ""}
    return [path for path in files if path.exists() and path.suffix in kinds]


def test_nothing_lies_at_the_top_but_what_the_plan_names() -> None:
    passing = [*ignored(), *TOOLS]
    found = {
        path.name
        for path in HOUSE.iterdir()
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in passing)
    }
    assert not found - TOP


def test_every_folder_of_tests_is_a_package() -> None:
    """Without it, tests/app would shadow app."""
    folders = {path.parent for path in (HOUSE / "tests").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_a_room_has_a_dozen_modules_at_most() -> None:
    modules = (
        path for each in ("app", "batch", "loadtest") for path in (HOUSE / each).rglob("[a-z]*.py")
    )
    rooms = Counter(str(path.parent.relative_to(HOUSE)) for path in modules)
    assert rooms and not {room: count for room, count in rooms.items() if count > 12}


def test_the_contract_imports_nothing_but_the_standard_library() -> None:
    """A Spark executor must be able to load it without Flask, redis or numpy."""
    paths = (HOUSE / "app" / "contracts").rglob("[a-z]*.py")
    names = [".".join(path.relative_to(HOUSE).with_suffix("").parts) for path in paths]
    program = (
        "import sys\n"
        + "".join(f"import {name}\n" for name in names)
        + "ours = {'app'} | set(sys.stdlib_module_names) | {'__main__'}\n"
        + "print(sorted({name.split('.')[0] for name in sys.modules} - ours))"
    )
    assert len(names) >= 2
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=HOUSE, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


def test_every_variable_named_in_the_house_is_one_that_it_reads() -> None:
    known = variables.BATCH | variables.SERVING
    named = {
        (path.relative_to(HOUSE), name)
        for path in sources()
        for name in re.findall(r"\bLARDER_[A-Z][A-Z0-9_]*", path.read_text(errors="replace"))
    }
    assert not {(str(path), name) for path, name in named if name not in known}
    assert named, "the search finds nothing"
