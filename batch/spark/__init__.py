"""The walk on a cluster: for data that has outgrown one machine.

Nothing that grows with users or interactions is ever collected on the driver; the catalogue may
be. The rules of the single machine run unchanged on the executors::

    session   Java and the extra present? a quiet session; ships our code; Spark's errors as ours
    read      a URI -> checked rows -> merged pairs, wrong rows set aside
    ids       numbers for items and users
    split     hold out
    blocks    pairs -> one sparse block per partition
    als       alternating least squares over the blocks
    mllib     the same by Spark's MLlib, implicit and explicit
    walk      judge, train, write from the executors into the cache

Everything but ``session`` imports pyspark at once: call ``session.require()`` before.
"""
