"""Who may ask for what, and how often: WSGI around all that answers, where LARDER_AUTH is on.

guard      lets a request through, or answers it by itself
scopes     what a key must be allowed for a request
presented  the key that a request brings
known      the keys that there are, asked for in a thread
limits     how often a key may ask
"""
