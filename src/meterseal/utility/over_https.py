"""By way of a head-end's HTTPS interface: `Via` carries what is sealed, proved by certificates at both ends.

The head-end is known by its certificate alone, whatever authority or name is on it; the utility proves itself
by its own.  What the head-end says is bounded, and believed as far as a carrier can be: that something was
brought, refused, or not answered.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from meterseal.client.base import CredentialsLike
from meterseal.credentials import Credentials
from meterseal.errors import (
    Altered,
    ConfigurationError,
    ConnectionLost,
    DecodeError,
    Malformed,
    Misuse,
    ProtectionError,
    Refused,
    TimedOut,
    TooLarge,
)
from meterseal.security.sealed import Sealed
from meterseal.utility.exchanges import broken
from meterseal.utility.session import load

LARGEST: Final = 1 << 18
"""Octets of an answer of the head-end: a sealed APDU in hex, and what is around it."""

_WAIT: Final = 25.0
"""Seconds that one question may take; a request is asked after until its time is over."""

_AGAIN: Final = 0.2
_SEALED: Final = {"Content-Type": "application/octet-stream"}
_AS_IT_IS: Final = {"Accept-Encoding": "identity"}
_ON_ITS_WAY: Final = ("queued", "sent")
_WAITS: Final = 429


PUSHES_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A push that waits at a head-end, as that says: its name there, the meter's title, when it came."""

    id: str
    meter: bytes
    received: float


class Via:
    """A head-end at `url`, `https://HOST:PORT`, for a third party of some credentials; for `async with`.

    `carry` is what a `SealedMeter` needs.  `timeout`: seconds that a request has, from its acceptance to its
    answer.  Raises ConfigurationError where the third party has no `tls_key`, `tls_certificate`, `head_end`.
    """

    def __init__(
        self, url: str, credentials: CredentialsLike, name: str | None = None, *, timeout: float | None = None
    ) -> None:
        if urlsplit(url).scheme != "https":
            raise ConfigurationError("a head-end is reached at https://HOST:PORT")
        loaded = load(credentials)
        third = loaded.third_party(name)
        self._timeout = third.timeout if timeout is None else timeout
        self._client = httpx.AsyncClient(
            base_url=url, verify=_context(loaded, name), timeout=_WAIT + 10.0, trust_env=False,
            follow_redirects=False, headers=_AS_IT_IS,
        )  # fmt: skip

    async def carry(self, sealed: Sealed) -> Sealed:
        """Have a request carried, and its answer brought.

        Raises Refused: by the head-end, or as it says by the meter; TimedOut: no answer until the deadline;
        ConnectionLost: the head-end cannot be reached, or is broken.
        """
        meter = sealed.recipient.hex().upper()
        path = f"/v1/meters/{meter}/requests"
        asked = {"deadline": self._timeout, "wait": min(_WAIT, self._timeout)}
        told = await self._ask("POST", path, params=asked, content=sealed.octets, headers=_SEALED)
        async with asyncio.timeout(self._timeout + _WAIT):
            while isinstance(told, dict) and told.get("state") in _ON_ITS_WAY:
                told = await self._ask("GET", f"/v1/requests/{_name(told)}", params={"wait": asked["wait"]})
        return _answer(told)

    async def meters(self) -> list[dict[str, Any]]:
        """The meters that the head-end carries for: `name`, `title`, `waiting`, `failures`."""
        found = await self._ask("GET", "/v1/meters")
        return found if isinstance(found, list) else []

    async def pushes(self, *, after: str | None = None, wait: float = 0.0) -> list[Waiting]:
        """Pushes that wait there for this utility, oldest first; those behind `after`, where that is given.

        Where none is there one is waited for, `wait` seconds at most.
        """
        asked: dict[str, Any] = {"wait": min(wait, _WAIT), "rows": PUSHES_AT_ONCE}
        found = await self._ask(
            "GET", "/v1/pushes", params=asked | ({} if after is None else {"after": after})
        )
        if not isinstance(found, list) or len(found) > PUSHES_AT_ONCE:
            raise Malformed("the head-end lists no pushes")
        return [_waiting(one) for one in found]

    async def push(self, waiting: Waiting) -> Sealed:
        """What one of them is.  Raises Altered where it is nothing sealed."""
        told = await self._ask("GET", f"/v1/pushes/{waiting.id}")
        try:
            octets = bytes.fromhex(str(told.get("sealed")) if isinstance(told, dict) else "-")
        except ValueError:
            raise Altered("the carrier brings what is no hex") from None
        try:
            return Sealed.of(octets)
        except (DecodeError, ProtectionError) as error:
            broken(error)

    async def acknowledge(self, waiting: Waiting) -> None:
        """It has been dealt with: the head-end keeps it no longer."""
        await self._ask("DELETE", f"/v1/pushes/{waiting.id}")

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        """One question; where the head-end says that it is too busy, again a little later."""
        while True:
            try:
                async with self._client.stream(method, path, **more) as response:
                    octets = await _bounded(response)
            except httpx.HTTPError as error:
                raise ConnectionLost(f"the head-end: {type(error).__name__}: {error}") from error
            if response.status_code != _WAITS:
                return _read(response.status_code, octets)
            await asyncio.sleep(_AGAIN)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Via:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _context(credentials: Credentials, name: str | None) -> ssl.SSLContext:
    third = credentials.third_party(name)
    folder = Path() if credentials.path is None else credentials.path.parent
    paths = {}
    for field in ("tls_certificate", "tls_key", "head_end"):
        value = getattr(third, field)
        if value is None:
            raise ConfigurationError(
                f"third party: {field} is missing: a head-end is reached by TLS at both ends"
            )
        paths[field] = folder / value
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # This one certificate is all that is trusted, so its names need not be looked at.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(paths["head_end"])
        context.load_cert_chain(paths["tls_certificate"], paths["tls_key"])
    except (OSError, ssl.SSLError) as error:
        text = getattr(error, "strerror", None) or "no PEM file for TLS"
        raise ConfigurationError(f"TLS to the head-end: {text}") from None
    return context


