"""What a key must be allowed for a request, from its method and path alone."""

from app.api.routes import decision, is_explorer, is_rank, is_why
from app.contracts.keys import ADMIN, DECIDE, EVENTS, READ, RULES

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
    if is_rank(path) and method == "POST":
        return DECIDE
    return READ if method in ("GET", "HEAD", "POST") else ADMIN


def scope_of_decisions(method: str, path: str) -> str | None:
    """The same of the application that decides; all but its API is for probes and readers."""
    if method == "OPTIONS" or not path.startswith("/personalizer"):
        return None
    return DECIDE if method == "POST" and decision(path) else ADMIN


def takes_events(path: str) -> bool:
    """Whether events are sent there, by callers who may have no headers of their own."""
    return path == "/events" or path.startswith("/v1/")
