"""From rows to a model.

encode     parts of the rows, and categories as numbers, in SQL for DuckDB and Spark
division   which rows are trained on, stopped on and tested on; matrix holds what they say
trees      the first member, by LightGBM; linear is the second, members are both
calibrate  from the members' log-odds to probabilities that hold
"""
