"""Revocation as a relying party sees it: the newest list of each authority, and what follows from it.

A list that is held always counts: what it names is refused.  Whether there must be one, and in date, is
the party's choice: a meter has none (classes 12), a head-end asks for them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from meterseal.crypto import PublicKey
from meterseal.crypto.certificates import Certificate
from meterseal.crypto.revocation import RevocationList
from meterseal.errors import CertificateRefused

MOST_LISTS: Final = 256
"""Authorities whose lists are held."""


class RevocationLists:
    """The newest list of each authority.  `required`: each authority on a way must have one in date."""

    def __init__(self, required: bool = False) -> None:
        self.required = required
        self._held: dict[tuple[bytes, PublicKey], RevocationList] = {}

    def take(self, found: RevocationList, issuer: Certificate, now: datetime | None) -> None:
        """Hold a list of `issuer`, in the place of an older one.  `now` None: its dates are not looked at.

        Raises CertificateRefused: not signed by `issuer`, from the future, older than the one that is held.
        One that is overdue is taken: what it names is revoked all the same.
        """
        found.check_issued_by(issuer)
        if now is not None and now < found.this_update:
            found.check_dates(now)
        name = issuer.subject, issuer.key
        held = self._held.get(name)
        if held is not None and (found.number, found.this_update) < (held.number, held.this_update):
            raise CertificateRefused(
                f"revocation list {found.number} of {found.issuer_text}: number {held.number} is here already"
            )
        if held is None and len(self._held) >= MOST_LISTS:
            raise CertificateRefused(f"{MOST_LISTS} revocation lists are held already")
        self._held[name] = found

    def as_now(self) -> RevocationLists:
        """The lists that are held now, whatever is taken in later."""
        same = RevocationLists(self.required)
        same._held = dict(self._held)
        return same

    def of(self, issuer: Certificate) -> RevocationList | None:
        """The list of an authority."""
        return self._held.get((issuer.subject, issuer.key))

    def check(self, certificate: Certificate, issuer: Certificate, now: datetime | None) -> None:
        """Raises CertificateRefused for a revoked certificate, and where a list that is required is not
        here or overdue."""
        held = self.of(issuer)
        if held is None:
            if self.required:
                raise CertificateRefused(f"no revocation list of {issuer.subject_text}")
            return
        found = held.find(certificate.serial)
        if found is not None:
            raise CertificateRefused(
                f"revoked at {found.moment:%Y-%m-%d %H:%M:%S}Z by {issuer.subject_text}: {found.reason.value}"
            )
        if self.required and now is not None:
            held.check_dates(now)
