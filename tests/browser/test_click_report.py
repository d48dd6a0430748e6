"""The report of a click model in a real browser: for everybody, by day and by night."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from batch.clicks.judge import Quality, Rival
from batch.clicks.measure import Metrics, Slice
from batch.clicks.report.page import Found, render
from tests.clicks import manifest_of, model

METRICS = Metrics(0.7, 0.5, 0.9, 0.01, 1.0, 4.0, 3.0, 1000, 100)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_for_everybody(chromium: Any, tmp_path: Path, scheme: str) -> None:
    quality = Quality(
        METRICS,
        curve=[[n / 50, n / 45, 50.0] for n in range(1, 21)],
        gain=[[0.0, 0.0], [0.1, 0.4], [1.0, 1.0]],
        slices={"brand": {"": Slice(10, 0, 0.0, None, None, None, 0.5, None)}},
        importance={"brand": 0.7, "price": 0.3},
        leaks={"dwell": 0.99},
        rival=Rival("before", METRICS, METRICS, 0.005),
    )
    published = manifest_of(model(), settings={"trees": 3}, metrics=quality.entry())
    path = tmp_path / "report.html"
    path.write_text(render(Found("Published.", quality, published, [published], {"trees": 3})))
    with chromium.new_page(color_scheme=scheme) as page:
        page.goto(path.as_uri())
        found = Axe().run(page)
        assert not found.response["violations"], found.generate_report()
