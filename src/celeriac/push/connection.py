"""Connections to endpoints: a pool for each kind of request, in the event loop of this process."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import anyio
import httpcore
import httpx

from celeriac.cleanup import clean_up
from celeriac.push.address import AddressRefused, Resolve, check_addresses, resolve
from celeriac.push.answer import MAX_BODY, Answer

# A process has at most this many connections of each pool, and keeps this many idle ones.
MAX_CONNECTIONS, MAX_IDLE, IDLE_SECONDS = 1000, 100, 15.0
CONNECT_TIMEOUT = 10.0  # seconds

# The endpoint may answer later: a retry can succeed.
FAILURES = (
    OSError, TimeoutError, httpcore.NetworkError, httpcore.ProtocolError,
    httpcore.TimeoutException, httpcore.ProxyError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `is_guarded`: only to a public address."""

    url: httpx.URL
    timeout: float
    is_guarded: bool = False


class PublicBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only: to the address that was checked, without resolving twice.

    TLS still verifies the name in the URL.
    """

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._backend: httpcore.AsyncNetworkBackend = cast("Any", httpcore).AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            addresses = await self._resolve(host, port)
        check_addresses(host, addresses)
        error: Exception = socket.gaierror(f"{host} has no address")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("a Unix socket is not a public address")

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Connection(httpcore.AsyncHTTPConnection):
    """Closes if its first request is cancelled between connecting and sending.

    Otherwise the pool counts it as one of its connections for ever (httpcore 1.0).
    """

    _is_new = True

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        is_new, self._is_new = self._is_new, False
        try:
            return await super().handle_async_request(request)
        except BaseException:
            if is_new and not (self.is_idle() or self.is_closed()):
                await clean_up(self.aclose())
            raise


class _Pool(httpcore.AsyncConnectionPool):
    def __init__(self, tls: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend | None) -> None:
        super().__init__(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_IDLE)
        self._tls, self._backend = tls, backend

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return _Connection(
            origin,
            ssl_context=self._tls,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=self._backend,
        )


class Connections:
    """The pools of one process. Belongs to one event loop."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend | None = None) -> None:
        tls = httpx.create_ssl_context()
        self._pools = {True: _Pool(tls, backend or PublicBackend()), False: _Pool(tls, None)}

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer to a POST, with the beginning of its body; follows no redirect.

        Raises one of FAILURES, TimeoutError after the target's timeout, and AddressRefused.
        """
        # httpcore shields its cleanup from a cancelled scope, but not from a cancelled task.
        scope = anyio.CancelScope()
        try:
            return await clean_up(self._post(scope, target, headers, body))
        except asyncio.CancelledError:
            scope.cancel()
            raise

    async def _post(
        self, scope: anyio.CancelScope, target: Target, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        # The timeouts of a pool apply to each read: an endpoint could send a byte at a time.
        with scope, anyio.fail_after(target.timeout):
            return await self._send(target, headers, body)
        raise asyncio.CancelledError

    async def _send(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        url = target.url
        timeout = min(CONNECT_TIMEOUT, target.timeout)
        async with (
            self._pools[target.is_guarded].stream(
                "POST",
                httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=_headers(url, headers, body),
                content=body,
                extensions={"timeout": {"connect": timeout}},
            ) as response,
        ):
            content, is_cut = b"", False
            async for part in response.aiter_stream():
                content += part
                if len(content) > MAX_BODY:
                    # Leaving the block closes the connection.
                    content, is_cut = content[:MAX_BODY], True
                    break
            return Answer(response.status, _retry_after(response.headers), content, is_cut)

    async def aclose(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            await pool.aclose()


def _headers(url: httpx.URL, headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    sent = {
        "host": url.netloc.decode("ascii"),
        "user-agent": "celeriac",
        "accept": "*/*",
        # The beginning of a compressed body is not readable.
        "accept-encoding": "identity",
        "content-length": str(len(body)),
        **headers,
    }
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name.lower() == b"retry-after":
            return value.decode("latin-1")
    return None
