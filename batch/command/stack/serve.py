"""The API in place of the command that starts it."""

import os
import sys
from typing import NoReturn

from batch.command.options import CacheOptions, Serving


def become(cache: CacheOptions, serving: Serving, **settings: str) -> NoReturn:
    """Serve until stopped; settings: others than the options say, by their variables."""
    given = {
        "LARDER_CACHE_URL": cache.url,
        "LARDER_NAMESPACE": cache.namespace.name,
        "LARDER_BIND": serving.bind,
        "LARDER_WORKERS": str(serving.workers),
        "LARDER_SERVER": serving.server,
        "LARDER_AUTH": serving.auth,
        **settings,
    }
    command = [sys.executable, "-P", "-m", "app.http.serve"]
    os.execve(command[0], command, {**os.environ, **given})
