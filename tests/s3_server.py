"""A server of S3 for tests: moto, behind a gate that fails, hangs or drops connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "acme-events"


class S3Server:
    """The server, which answers as S3 does until `fail`."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._ended = threading.Event()
        self.requests: list[tuple[str, str]] = []
        self.port = 0
        self.repair()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(
        self,
        status: int = 503,
        *,
        methods: Iterable[str] = ("DELETE", "GET", "HEAD", "PUT"),
        times: int = 1_000_000,
        is_done: bool = False,
        hangs: bool = False,
        drops: bool = False,
    ) -> None:
        """Fail the next requests of these methods.

        `status` is the answer instead of the right one. `hangs` sends none, and `drops` closes the
        connection. With `is_done`, the request is done before it fails.
        """
        self._status, self._methods, self._times = status, frozenset(methods), times
        self._is_done, self._hangs, self._drops = is_done, hangs, drops

    def repair(self) -> None:
        """Answer as S3 does."""
        self.fail(methods=())

    def end(self) -> None:
        self._ended.set()

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.requests.append((method, environ["PATH_INFO"]))
        if method not in self._methods or self._times <= 0:
            return self._app(environ, start_response)  # type: ignore[no-any-return]
        self._times -= 1
        if self._is_done:
            b"".join(self._app(environ, lambda *_: None))
        if self._hangs:
            self._ended.wait(30)
        if self._drops or self._hangs:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError("dropped")
        start_response(f"{self._status} Failed", [("Content-Length", "0")])
        return [b""]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None: ...


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with an empty bucket."""
    gate = S3Server()
    server = make_server("127.0.0.1", 0, gate, threaded=True, request_handler=_Quiet)
    gate.port = server.port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with urlopen(Request(f"{gate.url}/{BUCKET}", method="PUT"), timeout=30):
            pass
        gate.requests.clear()
        yield gate
    finally:
        gate.end()
        server.shutdown()
        thread.join(30)
        server.server_close()
