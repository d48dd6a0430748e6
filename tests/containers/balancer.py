"""HAProxy in the part of a Service: it spreads connections over the pods that are ready.

It passes bytes on and tries nothing twice, as a Service does not; connections of a pod that is
not ready any more stay.
"""

import csv
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.servers import PATIENCE_SECONDS, free_port, wait_until

SETTINGS = """\
global
  stats socket {socket} level admin
defaults
  mode tcp
  retries 0
  timeout connect 2s
  timeout check 5s
  timeout client 60s
  timeout server 60s
listen api
  bind 127.0.0.1:{port}
  balance roundrobin
  option httpchk GET /health/ready
  default-server check inter 1s fall 1 rise 1
{servers}
"""


class Balancer:
    """A Service's endpoints: they come and go by name."""

    def __init__(self, folder: Path, pods: dict[str, int]) -> None:
        self._folder = folder
        self._socket = folder / "haproxy.sock"
        self._pods = pods
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        servers = "\n".join(
            f"  server {name} 127.0.0.1:{port} disabled" for name, port in self._pods.items()
        )
        settings = self._folder / "haproxy.cfg"
        settings.write_text(SETTINGS.format(socket=self._socket, port=self._port, servers=servers))
        self._process = subprocess.Popen(["haproxy", "-db", "-f", str(settings)])
        wait_until(self._socket.exists)
        return self

    def add(self, name: str) -> None:
        """The pod is ready: new connections may go to it."""
        self._tell(f"set server api/{name} state ready")
        wait_until(lambda: self._told(name, "status") == "UP")

    def remove(self, name: str) -> None:
        """The pod is going: no new connection goes to it, those that it has stay."""
        self._tell(f"set server api/{name} state maint")

    def connections(self, name: str) -> int:
        """How many callers the pod has now."""
        return int(self._told(name, "scur"))

    def _told(self, name: str, column: str) -> str:
        rows = csv.DictReader(self._tell("show stat").removeprefix("# ").splitlines())
        (found,) = [row for row in rows if (row["pxname"], row["svname"]) == ("api", name)]
        return found[column]

    def _tell(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.connect(str(self._socket))
            opened.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: opened.recv(65536), b"")).decode()

    def __exit__(self, *raised: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
