"""What a key must be allowed for a request, from its method and path alone."""

from app.api.routes import is_explorer, is_why
from app.contracts.keys import ADMIN, EVENTS, READ, RULES

_OPEN = (
    "/health/live",
    "/health/ready",
    "/ping",
    "/metrics",
    "/larder.js",
    "/openapi.yaml",
    "/docs",
)
"""For probes, Prometheus (a setting of its own), pages that load the tracker, and readers."""
_OPEN_BELOW = ("/docs/", "/problems/")


def scope_of(method: str, path: str) -> str | None:
    """The scope; None for what is open to all.

    A browser asks by OPTIONS whether it may ask, and brings no key; the answer holds nothing.
    """
    if path in _OPEN or path.startswith(_OPEN_BELOW) or method == "OPTIONS":
        return None
    if takes_events(path):
        return EVENTS
    if is_explorer(path) or is_why(path):
        return ADMIN
    if path == "/rules" or path.startswith("/rules/"):
        return RULES
    return READ if method in ("GET", "HEAD", "POST") else ADMIN


def takes_events(path: str) -> bool:
    """Whether events are sent there, by callers who may have no headers of their own."""
    return path == "/events" or path.startswith("/v1/")
