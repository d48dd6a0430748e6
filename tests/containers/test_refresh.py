"""The image of the job: its exit codes are those that the CronJob's policy reads."""

import shutil
from pathlib import Path

import pytest

from batch.datasets.movielens import SMALL
from tests.containers.conftest import Refresh
from tests.containers.engine import Container
from tests.servers import wait_until

DEMO = "/opt/larder/demo"
RATINGS = f"{DEMO}/ratings.csv"


def generations(refresh: Refresh) -> str:
    """What is published, as ``larder generations`` tells it."""
    with refresh("generations") as asked:
        assert asked.wait() == 0, asked.logs
        return asked.logs


def prunes(refresh: Refresh) -> bool:
    """Whether nobody holds the lock; what dead runs left is removed."""
    with refresh("prune") as job:
        return job.wait() == 0


def test_what_it_publishes_is_there(published: Container, refresh: Refresh) -> None:
    assert "live" in generations(refresh)


@pytest.mark.parametrize(("file", "needed"), [("nowhere.csv", "0"), ("ratings.csv", "0.99")])
def test_a_bad_file_or_a_bad_model_is_terminal(
    published: Container, refresh: Refresh, file: str, needed: str
) -> None:
    before = generations(refresh)
    with refresh("refresh", f"{DEMO}/{file}", LARDER_MIN_NDCG=needed) as job:
        assert job.wait() == 2
        assert file in job.logs or needed in job.logs
    assert generations(refresh) == before


def test_a_cache_that_is_away_is_transient(images: object, refresh: Refresh) -> None:
    with refresh("refresh", RATINGS, LARDER_CACHE_URL="redis://127.0.0.1:1/0") as job:
        assert job.wait() == 75
        assert "127.0.0.1:1" in job.logs


def test_too_little_memory_kills_it_and_loses_nothing(
    published: Container, refresh: Refresh
) -> None:
    before = generations(refresh)
    with refresh("refresh", RATINGS, LARDER_FACTORS="4096", memory="180m") as job:
        assert job.wait() == 137
    assert generations(refresh) == before
    wait_until(lambda: prunes(refresh))  # the lock of the dead expires within 30 seconds


def test_a_stopped_job_says_so(published: Container, refresh: Refresh) -> None:
    before = generations(refresh)
    with refresh("refresh", RATINGS, LARDER_ITERATIONS="1000") as job:
        wait_until(lambda: "100,004 pairs" in job.logs)
        assert job.stop() == 143
    assert generations(refresh) == before


def on_spark(refresh: Refresh, folder: Path, *options: str) -> Container:
    """A refresh of the image with Spark on some users' films, which are not in it."""
    head, *rows = (SMALL / "ratings.csv").read_text().splitlines(keepends=True)
    some = [row for row in rows if int(row.split(",")[0]) <= 60]
    (folder / "ratings.csv").write_text("".join([head, *some]))
    shutil.copy(SMALL / "movies.csv", folder)
    arguments = ("refresh", "--engine=spark", "--holdout=0", "--force")
    return refresh(
        *arguments,
        "--conf=spark.sql.shuffle.partitions=2",
        "--conf=spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1",  # it lives for seconds
        image="larder-batch-spark",
        options=[f"--volume={folder}:{DEMO}:ro", *options],
        LARDER_FACTORS="16",
        LARDER_ITERATIONS="2",
    )


def test_the_image_with_spark_publishes_too(
    published: Container, refresh: Refresh, folder: Path
) -> None:
    before = generations(refresh)
    with on_spark(refresh, folder) as job:
        assert job.wait() == 0, job.logs
    assert generations(refresh) != before


def test_spark_says_that_its_user_needs_a_name(
    published: Container, refresh: Refresh, folder: Path
) -> None:
    """As on clusters that give every namespace user ids of its own."""
    with on_spark(refresh, folder, "--user=54321:54321") as job:
        assert job.wait() == 2, job.logs
        assert "Spark needs a user that has a name" in job.logs
