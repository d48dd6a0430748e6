"""Every setting of the API: name, type, default, range and one sentence."""

import os
import re
import sys
from collections.abc import Mapping
from ctypes import CDLL
from dataclasses import Field, dataclass, field, fields
from importlib.util import find_spec
from typing import Any, Self

from app.contracts import environment, keys
from app.contracts.cache_url import CacheURL
from app.contracts.events import IMPRESSION, is_type
from app.contracts.recommendations import Namespace
from app.errors import BadSettings


def _setting(
    default: Any,
    sentence: str,
    low: int | None = None,
    high: int | None = None,
    choices: tuple[str, ...] = (),
    repr: bool = True,
) -> Any:
    metadata = {"sentence": sentence, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata, repr=repr)


@dataclass(frozen=True, slots=True)
class Settings:
    """The API's settings; each is read from ``LARDER_<NAME>``."""

    cache_url: str = _setting(
        "redis://127.0.0.1:6379/0",
        "Where the cache is: redis://, rediss:// (TLS), unix://, or redis+cluster:// and "
        "rediss+cluster:// for a Redis Cluster.",
        repr=False,  # it may hold a password
    )
    namespace: str = _setting("default", "Which tenant's recommendations to serve.")
    cache_timeout_ms: int = _setting(
        1000,
        "The longest that a request waits for the cache before it is answered without.",
        10,
        60_000,
    )
    watch_interval_ms: int = _setting(
        500, "How often a worker asks which generation is live.", 50, 60_000
    )
    near_cache_users: int = _setting(
        10_000, "How many users' answers a worker keeps in memory; 0 keeps none.", 0, 10_000_000
    )
    documents_folder: str = _setting(
        "",
        "Where the workers of a machine share a file of the documents; where temporary files are "
        "(TMPDIR), if empty.",
    )
    user_sample: bool = _setting(
        False, "Whether GET /users/sample gives user ids away, as a load test needs (true, false)."
    )
    max_age_seconds: int = _setting(
        0, "How long a client may reuse an answer without asking again.", 0, 86_400
    )
    max_body_bytes: int = _setting(524_288, "The largest request body taken.", 1_024, 10_485_760)
    auth: str = _setting(
        keys.OFF,
        "on: callers need a key (larder key add). proxy: a proxy in front lets them in. off: "
        "nobody needs a key, on loopback and unix sockets only.",
        choices=keys.MODES,
    )
    rate: int = _setting(
        0,
        "How many requests a second each key may send to this server; 0: as many as it likes.",
        0,
        1_000_000,
    )
    burst: int = _setting(
        0, "How many requests a key may send at once; 0: as many as in a second.", 0, 1_000_000
    )
    request_timeout_ms: int = _setting(
        5000,
        "The longest that the head of a request is waited for, and then its body.",
        100,
        600_000,
    )
    events: bool = _setting(
        False, "Whether POST /events takes what users do, and lists answer to it (true, false)."
    )
    events_url: str = _setting(
        "",
        "Where the events are kept, in the form of the cache's URL; the cache's server, if empty.",
        repr=False,  # it may hold a password
    )
    events_exclude: str = _setting(
        "click,cart,purchase,rating,hide",
        "Types of events whose item is gone from the next list, with commas between them.",
    )
    events_max: int = _setting(
        5_000_000,
        "How many events may wait for their export; beyond that, POST /events answers 503.",
        1_000,
        1_000_000_000,
    )
    recent_seconds: int = _setting(
        2_592_000,
        "How long a user's or session's recent events count after the last; purchases and hides "
        "apart.",
        60,
        31_536_000,
    )
    clicks: str = _setting(
        "off",
        "on: POST /rank/click ranks items by the click model, beside the lists. only: this server "
        "is ready without lists. off: it ranks nothing.",
        choices=("off", "on", "only"),
    )
    clicks_unknown: str = _setting(
        "refuse",
        "What becomes of a column in a request that the click model does not have. refuse: the "
        "request is answered with 400. ignore: the column is passed over, and counted.",
        choices=("refuse", "ignore"),
    )
    decisions: str = _setting(
        "off",
        "on: POST /personalizer/... takes rank and reward, beside the lists. only: this server has "
        "nothing else, and is ready without lists. off: it decides nothing.",
        choices=("off", "on", "only"),
    )
    cors_origins: str = _setting(
        "",
        "Whose web pages may send events and ask for lists: origins such as https://shop.example, "
        "with commas between them.",
    )
    docs: bool = _setting(
        False, "Whether GET /docs shows this API as a page, with Swagger UI (true, false)."
    )
    explorer: bool = _setting(
        False,
        "Whether /explorer/ shows users, items and generations, and rolls back (true, false); "
        "with LARDER_AUTH=on to keys of scope admin only.",
    )
    explorer_cards: str = _setting(
        "title,,",
        "Which members of an item's document the explorer shows as its title, picture and link.",
    )
    metrics: bool = _setting(
        False, "Whether requests are counted and GET /metrics tells Prometheus (true, false)."
    )
    server: str = _setting(
        "gunicorn", "Which server answers: gunicorn or granian.", choices=("gunicorn", "granian")
    )
    bind: str = _setting("127.0.0.1:8000", "The address and port that the API listens on.")
    workers: int = _setting(2, "How many processes answer requests.", 1, 256)
    threads: int = _setting(
        4, "How many requests one process answers at a time; granian has 16 threads more.", 1, 256
    )
    log_level: str = _setting(
        "info", "debug, info, warning or error.", choices=("debug", "info", "warning", "error")
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each, getattr(self, each.name))
        try:
            Namespace(self.namespace)
        except ValueError as error:
            raise BadSettings(f"LARDER_NAMESPACE: {error}") from error
        _check_url("LARDER_CACHE_URL", self.cache_url)
        _check_url("LARDER_EVENTS_URL", self.url_of_events)
        for type in sorted(self.excluding):
            _check_excluded(type)
        for origin in self.origins:
            _check_origin(origin)
        if self.explorer_cards.count(",") != 2:
            raise BadSettings(
                "LARDER_EXPLORER_CARDS must be three names with two commas between them, any of "
                f"them empty, such as title,picture,link or title,,, not {self.explorer_cards!r}"
            )
        _check_bind(self.bind)
        _check_auth(self)
        if self.clicks != "off":
            _check_installed(f"LARDER_CLICKS={self.clicks}", "lightgbm", "LightGBM", "clicks")
            _check_libgomp(self.clicks)
        if self.decisions != "off":
            needs = "vowpalwabbit", "Vowpal Wabbit", "decisions"
            _check_installed(f"LARDER_DECISIONS={self.decisions}", *needs)

    @property
    def url_of_events(self) -> str:
        """The URL of the server that holds the events."""
        return self.events_url or self.cache_url

    @property
    def excluding(self) -> frozenset[str]:
        """The types of events whose items are gone from the next list."""
        return _listed(self.events_exclude)

    @property
    def origins(self) -> frozenset[str]:
        """Whose web pages may call."""
        return _listed(self.cors_origins)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Read the settings. Raises BadSettings for a wrong value or an unknown LARDER_ name."""
        if sentences := environment.unknown(variables):
            raise BadSettings("; ".join(sentences))
        given: dict[str, Any] = {}
        for each in fields(cls):
            text = variables.get(variable(each))
            if text is not None:
                given[each.name] = _parse(each, text)
        return cls(**given)


def variable(setting: "Field[Any]") -> str:
    """The environment variable of a setting."""
    return environment.PREFIX + setting.name.upper()


def _listed(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split(",") if each.strip())


def _parse(setting: "Field[Any]", text: str) -> int | str:
    if setting.type is str:
        return text
    if setting.type is bool:
        if text.lower() not in ("true", "false"):
            raise BadSettings(f"{variable(setting)} must be true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError as error:
        raise BadSettings(f"{variable(setting)} must be a whole number, not {text!r}") from error


def _check(setting: "Field[Any]", value: Any) -> None:
    low, high, choices = (setting.metadata[each] for each in ("low", "high", "choices"))
    if choices and value not in choices:
        such = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise BadSettings(f"{variable(setting)} must be {such}, not {value!r}")
    if low is not None and not low <= value <= high:
        raise BadSettings(f"{variable(setting)} must be {low} to {high}, not {value!r}")


def _check_url(name: str, url: str) -> None:
    try:
        CacheURL.parse(url)
    except ValueError as error:
        raise BadSettings(f"{name} {error}") from error


def _check_excluded(type: str) -> None:
    if type == IMPRESSION:
        raise BadSettings(
            "LARDER_EVENTS_EXCLUDE names impression, but what was only shown never leaves a list: "
            "take it out"
        )
    if not is_type(type):
        raise BadSettings(
            f"LARDER_EVENTS_EXCLUDE must be types such as click,hide, not {type[:40]!r}"
        )


def _check_bind(bind: str) -> None:
    address, _, port = bind.rpartition(":")
    right = re.fullmatch("[0-9]{1,5}", port) and int(port) <= 65_535
    if not bind.startswith("unix:/") and not (address and right):
        raise BadSettings(
            f"LARDER_BIND must be an address and a port such as 0.0.0.0:8000, or unix:/path, "
            f"not {bind!r}"
        )


def _check_origin(origin: str) -> None:
    if not re.fullmatch(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", origin):
        raise BadSettings(
            f"LARDER_CORS_ORIGINS must be origins as browsers send them, such as "
            f"https://shop.example or http://localhost:3000, without a path, not {origin!r}"
        )


def _check_installed(setting: str, module: str, name: str, extra: str) -> None:
    if find_spec(module) is None:
        raise BadSettings(
            f"{setting} needs {name}: run pip install '.[{extra}]' in Larder's folder"
        )


def _check_libgomp(clicks: str) -> None:
    """Here and not in a worker, which would be started again for ever."""
    if sys.platform != "linux":
        return
    try:
        CDLL("libgomp.so.1")
    except OSError as error:
        raise BadSettings(
            f"LARDER_CLICKS={clicks} needs what LightGBM needs, and {error}: install it (Debian "
            f"and Ubuntu: apt-get install libgomp1)"
        ) from error


def _check_auth(settings: Settings) -> None:
    if problem := keys.problem_of(settings.auth, settings.bind):
        raise BadSettings(problem)
    if (settings.rate or settings.burst) and settings.auth != keys.ON:
        raise BadSettings(
            "LARDER_RATE and LARDER_BURST are limits of a key: set LARDER_AUTH=on, or leave "
            "limits to the proxy"
        )
