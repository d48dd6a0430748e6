"""The walk on a cluster: for data that has outgrown one machine.

Nothing that grows with users or interactions is ever collected on the driver; the catalogue may
be. The rules of the single machine run unchanged on the executors::

    session   lends a quiet session, started or one that runs already; watches and ends it
      java      the extra and Java present? starts and ends Spark's Java, keeps its log
      package   the zip of our code for executors
      failures  Spark's errors as ours
    executor  what a pod on Kubernetes runs, told by Spark what to be
    read      a URI -> checked rows -> merged pairs, wrong rows set aside
    ids       numbers for items and users
    split     hold out
    blocks    pairs -> one sparse block per partition
    als       alternating least squares over the blocks
    mllib     the same by Spark's MLlib, implicit and explicit
    contents  lists made by executors and written from there into the cache
    walk      judge, train, publish: what ``pipeline`` asks for, answered by Spark jobs
    learners  which of als and mllib, by ``--als`` and ``--feedback``

``session``, ``java``, ``package`` and ``failures`` alone are imported without pyspark; call
``java.require()`` before any other.
"""
