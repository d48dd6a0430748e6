"""``larder clicks train`` on a real cache: what it says, publishes and writes."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from app.contracts.clicks import Clicks, Manifest
from app.contracts.recommendations import Namespace
from app.contracts.refreshes import Refresh, refreshes_key
from batch.clicks.judge import Quality, Rival
from batch.clicks.measure import Metrics, Slice
from batch.clicks.report.page import SIDE, Found, render
from batch.command.clicks import report
from batch.generations.registry import Generations
from tests.batch.command.output.test_page import Page, full
from tests.clicks import publish_by_hand
from tests.generations import keys_of
from tests.servers import Server, environment, run_here, wait_until

QUICK = ("--trees", "10", "--leaves", "5", "--threads", "1", "--max-off", "0.5")
FOREIGN = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rising chance by age, three brands, and a value that tells the label."""
    rng = np.random.default_rng(1)
    age, brand = rng.normal(size=2_000), rng.integers(0, 3, 2_000)
    clicked = (rng.random(2_000) < 1 / (1 + np.exp(1 - age - brand))).astype(int)
    names = np.array(["acme", "bolt", FOREIGN])[brand]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = [f"{c},{a:.3f},{b},{c}" for c, a, b in zip(clicked, age, names, strict=True)]
    path.write_text("\n".join(["label,age,brand,dwell", *lines]) + "\n")
    return path


@pytest.fixture
def where(server: Server, namespace: Namespace) -> tuple[str, ...]:
    return "--cache-url", server.url, "--namespace", namespace.name


def live(client: Any, namespace: Namespace) -> Manifest | None:
    return Generations(client, Clicks(namespace.name)).live_manifest()


def test_a_training_says_what_it_read_judged_and_published(
    client: Any, namespace: Namespace, where: tuple[str, ...], rows: Path, tmp_path: Path
) -> None:
    users, page = tmp_path / "users.csv", tmp_path / "report.html"
    users.write_text("id,age,city\nu1,0.5,Bonn\nu2,,Rome\nu1,1.5,Bonn\n")
    told = ("--users", str(users), "--users-id-column", "id", "--report", str(page))
    done = run_here("clicks", "train", str(rows), *QUICK, *told, *where)
    assert done.returncode == 0, done.stderr
    for expected in (
        "2,000 examples",
        "leak? 'dwell'",
        "0 of 3 slices (brand)",
        "what matters: dwell",
        "lower than that",
    ):
        assert expected in done.stdout
    manifest = live(client, namespace)
    assert manifest is not None and manifest.generation in done.stdout
    assert f"{manifest.measured('auc'):.4f}" in done.stdout
    space = Clicks(namespace.name)
    key, name = manifest.user_place(space, "u1")
    assert (manifest.users, client.hget(key, name)) == (2, b'{"age":1.5}')
    found = Page(page.read_text())
    assert "dwell alone tells clicks from other rows" in found.text
    assert "past the gate" in found.text and "2,000 examples" in found.text
    assert f"{manifest.measured('ne'):.4f}" in found.text and FOREIGN in found.text
    assert not found.tags & {"script", "img", "link", "iframe"} and not found.links
    record = Refresh.from_json(client.lindex(refreshes_key(namespace.name), 0))
    assert (record.kind, record.exit, record.generation) == ("click model", 0, manifest.generation)


def test_a_model_that_is_refused_leaves_the_live_one_and_a_page_that_says_why(
    client: Any, namespace: Namespace, where: tuple[str, ...], rows: Path, tmp_path: Path
) -> None:
    before = publish_by_hand(client, Clicks(namespace.name))
    page, drifted = tmp_path / "report.html", tmp_path / "drifted.csv"
    head, *lines = rows.read_text().splitlines()
    timed = [f"{at},{each}" for at, each in enumerate(lines)]
    later = [each for at, each in enumerate(timed[1_750:]) if ",0," in each or at % 2]
    drifted.write_text("\n".join([f"at,{head}", *timed[:1_750], *later]))
    strict = ("--time-column", "at", "--ignore", "dwell", "--report", str(page))
    done = run_here("clicks", "train", str(drifted), *QUICK[:-2], *strict, *where)
    assert done.returncode == 2
    assert re.search("error: mean prediction over .* Nothing was published", done.stderr)
    assert "not compared with the live model" in done.stderr
    assert live(client, namespace) == before
    text = Page(page.read_text()).text
    assert "Not good enough: mean prediction" in text and "learning_rate" in text
    record = Refresh.from_json(client.lindex(refreshes_key(namespace.name), 0))
    assert record.exit == 2 and record.reason.startswith("mean prediction over")


