"""What users do, from the stream that the API writes into files that a refresh reads:

inputs    what a command says of inputs and weights; light to import
stream    the stream as batch sees it: read on, count, trim
columns   entries -> the rows of a file; which entries are no events
folder    the files by day, whose names say how far they reach
export    stream -> files, each event once, whenever a run dies
load      files -> pairs of user and item with a weight; what their users hid
deletion  take a user out of the stream and out of the files
"""
