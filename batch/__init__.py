"""Larder's offline wing: a table of interactions becomes one published generation.

The walk, one module a step::

    interactions -> split -> train -> evaluate -> topk -> publish
    load, check     hold     fit an   metrics     best    write, verify,
    merge           out      engine   and gate    unseen  point
"""
