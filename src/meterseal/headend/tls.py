"""Mutual TLS: who a caller is, is the certificate that its connection has proved, and nothing it says.

uvicorn does not hand the verified certificate to the application.  `identified` makes a small subclass of its
HTTP/1.1 protocol that puts the certificate's fingerprint into the state of each connection, from where it
comes into the scope of each request.  What it relies on is inside uvicorn: its version is held to `TESTED`.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from meterseal.errors import ConfigurationError, Unsupported

TESTED: Final = "0.54."
"""The version of uvicorn that `identified` was tested with."""

FINGERPRINT: Final = "meterseal.certificate"
"""In a connection's state: SHA-256 of the verified client certificate (32 octets)."""

FIRST_REQUEST: Final = 10.0
"""Seconds until a new connection has sent a whole request head."""

PER_CALLER: Final = 32
"""Connections of one certificate at the same time."""

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


def fingerprint(der: bytes) -> bytes:
    """The fingerprint of a certificate in DER: SHA-256."""
    return hashlib.sha256(der).digest()


def fingerprints(pem: bytes) -> set[bytes]:
    """The fingerprints of all certificates in a PEM text.  Raises ConfigurationError."""
    found = set()
    for part in pem.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        try:
            der = ssl.PEM_cert_to_DER_cert((_BEGIN + body + end).decode("ascii"))
        except ValueError:
            der = b""
        if der[:1] != b"\x30":
            raise ConfigurationError("no certificate in PEM form")
        found.add(fingerprint(der))
    return found


def server_context(certificate: Path, key: Path, clients: Iterable[Path]) -> ssl.SSLContext:
    """TLS 1.3, and no handshake without a certificate of one of these authorities.  ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # a session that is taken up again would show no certificate
    path = certificate
    try:
        context.load_cert_chain(certificate, key)
        for path in clients:
            context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{path}: {getattr(error, 'strerror', None) or 'no PEM file for TLS'}"
        ) from None
    return context


def identified() -> type[H11Protocol]:
    """The protocol class for one server.  Raises Unsupported for another uvicorn than the tested one."""
    if not uvicorn.__version__.startswith(TESTED):
        raise Unsupported(
            f"this head-end is tested with uvicorn {TESTED}x, {uvicorn.__version__} is installed"
        )
    open_now: Counter[bytes] = Counter()

    class Identified(H11Protocol):
        """Puts the fingerprint of the peer's certificate into the state of its connection."""

        _print = b""
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            found = _peer_certificate(transport)
            self.app_state = {**self.app_state, FINGERPRINT: found}
            super().connection_made(transport)
            self._print = found
            open_now[found] += 1
            if not found or open_now[found] > PER_CALLER:
                transport.abort()
                return
            self._head_timer = self.loop.call_later(FIRST_REQUEST, self._slow)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
            open_now[self._print] -= 1
            if not open_now[self._print]:
                del open_now[self._print]
            super().connection_lost(exc)

        def _slow(self) -> None:
            begun: object = self.cycle  # None until the first request has a head
            if begun is None:
                self.transport.abort()

    return Identified


def _peer_certificate(transport: asyncio.Transport) -> bytes:
    """The fingerprint of the certificate that the handshake has verified; none without one."""
    session: Any = transport.get_extra_info("ssl_object")
    der = None if session is None else session.getpeercert(binary_form=True)
    return fingerprint(der) if der else b""
