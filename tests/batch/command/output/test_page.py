"""The page that ``refresh --report`` writes, from real runs on a real cache."""

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from batch.recommendations.pipeline import Quality
from batch.recommendations.report.page import WIDTH, Found, render
from batch.recommendations.report.sample import Sample, UserList
from tests.batch.command.output.test_report import metrics
from tests.generations import MANIFEST
from tests.servers import Server, run_here

FOREIGN = '<script>alert("1")</script>'


class Page(HTMLParser):
    """What a browser would find: the texts, and whatever would be fetched or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Two tastes, told apart by the parity of user and item; few are known of user 0."""
    rng = np.random.default_rng(0)
    pairs = {
        (user, 2 * int(item) + user % 2)
        for user in range(60)
        for item in rng.integers(0, 20, 3 if user == 0 else 12)
    }
    path = tmp_path / "ratings.csv"
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in sorted(pairs)))
    return path


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    lines = [f'{item},"{FOREIGN.replace(chr(34), chr(39))} {item}"\n' for item in range(40)]
    path.write_text("item,title\n" + "".join(lines))
    return path


def test_a_refresh_tells_what_it_published(
    server: Server, ratings: Path, items: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    told = ("--cache-url", server.url, "--namespace", "page", "--report", str(page))
    arguments = ("refresh", str(ratings), "--items", str(items), "--factors", "8", *told)
    first = run_here(*arguments)
    assert first.returncode == 0, first.stderr
    once = Page(page.read_text())
    assert run_here(*arguments, "--force").returncode == 0
    found = Page(page.read_text())
    shown = next(line for line in first.stdout.splitlines() if line.startswith("nDCG@10"))
    assert shown.split()[1] in once.text
    assert "60 users, 40 items" in found.text
    table = [line.split() for line in first.stdout.splitlines() if line.startswith("*")]
    assert [f"{winner} (chosen)" in once.text for _, winner, *_ in table] == [True]
    assert "als=0." in once.text and "neighbours=100" in once.text
    assert "Before" in found.text and "Before" not in once.text
    assert "In most lists" in found.text and "User 0" in found.text
    assert FOREIGN.replace('"', "'") in found.text
    assert not found.tags & {"script", "img", "link", "iframe"} and not found.links


def test_a_refused_refresh_tells_why(server: Server, ratings: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run_here(
        *("refresh", str(ratings), "--min-ndcg", "1", "--factors", "8", "--report", str(page)),
        *("--cache-url", server.url, "--namespace", "page-refused"),
    )
    assert done.returncode == 2
    text = Page(page.read_text()).text
    assert "Nothing was published: nDCG@10" in text and "is below --min-ndcg 1" in text
    assert "ndcg@10" in text and "What is served" not in text


@pytest.mark.parametrize("name", ["nowhere/report.html", "."])
def test_a_page_that_cannot_be_written_is_told_before_anything_is_read(
    server: Server, ratings: Path, tmp_path: Path, name: str
) -> None:
    told = ("--cache-url", server.url, "--report", str(tmp_path / name))
    done = run_here("refresh", str(ratings), *told)
    assert done.returncode == 2 and "expected a file in a folder" in done.stderr
    assert not done.stdout


def test_the_input_is_not_written_over(server: Server, ratings: Path) -> None:
    before = ratings.read_bytes()
    told = ("--cache-url", server.url, "--report", str(ratings))
    done = run_here("refresh", str(ratings), *told)
    assert done.returncode == 2 and "--report" in done.stderr
    assert ratings.read_bytes() == before


def test_a_page_without_folder_left_spoils_nothing(
    server: Server, ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the page is written: what was published stays, and it is said."""
    monkeypatch.setattr("os.replace", full)
    done = run_here(
        *("refresh", str(ratings), "--factors", "8", "--report", str(tmp_path / "report.html")),
        *("--cache-url", server.url, "--namespace", "page-full"),
    )
    assert done.returncode == 0, done.stderr
    assert "the report was not written" in done.stderr and "No space left" in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ratings.csv"]


def full(*paths: object) -> None:
    raise OSError(28, "No space left on device")


def test_plots_are_to_scale() -> None:
    quality = Quality(metrics(0.5), metrics(0.125))
    text = render(Found("Judged.", quality, MANIFEST, Sample(), []))
    start = text.index("<svg")
    plot = ElementTree.fromstring(text[start : text.index("</svg>", start) + 6])
    dots = [float(each.attrib["cx"]) for each in plot.iter("circle")]
    assert dots == pytest.approx([WIDTH * 0.5 / 0.75, WIDTH * 0.125 / 0.75], abs=0.1)


def test_popular_and_other_items_stand_side_by_side() -> None:
    quality = Quality(metrics(0.5), metrics(0.125))
    text = Page(render(Found("Judged.", quality, MANIFEST, Sample(), []))).text
    assert "items that make half of all recommendations 1,081 1,081" in text
    assert "tail 3,473 0.2500 0.2500 0.0625 0.0500–0.0700 0.0625" in text


def test_a_histogram_counts_every_entry_of_personal_lists() -> None:
    lists = [UserList("a", True, [(0, 1.0), (1, 0.0)]), UserList("b", False, [(0, 9.0)])]
    documents = {0: '{"item":"i0","n":1}', 1: '{"item":"i1","title":"T"}'}
    page = Page(render(Found("Judged.", None, MANIFEST, Sample(lists, documents), [])))
    assert "0.95 1 1 " in page.text and "0 0.05 1 " in page.text
    assert "i0 2" in page.text and "i1 · T 1" in page.text
    assert "Of a sample of 2 users 1 have a list of their own." in page.text
