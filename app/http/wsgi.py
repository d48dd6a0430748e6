"""What gunicorn loads: ``gunicorn -c python:app.http.gunicorn_conf app.http.wsgi:app``."""

from app.http.factory import create_app

app = create_app()
