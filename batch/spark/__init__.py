"""A Spark cluster that is lent to whoever has work for it; no model in it::

    options   what a command says of the session
    session   lends a quiet session, started or one that runs already; watches and ends it
    java      the extra and Java present? starts and ends Spark's Java, keeps its log
    package   the zip of our code for executors
    failures  Spark's errors as ours
    executor  what a pod on Kubernetes runs, told by Spark what to be
    read      a URI -> checked rows -> merged pairs, wrong rows set aside

``options``, ``session``, ``java``, ``package`` and ``failures`` alone are imported without pyspark;
call ``java.require()`` before any other.
"""
