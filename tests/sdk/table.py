"""Which operation of which SDK works: what ``make test-sdk`` prints at its end."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from batch.command.output.table import table

OK = "ok"
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.2


class Table:
    """What became of each operation, by SDK."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, str]] = {}
        self._sdks: list[str] = []

    def note(self, sdk: str, operation: str, outcome: str) -> None:
        """``outcome`` is OK, or what failed. An operation that failed once has failed."""
        row = self._found.setdefault(operation, {})
        if row.get(sdk, OK) == OK:
            row[sdk] = outcome
        if sdk not in self._sdks:
            self._sdks.append(sdk)

    def failed(self, sdk: str) -> dict[str, str]:
        """What failed of an SDK, and how."""
        rows = {operation: row[sdk] for operation, row in self._found.items() if sdk in row}
        return {operation: outcome for operation, outcome in rows.items() if outcome != OK}

    def count(self, sdk: str) -> int:
        """How many operations of an SDK were tried."""
        return sum(sdk in row for row in self._found.values())

    def __str__(self) -> str:
        rows = [
            [operation, *(self._cell(row, sdk) for sdk in self._sdks)]
            for operation, row in self._found.items()
        ]
        failures = [
            f"{sdk}: {operation}: {outcome}"
            for sdk in self._sdks
            for operation, outcome in self.failed(sdk).items()
        ]
        return "\n".join([table(["operation", *self._sdks], rows), *failures])

    @staticmethod
    def _cell(row: Mapping[str, str], sdk: str) -> str:
        return row.get(sdk, "-") if row.get(sdk, OK) == OK else "FAILED"


class Walk:
    """The operations of one SDK, one after another; what fails is noted, and the walk goes on."""

    def __init__(self, table: Table, sdk: str) -> None:
        self._table, self._sdk = table, sdk

    async def once(
        self, operation: str, holds: Callable[[Any], bool], call: Callable[..., Any], *given: Any
    ) -> Any:
        """Call it, and see that what it answers is right."""
        return await self._until(operation, holds, call, given, 0.0)

    async def soon(
        self, operation: str, holds: Callable[[Any], bool], call: Callable[..., Any], *given: Any
    ) -> Any:
        """Call it until what it answers is right: something else has to happen before."""
        return await self._until(operation, holds, call, given, PATIENCE_SECONDS)

    async def _until(
        self,
        operation: str,
        holds: Callable[[Any], bool],
        call: Callable[..., Any],
        given: tuple[Any, ...],
        seconds: float,
    ) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            found, outcome = await _tried(holds, call, given)
            if outcome == OK or time.monotonic() >= deadline:
                self._table.note(self._sdk, operation, outcome)
                return found
            await asyncio.sleep(PAUSE_SECONDS)


async def _tried(
    holds: Callable[[Any], bool], call: Callable[..., Any], given: tuple[Any, ...]
) -> tuple[Any, str]:
    try:
        found = await _settled(call(*given))
        return found, OK if holds(found) else f"unexpected answer: {found!r:.300}"
    except Exception as error:  # whatever an SDK raises is what the table is about
        return None, f"{type(error).__name__}: {error}"


async def _settled(found: Any) -> Any:
    """What a call gives at last: of a client that waits, and of one that is awaited."""
    if inspect.isawaitable(found):
        found = await found
    if isinstance(found, AsyncIterator) or hasattr(found, "__aiter__"):
        return [each async for each in found]
    if isinstance(found, Iterator):
        return list(found)
    return found
