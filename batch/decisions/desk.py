"""The desk as the trainer sees it: what operators want, their orders, and what it tells them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.contracts.decisions import IMPORT, Configuration, Decisions, Order, Policy
from app.contracts.learning import policies
from batch.generations.connect import Client, errors_of_keys


@dataclass(frozen=True, slots=True)
class Desk:
    """Raises CacheUnavailable, or BrokenRecord for what cannot be read."""

    client: Client
    space: Decisions

    def configuration(self) -> Configuration:
        """How decisions are made and learned."""
        text = self._read("configuration")
        return Configuration.from_json(text) if text else Configuration()

    def policy_text(self) -> bytes:
        """What it says of the policy; empty for the default."""
        return self._read("policy")

    def policy(self) -> Policy:
        """The policy that is wanted, with the exploration that is."""
        text = self.policy_text()
        policy = Policy.from_json(text) if text else policies.DEFAULT
        exploration = self.configuration().exploration
        return replace(policy, arguments=policies.with_exploration(policy.arguments, exploration))

    def use(self, policy: Policy) -> bool:
        """Put a policy in force that a model has learned by; whether it was another one before."""
        exploration = self.configuration().exploration
        arguments = policies.with_exploration(policy.arguments, exploration)
        if replace(policy, arguments=arguments) == self.policy():
            return False
        self.tell({"policy": asdict(policy)})
        return True

    def guard(self) -> dict[str, Any]:
        """What the guard did last: when ("at") and why; empty for nothing."""
        found: dict[str, Any] = json.loads(self._read("guard") or b"{}")
        return found

    def order(self) -> Order | None:
        """The first order that is not done."""
        with errors_of_keys("the cache", self.space.orders):
            text: bytes | None = self.client.lindex(self.space.orders, 0)
        return Order.from_json(text) if text else None

    def done(self) -> None:
        """Forget the first order."""
        with errors_of_keys("the cache", self.space.orders):
            self.client.lpop(self.space.orders)

    def imported(self) -> bytes:
        """The model that an order tells to publish; empty where there is none."""
        with errors_of_keys("the cache", self.space.imported):
            return self.client.get(self.space.imported) or b""

    def bring(self, model: bytes, why: str) -> None:
        """Order that a model is published."""
        keys, order = (self.space.imported, self.space.orders), Order("import", why)
        with errors_of_keys("the cache", *keys):
            self.client.eval(IMPORT, 2, *keys, model, order.to_json())

    def tell(self, told: Mapping[str, Any]) -> None:
        """Write these for operators, as JSON; None takes one away."""
        with errors_of_keys("the cache", self.space.desk):
            for name, value in told.items():
                if value is None:
                    self.client.hdel(self.space.desk, name)
                else:
                    self.client.hset(self.space.desk, name, json.dumps(value))

    def _read(self, name: str) -> bytes:
        with errors_of_keys("the cache", self.space.desk):
            return self.client.hget(self.space.desk, name) or b""
