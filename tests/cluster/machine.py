"""A cluster of two nodes on this machine, in namespaces of its own: nothing of it is left behind.

::

    python -m tests.cluster                  builds programs and images, makes the control groups
      setpriv, unshare, catatonit            ends with it; mounts, network, processes of its own
        python -m tests.cluster --inside     machine.sh: control plane, node-1, node-2
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.kubectl import CannotRun
from tests.containers.engine import Engine
from tests.containers.images import VALKEY, build_all, tag
from tests.k8s.rules.images import BUILT

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "larder-cluster")
CONTROL_GROUPS = Path("/sys/fs/cgroup")
GROUP = "larder-cluster"
NODES = ("1", "2")
PAUSE = "larder/pause:1"
PAUSE_DOCKERFILE = 'FROM scratch\nCOPY catatonit /\nUSER 65535\nENTRYPOINT ["/catatonit", "-P"]\n'
NEEDED = ("go", "unshare", "setpriv", "ip", "podman", "catatonit", "iptables", "openssl")
READY_SECONDS = 300


def enclose(arguments: list[str]) -> int:
    """Run ``tests.cluster --inside`` on a new cluster; its exit code. Raises CannotRun."""
    _see_what_is_needed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _run_or_fail("the programs", [str(HERE / "build.sh"), str(CACHE)])
    run = CACHE / "run"
    shutil.rmtree(run, ignore_errors=True)
    (run / "logs").mkdir(parents=True)
    variables = {
        **os.environ,
        "RUN": str(run),
        "BIN": str(CACHE / "bin"),
        "IMAGES": str(_images()),
        "CGROUP": f"/{GROUP}",
        "KUBECONFIG": str(run / "kubeconfig"),
        "PATH": f"{CACHE / 'bin'}:{os.environ['PATH']}",
    }
    command = [*ENCLOSED, sys.executable, "-m", "tests.cluster", "--inside", *arguments]
    with _control_groups():
        process = subprocess.Popen(command, env=variables)
        try:
            return process.wait()
        finally:
            process.kill()  # and with it, by the kernel, all that was started inside
            process.wait()
            shutil.rmtree(run / "node-1", ignore_errors=True)
            shutil.rmtree(run / "node-2", ignore_errors=True)
            shutil.rmtree(run / "volumes", ignore_errors=True)


ENCLOSED = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--mount-proc"),
    *("--fork", "--kill-child", "catatonit", "--"),
)


def _see_what_is_needed() -> None:
    if os.geteuid() != 0:
        raise CannotRun("a cluster is made by root: run it as root, or with CLUSTER=current")
    if not shutil.which("apt-get"):
        raise CannotRun("a cluster is made of Debian's packages, and there is no apt-get here")
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        raise CannotRun(f"not installed: {', '.join(missing)} (make podman brings all but Go)")
    probe = CONTROL_GROUPS / (_hierarchies()[0] if _hierarchies() else ".") / f"{GROUP}-probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise CannotRun(f"control groups cannot be made here: {error}") from error


def _run_or_fail(what: str, command: list[str]) -> None:
    if subprocess.run(command).returncode:
        raise CannotRun(f"could not get {what}: see above")


def _images() -> Path:
    """An archive of all images, by the names in the manifests; made anew when one changed."""
    print("building the images ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder))
        build_all(engine, Path(folder))
        shutil.copy(shutil.which("catatonit") or "", folder)
        Path(folder, "Dockerfile").write_text(PAUSE_DOCKERFILE)
        engine("build", f"--tag={PAUSE}", folder)
        names = [PAUSE, VALKEY, *(tag(name) for name in BUILT)]
        known = "\n".join(engine.inspect(name)["Id"] for name in names)
        archive, identity = CACHE / "images.tar", CACHE / "images.txt"
        if archive.exists() and identity.exists() and identity.read_text() == known:
            return archive
        archive.unlink(missing_ok=True)
        for name in names:
            engine("tag", name, _full(name))
        words = ("--multi-image-archive", "--format=docker-archive", f"--output={archive}")
        engine("save", *words, *map(_full, names))
        identity.write_text(known)
        return archive


def _full(name: str) -> str:
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def _hierarchies() -> list[str]:
    """Where control groups are made: one place, or one a controller where it is the older kind."""
    if (CONTROL_GROUPS / "cgroup.controllers").exists():
        return ["."]
    folders = sorted(each for each in CONTROL_GROUPS.iterdir() if not each.is_symlink())
    return [each.name for each in folders if (each / "cgroup.procs").exists()]


@contextmanager
def _control_groups() -> Iterator[None]:
    roots = [CONTROL_GROUPS / each / GROUP for each in _hierarchies()]
    try:
        for root in roots:
            _remove(root)
            for folder in (root, *(root / f"node-{number}" for number in NODES)):
                folder.mkdir()
                _admit(folder)
        yield
    finally:
        for root in roots:
            _remove(root)


def _admit(folder: Path) -> None:
    """Let processes in where cpusets ask for it; as much weight as the pods of real nodes have."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if folder.relative_to(CONTROL_GROUPS).parts[0] == "cpuset":
            (folder / name).write_text((folder.parent / name).read_text())
    shares = folder / "cpu.shares"
    if shares.exists():
        nodes = len(NODES) if folder.name == GROUP else 1
        shares.write_text(str(1024 * nodes * (os.cpu_count() or 1)))


def _remove(root: Path) -> None:
    """The deepest first; a process that was killed is there a little longer."""
    for attempt in range(50):
        for folder, _, _ in os.walk(root, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
        if not root.exists():
            return
        time.sleep(0.1)
    print(f"left behind, as something still runs in it: {root}", file=sys.stderr)


def start() -> None:
    """Inside: make network, control plane, nodes and services; return when the nodes are ready."""
    for what in ("network", "control-plane"):
        _machine(what)
    for number in NODES:
        own = ["nsenter", f"--net=/run/netns/node-{number}", "unshare", "--mount"]
        subprocess.Popen([*own, str(HERE / "machine.sh"), "node", number])
    _machine("services")
    deadline = time.monotonic() + READY_SECONDS
    while _ready_nodes() < len(NODES):
        if time.monotonic() > deadline:
            raise CannotRun(f"the nodes are not ready; see {os.environ['RUN']}/logs")
        time.sleep(1)


def _machine(what: str) -> None:
    subprocess.run([str(HERE / "machine.sh"), what], check=True, timeout=READY_SECONDS)


def _ready_nodes() -> int:
    path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
    command = ["kubectl", "get", "nodes", "-o", f"jsonpath={path}"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return said.split().count("True")
