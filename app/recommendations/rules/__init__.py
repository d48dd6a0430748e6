"""What the owner of a namespace orders of its lists, and what callers ask for by filters.

store     reads and writes the versions that the cache holds
known     the version in force, as a worker saw it last
in_force  that version as a generation can follow it, at one moment
ranking   what becomes of a list
"""
