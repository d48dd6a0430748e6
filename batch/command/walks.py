"""From the options of the command to the walk that they ask for."""

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.contracts.recommendations import encode_document
from batch.command import report
from batch.errors import BadSettings
from batch.interactions import PRESETS, Interactions, Layout, load, load_pair
from batch.interactions.items import ITEM_PRESETS, Items, load_items
from batch.interactions.rejects import beside
from batch.progress import Progress
from batch.recommendations.engines import Engine
from batch.recommendations.engines.implicit_als import ImplicitALS
from batch.recommendations.one_machine import OneMachine, judge
from batch.recommendations.pipeline import Quality, Walk

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from batch.recommendations.cluster.ids import Indexed
    from batch.recommendations.cluster.walk import Learner
    from batch.spark.read import Pairs

log = logging.getLogger("larder")

Values = Mapping[str, Any]

_MODEL = ("factors", "regularization", "alpha", "iterations", "seed")
_SPARK_ONLY = ("als", "conf", "spark_log", "whole_mb")


@contextmanager
def opened(interactions: str, values: Values, progress: Progress) -> Iterator[Walk]:
    """Load the interactions, say what they are, and open a walk over them."""
    if values["engine"] == "spark":
        with _session(values) as spark:
            yield from _cluster(spark, interactions, values, progress)
        return
    model = _engine(values)
    pairs = loaded(Path(interactions), values)
    yield OneMachine(pairs, documents(pairs.items, items_of(values), values), model)


def judged(train: str, test: str, values: Values, progress: Progress) -> Quality:
    """Train on one input, score on another."""
    if values["engine"] == "spark":
        with _session(values) as spark:
            return _judged_on_cluster(spark, train, test, values, progress)
    model = _engine(values)
    seen, held_out = load_pair(
        train, test, _layout(values), rejects=rejects(values), max_rejects=values["max_rejects"]
    )
    for each in (seen, held_out):
        click.echo(report.interactions(each.report, len(each.users), len(each.items)))
    return judge(seen, held_out, model, values["k"], progress)


def loaded(path: Path, values: Values) -> Interactions:
    """Load interactions into memory, and say what they are."""
    found = load(path, _layout(values), rejects=rejects(values), max_rejects=values["max_rejects"])
    click.echo(report.interactions(found.report, len(found.users), len(found.items)))
    return found


def items_of(values: Values) -> Items | None:
    """Load the items file, if there is one."""
    if values["items"] is None:
        return None
    layout = ITEM_PRESETS[values["preset"]].choose(
        item_column=values["items_id_column"],
        delimiter=_delimiter(values["items_delimiter"]),
        encoding=values["items_encoding"],
    )
    return load_items(
        Path(values["items"]),
        layout,
        _names(values["document_columns"]),
        rejects=beside(rejects(values), "items"),
        max_rejects=values["max_rejects"],
    )


def documents(known: Sequence[str], items: Items | None, values: Values) -> Iterable[bytes]:
    """The document of each known item, in order; says how many have one."""
    if items is None:
        return map(encode_document, known)
    click.echo(report.items(items, known))
    items.check(Path(values["items"]), known)
    return map(encode_document, known, items.json_objects(known))


def rejects(values: Values) -> Path:
    """The file of rejected rows on this machine."""
    given = values["rejects"]
    return Path("rejects.csv" if given is None or "://" in given else given)


def _layout(values: Values) -> Layout:
    layout = PRESETS[values["preset"]].choose(
        user_column=values["user_column"],
        item_column=values["item_column"],
        rating_column=values["rating_column"],
        weight_column=values["weight_column"],
        timestamp_column=values["timestamp_column"],
        delimiter=_delimiter(values["delimiter"]),
        encoding=values["encoding"],
        header=values["header"],
    )
    if layout.user_column == layout.item_column:
        raise BadSettings(
            f"--user-column and --item-column are both {layout.user_column!r}: name two columns"
        )
    return layout


