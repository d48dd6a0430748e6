"""The rules of a namespace as a worker saw them last."""

import logging

from app.cache.connect import Client
from app.contracts.generations import BrokenRecord
from app.contracts.rules import NONE, Version, rules_key
from app.recommendations.rules.store import read

log = logging.getLogger("larder.rules")


class KnownRules:
    """Follows the version in force; the last one holds while the cache is away or has lost it."""

    def __init__(self, namespace: str) -> None:
        self.key = rules_key(namespace)
        self.version: Version = NONE
        self._length = -1

    def follow(self, client: Client, length: int) -> None:
        """Read the version in force if it is another one, as the answer to HLEN tells.

        Raises as the client does.
        """
        if length == self._length:
            return
        if length:
            self._read(client, length)
        elif self.version.number:
            log.error("the cache has lost the rules: those that were known last hold")
        self._length = length  # now, for what was not read is to be read at the next look

    def read_again(self) -> None:
        """A server that was away may have lost the rules and been given as many others."""
        self._length = -1

    def _read(self, client: Client, length: int) -> None:
        try:
            found = read(client, self.key, length)
        except BrokenRecord as error:
            log.error("the rules that were known last hold: %s", error)
            return
        if found != self.version:
            self.version = found
            log.info("version %d of the rules is in force", length)
