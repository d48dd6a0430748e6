"""Odd files for ``larder check`` and ``larder refresh``: each row is counted or rejected."""

import gzip
import re
import resource
import time
from pathlib import Path
from random import Random

from tests.fuzz.findings import Findings
from tests.fuzz.stack import SMALL, Stack, clusters
from tests.servers import run

MAX_MEMORY_KB = 1_100_000
LINES = (  # each is one line of a file with the columns user, item, weight: right, and wrong ones
    (True, b"u%d,i%d,1"),
    (True, b'"u%d","i %d",2.5'),
    (True, "ü%d,日本%d,3".encode()),
    (False, b",i%d%d,1"),
    (False, b"u%d,i%d,nan"),
    (False, b"u%d,i%d,-1"),
    (False, b"u%d,i%d,x"),
    (False, b"u%d,i%d"),
    (False, b"u%d,i%d,1,2,3"),
    (False, b"u%d,\xff\xfe%d,1"),
    (False, b"u%d,i%d" + b"x" * 2000 + b",1"),
)
NASTY = (
    *(
        b"\x00",
        b'"',
        b"'",
        b",",
        b"\r",
        b"\n" * 300,
        b"\r\n",
        b"\t",
        b";",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(b"9" * 400, b"x" * 70_000, b"nan", b"1e999", b"-0", b"=cmd()", b"\\N", b"user,item\n"),
)


def attack(stack: Stack, random: Random, seconds: float) -> Findings:
    """Make odd files and read them, for so long."""
    findings = Findings("odd files", stack.server)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        findings.tries += 1
        random.choice((_counted, _wounded))(stack, random, findings)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if memory > MAX_MEMORY_KB:
        findings.add(f"a command took {memory // 1000} MB", "odd files")
    return findings


def _counted(stack: Stack, random: Random, findings: Findings) -> None:
    """A file of known lines, some blank: what is wrong is rejected, and nothing else."""
    chosen = random.choices(LINES, weights=[len(LINES)] * 3 + [1] * (len(LINES) - 3), k=300)
    lines = [line % (n % 40, n % 30) for n, (_, line) in enumerate(chosen)]
    end = random.choice((b"\n", b"\r\n"))
    text = end.join([b"user,item,weight", *lines]) + random.choice((b"", end, end * 20))
    path = stack.folder / "counted.csv"
    path.write_bytes(text)
    said = _check(path, findings, "--max-rejects", "1")
    wrong = sum(not right for right, _ in chosen)
    rejected = re.search(r"([\d,]+) rejected", said)
    if rejected is None or int(rejected[1].replace(",", "")) != wrong:
        kept = stack.folder / f"miscounted-{findings.tries}.csv"
        kept.write_bytes(text)
        findings.add(f"{wrong} rows are wrong, and it said {said[:200]!r}", str(kept))


def _wounded(stack: Stack, random: Random, findings: Findings) -> None:
    """A file with bytes cut, doubled and replaced: whatever it says, it says a sentence."""
    content = clusters(random).encode()
    path = stack.folder / random.choice(("odd.csv", "odd.tsv", "odd.parquet", "odd.csv.gz", "odd"))
    if path.suffix == ".gz":
        content = gzip.compress(content)
    for _ in range(random.randrange(1, 6)):
        start = random.randrange(len(content) + 1)
        end = start + random.choice((0, 1, 30, 3000))
        piece = random.choice((random.choice(NASTY), random.randbytes(4), content[start:end] * 2))
        content = content[:start] + piece + content[end:]
    path.write_bytes(content)
    said = _check(path, findings)
    cache = ("--cache-url", stack.cache.url, "--namespace", "fuzz-files")
    if "pairs" in said and random.random() < 0.2:
        rejects = ("--rejects", str(stack.folder / "rejects.csv"))
        _run(findings, path, "refresh", str(path), *SMALL, *cache, *rejects)
    path.unlink()


def _check(path: Path, findings: Findings, *options: str) -> str:
    return _run(findings, path, "check", str(path), *options)


def _run(findings: Findings, path: Path, *command: str) -> str:
    """What the command prints; a bad file is kept when it ends in another way than it may."""
    done = run(*command, timeout_seconds=300)
    findings.answers[f"{command[0]} {done.returncode}"] += 1
    if done.returncode not in (0, 2, 75) or "Traceback" in done.stderr:
        kept = path.with_name(f"bad-{findings.tries}-{path.name}")
        kept.write_bytes(path.read_bytes())
        findings.add(f"'larder {command[0]}' ended with {done.returncode}", str(kept))
    findings.log(done.stderr, command)
    return done.stdout
