"""One-time tokens of an authority: who may ask for the first certificates of one device (catalogue D18).

A request proves that its sender has the private key, not which device it is.  A token is given out for one
system title, by a way that the operator trusts, and is good for one certificate of each purpose.  The
register keeps its digest: who reads the index learns none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from meterseal.crypto import digest_of, random_octets
from meterseal.crypto.certificates import Purpose
from meterseal.errors import CertificateRefused

OCTETS: Final = 16
"""Random octets of a token."""

_LABEL: Final = b"meterseal enrolment token"


def draw() -> str:
    """A new token, as it is handed out."""
    return random_octets(OCTETS).hex().upper()


def name_of(token: str) -> str:
    """How the register knows a token: by a digest.  Letters may be small, with hyphens or blanks between."""
    plain = "".join(token.replace("-", "").split()).upper()
    return digest_of(_LABEL + plain.encode("utf-8")).hex()


@dataclass(slots=True)
class _Token:
    title: bytes
    until: datetime
    redeemed: set[Purpose] = field(default_factory=set)


class Tokens:
    """The tokens that are out; `needed` where the authority certifies against tokens only."""

    def __init__(self) -> None:
        self.needed = False
        self._out: dict[str, _Token] = {}

    def promise(self, digest: str, title: bytes, until: datetime) -> None:
        """A token was given out."""
        self._out[digest] = _Token(title, until)

    def redeem(self, digest: str, purpose: Purpose) -> None:
        """A certificate was issued against a token.  Raises KeyError for one that was never given out."""
        self._out[digest].redeemed.add(purpose)

    def check(self, token: str | None, title: bytes, purpose: Purpose, now: datetime) -> str | None:
        """The digest of a token that may be redeemed for this; None where none is given nor needed.

        Raises CertificateRefused: none given and one needed, unknown, of another device, too late, used.
        """
        if token is None:
            if self.needed:
                raise CertificateRefused("this authority certifies against a one-time token only (pki token)")
            return None
        digest = name_of(token)
        known = self._out.get(digest)
        if known is None or known.title != title:
            # One answer for both: a token says nothing about other devices.
            raise CertificateRefused(f"no token of this authority for {title.hex().upper()}")
        if now > known.until:
            raise CertificateRefused(f"the token could be redeemed until {known.until:%Y-%m-%d %H:%M} UTC")
        if purpose in known.redeemed:
            raise CertificateRefused(f"the token has been redeemed for {purpose.name.lower()} already")
        return digest
