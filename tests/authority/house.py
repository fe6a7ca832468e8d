"""What the authority's tests share: a clock, titles, authorities, requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from meterseal.authority import CertificateAuthority
from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Request, make_request

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TITLE = bytes.fromhex("4D534C0000000001")
OTHER = bytes.fromhex("4D534C0000000002")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by


def title(number: int) -> bytes:
    return b"MSL" + number.to_bytes(5, "big")


def root(folder: Path, clock: Clock | None = None, **how: Any) -> CertificateAuthority:
    return CertificateAuthority.root(folder, "Root", clock=clock or Clock(), by="tester", **how)


def opened(folder: Path, clock: Clock | None = None, **how: Any) -> CertificateAuthority:
    return CertificateAuthority(folder, clock=clock or Clock(), by="tester", **how)


def request(
    for_title: bytes = TITLE,
    kind: type[SigningKey] | type[AgreementKey] | type[TlsKey] = SigningKey,
    on: str = "P-256",
) -> Request:
    return Request(make_request(kind.generate(curve(on)), for_title))


@cache
def numbered(number: int) -> Request:
    """The same request each time."""
    return request(title(number))
