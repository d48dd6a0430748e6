"""The click model: from a table of impressions to a published generation.

examples     impressions joined with clicks, as a folder to train on
terms        on what terms it is read, trained, judged and published; light to import
layout       how examples are laid out; light to import
infer        what each of their columns is: a number, a category, nothing
cells        what their rows say, and what they are rejected for, as SQL
read         from files to a table of rows; users of what is known of users
generate     examples of our own making, whose truth is known
model        the model itself, and the bytes of a generation
encode       parts of the rows, and categories as numbers, in SQL for DuckDB and Spark
trees        the first member, by LightGBM; linear is the second, members are both
one_machine  rows in DuckDB, and a fit in memory
tune         which settings are best
measure      AUC, log loss, normalised entropy, calibration, lift, by slices; calibrate mends scores
judge        what was measured, beside the live model, and the reasons against a model
contents     what a generation holds, and how it gets into the cache
pipeline     judge, gate, train on everything, publish
export       a model as plain files, and back
report       what was found, as one page
"""
