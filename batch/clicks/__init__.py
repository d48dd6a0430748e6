"""The click model: from a table of impressions to a published generation.

terms        on what terms it is read, trained, judged and published; light to import
examples     rows to train on: tables of one's own, impressions with their clicks, made-up ones
rows         what was read of them, and what a training asks of them
model        the model itself, and the bytes of a generation
fit          from rows to a model: categories as numbers, trees, the linear member, calibration
one_machine  rows in DuckDB, and a fit in memory; cluster is the same on Spark
tune         which settings are best
measure      AUC, log loss, normalised entropy, calibration, lift, by slices
judge        what was measured, beside the live model, and the reasons against a model
pipeline     judge, gate, train on everything, publish
contents     what a generation holds, and how it gets into the cache; deletion takes a user out
export       a model as plain files, and back
bulk         what a model says of a whole table
report       what was found, as one page
"""
