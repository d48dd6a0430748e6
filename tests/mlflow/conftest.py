"""What all tests of MLflow need."""

import os


def pytest_configure() -> None:
    """Nobody is told that MLflow is tested; a test of its own sees that a refresh tells nobody."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
