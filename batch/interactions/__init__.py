"""Read what users did with items, and say exactly which rows could not be used.

From a file to arrays, one module a step::

    reading  what a command says of its inputs: layout, rejects
    sources  how files are laid out, which to read, and all of them as one table in DuckDB
    columns  what a row says and what it is rejected for, in SQL
    counting how much a row counts, and which rows make no pair though they are right
    rejects  the rejected rows: their file, when there are too many; texts: their line numbers
    load     rows -> checked -> merged into one weight per pair of user and item
    pairs    the result: ids and index arrays; cap: so many of a user at most
    items    the documents of items; filters: what requests may filter by
    users    the ids of users alone
"""
