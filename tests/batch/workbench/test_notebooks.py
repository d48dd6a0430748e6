"""What each notebook has: a name, prose, parameters, no results, and no logic of its own."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import batch

HOUSE = Path(batch.__path__[0]).parent
NOTEBOOKS = sorted((HOUSE / "batch" / "workbench" / "notebooks").iterdir())
NAME = re.compile(r"\d\d-[a-z]+-[a-z]+\.ipynb")
LINES = 12
LOGIC = (
    *(ast.FunctionDef, ast.ClassDef, ast.Try, ast.Match, ast.If),
    *(ast.While, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith),
)

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str = "") -> list[Any]:
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if kind in ("", cell["cell_type"])]


def text(cell: Any) -> str:
    return "".join(cell["source"])


def python(cell: Any) -> ast.Module:
    """A cell without the lines that are IPython's."""
    lines = text(cell).splitlines()
    return ast.parse("\n".join(line for line in lines if not re.search(r"^[%!]|= [%!]", line)))


def test_they_are_numbered_without_a_gap() -> None:
    assert all(NAME.fullmatch(path.name) for path in NOTEBOOKS)
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(len(NOTEBOOKS)))


@notebooks
def test_it_has_no_results(path: Path) -> None:
    for cell in cells(path, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None


@notebooks
def test_its_file_changes_by_nobodys_tools(path: Path) -> None:
    """Indented by one, no metadata of a machine: so that changes can be read."""
    found = json.loads(path.read_text())
    assert path.read_text() == json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    assert set(found["metadata"]) == {"kernelspec", "language_info"}
    assert set(found["metadata"]["language_info"]) == {"name"}


@notebooks
def test_it_begins_with_its_number_and_what_it_is_for(path: Path) -> None:
    first = cells(path)[0]
    assert first["cell_type"] == "markdown" and text(first).startswith(f"# {path.name[:2]} ")


@notebooks
def test_it_has_one_cell_of_parameters(path: Path) -> None:
    tagged = [cell for cell in cells(path, "code") if cell["metadata"].get("tags")]
    assert [cell["metadata"]["tags"] for cell in tagged] == [["parameters"]]
    assert all(isinstance(each, ast.Assign) for each in python(tagged[0]).body)


@notebooks
def test_it_ends_with_figures(path: Path) -> None:
    last = python(cells(path)[-1]).body[-1]
    assert isinstance(last, ast.Expr) and isinstance(last.value, ast.Dict)


@notebooks
def test_it_has_no_logic_of_its_own(path: Path) -> None:
    """What needs a function belongs to the product."""
    for cell in cells(path, "code"):
        assert len(text(cell).splitlines()) <= LINES, text(cell)
        assert not [node for node in ast.walk(python(cell)) if isinstance(node, LOGIC)]


@notebooks
def test_it_imports_nothing_of_the_serving_wing_but_contracts(path: Path) -> None:
    named = re.findall(r"(?:from|import) (app[.\w]*)", "\n".join(map(text, cells(path, "code"))))
    assert not [name for name in named if not name.startswith("app.contracts")]


@notebooks
def test_where_it_leads_is_there(path: Path) -> None:
    """Other notebooks, and sections, which are named as in *Rules* of `app/README.md`."""
    for prose in map(text, cells(path, "markdown")):
        assert all((path.parent / name).exists() for name in re.findall(r"]\(([^)]+)\)", prose))
        documents = [HOUSE / name for name in re.findall(r"`([\w/]*README\.md)`", prose)]
        lines = [line for each in documents for line in each.read_text().splitlines()]
        sections = {line.lstrip("# ") for line in lines if line.startswith("#")}
        named = set(re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)", prose))
        assert named <= sections, named - sections


@notebooks
def test_its_commands_have_paths_in_quotes(path: Path) -> None:
    """So that they work wherever Larder lies: "C. Smith/My Work" would be two words."""
    lines = "\n".join(map(text, cells(path, "code"))).splitlines()
    commands = [line for line in lines if re.search(r"[%!](larder|loadtest) ", line)]
    assert not [line for line in commands if re.search(r"(?<!\")(\$\w+|{\w+})/", line)]
