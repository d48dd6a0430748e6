"""A wrong setting is one sentence that names the variable; a password is in none."""

import traceback
from dataclasses import fields, replace
from typing import Any

import pytest

from app.errors import BadSettings
from app.settings import Settings, variable

NUMBERS = {each.name: each for each in fields(Settings) if each.metadata["low"] is not None}


def test_nothing_set_gives_the_defaults() -> None:
    assert Settings.from_environment({"PATH": "/bin"}) == Settings()


def test_every_setting_is_read_from_its_variable() -> None:
    texts = {
        "LARDER_CACHE_URL": "rediss+cluster://somewhere:7000",
        "LARDER_NAMESPACE": "shop",
        "LARDER_CACHE_TIMEOUT_MS": "100",
        "LARDER_WATCH_INTERVAL_MS": "200",
        "LARDER_NEAR_CACHE_USERS": "0",
        "LARDER_DOCUMENTS_FOLDER": "/var/cache/larder",
        "LARDER_MAX_AGE_SECONDS": "60",
        "LARDER_MAX_BODY_BYTES": "2048",
        "LARDER_REQUEST_TIMEOUT_MS": "700",
        "LARDER_AUTH": "on",
        "LARDER_RATE": "100",
        "LARDER_BURST": "50",
        "LARDER_METRICS": "true",
        "LARDER_DOCS": "true",
        "LARDER_SERVER": "granian",
        "LARDER_BIND": "0.0.0.0:80",
        "LARDER_WORKERS": "3",
        "LARDER_THREADS": "5",
        "LARDER_LOG_LEVEL": "error",
        "LARDER_USER_SAMPLE": "true",
        "LARDER_EVENTS": "true",
        "LARDER_EVENTS_URL": "redis://events:6379",
        "LARDER_EVENTS_EXCLUDE": "purchase",
        "LARDER_EVENTS_MAX": "1000",
        "LARDER_RECENT_SECONDS": "60",
        "LARDER_CORS_ORIGINS": "https://shop.example",
        "LARDER_CLICKS": "only",
        "LARDER_CLICKS_UNKNOWN": "ignore",
        "LARDER_DECISIONS": "only",
        "LARDER_EXPLORER": "true",
        "LARDER_EXPLORER_CARDS": "name,image,url",
    }
    assert set(texts) == {variable(each) for each in fields(Settings)}
    settings = Settings.from_environment(texts)
    found = {variable(each): str(getattr(settings, each.name)) for each in fields(Settings)}
    switched = (
        "LARDER_METRICS",
        "LARDER_DOCS",
        "LARDER_USER_SAMPLE",
        "LARDER_EVENTS",
        "LARDER_EXPLORER",
    )
    assert found == {**texts, **dict.fromkeys(switched, "True")}


@pytest.mark.parametrize("each", fields(Settings), ids=lambda each: str(each.name))
def test_every_setting_has_a_sentence(each: Any) -> None:
    assert each.metadata["sentence"].endswith(".")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_may_be_at_both_ends_of_its_range_and_not_beyond(name: str) -> None:
    low, high = NUMBERS[name].metadata["low"], NUMBERS[name].metadata["high"]
    for inside in (low, high):
        texts = {"LARDER_AUTH": "on", variable(NUMBERS[name]): str(inside)}
        settings = Settings.from_environment(texts)
        assert getattr(settings, name) == inside
    for beyond in (low - 1, high + 1):
        with pytest.raises(BadSettings) as raised:
            Settings.from_environment({variable(NUMBERS[name]): str(beyond)})
        expected = f"{variable(NUMBERS[name])} must be {low} to {high}, not {beyond}"
        assert str(raised.value) == expected


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "0x10", "9" * 5000])
def test_what_is_no_whole_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadSettings, match=f"{variable(NUMBERS[name])} must be"):
        Settings.from_environment({variable(NUMBERS[name]): text})


def test_an_unknown_name_stops_the_process_with_a_hint() -> None:
    with pytest.raises(BadSettings, match="LARDER_THREAD: did you mean LARDER_THREADS?"):
        Settings.from_environment({"LARDER_THREAD": "4"})


def test_the_names_of_batch_are_no_errors() -> None:
    assert Settings.from_environment({"LARDER_FACTORS": "64"}) == Settings()


@pytest.mark.parametrize("namespace", ["", "Shop", "a b", "a:b", "x" * 65])
def test_a_wrong_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(BadSettings, match="LARDER_NAMESPACE: namespace must be"):
        Settings(namespace=namespace)


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "0.0.0.0:65535", "[::]:80", "unix:/run/api.sock"])
def test_an_address_is_taken(bind: str) -> None:
    assert Settings(bind=bind, auth="on").bind == bind


