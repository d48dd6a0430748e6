"""Keys of callers, as batch makes them and the API asks for them, and where none may be needed.

    larder:1:{shop}:keys    hash    id -> record (JSON): sha256, scopes, expires, note, created;
                                    ``made`` -> nothing, which is never deleted

A key is ``larder_<id>_<secret>``: eight characters by which it is found, and 256 random bits,
which need no slow digest. Nothing but its SHA-256 is kept, so nobody reads a key in a record.

A *foreign* key is any text that an operator brings, because applications have it already. It is
found by an id that its SHA-256 begins with, and all else is the same.
"""

import base64
import hmac
import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Self

from app.contracts.generations import SCHEMA, BrokenRecord

READ, EVENTS, RULES, DECIDE, ADMIN = "read", "events", "rules", "decide", "admin"
SCOPES = (READ, EVENTS, RULES, ADMIN, DECIDE)
"""What a key may do: ask for lists, send events (so it may stand in a web page), rules, all, or
decisions and what they were worth."""

ON, OFF, PROXY = "on", "off", "proxy"
MODES = (OFF, ON, PROXY)
"""``LARDER_AUTH``: nobody needs a key, everybody does, or a proxy in front lets people in."""

MARK = b"made"
"""A field that is no id: while it is there the others are all, without it the hash was lost."""

MAX_NOTE = 200
KEY_LENGTH = 59

_ID = re.compile("[a-z2-7]{8}", re.ASCII)
_FOREIGN = re.compile("[!-~]{16,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """All that is known of a key.

    expires and created: seconds since 1970; expires is 0 for one that holds until it is revoked.
    """

    sha256: str
    scopes: tuple[str, ...]
    expires: int = 0
    note: str = ""
    created: int = 0

    def encode(self) -> str:
        """Its record."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def decode(cls, record: bytes) -> Self:
        """Read a record. Raises BrokenRecord, which repeats nothing of it."""
        try:
            told = json.loads(record)
            key = cls(told["sha256"], tuple(told["scopes"]), told["expires"], told["note"])
            key = replace(key, created=told["created"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BrokenRecord("the record of a key is not one that this version reads") from error
        texts, numbers = (key.sha256, key.note, *key.scopes), (key.expires, key.created)
        right = all(isinstance(each, str) for each in texts)
        if not right or not all(type(each) is int and each >= 0 for each in numbers):
            raise BrokenRecord("the record of a key holds what none has")
        return key

    def is_of(self, key: str) -> bool:
        """Whether it is this key, in a time that does not tell how near a guess was."""
        return hmac.compare_digest(digest(key), self.sha256)

    def allows(self, scope: str) -> bool:
        """Whether it may do that; who has ``admin`` may do all."""
        return scope in self.scopes or ADMIN in self.scopes

    def has_expired(self, now: float) -> bool:
        """now: seconds since 1970."""
        return 0 < self.expires <= now


def keys_key(namespace: str) -> str:
    """The hash of a tenant's keys; it is in the slot of the other control keys."""
    return f"larder:{SCHEMA}:{{{namespace}}}:keys"


def new_key(random: Callable[[int], bytes]) -> str:
    """A key that nobody has; ``random(n)`` gives n bytes that nobody can foretell."""
    name = base64.b32encode(random(5)).decode().lower()
    return f"larder_{name}_{base64.urlsafe_b64encode(random(32)).decode().rstrip('=')}"


def id_of(key: str) -> str | None:
    """The id in a key; None for a text that is none."""
    if len(key) != KEY_LENGTH or not key.startswith("larder_") or not key.isascii():
        return None  # no pattern, which takes longer: each request asks this
    return key[7:15] if key[15] == "_" else None


def foreign_id(text: str) -> str | None:
    """The id of a key from elsewhere; None for what may be none: 16 to 256 ASCII characters."""
    if not _FOREIGN.fullmatch(text) or id_of(text):
        return None
    return base64.b32encode(sha256(text.encode()).digest()[:5]).decode().lower()


def is_id(text: str) -> bool:
    """Whether a key may have that id."""
    return bool(_ID.fullmatch(text))


def digest(key: str) -> str:
    """What is kept of a key."""
    return sha256(key.encode()).hexdigest()


def is_private(bind: str) -> bool:
    """Whether only this machine reaches an address that a server listens on."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def problem_of(auth: str, bind: str) -> str:
    """Why a server must not listen there; empty when it may."""
    if auth != OFF or is_private(bind):
        return ""
    return (
        f"other machines reach LARDER_BIND={bind}, and LARDER_AUTH=off lets in everybody: set "
        f"LARDER_AUTH=on and make a key with 'larder key add --scope read', or LARDER_AUTH=proxy "
        f"where a proxy in front lets nobody through without authentication"
    )
