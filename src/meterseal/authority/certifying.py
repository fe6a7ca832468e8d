"""Certificates for the keys of known devices and clients: found in an authority's index, issued, or renewed.

Whoever comes here has an authority at hand, and knows the device by its own keys; what a request is for and
that its sender has the key is checked as for any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from meterseal.authority.ca import CertificateAuthority, utc_now
from meterseal.authority.ca_issuing import Clock
from meterseal.authority.register import Entry, State
from meterseal.authority.terms import DEVICE_DAYS
from meterseal.client.setups import CertificateInfo
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request

ISSUED: Final = "issued"
RENEWED: Final = "renewed"


def certified(
    authority: CertificateAuthority,
    request: Request,
    title: bytes,
    purpose: Purpose,
    *,
    days: int | None = DEVICE_DAYS,
    token: str | None = None,
    why: str = "",
) -> tuple[Entry, str]:
    """A certificate for the key of `request`: `issued`, or `renewed` where the party has a valid one.

    Raises as `CertificateAuthority.issue` does.
    """
    held = authority.register.of_party(title, purpose)
    if held is None or held.state is not State.VALID:
        return authority.issue(request, title, purpose, days=days, token=token, why=why), ISSUED
    # The pair that it was for is in use no more, or is to be replaced.
    return authority.renew(held.serial, request, days=days, token=token, why=why), RENEWED


def valid_for(
    authority: CertificateAuthority, request: Request, title: bytes, purpose: Purpose
) -> Entry | None:
    """The valid certificate, for just this, that the key of a request has already."""
    entry = authority.register.of_key(request.key(purpose))
    fits = entry is not None and (entry.title, entry.purpose) == (title, purpose)
    return entry if entry is not None and fits and entry.state is State.VALID else None


def listed_as(listed: Iterable[CertificateInfo], one: Certificate) -> CertificateInfo | None:
    """The entry of a meter's list for this certificate, by serial number and issuer."""
    names = (one.issuer, one.issuer_text.encode())
    fitting = (held for held in listed if held.serial.lstrip(b"\0") == one.serial and held.issuer in names)
    return next(fitting, None)


@dataclass(frozen=True)
class Certifier:
    """The authority in a folder, opened for each certificate: several workers take turns.

    `days` None: without a planned end.  `roll`: the name of the store whose people act.
    """

    folder: Path
    password: bytes | None = None
    by: str = ""
    days: int | None = DEVICE_DAYS
    roll: str | None = None
    clock: Clock = utc_now

    def certificate(self, request: Request, title: bytes, purpose: Purpose, why: str = "") -> Certificate:
        """The certificate of the key of `request`, the one that there is or a new one.

        Raises CertificateRefused, StateLocked, and what opening the authority raises.
        """
        with self._open() as authority:
            entry = valid_for(authority, request, title, purpose)
            if entry is None:
                needed = authority.register.tokens.needed
                token = authority.token(title, days=1, why=why) if needed else None
                entry, _ = certified(authority, request, title, purpose, days=self.days, token=token, why=why)
        return entry.certificate

    def spent(self, request: Request, title: bytes, purpose: Purpose) -> bool:
        """True for a key that was certified before, and has no valid certificate for this."""
        with self._open() as authority:
            known = authority.register.of_key(request.key(purpose)) is not None
            return known and valid_for(authority, request, title, purpose) is None

    @cached_property
    def chain(self) -> list[Certificate]:
        """Its own certificate and those above it, the root last: read once, for an authority keeps them."""
        with self._open() as authority:
            return [authority.certificate, *authority.register.above]

    def between(self) -> list[Certificate]:
        """The authorities below the root, the highest first: what a meter needs on the way to its anchor."""
        return [one for one in reversed(self.chain) if one.subject != one.issuer]

    def _open(self) -> CertificateAuthority:
        return CertificateAuthority(
            self.folder, password=self.password, by=self.by, roll=self.roll, clock=self.clock
        )
