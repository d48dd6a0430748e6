"""Where the API finds the servers that hold what it answers from, without ever waiting for long."""
