"""A certificate in somebody else's hands: held against anchors, lists and a moment, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from meterseal.crypto.certificates import Certificate, Purpose, verify_chain
from meterseal.crypto.revocation import RevocationList
from meterseal.errors import CertificateRefused
from meterseal.keys.revocation import RevocationLists


@dataclass(frozen=True, slots=True)
class Relying:
    """What is known: anchors, certificates on the way to them, revocation lists, and the time.

    `lists` None: revocation is not looked at; otherwise every authority on the way needs one in date.
    """

    anchors: Sequence[Certificate]
    between: Sequence[Certificate]
    lists: Sequence[RevocationList] | None
    now: datetime

    def verify(
        self, certificate: Certificate, title: bytes | None = None, purpose: Purpose | None = None
    ) -> list[Certificate]:
        """The way from a certificate to its anchor, both in it.

        Raises CertificateRefused: another title or purpose than is wanted, no way, out of date, revoked,
        or a list that is missing, overdue, or not of its issuer.
        """
        if purpose is not None and certificate.purpose is not purpose:
            raise CertificateRefused(
                f"a certificate for {certificate.purpose.name.lower()}, wanted is {purpose.name.lower()}"
            )
        if title is not None and certificate.title != title:
            held = "no system title" if certificate.title is None else certificate.title.hex().upper()
            raise CertificateRefused(f"a certificate of {held}, wanted is {title.hex().upper()}")
        held_lists = RevocationLists(required=self.lists is not None)
        for found in self.lists or ():
            self._take(held_lists, found)
        return verify_chain(
            certificate,
            self.between,
            self.anchors,
            self.now,
            lambda one, issuer: held_lists.check(one, issuer, self.now),
        )

    def _take(self, into: RevocationLists, found: RevocationList) -> None:
        refused = CertificateRefused(f"a revocation list of an unknown issuer, {found.issuer_text}")
        for issuer in (*self.anchors, *self.between):
            if issuer.subject == found.issuer:
                try:
                    return into.take(found, issuer, self.now)
                except CertificateRefused as error:
                    refused = error
        raise refused
