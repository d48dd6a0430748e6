"""What the images install is pinned, and is what setup.cfg asks for."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HOUSE = Path(__file__).parents[2]
LOCKS = {
    "app/requirements.txt": ["granian", "live"],
    "app/requirements-clicks.txt": ["granian", "live", "clicks"],
    "batch/requirements.txt": ["batch", "clicks"],
    "batch/requirements-decisions.txt": ["decisions-up"],
    "batch/requirements-spark.txt": ["spark", "clicks"],
    "batch/workbench/requirements.txt": ["workbench"],
    "loadtest/requirements.txt": ["loadtest"],
}
DOCKERFILES = (
    "app/Dockerfile",
    "batch/Dockerfile",
    "batch/workbench/Dockerfile",
    "loadtest/Dockerfile",
)
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==([^ ;]+)", re.MULTILINE)


def setup() -> ConfigParser:
    found = ConfigParser()
    found.read(HOUSE / "setup.cfg")
    return found


def asked(extras: list[str]) -> list[Requirement]:
    """What a part of the house needs, with the extras that its extra names."""
    found = setup()
    lines = found["options"]["install_requires"].split("\n")
    for extra in extras:
        lines += found["options.extras_require"][extra].split("\n")
    needed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    inner = [extra for each in needed if each.name == "larder" for extra in each.extras]
    return [each for each in needed if each.name != "larder"] + (asked(inner) if inner else [])


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_a_lock_has_what_setup_asks_for(lock: str, extras: list[str]) -> None:
    """After a change of setup.cfg: make lock."""
    pinned = {
        canonicalize_name(name): Version(version)
        for name, version in PINNED.findall((HOUSE / lock).read_text())
    }
    for each in asked(extras):
        assert pinned[canonicalize_name(each.name)] in each.specifier, each


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_every_package(lock: str) -> None:
    text = (HOUSE / lock).read_text()
    packages = re.split(r"\n(?=[a-z])", text.strip())
    assert len(packages) == len(PINNED.findall(text)) > 5
    assert all("--hash=sha256:" in each for each in packages)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("batch/requirements.txt", "batch/requirements-spark.txt"),
        ("batch/requirements-spark.txt", "batch/workbench/requirements.txt"),
        ("app/requirements.txt", "app/requirements-clicks.txt"),
    ],
)
def test_both_images_of_a_wing_have_the_same_versions(less: str, more: str) -> None:
    """Executors read what the driver wrote; one image of the API is installed over the other."""
    one, other = (dict(PINNED.findall((HOUSE / name).read_text())) for name in (less, more))
    assert {name: other.get(name) for name in one} == one


def test_what_trains_click_models_and_what_scores_with_them_are_of_one_release() -> None:
    trains, scores = (
        dict(PINNED.findall((HOUSE / wing).read_text()))
        for wing in ("batch/requirements.txt", "app/requirements-clicks.txt")
    )
    assert trains["lightgbm"] == scores["lightgbm"]


def test_all_that_the_api_reads_of_its_folder_is_installed() -> None:
    found = setup()["options.package_data"]
    patterns = [
        f"{package.replace('.', '/')}/{pattern.strip()}"
        for package, listed in found.items()
        for pattern in listed.replace("\n", ",").split(",")
    ]
    passing = {"Dockerfile", "README.md", "py.typed"}
    passing |= {"requirements.txt", "requirements-clicks.txt"}
    files = [path for path in (HOUSE / "app").rglob("*") if path.is_file() and path.suffix != ".py"]
    data = [path for path in files if path.suffix != ".pyc" and path.name not in passing]
    assert len(data) > 5
    names = [path.relative_to(HOUSE) for path in data]
    assert not [str(name) for name in names if not any(map(name.match, patterns))]


def test_the_version_is_one_everywhere() -> None:
    version = setup()["metadata"]["version"]
    for path in DOCKERFILES:
        labels = re.findall(r'image\.version="([^"]+)"', (HOUSE / path).read_text())
        assert labels and set(labels) == {version}, path
    document = yaml.load((HOUSE / "app" / "openapi.yaml").read_text(), yaml.CSafeLoader)
    assert document["info"]["version"] == version
    services = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]
    ours = {each["image"] for each in services.values() if each["image"].startswith("larder-")}
    assert {image.partition(":")[2] for image in ours} == {version}


def test_compose_publishes_on_loopback_only() -> None:
    services = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert len(ports) == 4
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_compose_gives_no_rights() -> None:
    services = yaml.safe_load((HOUSE / "compose.yaml").read_text())["services"]
    for name, each in services.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert each["mem_limit"], name
