"""The reader: watches which generation is live and looks records up in it.

A worker asks for the pointer a few times a second, in a thread, never in a request. A request costs
one round trip, or none when its answer is near. When the cache goes away, requests stop asking
until the watcher has reached it again, so that nobody waits for a time-out twice.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from app.contracts.generations import BrokenRecord
from app.contracts.recommendations import Manifest, Namespace, bucket_of, decode_sample, field
from app.errors import CacheUnavailable, NothingPublished
from app.recommendations.generation import Generation, openings
from app.recommendations.near_cache import NearCache, Remembered
from app.settings import Settings

CACHE_ERRORS = (
    redis.RedisError,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ChildDeadlockedError,
    redis.exceptions.IncorrectPolicyType,
    OSError,
)
"""All that the client raises when the cache cannot answer."""

_CHUNKS_AT_A_TIME = 64

log = logging.getLogger("larder.cache")


class Client(Protocol):
    """The part of a Redis client that the reader uses; one server and a cluster both have it."""

    def get(self, name: str) -> Any: ...
    def hget(self, name: str, key: Any) -> Any: ...
    def pipeline(self, transaction: Any = ...) -> Any: ...
    def close(self) -> None: ...


def connect(url: str, timeout_ms: int) -> Client:
    """Open a client of the server or, for ``redis+cluster://``, of the cluster that the URL names.

    A request waits four times at the most, for the connection, AUTH, SELECT and its command, so
    each gets a quarter of the time-out; nothing is tried twice. Only a cluster client may take
    longer, when it looks for the nodes that took the place of others.
    """
    quarter = timeout_ms / 4000
    options: dict[str, Any] = {
        "socket_timeout": quarter,
        "socket_connect_timeout": quarter,
        "protocol": 2,  # no HELLO
        "driver_info": None,  # nor CLIENT SETINFO
        "retry": Retry(NoBackoff(), 0),
    }
    if re.match("rediss?[+]cluster://", url):
        client: Client = RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
    else:
        client = redis.Redis.from_url(url, **options)
    return client


class Cache:
    """The recommendations of one namespace, as the live generation has them."""

    def __init__(self, settings: Settings, connect: Callable[[str, int], Client] = connect) -> None:
        self._settings = settings
        self._namespace = Namespace(settings.namespace)
        self._connect = connect
        self._client: Client | None = None
        self._live: Generation | None = None
        self._problem = "the cache was not reached yet"
        self._unread = ""
        self._in_cluster = "+cluster://" in settings.cache_url
        self._ended = False
        self._wake = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Look once, then keep watching in a thread. Returns although the cache may be away."""
        self.poll()
        self._thread = Thread(target=self._watch, name="larder-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watching and close the connections."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._client is not None:
            self._client.close()

    @property
    def reachable(self) -> bool:
        """Whether the cache answered when it was last asked."""
        return not self._problem

    def live(self) -> Generation:
        """The generation that this worker serves.

        Raises NothingPublished when there is none, CacheUnavailable when nobody can tell.
        """
        if self._live is not None:
            return self._live
        if problem := self._problem:
            raise CacheUnavailable(f"nothing to serve yet, and {problem}")
        raise NothingPublished(
            f"namespace {self._settings.namespace!r} holds no generation: run "
            f"'larder refresh <interactions> --namespace {self._settings.namespace}'"
        )

    def users(
        self, generation: Generation, users: Sequence[str]
    ) -> tuple[list[Remembered | None], bool]:
        """The users' lists and whether they are degraded, in one round trip at most.

        A list is None for a stranger and, when degraded, for everyone who is not near.
        """
        found = {user: generation.near.get(user) for user in users}
        missing = [user for user, remembered in found.items() if remembered is None]
        degraded = not self.reachable
        if missing and not degraded:
            try:
                found.update(self._look_up(generation, missing))
            except CacheUnavailable:
                degraded = True
        return [found[user] for user in users], degraded

    def similar(self, generation: Generation, item: str) -> Remembered | None:
        """The list of the item's neighbours, None when the generation does not hold the item.

        Raises CacheUnavailable.
        """
        manifest = generation.manifest
        name = field(item)
        bucket = bucket_of(name, manifest.similar_buckets)
        with self._asking() as client:
            record: bytes | None = client.hget(
                self._namespace.similar_bucket(manifest.generation, bucket), name
            )
        return None if record is None else Remembered(record)

    def sample(self, generation: Generation) -> list[str]:
        """Up to 1,000 of the generation's users. Raises CacheUnavailable or BrokenRecord."""
        with self._asking() as client:
            found: bytes | None = client.get(self._namespace.sample(generation.manifest.generation))
        return decode_sample(found or b"")

    def _look_up(
        self, generation: Generation, users: Sequence[str]
    ) -> dict[str, Remembered | None]:
        manifest = generation.manifest
        places = []
        for user in users:
            name = field(user)
            bucket = bucket_of(name, manifest.user_buckets)
            places.append((self._namespace.user_bucket(manifest.generation, bucket), name))
        with self._asking() as client:
            if len(places) == 1:
                records: list[bytes | None] = [client.hget(*places[0])]
            else:
                pipeline = client.pipeline(transaction=False)
                for place in places:
                    pipeline.hget(*place)
                records = pipeline.execute()
        found: dict[str, Remembered | None] = dict.fromkeys(users)
        for user, record in zip(users, records, strict=True):
            if record is not None:
                found[user] = remembered = Remembered(record)
                generation.near.put(user, remembered)
        return found

    @contextmanager
    def _asking(self) -> Iterator[Client]:
        """Translate the client's errors.

        When the server did not answer, nobody asks it again until the watcher, which looks at once,
        got through. An answer that is an error, or one lost node of a cluster, are one request's.
        """
        problem, client = self._problem, self._client  # in this order: no problem means a client
        if problem or client is None:
            raise CacheUnavailable(problem)
        try:
            yield client
        except CACHE_ERRORS as error:
            if self._is_away(error):
                self._set_unreachable(_no_answer(error))
                self._wake.set()
            raise CacheUnavailable(_no_answer(error)) from error

    def _is_away(self, error: Exception) -> bool:
        """Whether nobody answers, of a cluster none of its nodes."""
        if self._in_cluster:
            return isinstance(error, redis.exceptions.RedisClusterException)
        return not isinstance(error, redis.ResponseError)

    def _watch(self) -> None:
        while not self._ended:
            self._wake.wait(self._settings.watch_interval_ms / 1000)
            self._wake.clear()
            if not self._ended:
                self.poll()

    def poll(self) -> None:
        """Ask which generation is live and load it when it is another one. Never raises."""
        try:
            self._follow()
        except CACHE_ERRORS as error:
            self._set_unreachable(_no_answer(error), error)
        except BrokenRecord as error:
            self._unreadable(error)
        except Exception as error:  # a watcher that ended would leave the worker deaf for good
            if self._problem != _no_answer(error):
                log.error("the cache answered what nobody expected", exc_info=error)
            self._set_unreachable(_no_answer(error))

    def _follow(self) -> None:
        name: bytes | None
        if self._client is None:
            self._client = self._open()
        try:
            name = self._client.get(self._namespace.live)
        except redis.exceptions.RedisClusterException:
            # At no address that the client knows is a node: the URL may lead to others.
            self._client = self._open()
            name = self._client.get(self._namespace.live)
        if name is None and self._live is not None:
            # A server that came back empty: what is in memory is better than nothing.
            self._set_unreachable("the cache lost its data: run 'larder refresh' again")
            return
        if name is not None and self._name_of_live() != name.decode(errors="replace"):
            self._live = self._load(self._client, name.decode(errors="replace"))
            log.info("serving generation %s", self._name_of_live())
        self._set_reachable()

    def _open(self) -> Client:
        return self._connect(self._settings.cache_url, self._settings.cache_timeout_ms)

    def _name_of_live(self) -> str | None:
        return self._live.manifest.generation if self._live else None

    def _load(self, client: Client, name: str) -> Generation:
        pipeline = client.pipeline(transaction=False)
        pipeline.hget(self._namespace.generations, name)
        pipeline.get(self._namespace.popular(name))
        text, popular = pipeline.execute()
        if text is None or popular is None:
            raise BrokenRecord(f"generation {name} is live but has no manifest or popular list")
        manifest = Manifest.from_json(text)
        if manifest.generation != name:
            raise BrokenRecord(f"generation {name} has the manifest of {manifest.generation}")
        return Generation(
            manifest=manifest,
            opening=openings(self._load_chunks(client, manifest)),
            popular=Remembered(popular),
            near=NearCache(self._settings.near_cache_users),
        )

    def _load_chunks(self, client: Client, manifest: Manifest) -> list[bytes]:
        chunks: list[bytes] = []
        for first in range(0, manifest.chunks, _CHUNKS_AT_A_TIME):
            pipeline = client.pipeline(transaction=False)
            for chunk in range(first, min(first + _CHUNKS_AT_A_TIME, manifest.chunks)):
                pipeline.get(self._namespace.chunk(manifest.generation, chunk))
            chunks.extend(pipeline.execute())
            if None in chunks[first:]:
                raise BrokenRecord(f"generation {manifest.generation} has lost its documents")
        return chunks

    def _unreadable(self, error: BrokenRecord) -> None:
        """Another version's generation is live; the one in memory, if any, stays in use."""
        problem = f"the live generation cannot be read: {error}"
        if self._live is None:
            self._set_unreachable(problem)
            return
        if problem != self._unread:
            log.error("%s; serving %s instead", problem, self._name_of_live())
        self._unread = problem
        self._set_reachable()

    def _set_reachable(self) -> None:
        if self._problem:
            log.info("the cache is reachable")
        self._problem = ""

    def _set_unreachable(self, problem: str, cause: Exception | None = None) -> None:
        """The cause, such as a certificate that nobody trusts, is for the log; callers get less."""
        if problem != self._problem:
            more = f": {cause}" if cause else ""
            log.warning("%s; serving what is in memory until it is back%s", problem, more)
        self._problem = problem


def _no_answer(error: Exception) -> str:
    return f"the cache does not answer ({type(error).__name__})"
