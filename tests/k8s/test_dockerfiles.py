"""The Dockerfiles beside what they run: no finding of hadolint, and the images that are named."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.k8s.manifests import HOUSE
from tests.k8s.rules.images import BUILT, version

DOCKERFILES = sorted({*HOUSE.glob("*/Dockerfile"), *HOUSE.glob("*/*/Dockerfile")})


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


def test_their_commands_build_what_the_manifests_name() -> None:
    told = [re.findall(r"-t (larder-[a-z-]+:\S+)", path.read_text()) for path in DOCKERFILES]
    assert sorted(sum(told, [])) == sorted(f"{name}:{version()}" for name in BUILT)
    assert {path for path, _ in BUILT.values()} == {str(e.relative_to(HOUSE)) for e in DOCKERFILES}
