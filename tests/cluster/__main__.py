"""``python -m tests.cluster``: run k8s/README.md on a real cluster, print a table.

The exit code: 0 all green, 1 a red row, 2 nothing was tried.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import demo, machine, overlays, own, redis_cluster, spark
from tests.cluster.kubectl import CURL, NAMESPACE, CannotRun, Cluster, Failed, Readme
from tests.k8s.manifests import K8S

Step = Callable[[Cluster], str]
INSTALLATIONS = {
    "demo": demo.STEPS,
    "own": own.STEPS,
    "redis-cluster": redis_cluster.STEPS,
    "spark": spark.STEPS,
}
"""Each in a namespace that is made anew."""
NOT_RUN = {
    ("Apply", 1): "images are built by podman, and no registry is asked",
    ("Events", 1): "production runs here without its server of events",
    ("The workbench", 1): "its image is not on the nodes",
    ("The workbench", 2): "its image is not on the nodes",
}
"""Blocks of the README that are not run, and why."""
EDITS = {
    "docker build": "# docker build",  # as above
    "executor -w": "executor",  # else it never ends
    "YOUR-OVERLAY": "k8s/overlays/own",
    "rediss://": "redis://",  # a cache of ours stands for yours, without TLS
    "api:PASSWORD@cache.example.com:6380": "api:larder-demo-api@larder-cache.outside:6379",
    "batch:PASSWORD@cache.example.com:6380": "batch:larder-demo-batch@larder-cache.outside:6379",
}
"""What a team fills in, in the commands that are run."""
NAMESPACES = (NAMESPACE, "outside")
Row = tuple[str, str, float, str]


def main() -> int:
    asked = _parser().parse_args()
    try:
        if asked.cluster == "current":
            _see_current(asked.replace)
            return _try_all(asked.only, ours=False)
        if not asked.inside:
            return machine.enclose([f"--only={each}" for each in asked.only])
        machine.start()
        return _try_all(asked.only, ours=True)
    except CannotRun as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.cluster", allow_abbrev=False)
    parser.add_argument("--cluster", choices=("new", "current"), default="new")
    parser.add_argument("--replace", action="store_true", help="delete a namespace that is there")
    parser.add_argument("--only", action="append", choices=INSTALLATIONS, default=[])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def _see_current(replace: bool) -> None:
    if not shutil.which("kubectl"):
        raise CannotRun("there is no kubectl here")
    if not _said("config", "current-context"):
        raise CannotRun(
            "kubectl has no current context: choose a cluster by kubectl config use-context"
        )
    there = [name for name in NAMESPACES if _said("get", "namespace", name, "--ignore-not-found")]
    if there and not replace:
        raise CannotRun(
            f"the cluster has a namespace {' and a namespace '.join(there)} already: "
            "make test-cluster CLUSTER=current REPLACE=1 deletes them with all that is in them"
        )


def _said(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True)
    if done.returncode and arguments[0] != "config":
        raise CannotRun(f"the cluster does not answer: {done.stderr.strip()}")
    return done.stdout.strip()


def _try_all(only: list[str], ours: bool) -> int:
    readme = Readme((K8S / "README.md").read_text(encoding="utf-8"), EDITS)
    log = Path(tempfile.gettempdir(), "larder-cluster.log")
    log.write_text("")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        overlays.fill(Path(folder))
        Path(folder, ".curlrc").write_text(CURL)
        cluster = Cluster(Path(folder), readme, ours, log)
        try:
            for name in only or INSTALLATIONS:
                _delete_namespaces()
                rows += [_try(cluster, name, step) for step in INSTALLATIONS[name]]
        finally:
            _delete_namespaces()
        if not only:
            rows += _forgotten(cluster)
    _print(rows, log)
    return 1 if any(sign == "red" for _, sign, _, _ in rows) else 0


def _delete_namespaces() -> None:
    command = ["kubectl", "delete", "namespace", *NAMESPACES, "--ignore-not-found"]
    subprocess.run(command, check=True, timeout=600, stdout=subprocess.DEVNULL)


def _try(cluster: Cluster, name: str, step: Step) -> Row:
    what = f"{name}: {step.__name__.replace('_', ' ')}"
    began = time.monotonic()
    try:
        sign, said = "green", step(cluster)
    except (Failed, subprocess.SubprocessError, KeyError, ValueError) as error:
        sign, said = "red", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    print(f"{sign:5} {seconds:4.0f} s  {what}: {said}", flush=True)
    return what, sign, seconds, said


def _forgotten(cluster: Cluster) -> list[Row]:
    """A block of the README that nobody ran and nobody says why."""
    left = set(cluster.readme.blocks) - cluster.ran - set(NOT_RUN)
    return [("a block of the README", "red", 0.0, f"not run: {each}") for each in sorted(left)]


def _print(rows: list[Row], log: Path) -> None:
    print("\n| what | result |\n|---|---|")
    for what, sign, seconds, said in rows:
        shown = said if sign == "green" else f"**red**: {said.splitlines()[0][:200]}"
        print(f"| {what} | {shown} |")
    for (section, number), why in NOT_RUN.items():
        print(f"| {section}, block {number} | not run: {why} |")
    print(f"\nwhat each command said: {log}")


if __name__ == "__main__":
    sys.exit(main())
