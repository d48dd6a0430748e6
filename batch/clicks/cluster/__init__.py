"""Click models by a Spark cluster: the SQL, the members and the scores of one machine, run there.

::

    platform  a session, and what is read in it
    bulk      a table of any size -> a folder of scores
    read      URIs -> the table ``rows``, kept by Spark
    examples  what ``pipeline`` asks for, answered by Spark jobs
    matrix    the tables of ``encode``, joined to the rows
    workers   the fit: one task, or the tasks of one barrier stage
    scoring   executors predict some rows at a time

Call ``batch.spark.java.require`` before any of these is imported: they import pyspark.
"""
