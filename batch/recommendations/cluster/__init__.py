"""Lists by a Spark cluster: for data that has outgrown one machine.

Nothing that grows with users or interactions is ever collected on the driver; the catalogue may
be. The rules of the single machine run unchanged on the executors::

    platform   a session, and what is read in it
    candidate  judge and train: what ``pipeline`` asks for, answered by Spark jobs
    learners   which of als, mllib and knn, by ``--engine``, ``--als`` and ``--feedback``
    ids        numbers for items and users
    split      hold out
    blocks     pairs -> one sparse block per partition
    als        alternating least squares over the blocks
    mllib      the same by Spark's MLlib, implicit and explicit
    knn        neighbours of items, from the same blocks
    contents   lists made by executors and written from there into the cache

Call ``batch.spark.java.require`` before any of these is imported: they import pyspark.
"""
