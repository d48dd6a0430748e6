"""``python -P -m app.http.serve``: the API under the server that ``LARDER_SERVER`` names."""

import sys
from importlib.resources import files
from typing import NoReturn

from app.errors import BadSettings
from app.http.servers.address import listenable
from app.settings import Settings

GUNICORN = ["-c", "python:app.http.gunicorn_conf", "app.http.wsgi:app"]


def main() -> int:
    """Serve until stopped; returns the exit code, 2 for what a restart would not mend."""
    try:
        settings = Settings.from_environment()
        address = listenable(settings.bind)
    except BadSettings as error:
        return _fail(str(error))
    if settings.server == "gunicorn":
        _become_gunicorn()
    try:
        from app.http.granian_server import serve  # here: it is an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "granian":
            raise
        return _fail("granian is not installed: run pip install '.[granian]' in Larder's folder")
    return serve(settings, address)


def _become_gunicorn() -> NoReturn:
    """It would put the working folder before all that is installed, were that not on the path."""
    from gunicorn.app.wsgiapp import run
    from gunicorn.util import getcwd

    sys.path.append(getcwd())
    sys.argv = [str(files("gunicorn") / "__main__.py"), *GUNICORN]  # what SIGUSR2 starts
    sys.exit(run())


def _fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
