"""Publish anything: a generation is immutable, verified, and goes live by one pointer.

Knows nothing of what a generation holds::

    connect   a client of the cache, and its errors as ours
    lock      one run at a time
    server    what the servers say of themselves: memory, replicas
    parts     write keys of either kind, and verify them
    registry  which generations there are, which is live; roll back, delete
    publish   a run's turn: begin, write, verify, point
"""
