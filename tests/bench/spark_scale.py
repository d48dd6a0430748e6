"""How a refresh by Spark grows with data and cores: the other half of ``make bench-spark``.

The whole command, unjudged, on a real standalone cluster with a worker for each core; driver, cache
and executors share those cores and no other. Generated pairs; the seconds are those that the
command tells of its steps. Memory is the most that was seen, pages shared by processes counted
once: of the driver (Python and Java), and of the executors (Java and their Python workers).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from batch.command.output.table import table
from tests.bench import data
from tests.servers import Server, environment
from tests.spark.cluster import StandaloneCluster

USERS, ITEMS, PAIRS_PER_USER = 250_000, 25_000, 44
"""At scale 1."""
STEPS = ("read", "number", "gather", "train on all", "publish")


@dataclass
class Run:
    """One refresh."""

    scale: float
    cores: int
    pairs: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    driver: int = 0
    executors: int = 0
    """Bytes, at the most."""


def main() -> None:
    """Print the table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--plot", type=Path, default=Path("bench-spark.png"))
    given = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for scale in given.scales:
            users, items = int(USERS * scale), int(ITEMS * scale)
            path = data.generated(users, items, PAIRS_PER_USER, Path(folder))
            for cores in given.cores:
                with _only(cores):
                    runs.append(_run(path, Run(scale, cores), given.factors, given.iterations))
                print(_row(runs[-1]), file=sys.stderr, flush=True)
    head = ["scale", "cores", "pairs", *STEPS, "all, s", "driver MB", "executors MB"]
    print(table(head, map(_row, runs)))
    _draw(runs, given.plot)
    print(f"drawn in {given.plot}")


@contextmanager
def _only(cores: int) -> Iterator[None]:
    """Let everything that is started meanwhile run on so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _run(path: Path, found: Run, factors: int, iterations: int) -> Run:
    with (
        tempfile.TemporaryDirectory() as folder,
        Server() as server,
        StandaloneCluster(Path(folder), found.cores, memory_mb=4096) as cluster,
        open(Path(folder) / "said", "w+") as said,
    ):
        conf = f"spark.master={cluster.url} spark.executor.memory=3g spark.driver.memory=2g"
        conf += f" spark.sql.shuffle.partitions={4 * found.cores}"
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "batch",
                    "refresh",
                    str(path),
                    "--engine",
                    "spark",
                ),
                *("--holdout", "0", "--force", "--cache-url", server.url),
                *("--factors", str(factors), "--iterations", str(iterations)),
            ],
            env=environment({"LARDER_CONF": conf}),
            stdout=said,
            stderr=said,
        )
        started = time.perf_counter()
        while process.poll() is None:
            found.driver = max(found.driver, _memory(_tree(process.pid)))
            workers = [each for worker in cluster.workers for each in worker.children(True)]
            found.executors = max(found.executors, _memory(workers))
            time.sleep(1)
        found.total = time.perf_counter() - started
        said.seek(0)
        text = said.read()
    if process.returncode:
        sys.exit(text)
    for name, seconds in re.findall(r"^(.+?): .* in ([\d.]+) s$", text, re.MULTILINE):
        found.seconds[name] = float(seconds)
    (pairs,) = re.findall(r"([\d,]+) pairs of", text)
    found.pairs = int(pairs.replace(",", ""))
    return found


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _row(found: Run) -> list[str]:
    steps = (f"{found.seconds.get(step, 0):.1f}" for step in STEPS)
    memory = (f"{each / 2**20:,.0f}" for each in (found.driver, found.executors))
    start = [f"{found.scale:g}x", str(found.cores), f"{found.pairs:,}"]
    return [*start, *steps, f"{found.total:.0f}", *memory]


def _draw(runs: list[Run], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for cores in sorted({each.cores for each in runs}):
        mine = [each for each in runs if each.cores == cores]
        millions = [each.pairs / 1e6 for each in mine]
        time_axes.plot(millions, [each.total for each in mine], "o-", label=f"{cores} core(s)")
        for name, unit in (("driver", "--"), ("executors", "-")):
            sizes = [getattr(each, name) / 2**20 for each in mine]
            memory_axes.plot(millions, sizes, f"o{unit}", label=f"{name}, {cores} core(s)")
    for axes, label in ((time_axes, "seconds of a refresh"), (memory_axes, "MB at the most")):
        axes.set(xlabel="million pairs", ylabel=label, xlim=(0, None), ylim=(0, None))
        axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
