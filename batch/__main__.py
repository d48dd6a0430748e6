"""The ``larder`` command, or one sentence where something that it needs is not installed."""

import sys


def main() -> None:
    """Run ``batch.command.cli``, which imports what a subcommand needs when it needs it."""
    try:
        from batch.command.cli import main as run

        run()
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is not installed: only the API is. Start it with 'gunicorn "
            f"-c python:app.http.gunicorn_conf app.http.wsgi:app', or install 'larder[batch]'"
        )
    except ImportError as error:
        if "libgomp" not in str(error):
            raise
        sys.exit(f"error: {error}: install it (Debian and Ubuntu: apt-get install libgomp1)")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
