"""What users do, on its way from a request into the stream.

intake    a body becomes events, and sentences about those that cannot be taken
shapes    what other trackers send, as our own
native    one event as JSON, checked member by member
stream    the server that keeps them; recent, rewards: what it is told beside the events
state     how many there are, and how fast they come
deletion  a user is taken out of them
"""
