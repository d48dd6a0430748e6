"""Where the cache is: one grammar of URLs and one mask for both wings.

Before the last ``@`` only a password may stand, and nothing that the client library would cut at;
so a password that is not escaped is refused, and never taken for a host and shown.
"""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

_URL = re.compile(
    r"""(?P<scheme>(?P<unix>unix)|rediss?(?P<cluster>[+]cluster)?)://
    ([^/?\#]*@)?
    (?P<where>(?(unix)/[^@?\#]+
        |(\[[^][@/?\#]+\]|[^][:@/?\#\s]+)(:[0-9]*)?(/(?(cluster)0*|[0-9]{0,9}))?))
    ([?](?P<options>[^\#]*))?\#?""",
    re.VERBOSE,
)

# Options and their values, which the client takes for not given when they are empty. None of them
# says how long to wait.
_ANY = {"db": "[0-9]{0,9}", "protocol": "|2"}
_TLS = {
    "ssl_ca_certs": ".*",
    "ssl_ca_path": ".*",
    "ssl_cert_reqs": "|none|optional|required",
    "ssl_certfile": ".*",
    "ssl_check_hostname": ".*",
    "ssl_keyfile": ".*",
}

_SHAPE = (
    "must be redis://[user:password@]host:port/db, rediss:// (TLS), unix:///path, or "
    "redis+cluster://host:port and rediss+cluster://, which have no db but 0; in a user name or "
    "password write / ? # @ : and % as %2F %3F %23 %40 %3A %25"
)
_OPTIONS = (
    f"may carry the options db, {', '.join(_TLS)} and protocol only, those of ssl only with TLS, "
    f"each with a value that the client knows"
)


@dataclass(frozen=True, slots=True)
class CacheURL:
    """The URL of a cache that both wings can use."""

    scheme: str
    shown: str
    """What a message may say: without user, password and options."""
    for_client: str = field(repr=False)
    """As the client library wants it, which has no scheme of its own for a cluster."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        Raises ValueError: what is wrong, to be read behind the name of the setting. It repeats
        nothing of the URL, which may hold a password at any place.
        """
        text = text.rstrip("\r\n")  # of a Secret that was made of a line
        parts = _URL.fullmatch(text)
        if parts is None or not _can_be_cut(text):
            raise ValueError(_SHAPE)
        scheme = parts["scheme"]
        if not _knows_options(scheme, parts["options"] or ""):
            raise ValueError(_OPTIONS)
        client = scheme.removesuffix("+cluster") + text[len(scheme) :]
        return cls(scheme, f"{scheme}://{parts['where']}", client)

    @property
    def is_cluster(self) -> bool:
        return self.scheme.endswith("+cluster")


def _can_be_cut(text: str) -> bool:
    """Whether client and resolver can take the URL apart; their errors would show it."""
    try:
        text.encode()  # a variable of the environment may hold bytes that are no text
        parts = urlsplit(text)
        unquote(parts.hostname or "").encode("idna")
        return parts.port is None or parts.port < 65_536
    except ValueError:
        return False


def _knows_options(scheme: str, options: str) -> bool:
    known = {**_ANY, **(_TLS if "rediss" in scheme else {})}
    if "+cluster" in scheme:
        known["db"] = "0*"
    given = parse_qsl(options, keep_blank_values=True)
    return all(name in known and re.fullmatch(known[name], value) for name, value in given)
