"""How requests come in and answers go out under gunicorn: a client that dawdles costs no thread."""
