"""The Dockerfiles beside what they run: no finding of hadolint, and one version everywhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.k8s.manifests import HOUSE
from tests.k8s.rules.pods import BUILT, version

DOCKERFILES = sorted(HOUSE.glob("*/Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing(path: Path, tmp_path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    everything = tmp_path / "everything.yaml"  # in place of a file that the tester's home may hold
    everything.write_text("ignored: []\n")
    done = subprocess.run(
        [hadolint, "--no-color", "--disable-ignore-pragma", "--config", everything, path],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_the_images_carry_the_version_of_the_code(path: Path) -> None:
    told = re.findall(r'org\.opencontainers\.image\.version="(.*?)"', path.read_text())
    tags = re.findall(r"-t larder-[a-z-]+:(\S+)", path.read_text())
    assert set(told) | set(tags) == {version()} and told


def test_every_dockerfile_builds_an_image_that_the_manifests_may_name() -> None:
    assert {dockerfile for dockerfile, _ in BUILT.values()} == {
        str(path.relative_to(HOUSE)) for path in DOCKERFILES
    }
