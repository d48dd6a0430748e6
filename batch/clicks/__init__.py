"""The click model: from a table of impressions to a published generation.

terms        on what terms it is read, trained, judged and published; light to import
model        the model itself, and the bytes of a generation
encode       parts of the rows, and categories as numbers, in SQL for DuckDB and Spark
trees        the first member, by LightGBM; linear is the second, members are both
one_machine  rows in DuckDB, and a fit in memory
pipeline     judge, gate, train on everything, publish
"""
