"""Trust: which certificates one party holds of others, and on what ground (classes 12; keys 6).

A certificate is held against the anchors when it is taken in, and its dates again each time its key is
asked for.  Per system title and purpose there is one: a newer one that holds takes the place of the older.
The anchors are set once; nothing that comes over a line changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from meterseal.crypto import AgreementPoint, VerifyingKey
from meterseal.crypto.certificates import Certificate, Purpose, verify_chain
from meterseal.errors import CertificateRefused, UnknownKey

MOST: Final = 4096
"""Certificates of others that are held at most; one that is not asked for any more can be removed."""

Clock = Callable[[], datetime | None]
"""The time, with a zone; None where this party has none: dates are then not looked at."""


class Trust:
    """Certificates of others, as keys by system title: a `Directory` of `security`.

    `anchors` are trusted as they are; `authorities` are certificates between them and the end entities.
    Only what is `pinned` is taken without a way to an anchor.
    """

    def __init__(
        self, anchors: Iterable[Certificate], clock: Clock, authorities: Iterable[Certificate] = ()
    ) -> None:
        self.anchors = tuple(anchors)
        self._authorities: dict[bytes, Certificate] = {one.subject: one for one in authorities}
        self._clock = clock
        self._held: dict[tuple[bytes, Purpose], Certificate] = {}

    # --- what is held -----------------------------------------------------------------------

    @property
    def held(self) -> list[Certificate]:
        """All certificates of end entities."""
        return list(self._held.values())

    @property
    def authorities(self) -> list[Certificate]:
        """The certificates between anchors and end entities."""
        return list(self._authorities.values())

    def find(self, title: bytes, purpose: Purpose) -> Certificate | None:
        """The certificate of one party for one purpose."""
        return self._held.get((title, purpose))

    def pin(self, certificate: Certificate) -> None:
        """Take a certificate in because somebody who may say so has handed it over."""
        self._put(certificate)

    def take(self, certificate: Certificate, others: Sequence[Certificate] = ()) -> list[Certificate]:
        """Take a certificate in on its own strength; the way to its anchor.

        Raises CertificateRefused: outside its dates, no way to an anchor, or more than MOST.
        """
        way = self.verify(certificate, others)
        if certificate.title is None:
            self._authorities[certificate.subject] = certificate
        else:
            self._put(certificate)
        return way

    def verify(self, certificate: Certificate, others: Sequence[Certificate] = ()) -> list[Certificate]:
        """The way from a certificate to its anchor, without taking it in.  Raises CertificateRefused."""
        issuers = [one for one in self._authorities.values() if one.subject == certificate.issuer]
        between = [one for one in self._authorities.values() if issuers and one.subject == issuers[0].issuer]
        return verify_chain(certificate, [*others, *issuers, *between], self.anchors, self._clock())

    def remove(self, certificate: Certificate) -> None:
        """Hold it no more."""
        self._held = {name: held for name, held in self._held.items() if held != certificate}
        self._authorities = {n: held for n, held in self._authorities.items() if held != certificate}

    def _put(self, certificate: Certificate) -> None:
        if certificate.title is None:
            raise CertificateRefused("a certificate of an authority where one of an end entity is wanted")
        name = certificate.title, certificate.purpose
        if name not in self._held and len(self._held) >= MOST:
            raise CertificateRefused(f"{MOST} certificates of others are held already")
        self._held[name] = certificate

    # --- a directory of keys ----------------------------------------------------------------

    def verifying_key(self, title: bytes, certificate: bytes | None = None) -> VerifyingKey:
        """The signature key of `title`, from the certificate that came along or from the one held.

        Raises UnknownKey, CertificateRefused.
        """
        held = self.find(title, Purpose.SIGNATURE)
        if certificate is not None and (held is None or certificate != held.der):
            held = self._introduced(title, Certificate(certificate))
        key = self._in_date(held, title, Purpose.SIGNATURE).key
        if not isinstance(key, VerifyingKey):  # the purpose says so already
            raise CertificateRefused("not a signature key")
        return key

    def agreement_point(self, title: bytes) -> AgreementPoint:
        """The static key agreement key of `title`.  Raises UnknownKey, CertificateRefused."""
        key = self._in_date(self.find(title, Purpose.AGREEMENT), title, Purpose.AGREEMENT).key
        if not isinstance(key, AgreementPoint):
            raise CertificateRefused("not a key agreement key")
        return key

    def _introduced(self, title: bytes, certificate: Certificate) -> Certificate:
        if certificate.title != title:
            raise CertificateRefused("the certificate names another system title than its sender")
        if certificate.purpose is not Purpose.SIGNATURE:
            raise CertificateRefused(f"a certificate for {certificate.purpose.name.lower()}, not signature")
        self.take(certificate)
        return certificate

    def _in_date(self, held: Certificate | None, title: bytes, purpose: Purpose) -> Certificate:
        if held is None:
            raise UnknownKey(f"no {purpose.name.lower()} certificate of {title.hex().upper()} is held")
        now = self._clock()
        if now is not None:
            held.check_dates(now)
        return held
