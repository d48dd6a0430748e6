"""Read what users did with items, and say exactly which rows could not be used.

From a file to arrays, one module a step::

    layout   how a file is laid out: names of columns, delimiter, encoding; the public presets
    reading  what a command says of its inputs: layout, rejects
    files    which files to read, and one plain UTF-8 text of each
    table    the files as one table in DuckDB
    columns  what a row says and what it is rejected for, in SQL
    rejects  the rejected rows: their line numbers, the rejects file, when there are too many
    load     rows -> checked -> merged into one weight per pair of user and item
    pairs    the result: ids and index arrays
    items    the documents of items
"""
