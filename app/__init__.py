"""Larder's serving wing: what the API does with the recommendations that batch has made.

Imports nothing, so that a producer can load ``app.contracts`` without Flask.
"""
