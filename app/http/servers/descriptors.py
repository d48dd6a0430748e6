"""How many connections one process takes: as many as it may have files open, but for some."""

import resource

MOST = 65_536
"""Files. Where there is no limit at all, nobody means so many."""
OTHERS = 200
"""Open files that are kept for other things: the log, the documents, connections to the cache."""


def connections() -> int:
    """Let this process have as many files open as it may; return how many may be connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST if most == resource.RLIM_INFINITY else min(most, MOST)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    return max(allowed - OTHERS, 100)
