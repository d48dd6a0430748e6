"""How requests come in and answers go out under gunicorn: a client that dawdles costs no thread.

worker         gunicorn's worker: one loop for all sockets, threads for whole requests alone
connection     one client: its socket, its deadline, what is still to be sent
incoming       the bytes that came, until they are a whole request
refusals       what HTTP itself refuses, as problem+json
shares         who takes a new connection: the workers' counts of open ones
"""
