"""A client that nobody waits for, whose errors are all known."""

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from app.cache.connect import CACHE_ERRORS, connect
from app.cache.resolver import Resolver
from tests.app.liar import lying
from tests.servers import PATIENCE_SECONDS, Server


def resolver(*addresses: str) -> Resolver:
    """It knows that every name is at these addresses."""
    made = Resolver(lambda: None, lambda host: addresses)
    made.wait("cache.larder.test", PATIENCE_SECONDS)
    return made


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of cache.larder.test and its key, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl, which makes the certificate")
    made = tmp_path / "cache.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-subj", "/CN=cache", "-addext", "subjectAltName=DNS:cache.larder.test"]
        + ["-keyout", str(made), "-out", str(tmp_path / "cert.pem")],
        check=True,
        capture_output=True,
    )
    made.write_text(made.read_text() + (tmp_path / "cert.pem").read_text())
    return made


def test_every_error_of_the_client_is_translated() -> None:
    errors = [
        each
        for each in vars(redis.exceptions).values()
        if isinstance(each, type) and issubclass(each, BaseException)
    ]
    assert len(errors) > 30
    assert [each for each in errors if not issubclass(each, CACHE_ERRORS)] == []


def test_no_request_waits_longer_than_the_time_out_for_a_slow_server() -> None:
    """It waits to be connected, then for AUTH, SELECT and the command, and once for each."""
    heard: list[bytes] = []
    with lying(b"+OK\r\n", heard=heard) as url:
        client: Any = connect(url.replace("//", "//:secret@")[:-1] + "2", 20_000, resolver())
        assert client.get("key") == b"OK"
        waits = client.connection_pool.connection_kwargs
        client.close()
    assert [words.split(b"\r\n")[2] for words in heard] == [b"AUTH", b"SELECT", b"GET"]
    assert waits["socket_connect_timeout"] + len(heard) * waits["socket_timeout"] <= 20


def test_tls_looks_for_the_name_although_the_address_is_known(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with lying(b"+OK\r\n", tls=context) as url:
        url = url.replace("redis://", "rediss://:secret@") + f"?ssl_ca_certs={certificate}"
        by_name = url.replace("127.0.0.1", "cache.larder.test")
        client: Any = connect(by_name, 60_000, resolver("127.0.0.1"))
        assert client.get("key") == b"OK"
        client.close()
        stranger: Any = connect(url, 60_000, resolver())
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.get("key")
        stranger.close()


def test_each_address_of_a_name_is_tried_within_one_time_out(server: Server) -> None:
    url = server.url.replace("127.0.0.1", "cache.larder.test")
    client: Any = connect(url, 60_000, resolver("127.0.0.2", "127.0.0.3", "127.0.0.1"))
    connection = client.connection_pool.get_connection()
    waited = connection.socket_connect_timeout
    assert connection.host == "cache.larder.test"
    assert client.get("nothing") is None
    client.close()
    assert waited == 15, "what the three had to share is whole again"
