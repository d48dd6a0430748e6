"""How fast events become files and files become pairs, and what an event takes on the disk.

Seconds are processor time of this process: the server, which is another one, is not in them.
"""

import argparse
import random
import tempfile
import uuid
from pathlib import Path
from typing import Any

import redis

from app.contracts.events import Event, Streams
from batch.command.output.table import table
from batch.events.export import export
from batch.events.inputs import Inputs, Weighing
from batch.events.load import load_all
from batch.interactions.reading import Reading
from tests.bench.clock import processor_seconds
from tests.servers import Server

KEYS = Streams("bench")
START = 1_760_000_000_000
AT_A_TIME = 10_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=500_000)
    events = parser.parse_args().events
    with Server() as server, tempfile.TemporaryDirectory() as name:
        client = redis.Redis.from_url(server.url)
        write(client, events)
        seconds, done = processor_seconds(lambda: export(client, KEYS.name, Path(name, "events")))
        inputs = Inputs((str(Path(name, "events")),), Weighing.of(None, "30d"))
        reading, found = processor_seconds(lambda: load_all(inputs, Reading(), None))
        client.close()
    assert done.events == events
    rows = [
        ["export", f"{events / seconds:,.0f}", f"{1e6 * seconds / events:.1f}"],
        ["read as pairs", f"{events / reading:,.0f}", f"{1e6 * reading / events:.1f}"],
    ]
    print(table(["", "events/s a core", "us an event"], rows))
    print(f"{done.bytes / events:.1f} bytes an event on disk; {len(found):,} pairs")


def write(client: Any, events: int) -> None:
    """Put events into the stream: ids of 32 characters, 20,000 users, 5,000 items, two sessions."""
    rng = random.Random(42)
    for first in range(0, events, AT_A_TIME):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + AT_A_TIME, events)):
            pipeline.xadd(KEYS.events, drawn(rng, number).encode(), id=f"{START + 5 * number}-0")
        pipeline.execute()


def drawn(rng: random.Random, number: int) -> Event:
    """An event as a web shop has it."""
    return Event(
        uuid.UUID(int=rng.getrandbits(128)).hex,
        rng.choices(("impression", "click", "cart", "purchase"), (60, 30, 7, 3))[0],
        START + 5 * number - rng.randrange(1000),
        user=str(rng.randrange(20_000)),
        session=f"s{rng.randrange(40_000)}",
        item=f"sku-{int(rng.paretovariate(0.8)) % 5_000}",
        list="20260101T020000.000Z-0a1b",
        position=rng.randrange(10),
    )


if __name__ == "__main__":
    main()
