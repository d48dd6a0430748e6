"""The record of how a run ended: its literal bytes, and what is none."""

import pytest

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Namespace
from app.contracts.refreshes import Refresh, refreshes_key

RECORD = (
    '{"started_at":"2026-11-21T17:07:08+00:00","seconds":251.5,"exit":2,"reason":"é",'
    '"generation":"","kind":"refresh"}'
)


def test_the_name_is_frozen_and_in_the_slot_of_the_control_keys() -> None:
    assert refreshes_key("shop") == "larder:1:{shop}:refreshes"
    assert Namespace("shop").live.partition("}")[0] == refreshes_key("shop").partition("}")[0]


def test_the_bytes_are_frozen() -> None:
    told = Refresh("2026-11-21T17:07:08+00:00", 251.5, 2, "é", "", "refresh")
    assert (told.to_json(), Refresh.from_json(RECORD.encode())) == (RECORD, told)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (RECORD, "[]"),
        (RECORD, "x"),
        (RECORD, "[" * 100_000),
        ('"exit":2,', ""),
        ('"exit":2', '"exit":"2"'),
        ("251.5", '"a"'),
        ('"é"', "1"),
    ],
)
def test_what_nobody_wrote_is_refused(old: str, new: str) -> None:
    with pytest.raises(BrokenRecord):
        Refresh.from_json(RECORD.replace(old, new).encode())
