"""How gunicorn runs the API; every figure that a team may want to change is a setting."""

import os

from app.settings import Settings

_settings = Settings.from_environment()

bind = _settings.bind
workers = _settings.workers
threads = _settings.threads
worker_class = "gthread"
loglevel = _settings.log_level
accesslog = None  # one line per request costs more than the request; the proxy in front has it
keepalive = 75
timeout = 30
graceful_timeout = 30
control_socket_disable = True  # it would be written under $HOME, which a read-only root refuses
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