@pytest.mark.parametrize(
    "bind", ["", "nonsense", ":8000", "host:", "host:x", "host:65536", "host:-1", "unix:", "host:٣"]
)
def test_a_wrong_address_is_refused(bind: str) -> None:
    with pytest.raises(BadSettings, match="LARDER_BIND must be an address and a port"):
        Settings(bind=bind)


def test_off_is_refused_where_other_machines_come_in() -> None:
    for auth in ("on", "proxy"):
        assert Settings(bind="0.0.0.0:80", auth=auth).auth == auth
    with pytest.raises(BadSettings, match="set LARDER_AUTH=on and make a key with 'larder key add"):
        Settings(bind="0.0.0.0:80")


@pytest.mark.parametrize("limit", [{"rate": 1}, {"burst": 1}])
def test_a_limit_without_keys_is_refused(limit: dict[str, int]) -> None:
    for auth in ("off", "proxy"):
        with pytest.raises(BadSettings, match="are limits of a key: set LARDER_AUTH=on"):
            Settings(auth=auth, **limit)  # type: ignore[arg-type]


CHOICES = {
    "auth": "off, on or proxy",
    "clicks": "off, on or only",
    "clicks_unknown": "refuse or ignore",
    "decisions": "off, on or only",
    "log_level": "debug, info, warning or error",
    "server": "gunicorn or granian",
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("word", ["", "ON", "true", "none", "trace"])
def test_a_word_that_is_no_choice_is_refused_and_the_choices_named(name: str, word: str) -> None:
    expected = f"LARDER_{name.upper()} must be {CHOICES[name]}, not {word!r}"
    with pytest.raises(BadSettings, match=f"^{expected}$"):
        Settings.from_environment({f"LARDER_{name.upper()}": word})


def test_a_wrong_url_is_refused_and_its_password_never_shown() -> None:
    texts = {"LARDER_CACHE_URL": "redis://:hunter2/@cache"}
    with pytest.raises(BadSettings) as raised:
        Settings.from_environment(texts)
    assert str(raised.value).startswith("LARDER_CACHE_URL m")
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_events_are_in_the_cache_unless_a_url_names_another_server() -> None:
    assert Settings(cache_url="redis://a").url_of_events == "redis://a"
    assert Settings(cache_url="redis://a", events_url="redis://b").url_of_events == "redis://b"


def test_a_wrong_url_of_the_events_is_refused_and_its_password_never_shown() -> None:
    texts = {"LARDER_EVENTS_URL": "redis://:hunter2/@events"}
    with pytest.raises(BadSettings) as raised:
        Settings.from_environment(texts)
    assert str(raised.value).startswith("LARDER_EVENTS_URL m")
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in repr(Settings(events_url="redis://:hunter2@events"))


def test_origins_are_a_list_with_commas() -> None:
    texts = "https://shop.example, http://localhost:3000,http://[::1]:8080,"
    expected = {"https://shop.example", "http://localhost:3000", "http://[::1]:8080"}
    assert Settings(cors_origins=texts).origins == expected
    assert Settings().origins == frozenset()


@pytest.mark.parametrize(
    "origin", ["*", "null", "shop.example", "https://shop.example/", "https://Shop.example"]
)
def test_what_no_browser_sends_as_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(BadSettings, match="LARDER_CORS_ORIGINS must be origins"):
        Settings(cors_origins=f"https://a.example,{origin}")


@pytest.mark.parametrize("option", ["socket_timeout=60", "socket_connect_timeout=9", "timeout=1"])
def test_a_url_cannot_make_requests_wait_longer_than_the_setting(option: str) -> None:
    with pytest.raises(BadSettings, match="may carry the options db, ssl_ca_certs"):
        Settings(cache_url=f"redis://cache?{option}")


def test_settings_are_checked_however_they_are_made() -> None:
    with pytest.raises(BadSettings, match="LARDER_THREADS must be 1 to 256, not 0"):
        replace(Settings(), threads=0)


def test_the_types_that_leave_a_list_are_a_list_with_commas() -> None:
    assert Settings().excluding == {"click", "cart", "purchase", "rating", "hide"}
    assert Settings(events_exclude="purchase, my.own,").excluding == {"purchase", "my.own"}
    assert Settings(events_exclude="").excluding == frozenset()
    with pytest.raises(BadSettings, match="LARDER_EVENTS_EXCLUDE must be types such as click,hide"):
        Settings(events_exclude="click;hide")
    with pytest.raises(BadSettings, match="LARDER_EVENTS_EXCLUDE names impression"):
        Settings(events_exclude="click,impression")
