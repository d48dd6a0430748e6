"""Pages of other sites, to which a browser may lend this machine's way to an API without keys."""

from urllib.parse import urlsplit

from flask import current_app, request

from app.contracts import keys


def host() -> str | None:
    """The host that was asked for, where it is not this machine's and no key is asked for.

    The page of another site has such a host when its name has come to lead to this machine.
    """
    settings = current_app.config["LARDER"]
    is_open = settings.auth == keys.OFF and not settings.bind.startswith("unix:")
    found = str(urlsplit(f"//{request.host}").hostname)
    return found if is_open and not keys.is_private(f"{found}:0") else None