async def _bounded(response: httpx.Response) -> bytes:
    octets = bytearray()
    async for part in response.aiter_raw():
        octets += part
        if len(octets) > LARGEST:
            raise TooLarge(f"an answer of the head-end of more than {LARGEST} octets")
    return bytes(octets)


def _read(status: int, octets: bytes) -> Any:
    try:
        told = json.loads(octets) if octets else {}
    except (ValueError, RecursionError):
        raise Malformed("an answer of the head-end that is no JSON") from None
    if status < 300:
        return told
    error = told.get("error", {}) if isinstance(told, dict) else {}
    kind, text = (
        (str(error.get(key, ""))[:200] for key in ("type", "message"))
        if isinstance(error, dict)
        else ("", "")
    )
    if status >= 500:
        raise ConnectionLost(f"the head-end is broken ({status}): {text}")
    raise Refused(
        f"the head-end says no: {kind or status}: {text}",
        reason=kind or str(status),
        code=status,
        source="head-end",
    )


def _name(told: Any) -> str:
    name = told.get("id") if isinstance(told, dict) else None
    if not isinstance(name, str) or not (name.isascii() and name.isalnum()) or len(name) > 64:
        raise Malformed("the head-end names no request or push")
    return name


def _waiting(told: Any) -> Waiting:
    name = _name(told)
    try:
        meter, received = bytes.fromhex(str(told.get("meter"))), float(told.get("received"))
    except (TypeError, ValueError):
        raise Malformed("the head-end lists a push of no meter, or of no time") from None
    return Waiting(name, meter, received)


def _answer(told: Any) -> Sealed:
    """What a request came to."""
    if not isinstance(told, dict):
        raise Malformed("the head-end says nothing of the request")
    state, cause = str(told.get("state"))[:20], str(told.get("cause"))[:300]
    if state == "answered":
        try:
            return Sealed.of(bytes.fromhex(str(told.get("answer"))))
        except ValueError:
            raise Malformed("the head-end brings what is no hex") from None
    if state in ("unanswered", "expired"):
        raise TimedOut(f"the head-end says {state}: {cause}")
    if state == "cancelled":
        raise Misuse("the request was cancelled")
    raise Refused(
        f"the head-end says {state}: {cause}", reason=state, code=0, source="head-end", authenticated=False
    )
