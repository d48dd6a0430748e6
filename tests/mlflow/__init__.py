"""Runs in a real MLflow: ``make test-mlflow``."""
