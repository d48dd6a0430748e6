"""What the images are built of, and building them.

Where the base image is not there, and no registry is within reach, one is made of Debian's packages
under the name that the Dockerfiles give: the same release and the same packages. So is a Valkey.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.containers.engine import Engine, EngineFailed
from tests.k8s.manifests import HOUSE
from tests.k8s.rules.images import BUILT, version

# Each by itself: those of one Dockerfile share layers. The longest first.
TOGETHER = (
    ("larder-workbench",),
    ("larder-batch", "larder-demo", "larder-batch-spark", "larder-decisions"),
    ("larder-api", "larder-clicks"),
    ("larder-loadtest",),
)
BASE = "debian:trixie-slim"
VALKEY = "valkey/valkey:8.1"
# A slim image has no manuals, and its apt keeps nothing that it fetched.
SLIM = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
APT = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
VALKEY_DOCKERFILE = """\
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends valkey-server \\
 && usermod --uid 999 valkey && groupmod --gid 999 valkey \\
 && install --directory --owner=999 --group=999 /data
VOLUME /data
WORKDIR /data
USER 999:999
EXPOSE 6379
CMD ["valkey-server"]
"""


def tag(name: str) -> str:
    return f"{name}:{version()}"


def build_all(engine: Engine, folder: Path) -> dict[str, float]:
    """Build all images, two at a time; the seconds that each took."""
    have_bases(engine, folder)

    def one_by_one(names: tuple[str, ...]) -> dict[str, float]:
        return {name: build(engine, name, tag(name), HOUSE) for name in names}

    with ThreadPoolExecutor(2) as pool:
        took = {name: s for each in pool.map(one_by_one, TOGETHER) for name, s in each.items()}
    return {name: took[name] for name in BUILT}


def have_bases(engine: Engine, folder: Path) -> None:
    """Pull the images of others, or make them."""
    if not engine.has(BASE) and engine.run("podman", "pull", BASE).returncode:
        make_base(engine, folder)
    if not engine.has(VALKEY) and engine.run("podman", "pull", VALKEY).returncode:
        engine(
            "build",
            "--format=docker",
            "--network=host",
            f"--tag={VALKEY}",
            "-",
            given=VALKEY_DOCKERFILE,
        )


def build(engine: Engine, name: str, called: str, source: Path) -> float:
    """Build an image as its Dockerfile says; the seconds that it took."""
    dockerfile, target = BUILT[name]
    targets = [f"--target={target}"] if target else []
    began = time.monotonic()
    engine(
        "build",
        "--format=docker",  # the other format has no health check
        "--network=host",
        "--layers",
        f"--file={source / dockerfile}",
        f"--tag={called}",
        *targets,
        str(source),
    )
    return time.monotonic() - began


def make_base(engine: Engine, folder: Path) -> None:
    """Make the base image of Debian's packages, with this machine's way to a package index."""
    (folder / "pip.conf").write_text(_pip_settings())
    (folder / "apt.conf").write_text(APT)
    hooks = [
        f"upload {folder / 'pip.conf'} /etc/pip.conf",
        f"upload {folder / 'apt.conf'} /etc/apt/apt.conf.d/docker-clean",
        f"upload {_certificates()} /etc/pip-certificates.crt",
        'rm -f "$1"/var/cache/apt/*.bin',
    ]
    archive = folder / "base.tar"
    done = engine.run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        *(f"--dpkgopt=path-exclude={path}" for path in SLIM),
        *(f"--customize-hook={hook}" for hook in hooks),
        BASE.partition(":")[2].removesuffix("-slim"),
        str(archive),
    )
    if done.returncode:
        raise EngineFailed(f"mmdebstrap: {done.stderr[-2000:]}")
    engine("import", archive.as_posix(), BASE)
    archive.unlink()


def _pip_settings() -> str:
    """Where pip finds packages here, for the builds; the certificates are copied."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    lines = ["[global]", "cert = /etc/pip-certificates.crt"]
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        setting = name.rpartition(".")[2]
        if setting in ("index-url", "extra-index-url", "proxy", "trusted-host"):
            lines.append(f"{setting} = {value.strip(chr(39))}")
    return "\n".join(lines) + "\n"


def _certificates() -> str:
    known = (os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE"))
    return next((path for path in known if path), "/etc/ssl/certs/ca-certificates.crt")
