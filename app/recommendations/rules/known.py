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
        self._length = 0

    def follow(self, client: Client, length: int) -> bool:
        """Whether another version is in force, as the answer to HLEN tells.

        Raises as the client does.
        """
        if length == self._length:
            return False
        self._length = length
        if not length:
            log.error("the cache has lost the rules: those that were known last hold")
            return False
        try:
            self.version = read(client, self.key, length)
        except BrokenRecord as error:
            log.error("the rules that were known last hold: %s", error)
            return False
        log.info("version %d of the rules is in force", length)
        return True
