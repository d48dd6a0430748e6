"""The environment variables of the house: every name that starts with ``LARDER_``.

Both wings read the same environment (one ``.env``, one ConfigMap), so each must know the other's
names to tell a setting of its neighbour from a misspelt one.
"""

import difflib
from collections.abc import Mapping

PREFIX = "LARDER_"

SERVING = frozenset(
    PREFIX + name
    for name in (
        "BIND",
        "CACHE_TIMEOUT_MS",
        "CACHE_URL",
        "LOG_LEVEL",
        "MAX_AGE_SECONDS",
        "MAX_BODY_BYTES",
        "METRICS",
        "NAMESPACE",
        "NEAR_CACHE_USERS",
        "THREADS",
        "USER_SAMPLE",
        "WATCH_INTERVAL_MS",
        "WORKERS",
    )
)
"""Read by the API; ``tests/contracts`` holds them against ``app.settings``."""

BATCH = frozenset(
    PREFIX + name
    for name in (
        "AFTER",
        "ALPHA",
        "ALS",
        "BIND",
        "CACHE_URL",
        "CONF",
        "DELIMITER",
        "DOCUMENT_COLUMNS",
        "ENCODING",
        "ENGINE",
        "FACTORS",
        "FEEDBACK",
        "FORCE",
        "HEADER",
        "HOLDOUT",
        "INTERACTIONS",
        "ITEMS",
        "ITEMS_DELIMITER",
        "ITEMS_ENCODING",
        "ITEMS_ID_COLUMN",
        "ITEM_COLUMN",
        "ITERATIONS",
        "JSON",
        "K",
        "KEEP",
        "MAX_DROP",
        "MAX_REJECTS",
        "MIN_NDCG",
        "NAMESPACE",
        "PRESET",
        "RATING_COLUMN",
        "REGULARIZATION",
        "REJECTS",
        "SEED",
        "SIZE_DOCUMENT_BYTES",
        "SIZE_ID_BYTES",
        "SIZE_ITEMS",
        "SIZE_K",
        "SIZE_KEEP",
        "SIZE_REPLICAS",
        "SIZE_RPS",
        "SIZE_USERS",
        "SPARK_LOG",
        "SPLIT",
        "TEST",
        "TIMESTAMP_COLUMN",
        "TRAIN",
        "USER_COLUMN",
        "WEIGHT_COLUMN",
        "WHOLE_MB",
        "WORKERS",
    )
)
"""Read by the ``larder`` command; ``tests/contracts`` holds them against its options."""

_WAY_OUT = "remove it, or see larder --help"


def unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each ``LARDER_*`` variable that nothing in the house reads."""
    known = SERVING | BATCH
    names = sorted(name.removeprefix(PREFIX) for name in known)
    sentences = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1)
            hint = f"did you mean {PREFIX}{close[0]}?" if close else _WAY_OUT
            sentences.append(f"unknown setting {name}: {hint}")
    return sentences
