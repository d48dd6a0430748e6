"""What the images are: small, for no particular user, and quick to build again."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.engine import Container, Engine
from tests.containers.images import BASE, build, tag
from tests.k8s.manifests import HOUSE
from tests.k8s.rules.images import BUILT, version

Measured = Callable[[str], None]
MEGABYTES = {
    "larder-api": 130,  # of which 60 are numpy, for lists that follow users
    "larder-clicks": 280,  # LightGBM does not load without scipy
    "larder-decisions": 225,  # of which DuckDB and numpy are two thirds
}
SCORING = ["lightgbm", "scipy"]
SECRETS = ("PASSWORD", "SECRET", "TOKEN", "LARDER_CACHE_URL")


@pytest.mark.parametrize("name", BUILT)
def test_an_image_runs_as_nobody_in_particular_and_says_what_it_is(
    engine: Engine, images: dict[str, float], name: str
) -> None:
    found = engine.inspect(tag(name))["Config"]
    assert found["User"] == "10001:10001"
    assert found["StopSignal"] in ("SIGTERM", "15")
    assert found["Entrypoint"][0] in (
        "gunicorn",
        "larder",
        "python",
        "tini",
    )  # a program, not a shell
    assert found["Labels"]["org.opencontainers.image.version"] == version()
    assert found["Labels"]["org.opencontainers.image.title"] == name
    assert found["Labels"]["org.opencontainers.image.licenses"].startswith("Apache-2.0")
    assert not [each for each in found["Env"] if any(secret in each for secret in SECRETS)]


def test_what_the_images_take(engine: Engine, images: dict[str, float], measured: Measured) -> None:
    base = engine.megabytes(BASE)
    for name, seconds in images.items():
        size = engine.megabytes(tag(name))
        measured(f"{name}: {size:.0f} MB, {size - base:.0f} over {BASE}; built in {seconds:.0f} s")
        assert size - base <= MEGABYTES.get(name, size)


@pytest.mark.parametrize(("name", "has"), [("larder-api", []), ("larder-clicks", SCORING)])
def test_an_image_of_the_api_has_nothing_that_the_api_does_not_need(
    engine: Engine, images: dict[str, float], name: str, has: list[str]
) -> None:
    program = (
        "import importlib.util as found, json, shutil\n"
        "modules = ('lightgbm', 'scipy', 'batch', 'implicit', 'pandas', 'pyarrow', 'sklearn',"
        " 'pyspark', 'duckdb', 'locust', 'pip')\n"
        "tools = ('gcc', 'pip', 'java', 'larder')\n"
        "print(json.dumps([name for name in modules if found.find_spec(name)]"
        " + [name for name in tools if shutil.which(name)]))"
    )
    with Container(engine, tag(name), "-c", program, options=["--entrypoint=python"]) as asked:
        assert asked.wait() == 0, asked.logs
        assert json.loads(asked.logs) == has


@pytest.mark.parametrize("name", ["larder-clicks", "larder-batch", "larder-batch-spark"])
def test_lightgbm_loads_where_click_models_are(
    engine: Engine, images: dict[str, float], name: str
) -> None:
    """With the system's libgomp, which no package of Python brings."""
    with Container(
        engine, tag(name), "-c", "import lightgbm", options=["--entrypoint=python3"]
    ) as asked:
        assert asked.wait() == 0, asked.logs


@pytest.mark.parametrize(
    ("name", "films"), [("larder-batch", 0), ("larder-batch-spark", 0), ("larder-demo", 1)]
)
def test_only_the_image_of_the_demo_has_films(
    engine: Engine, images: dict[str, float], name: str, films: int
) -> None:
    program = "from pathlib import Path; print(len([*Path('/opt').rglob('ratings.csv')]))"
    with Container(engine, tag(name), "-c", program, options=["--entrypoint=python3"]) as asked:
        assert asked.wait() == 0, asked.logs
        assert int(asked.logs) == films


@pytest.mark.parametrize(
    ("name", "wing"),
    [
        ("larder-api", "app"),
        ("larder-clicks", "app"),
        ("larder-batch", "batch"),
        ("larder-decisions", "batch"),
    ],
)
def test_a_change_of_our_code_changes_only_the_last_layer(
    engine: Engine,
    images: dict[str, float],
    measured: Measured,
    tmp_path: Path,
    name: str,
    wing: str,
) -> None:
    """So that a build, a push and a pull take seconds."""
    for each in ("app", "batch", "loadtest"):
        shutil.copytree(HOUSE / each, tmp_path / each)
    for each in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy2(HOUSE / each, tmp_path / each)
    before = engine.inspect(tag(name))["RootFS"]["Layers"]
    with (tmp_path / wing / "__init__.py").open("a") as source:
        source.write("# changed\n")
    changed = f"{name}:changed"
    try:
        seconds = build(engine, name, changed, tmp_path)
        after = engine.inspect(changed)["RootFS"]["Layers"]
    finally:
        engine.run("podman", "rmi", changed)
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    measured(f"{name}: built again in {seconds:.1f} s after a change of our code")


def test_only_what_images_are_made_of_goes_to_the_builder(engine: Engine, tmp_path: Path) -> None:
    """No virtual environment, no data, no history."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY . /\n")
    image = "larder-context"
    engine("build", f"--file={dockerfile}", f"--tag={image}", str(HOUSE))
    try:
        archive = tmp_path / "context.tar"
        identifier = engine("create", image, "nothing")
        engine("export", f"--output={archive}", identifier)
        engine("rm", identifier)
    finally:
        engine("rmi", "--force", image)
    with tarfile.open(archive) as files:
        sent = {name.partition("/")[0] for name in files.getnames()}
    ours = {"app", "batch", "loadtest", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"}
    assert ours <= sent
    assert not {each for each in sent - ours if (HOUSE / each).exists()}
