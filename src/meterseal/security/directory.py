"""Public keys of others by system title: what a party knows, and what it comes to know at a sign-on.

Certificates are the party's matter: it reads, checks and keeps them (crypto.certificates, keys 6) and
answers here with keys.  Nothing in this package looks into one.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

from meterseal.crypto import AgreementPoint, VerifyingKey
from meterseal.errors import UnknownKey
from meterseal.security.steps import Steps


class Directory(Protocol):
    """Keys of other parties, each checked when it was taken in."""

    def verifying_key(self, title: bytes) -> VerifyingKey:
        """The signature key of `title`.  Raises UnknownKey, CertificateRefused."""

    def introduced(self, title: bytes, certificate: bytes | None) -> VerifyingKey | Steps[VerifyingKey]:
        """The same at a sign-on; `certificate` is what the party itself sent along, DER.

        Where that has to be verified first, the steps to the key.  Raises UnknownKey when none is known,
        CertificateRefused when the one sent is not to be trusted.
        """

    def agreement_point(self, title: bytes) -> AgreementPoint:
        """The static key agreement key of `title`.  Raises UnknownKey."""


class KnownKeys:
    """A directory of what was put in, and of nothing else; certificates that come along are ignored."""

    def __init__(self) -> None:
        self.signing: dict[bytes, VerifyingKey] = {}
        self.agreement: dict[bytes, AgreementPoint] = {}

    def verifying_key(self, title: bytes) -> VerifyingKey:
        """As `Directory`."""
        return self.signing.get(title) or _missing("signature", title)

    def introduced(self, title: bytes, certificate: bytes | None) -> VerifyingKey | Steps[VerifyingKey]:
        """As `Directory`; there is nothing to be verified."""
        return self.verifying_key(title)

    def agreement_point(self, title: bytes) -> AgreementPoint:
        """As `Directory`."""
        return self.agreement.get(title) or _missing("key agreement", title)


def _missing(purpose: str, title: bytes) -> NoReturn:
    raise UnknownKey(f"no {purpose} key of {title.hex().upper()} is known here")
