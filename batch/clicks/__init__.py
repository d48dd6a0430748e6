"""The click model: from a table of impressions to a published generation.

examples     impressions joined with clicks, as a folder to train on
terms        on what terms it is read, trained, judged and published; light to import
model        the model itself, and the bytes of a generation
pipeline     judge, gate, train on everything, publish
"""
