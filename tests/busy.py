"""Run a command while eight busy loops take the processors: python -m tests.busy make test."""

import os
import subprocess
import sys

LOOPS = 8
# It ends with the process that started it, however that one ends.
LOOP = f"import os\nwhile os.getppid() == {os.getpid()}:\n    pass"


def main() -> int:
    """Return the exit code of the command."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(LOOPS)]
    try:
        code = subprocess.call(sys.argv[1:])
    finally:
        for each in loops:
            each.kill()
            each.wait()
    print(f"beside {LOOPS} busy loops: {'passed' if code == 0 else 'failed'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
