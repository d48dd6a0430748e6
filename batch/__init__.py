"""Larder's offline wing: what users did becomes published generations.

The rooms; each imports only from those below it::

    command           the larder command: options become typed objects; the only room that prints
    recommendations   one product: judge, train, gate and publish every user's top-k
    spark             a cluster that is lent
    interactions      read what users did, say which rows could not be used
    generations       publish anything: lock, verify, point, roll back
    datasets          films for the demo and the benchmarks
"""