def test_what_callers_send_fits_the_next_model_too(
    client: Any, namespace: Namespace, where: tuple[str, ...], rows: Path, tmp_path: Path
) -> None:
    """Brands are texts to the live model, and digits today."""
    publish_by_hand(client, Clicks(namespace.name))
    today = tmp_path / "today.csv"
    text = rows.read_text().replace("acme", "1").replace("bolt", "2").replace(FOREIGN, "3")
    today.write_text(text)
    done = run_here("clicks", "train", str(today), *QUICK, "--force", *where)
    assert done.returncode == 0, done.stderr
    assert "'brand' is a category, as in the live model, though it looks like a" in done.stderr
    manifest = live(client, namespace)
    assert manifest and dict(manifest.columns)["brand"] == "category"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--validation-share", "0.5", "--test-share", "0.4"), "leave less than 20% of the rows"),
        (("--slices", "nothing"), "--slices names columns that the model does not see"),
        (("--report", "nowhere/page.html"), "expected a file in a folder"),
        (("--users", "nobody.csv"), "nobody.csv: there is no such file"),
        (("--users", "{rows}", "--users-id-column", "id"), "--users-id-column"),
        (("--report", "{rows}"), "is the input itself"),
        (("--engine", "spark", "--tune", "2"), "--tune is for one machine"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_published(
    client: Any,
    namespace: Namespace,
    where: tuple[str, ...],
    rows: Path,
    wrong: tuple[str, ...],
    told: str,
) -> None:
    given = [each.format(rows=rows) for each in wrong]
    done = run_here("clicks", "train", str(rows), *QUICK, *given, *where)
    assert done.returncode == 2 and told in done.stderr
    assert "grow trees" not in done.stderr and live(client, namespace) is None


def test_users_of_whom_the_model_knows_nothing_are_told(
    where: tuple[str, ...], rows: Path, tmp_path: Path
) -> None:
    users = tmp_path / "users.csv"
    users.write_text("user,city\nu1,Bonn\n")
    done = run_here("clicks", "train", str(rows), *QUICK, "--users", str(users), *where)
    assert done.returncode == 2 and "has none of the 3 columns" in done.stderr


def test_a_report_that_finds_the_disk_full_spoils_nothing(
    where: tuple[str, ...], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.replace", full)
    page = str(tmp_path / "report.html")
    done = run_here("clicks", "train", str(rows), *QUICK, "--report", page, *where)
    assert done.returncode == 0 and "the report was not written" in done.stderr
    assert not list(tmp_path.iterdir())


def test_settings_may_be_tried_first(where: tuple[str, ...], rows: Path) -> None:
    done = run_here("clicks", "train", str(rows), *QUICK, "--tune", "2", *where)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("learning_rate=") >= 3


def test_a_cache_that_is_away_is_told_before_anything_is_read(rows: Path) -> None:
    done = run_here("clicks", "train", str(rows), "--cache-url", "redis://127.0.0.1:1/0")
    assert done.returncode == 75 and not done.stdout


def test_killed_while_it_writes_it_leaves_the_live_model_and_the_next_cleans_up(
    client: Any, namespace: Namespace, where: tuple[str, ...], rows: Path
) -> None:
    """All is written, and it waits for a replica that is not there, when it is killed."""
    space = Clicks(namespace.name)
    before = publish_by_hand(client, space)
    waits = ("--wait-replicas", "1")
    command = [sys.executable, "-m", "batch", "clicks", "train", str(rows), *QUICK, *waits, *where]
    running = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(Generations(client, space).all()) == 2)
        wait_until(lambda: any(_new(client, space, before)))
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert live(client, namespace) == before
    client.delete(space.lock)  # as if the lease had passed
    done = run_here("clicks", "train", str(rows), *QUICK, *where)
    assert done.returncode == 0, done.stderr
    after = Generations(client, space).all()
    assert [each.state for each in after] == ["complete", "complete"]
    kept = {key for each in after for key in each.keys(space)}
    assert {key for key in keys_of(client, namespace) if ":body:" in key} == kept


def _new(client: Any, space: Clicks, before: Manifest) -> Iterator[bytes]:
    known = {key.encode() for key in before.keys(space)}
    pattern = f"larder:1:{space.name}:clicks:*"
    return (key for key in client.scan_iter(pattern, count=1000) if key not in known)


METRICS = Metrics(0.7, 0.5, 0.9, 0.01, 1.0, 4.0, 3.0, 1000, 100)


def test_plots_are_to_scale() -> None:
    quality = Quality(METRICS, [[0.1, 0.2, 50.0], [0.4, 0.3, 50.0]], [[0.0, 0.0], [1.0, 1.0]])
    text = render(Found("Judged.", quality, None, [], {"trees": 3}))
    plots = [
        text[at.start() : text.index("</svg>", at.start()) + 6] for at in re.finditer("<svg", text)
    ]
    dots = [
        [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in found.iter("circle")]
        for found in map(ElementTree.fromstring, plots)
    ]
    assert dots == [
        [(SIDE / 4, SIDE / 2), (SIDE, SIDE / 4)],
        [(0, SIDE), (SIDE, 0)],
    ]


def test_a_page_compares_on_the_same_rows() -> None:
    ours, theirs = (replace(METRICS, log_loss=loss, rows=70) for loss in (0.61, 0.52))
    some = {"brand": {"": Slice(10, 0, 0.0, None, None, None, 0.5, None)}}
    warned = ["only 9 clicks were judged"]
    quality = Quality(
        METRICS,
        [[0.1, 0.1, 9.0]],
        [],
        some,
        warnings=warned,
        rival=Rival("old", theirs, ours, 0.005),
    )
    text = Page(render(Found("Judged.", quality, None, [], {}))).text
    assert "compared on the 70 of them that are newer" in text and "0.9045 passes the gate" in text
    assert "only 9 clicks were judged." in text
    assert "log loss 0.5000 0.5200 0.6100" in text
    assert "(missing) 10 0 0.0000 – – – 0.5000 to –" in text
    assert "model on newer rows" in report.quality(quality)


def test_a_terminal_shows_slices_that_are_off() -> None:
    right, low, high = (
        Slice(rows, 9, 0.1, None, None, 1.0, *ends)
        for rows, ends in ((50, (0.9, 1.1)), (30, (1.01, 1.2)), (40, (0.8, 0.99)))
    )
    told = report.slices({"brand": {"a": right, "": low, "b": high}, "city": {"c": right}})
    assert told.startswith("2 of 4 slices (brand, city) are predicted off")
    assert [line.split()[0] for line in told.splitlines()[2:]] == ["brand=b", "brand=(missing)"]
    assert len(report.slices({"brand": {"a": right}}).splitlines()) == 1
