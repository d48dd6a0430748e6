"""The ``larder`` command: the only room that prints.

::

    cli        the subcommands, logging, exit codes; endings: what a run says at its end
    options    groups of options, each becomes one typed object
    published  generations, rollback, prune: what needs the cache alone
    events, keys, size, tracking   what their subcommands, and --mlflow, do
    recommendations, clicks, decisions   the subcommands of each product
    stack      what starts others: serve, up, demo, workbench
    output     what a run tells people: tables, reports, bars
"""