def _engine(values: Values) -> Engine:
    """The engine of one machine. Raises BadSettings for an option that only Spark knows."""
    if values["feedback"] == "explicit":
        raise BadSettings("--feedback explicit needs --engine spark (and its --als mllib)")
    for name in _SPARK_ONLY:
        if values[name] not in (None, ()):
            raise BadSettings(f"--{name.replace('_', '-')} needs --engine spark")
    return ImplicitALS(**_model(values))


def _model(values: Values) -> dict[str, Any]:
    """The hyper-parameters that somebody chose; engines have defaults of their own."""
    return {name: values[name] for name in _MODEL if values[name] is not None}


@contextmanager
def _session(values: Values) -> "Iterator[SparkSession]":
    from batch.spark.session import session

    conf = dict(_setting(each) for each in values["conf"])
    with session(conf, values["spark_log"] or "off") as spark:
        yield spark


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.startswith("spark.") and equals):
        shown = re.split(r"[^\w.-]", text)[0]  # what comes behind may be a secret
        raise BadSettings(f"--conf must be spark.<name>=<value>, not {shown!r} ...")
    return name, value


def _cluster(
    spark: "SparkSession", interactions: str, values: Values, progress: Progress
) -> Iterator[Walk]:
    from batch.recommendations.cluster.contents import reach
    from batch.recommendations.cluster.walk import Cluster

    learner, items = _learner(values), items_of(values)
    reach(spark.sparkContext, values["cache_url"])
    with ExitStack() as stack:
        pairs = _read(spark, interactions, rejects_folder(values), values, stack)
        indexed = _numbered(pairs.frame, [pairs], progress, stack)
        known = documents(indexed.items, items, values)
        yield Cluster(indexed, known, learner, values["cache_url"], stack)


def _judged_on_cluster(
    spark: "SparkSession", train: str, test: str, values: Values, progress: Progress
) -> Quality:
    from pyspark.sql import functions as F

    from batch.recommendations.cluster.walk import judge as judge_on_cluster

    learner = _learner(values)
    folder = rejects_folder(values)
    with ExitStack() as stack:
        seen = _read(spark, train, folder, values, stack)
        held_out = _read(spark, test, f"{folder}-test", values, stack)
        both = seen.frame.withColumn("held_out", F.lit(False)).unionByName(
            held_out.frame.withColumn("held_out", F.lit(True)), allowMissingColumns=True
        )
        indexed = _numbered(both, [seen, held_out], progress, stack)
        return judge_on_cluster(indexed, indexed.frame, learner, values["k"], progress)


def _read(
    spark: "SparkSession", uri: str, folder: str, values: Values, stack: ExitStack
) -> "Pairs":
    """Read pairs, the rejected rows into that folder."""
    from batch.spark.read import read

    started = time.monotonic()
    layout, limit = _layout(values), values["max_rejects"]
    pairs = read(spark, uri, layout, rejects=folder, max_rejects=limit)
    stack.callback(pairs.release)
    log.info("read: %s rows in %.1f s", f"{pairs.report.rows:,}", time.monotonic() - started)
    if values["feedback"] == "explicit" and "rating" not in pairs.report.used:
        raise BadSettings(
            f"--feedback explicit needs ratings and {uri} has none: name their column with "
            "--rating-column"
        )
    return pairs


def _numbered(
    frame: "DataFrame", inputs: "Sequence[Pairs]", progress: Progress, stack: ExitStack
) -> "Indexed":
    """Number users and items, and say what the inputs are; the ids are then let go."""
    from batch.recommendations.cluster.ids import index

    total = sum(each.report.pairs for each in inputs)
    with progress.step("number", total, "pairs") as done:
        indexed = index(frame, stack)
        done(total)
    for each in inputs:
        each.release()
        click.echo(report.interactions(each.report, indexed.user_count, len(indexed.items)))
    return indexed


def _learner(values: Values) -> "Learner":
    from batch.recommendations.cluster.learners import learner

    return learner(values["als"], values["feedback"], values["whole_mb"], **_model(values))


def rejects_folder(values: Values) -> str:
    """The folder of rejected rows, wherever Spark writes."""
    return str(values["rejects"] or "rejects").rstrip("/")


def _delimiter(text: str | None) -> str | None:
    return "\t" if text == "\\t" else text


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None
