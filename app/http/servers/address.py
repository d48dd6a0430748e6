"""Where the server listens, tried before it starts: gunicorn would try for five seconds itself."""

import socket
import stat
from pathlib import Path

from app.errors import BadSettings


def listenable(bind: str) -> Path | tuple[str, int]:
    """The socket's path, or the address and port. Raises BadSettings where nothing can listen.

    granian would share a port that somebody else of the same user listens on.
    """
    try:
        if bind.startswith("unix:"):
            return _path(Path(bind.removeprefix("unix:")))
        return _address(bind)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadSettings(
            f"{bind} cannot be listened on ({why}): name another port with --bind or LARDER_BIND"
        ) from error


def _path(path: Path) -> Path:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # of a server that was killed
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()
    return path


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, *_, address = found[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return str(address[0]), int(probe.getsockname()[1])
