"""Which list does this user get now?

answer      decides it, for every way of asking
live        what changes it at once
lookup      what is asked of the cache in a request
watcher     which generation is live
generation  the live one, as a worker holds it
near_cache  what was answered lately
model       the factors of the live one's items
"""
