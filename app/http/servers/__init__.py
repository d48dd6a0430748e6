"""The processes and sockets of a server, whichever it is."""
