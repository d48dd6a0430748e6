"""``python -m tests.fuzz``: attack a running stack; exit code 0 when everything held."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom

from tests.fuzz import files, garbage, http, openapi, slow
from tests.fuzz.findings import Findings
from tests.fuzz.stack import Stack, running

ATTACKS: dict[str, Callable[[Stack, Random, float], Findings]] = {
    "http": http.attack,
    "slow": slow.attack,
    "garbage": garbage.attack,
    "files": files.attack,
    "openapi": openapi.attack,
}
SHOWN = 20


def main() -> int:
    """Run each attack for an equal share of the time; returns the exit code."""
    options = _options()
    print(f"seed {options.seed}: {options.seconds} s of {', '.join(options.attacks)}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="larder-fuzz-"))
    all_findings = []
    with running(folder, options.server) as stack:
        for name in options.attacks:
            share = options.seconds / len(options.attacks)
            findings = ATTACKS[name](stack, Random(options.seed), share)
            stack.compare(findings)
            _print(findings)
            all_findings.append(findings)
    if not any(each.found for each in all_findings):
        shutil.rmtree(folder)
        print("every answer was documented, no traceback, no list lost")
        return 0
    print(f"the files are in {folder}; the same again: --seed {options.seed}")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--server", default="gunicorn", help="gunicorn or granian")
    options = parser.parse_args()
    if unknown := set(options.attacks) - set(ATTACKS):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    options.attacks = options.attacks or list(ATTACKS)
    return options


def _print(findings: Findings) -> None:
    counts = ", ".join(f"{answer}: {n:,}" for answer, n in sorted(findings.answers.items()))
    total = f"{findings.tries:,} tries; {counts}; {len(findings.found)} kinds of findings"
    print(f"{findings.attack}: {total}")
    for what, (times, first) in list(findings.found.items())[:SHOWN]:
        print(f"  {times:,} times {what}\n    by {first}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
