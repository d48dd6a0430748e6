"""A version of the rules as a generation can follow it.

What it cannot follow, such as a filter by a column that is gone, is left out and said.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from app.contracts.filtering.columns import AVAILABLE_FROM, AVAILABLE_UNTIL, Type
from app.contracts.filtering.filters import BadFilter, Clause
from app.contracts.rules import Boost, Cap, Rules, Version
from app.recommendations.memory.documents import Finding
from app.recommendations.rules.ranking import Lacking, Order, Values, Varying, both

if TYPE_CHECKING:
    from app.recommendations.memory.columns import Columns
    from app.recommendations.model import Model

_MOST_TOLD = 20
_KEPT_BYTES = 8 << 20
"""Of the masks of filters that were asked for lately."""
_LEAST_BYTES = _KEPT_BYTES // 256
"""What each counts as, at least, so that there are never many."""

Clauses = tuple[Clause, ...]


class InForce:
    """What a version orders of the lists of one generation, at any moment.

    items: how many there are. find: see ``Documents``. columns, model: None where there are none.
    lacking: why columns that there are cannot be used here.
    """

    def __init__(
        self,
        version: Version,
        items: int,
        find: Finding,
        columns: "Columns | None",
        model: "Model | None",
        lacking: str = "",
    ) -> None:
        self.version, self._items, self._columns = version, items, columns
        self.types: Mapping[str, Type] = columns.types() if columns else {}
        """The columns to filter by."""
        self._lacking = lacking
        self._ignored = [lacking] if lacking else []
        self._tag = _digest(json.dumps(version.rules)) if version.rules else ""
        rules = Rules.of(version.rules)
        self.named = self._named(rules.filters)
        self._default = tuple(self._followed("defaults", rules.default_filter))
        self._boosts = self._product(rules.boost)
        self._cap = self._capped(rules.cap)
        self._vary = self._varying(rules.diversity, model)
        self._hidden = self._found("hide", rules.hide, find)
        pinned = self._found("pin", [pin.item for pin in rules.pin], find)
        self._pins = sorted(
            (pin.position, pinned[pin.item], pin.start, pin.until)
            for pin in rules.pin
            if pin.item in pinned
        )
        self._moments = sorted({moment for pin in self._pins for moment in pin[2:]})
        ordered = self._hidden, self._pins, self._default, self._boosts, self._cap, self._vary
        dates = {AVAILABLE_FROM, AVAILABLE_UNTIL} & self.types.keys()
        self.acts = any(ordered) or bool(dates)
        """Whether lists that nobody filters can differ from those of the generation."""
        self._lock = Lock()
        self._now: tuple[tuple[int, int], Order] | None = None
        self._filtered: LRUCache[str, Order] = LRUCache(
            max(_KEPT_BYTES, items),
            getsizeof=lambda order: max(len(order.mask or b""), _LEAST_BYTES),
        )

    @property
    def ignored(self) -> list[str]:
        """What of the rules is left out here, in sentences, of which some stand for all."""
        more = len(self._ignored) - _MOST_TOLD
        return self._ignored[:_MOST_TOLD] + [f"and {more} more"] * (more > 0)

    def at(self, now: float, asked: Clauses = ()) -> Order:
        """What is in force at a moment (seconds since 1970) for who asks for such a filter.

        The clauses have been checked against the ``types``.
        """
        columns = self._columns.epoch(now) if self._columns else 0
        epoch = columns, bisect_right(self._moments, now)
        known = self._now
        if known is None or known[0] != epoch:
            self._now = known = epoch, self._compiled(now, epoch)
        return self._with(known[1], asked) if asked else known[1]

    def _compiled(self, now: float, epoch: tuple[int, int]) -> Order:
        shown = self._mask(self._default)
        available = self._columns.available(now) if self._columns else None
        if available is not None:
            shown = both(shown, available.tobytes())
        if self._hidden:
            mask = bytearray(shown or b"\1" * self._items)
            for item in self._hidden.values():
                mask[item] = 0
            shown = bytes(mask)
        pins = [(item, position) for position, item, *of in self._pins if of[0] <= now < of[1]]
        tag = f"{self._tag}.{epoch[0]:x}.{epoch[1]:x}"
        return Order(tag, shown, self._boosts, self._cap, self._vary, tuple(pins))

    def _with(self, order: Order, asked: Clauses) -> Order:
        tag = f"{order.tag}.{_digest(repr(asked))}"
        with self._lock:
            found = self._filtered.get(tag)
        if found is None:
            mask = both(order.mask, self._mask(asked) or b"")
            found = replace(order, tag=tag, mask=mask, is_asked_for=True)
            with self._lock:
                self._filtered[tag] = found
        return found

    def _mask(self, clauses: Iterable[Clause]) -> bytes | None:
        """Where all of them hold; None for no clause."""
        mask = None
        for clause in clauses:
            assert self._columns is not None
            mask = both(mask, self._columns.mask(clause).tobytes())
        return mask

    def _found(self, what: str, ids: Iterable[str], find: Finding) -> dict[str, int]:
        found = {}
        for item in ids:
            index = find(item)
            if index is None:
                self._ignored.append(f"{what}: the generation does not hold item {item!r:.80}")
            else:
                found[item] = index
        return found

    def _followed(self, what: str, clauses: Iterable[Clause]) -> list[Clause]:
        kept = []
        for clause in clauses:
            try:
                clause.check(self.types)
                kept.append(clause)
            except BadFilter as error:
                self._leave_out(f"{what}: {error}")
        return kept

    def _leave_out(self, sentence: str) -> None:
        """For want of a column; where none can be used one sentence stands for all."""
        if not self._lacking:
            self._ignored.append(sentence)

    def _named(self, filters: Mapping[str, Clauses]) -> dict[str, Clauses]:
        """Those of which every clause can be followed."""
        return {
            name: clauses
            for name, clauses in filters.items()
            if len(self._followed(f"filters: {name:.80}", clauses)) == len(clauses)
        }

    def _product(self, boosts: Sequence[Boost]) -> memoryview | None:
        """The factor of each item; None where that is 1 everywhere."""
        product: Any = None
        for boost in boosts:
            if len(self._followed("boost", boost.filter)) == len(boost.filter) > 0:
                import numpy as np  # it is there, for the columns are arrays

                chosen = np.frombuffer(self._mask(boost.filter) or b"", np.bool_)
                factors = np.where(chosen, np.float32(boost.factor), np.float32(1))
                product = factors if product is None else product * factors
        return None if product is None else memoryview(product)

    def _capped(self, cap: Cap | None) -> tuple[Cap, Values, Lacking] | None:
        if cap is None:
            return None
        if self._columns is None or self.types.get(cap.column) != "category":
            self._leave_out(f"cap: there is no column {cap.column!r:.80} of categories")
            return None
        columns, name = self._columns, cap.column
        return cap, partial(columns.values, name), partial(columns.lacking, name)

    def _varying(self, diversity: float, model: "Model | None") -> Varying | None:
        if not diversity:
            return None
        if model is None:
            self._ignored.append("diversity: it needs numpy and a live generation, with factors")
            return None
        return partial(model.varied, diversity)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
