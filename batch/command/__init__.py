"""The ``larder`` command: the only room that prints:

cli        the subcommands, logging, exit codes
options    groups of options, each becomes one typed object
lists      refresh, check, evaluate: what loads data and trains
published  generations, rollback, prune: what needs the cache alone
whole      export, compare: what reads whole generations
report     what a run tells people
bars       how far it is
table      columns of text
size       what a deployment will need
up         a cache, one refresh and the API for as long as the command runs
demo       the same on real films; films: where they lie
"""
