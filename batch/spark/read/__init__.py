"""Read interactions on a cluster: what `batch.interactions` does, for any folder that Spark reads.

The rules for rows run unchanged, over a few megabytes at a time, wherever Spark has the data::

    storage   what the driver asks a Hadoop file system: names, first bytes, the rejects folder
    source    the input as a frame of checked rows; wrong columns are refused by the driver
    rows      executors: some lines, or some of a Parquet file, through the checks in DuckDB
    quotes    lines that leave a quote open, which are no rows
    rejects   the folder of rejected rows
    load      rows -> merged into one weight per pair of user and item
    events    exported events; several inputs together

What differs from a single machine: one line of a text is one row, so a quoted value holds no
newline; an encoding in which a newline is not the one byte of ASCII (UTF-16) is refused; rejects
have no line numbers; parts of Parquet have one type for each column.
"""

from batch.spark.read.events import read_all
from batch.spark.read.load import Pairs, read

__all__ = ["Pairs", "read", "read_all"]
