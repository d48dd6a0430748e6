"""The bytes that came on a connection, until they are a whole request. No input or output here."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from gunicorn.asgi.parser import PythonProtocol
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

HEAD_BYTES = 65_536
"""The largest head taken, as gunicorn's own limits of fields would allow twelve times that."""

_END = b"\r\n\r\n"
_CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Stage(IntEnum):
    """How much of the next request has come."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


@dataclass(frozen=True, slots=True)
class Whole:
    """A request of which nothing is missing."""

    request: Any
    """gunicorn's."""
    body: bytes
    length: int
    """Bytes of the body; when it is larger than may be taken, ``body`` is empty and this is more
    than the largest."""


class Incoming:
    """What came from one client and was not answered yet."""

    def __init__(self, cfg: Any, client: Any, max_body_bytes: int) -> None:
        self._cfg = cfg
        self._client = client
        self._max_body_bytes = max_body_bytes
        self._came = bytearray()
        self._searched = 0
        self._head: Any = None
        self._body = bytearray()
        self._chunks: Any = None
        self._requests = 0
        self.wants_to_be_told = False
        """Whether the client sends its body only after ``100 Continue``."""

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._came += data

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self._came) + len(self._body)

    @property
    def stage(self) -> Stage:
        """How much of the next request has come."""
        if self._head is not None:
            return Stage.BODY
        return Stage.HEAD if self._came else Stage.NOTHING

    def next(self) -> Whole | None:
        """The next request if it is whole, or too large. Raises gunicorn's errors of parsing."""
        if self._head is None:
            data = self._take_head()
            if data is None:
                return None
            self._requests += 1
            self._begin(self._parse(data))
        return self._finish()

    def _take_head(self) -> bytes | None:
        end = self._came.find(_END, self._searched)
        if end < 0:
            self._searched = max(len(self._came) - len(_END) + 1, 0)
            return bytes(self._came) if self._is_hopeless() else None
        self._searched = 0
        return self._take(end + len(_END))

    def _is_hopeless(self) -> bool:
        """Whether the parser refuses this head however it goes on."""
        came = self._came
        line = came.find(b"\r\n")
        too_long = line < 0 and len(came) > self._cfg.limit_request_line + 2
        return too_long or len(came) > HEAD_BYTES or came.count(b"\n") != came.count(b"\r\n")

    def _parse(self, data: bytes) -> Any:
        try:
            return Request(self._cfg, IterUnreader((data,)), self._client, self._requests)
        except NoMoreData as error:
            raise LimitRequestHeaders(f"the head has more than {HEAD_BYTES} bytes") from error

    def _begin(self, head: Any) -> None:
        self._head = head
        self.wants_to_be_told = head._expected_100_continue
        head._expected_100_continue = False  # else gunicorn would say it, too late
        if isinstance(head.body.reader, ChunkedReader):
            self._chunks = PythonProtocol(
                on_body=self._body.extend,
                limit_request_fields=head.limit_request_fields,
                limit_request_field_size=head.limit_request_field_size,
            )
            self._chunks.feed(_CHUNKED)

    def _finish(self) -> Whole | None:
        if self._chunks is not None:
            return self._finish_chunks()
        length = self._head.body.reader.length
        if length > self._max_body_bytes:
            return self._whole(b"", length)
        if length > len(self._came):
            return None
        return self._whole(self._take(length), length)

    def _finish_chunks(self) -> Whole | None:
        self._chunks.feed(self._take(len(self._came)))
        if len(self._body) > self._max_body_bytes:
            return self._whole(b"", len(self._body))
        if not self._chunks.is_complete:
            return None
        self._came += self._chunks.remaining()
        return self._whole(bytes(self._body), len(self._body))

    def _whole(self, body: bytes, length: int) -> Whole:
        whole = Whole(self._head, body, length)
        self._head = self._chunks = None
        self._body.clear()
        self.wants_to_be_told = False
        return whole

    def _take(self, size: int) -> bytes:
        taken = bytes(self._came[:size])
        del self._came[:size]
        return taken
