"""``make fuzz``: attacks on a running stack, bounded in count and time.

__main__   what is attacked, for how long, and the verdict
http       raw bytes; slow: connections that dawdle; garbage: in the cache; files: odd ones
openapi    what the document allows and forbids, by schemathesis
findings   what every answer is held against: the documented statuses, the log, the known lists
stack      a cache, a published generation and the API, with its log in a file
"""
