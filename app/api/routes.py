"""What the routes are called by those who count requests, from the path alone."""

import re

_PATHS = {
    "index": "/ /openapi.yaml /docs /swagger",
    "recommendations_batch": "/recommendations",
    "events": "/events /v1/track /v1/batch /v1/identify /v1/page /v1/screen /v1/group /v1/alias",
    "tracker": "/larder.js",
    "sample": "/users/sample",
    "generation": "/generation",
    "rules": "/rules /rules/history /rules/check /rules/rollback",
    "rank": "/rank/click",
    "invocations": "/invocations",
    "version": "/version",
    "health": "/ping /health/live /health/ready /ready /status",
}
ROUTES = {path: route for route, paths in _PATHS.items() for path in paths.split()}
_DECISION = re.compile(
    r"/personalizer(?:/v1\.(?:0|1-preview\.[123]))?/(?:multislot/)?"
    r"(?:(rank)|events/(?s:.+)/(reward|activate))"
)


def route_of(path: str) -> str:
    """The name of the route that answers a path, ``other`` for a path that none answers."""
    if path.startswith("/recommendations/"):
        return "decide" if is_rank(path) else "recommendations"
    if path.startswith("/personalizer"):
        found = decision(path) or "decisions"
        return "decide" if found == "rank" else found
    if path.startswith("/items/") and path.endswith("/similar"):
        return "similar"
    if path.startswith("/users/") and path not in ROUTES:
        return "user"
    if path.startswith(("/docs/", "/problems/")):
        return "index"
    if is_explorer(path):
        return "explorer"
    return ROUTES.get(path, "other")


def is_explorer(path: str) -> bool:
    """Whether a page of the explorer, or what belongs to one, is asked for."""
    return path == "/explorer" or path.startswith("/explorer/")


def is_why(path: str) -> bool:
    """Whether what a user had may be told there, which a key that asks for lists must not do.

    A user whose id ends in ``/why`` is taken for that too.
    """
    return path.startswith("/recommendations/") and path.endswith("/why")


def is_rank(path: str) -> bool:
    """Whether a user's list may be put in order by a decision there, if it is a POST."""
    return path.startswith("/recommendations/") and path.endswith("/rank")


def decision(path: str) -> str | None:
    """Which call of an application it is: rank, reward or activate; None for any other path."""
    found = _DECISION.fullmatch(path)
    return found and (found[1] or found[2])
