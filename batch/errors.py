"""What can go wrong in a run, and whether a scheduler should try again::

LarderError
|-- Terminal (exit 2)            the same run would fail again: do not retry
|   |-- BadInteractions          the input, or too much of it, is wrong
|   |-- BadModel                 a file is no model, or one that cannot be taken
|   |-- BadSettings              an option or variable is wrong
|   |-- JobFailed                Spark could not finish
|   |-- NotGoodEnough            the gate stopped the model
|   |-- OutOfMemory              Spark was given too little of it
|   |-- Overtaken                another process moved the pointer first
|   |-- UnknownGeneration        there is no such generation to point at
|   |-- UnknownKey               there is no such key to revoke
|   `-- UnknownVersion           there is no such version of the rules
`-- Transient (exit 75)          cache, cluster or disk cannot take it now: retry
    |-- CacheUnavailable         away, refused, timed out
    |   `-- CacheFull            out of memory
    |-- ClusterUnavailable       no Spark master answers, or it gave the run up
    |-- DiskUnavailable          full, or it fails
    |-- GenerationGone           deleted, or rolled back from, while it was read
    |-- Locked                   another run is refreshing
    `-- LostLock                 another run took over while this one wrote
"""

import errno

DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""What the system says of a disk that may work again later."""

INSTALL_LIBGOMP = "install it (Debian and Ubuntu: apt-get install libgomp1)"
"""What to do where the libraries of models do not find the system's OpenMP."""


class LarderError(Exception):
    """An error with a sentence for its user: what was expected, what was found, what to do."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: frames are none of its reader's."""
        return [f"{type(self).__name__}: {self}"]


class Terminal(LarderError):
    """The same run would fail again; a scheduler must not retry."""

    exit_code = 2


class BadInteractions(Terminal):
    """The input is missing, unreadable, or has more wrong rows than allowed."""


class BadModel(Terminal):
    """A file that should be imported is no model, or one that cannot be taken."""


class BadSettings(Terminal):
    """An option or an environment variable is wrong."""


class JobFailed(Terminal):
    """Spark could not finish; the sentence is the first of its cause."""


class NotGoodEnough(Terminal):
    """The gate stopped the model; nothing was published."""


class OutOfMemory(Terminal):
    """Spark's driver or an executor ran out of memory, or was killed for it."""


class Overtaken(Terminal):
    """Another process moved the pointer first; whoever rolls back must look again."""


class UnknownGeneration(Terminal):
    """There is no such generation to point at, or it is not whole any more."""


class UnknownKey(Terminal):
    """There is no such key to revoke."""


class UnknownVersion(Terminal):
    """There is no such version of the rules, or it is not kept any more."""


class Transient(LarderError):
    """Cache, cluster or disk cannot take it now: retry (exit code 75: EX_TEMPFAIL)."""

    exit_code = 75


class CacheUnavailable(Transient):
    """The cache is away, refuses, times out, or has no memory left."""


class CacheFull(CacheUnavailable):
    """The cache has no memory left."""


class ClusterUnavailable(Transient):
    """No Spark master answers, or it gave the run up."""


class DiskUnavailable(Transient):
    """A disk is full, or fails; usually that of temporary files."""


class GenerationGone(Transient):
    """A generation was deleted, or somebody rolled back from it, while it was read."""


class Locked(Transient):
    """Another run is refreshing the same namespace."""


class LostLock(Transient):
    """Another run took over while this one wrote; nothing was published."""
