"""The network: httpx's transport, with a limit to the time for the whole of an answer.

httpx's time-outs are for each read of a socket, so a server that sends a byte now and then, of the
headers or of the body, could hold a call for days.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore
import httpx

from zipchat_dagster.client.options import MAX_IN_FLIGHT, proxy_for

PATIENCE: Final = 2  # times the time-out of a read, from the request on; then no more is read
LIMITS: Final = httpx.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=32)


class Network(httpx.HTTPTransport):
    """Sends requests, through a proxy if the environment names one for `base_url`.

    An answer that is not complete in time ends in httpx.ReadTimeout.

    Raises:
        SettingError: the proxy's address is malformed.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(limits=LIMITS, proxy=proxy_for(base_url))
        # httpx has no parameter for it; httpcore has.
        self._pool._network_backend = _Backend(self._pool._network_backend)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, wrapped: httpcore.NetworkBackend) -> None:
        self._wrapped = wrapped

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._wrapped.connect_tcp(host, port, timeout, local_address, socket_options)
        )


class _Stream(httpcore.NetworkStream):
    """A connection. What is read after a write is the answer to it."""

    def __init__(self, wrapped: httpcore.NetworkStream) -> None:
        self._wrapped = wrapped
        self._written_at = 0.0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if timeout and time.monotonic() - self._written_at > PATIENCE * timeout:
            raise httpcore.ReadTimeout("the answer took too long to arrive")
        return self._wrapped.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._wrapped.write(buffer, timeout)
        self._written_at = time.monotonic()

    def close(self) -> None:
        self._wrapped.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._wrapped.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._wrapped.get_extra_info(info)
