"""``python -m app.http.probe``: whether the API in this container is ready.

It is the health check of the API's image.

Exit code 0 when ``/health/ready`` answers 200, else 1 and a sentence.
"""

import http.client
import socket
import sys

from app.settings import Settings

TIMEOUT_SECONDS = 2.0


def main() -> int:
    """Ask once, on the address that the API listens on."""
    try:
        status, answer = ask(Settings.from_environment().bind)
    except (OSError, http.client.HTTPException) as error:
        print(f"the API does not answer: {error}")
        return 1
    print(answer)
    return 0 if status == 200 else 1


def ask(bind: str) -> tuple[int, str]:
    """The status and body of ``/health/ready``. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_SECONDS)
    connection.sock = _connect(bind)
    connection.request("GET", "/health/ready")
    response = connection.getresponse()
    return response.status, response.read().decode(errors="replace")


def _connect(bind: str) -> socket.socket:
    if bind.startswith("unix:"):
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(TIMEOUT_SECONDS)
        opened.connect(bind.removeprefix("unix:"))
        return opened
    address, _, port = bind.rpartition(":")
    everywhere = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}
    host = everywhere.get(address, address.strip("[]"))
    return socket.create_connection((host, int(port)), TIMEOUT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
