"""The folder of rejected rows: CSV in parts, marked as ours so that nothing else is overwritten."""

import logging
from collections import Counter

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from batch.errors import BadSettings
from batch.interactions.rejects import too_many
from batch.interactions.sources.files import PART_HEAD
from batch.interactions.sources.layout import Layout
from batch.spark.read.storage import Storage, reason

log = logging.getLogger("larder.interactions")

MARK = "_LARDER_REJECTS"
"""A file in every folder that a run wrote rejects to."""
CSV = {
    "header": "true",
    "escape": '"',
    "emptyValue": "",
    "ignoreLeadingWhiteSpace": "false",
    "ignoreTrailingWhiteSpace": "false",
}


def check_folder(folder: Storage, source: Storage) -> None:
    """Raise BadSettings when rejects in that folder would cost anything but earlier rejects."""
    if folder.within(source) or source.within(folder):
        raise BadSettings(
            f"--rejects {folder.uri}: expected a folder apart from the input {source.uri}"
        )
    if folder.exists() and not (is_ours(folder) or (folder.is_folder() and not folder.names())):
        raise BadSettings(
            f"--rejects {folder.uri}: expected nothing there, or the rejects of an earlier run; "
            f"found {_content(folder)}: move it, or name another folder"
        )


def _content(folder: Storage) -> str:
    return ", ".join(map(repr, folder.names()[:5])) if folder.is_folder() else "a file"


def is_ours(folder: Storage) -> bool:
    """Say whether a run wrote this folder, and nobody put anything into it since."""
    if not folder.exists() or not folder.is_folder():
        return False
    names = folder.names()
    return MARK in names and all(name.startswith(("part-", "_", ".")) for name in names)


def settle(
    uri: str,
    layout: Layout,
    good: int,
    rejected: Counter[str],
    wrong: DataFrame,
    folder: Storage | None,
    max_rejects: float,
) -> None:
    """List the rejects (columns of `PART_HEAD`). Raises BadInteractions when they are too many."""
    is_listed = folder is not None and list_rejects(wrong if rejected else None, folder)
    where = folder.uri if folder is not None and is_listed else None
    if rejected.total() > max_rejects * (good + rejected.total()):
        first = _first(wrong)
        raise too_many(uri, rejected, good, max_rejects, where, first, layout.options)
    if rejected and where:
        log.info("%s: the rejected rows are listed in %s", uri, where)


def _first(wrong: DataFrame) -> list[str]:
    rows = wrong.orderBy("file", "reason", "content").limit(3).collect()
    return [f"{row['file']}: {row['reason']}: {row['content'][:60]!r}" for row in rows]


def list_rejects(rejected: DataFrame | None, folder: Storage) -> bool:
    """Write the rejects (columns of `PART_HEAD`), or without any remove those of an earlier run.

    Return whether it could be done; a run that may go on in spite of its rejects does so anyway.
    """
    try:
        if is_ours(folder):
            folder.remove()
        if rejected is not None:
            folder.mark(MARK)
            rejected.select(*PART_HEAD).write.mode("append").options(**CSV).csv(folder.uri)
    except (PySparkException, Py4JError) as error:
        state = "of an earlier run cannot be removed" if rejected is None else "cannot be written"
        sentence = "%s: the rejects folder %s (%s): give another --rejects"
        log.warning(sentence, folder.uri, state, reason(str(error)))
        return False
    return True
