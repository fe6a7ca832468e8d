"""What an authority does with its key: certificates issued and renewed, tokens, revocations and their list.

Each act is checked against the register first, and is in the journal, durably, before it is told of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from meterseal.authority import ca_keys, register, terms, tokens
from meterseal.authority.register import Entry, Register
from meterseal.authority.terms import DEVICE_DAYS, LIST_DAYS, TOKEN_DAYS, check_days
from meterseal.cosem.texts import moment_text
from meterseal.credentials.files import write_public
from meterseal.crypto import SigningKey
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Request, Validity, title_name
from meterseal.crypto.revocation import FOR_GOOD, Reason, RevocationList
from meterseal.errors import CertificateRefused, ConfigurationError, Misuse, StateDamaged
from meterseal.state import Journal

LIST: Final = "crl"
MEND: Final = "nothing is issued with it: put the folder back from a copy, and revoke what the copy lacks"

_log = logging.getLogger("meterseal.authority")

Clock = Callable[[], datetime]


class Issuing:
    """The part of an authority that certifies; whose folder, journal and register are open."""

    folder: Path
    register: Register
    _journal: Journal
    _authority: Authority | None
    _password: bytes | None
    _by: str
    _clock: Clock

    @property
    def certificate(self) -> Certificate:
        """Its own."""
        return founded(self.register, self.folder)

    def issue(
        self,
        request: Request,
        title: bytes,
        purpose: Purpose,
        *,
        days: int | None = DEVICE_DAYS,
        token: str | None = None,
        why: str = "",
    ) -> Entry:
        """A certificate for the key of `request`; `title` is what the operator knows the device by.

        Raises CertificateRefused: another title asked for, a key that was certified before, a party that
        has a certificate, an authority out of date, a `token` that does not count or is needed and missing;
        Misuse, StateUnavailable.
        """
        self._check_request(request, title)
        key, now = request.key(purpose), self._now()
        redeemed = self.register.tokens.check(token, title, purpose, now)
        self.register.check_issue(key, (_subject(title), purpose), now)
        validity = self._within(now, days)
        make = self._signer(now).issue
        return self._certify(lambda: make(key, title, purpose, validity), now, why, token=redeemed)

    def renew(
        self,
        serial: bytes,
        request: Request | None,
        *,
        same_key: bool = False,
        days: int | None = DEVICE_DAYS,
        token: str | None = None,
        why: str = "",
    ) -> Entry:
        """A new certificate of the same title and purpose; the old one is then replaced, and holds on.

        The key is a new one, that of `request`.  With `same_key` it is the one there is, and a request
        is not needed.  Raises as `issue` does.
        """
        old = self.register.find(serial)
        if request is None and not same_key:
            raise Misuse("a renewal needs a request with a new key, or `same_key`")
        key = old.certificate.key if request is None else request.key(old.purpose)
        self.register.check_renew(serial, key, same_key)
        if request is not None:
            self._check_request(request, old.title)
        now, title = self._now(), old.title or b""
        redeemed = None if same_key else self.register.tokens.check(token, title, old.purpose, now)
        validity, make = self._within(now, days), self._signer(now).issue
        return self._certify(
            lambda: make(key, title, old.purpose, validity), now, why, serial, token=redeemed
        )

    def token(self, title: bytes, days: int = TOKEN_DAYS, *, why: str = "") -> str:
        """A new one-time token: its holder may have one certificate of each purpose for `title`.

        It is in no record, only its digest is.  Raises Misuse, StateUnavailable.
        """
        check_days(days, "a token can be redeemed")
        if len(title) != 8:
            raise Misuse("a token is for a system title of 8 octets")
        made = tokens.draw()
        self._keep(register.promised(tokens.name_of(made), title, self._now() + timedelta(days=days)), why)
        return made

    def revoke(self, serial: bytes, reason: Reason, *, why: str = "") -> Entry:
        """Revoke for good, from now on; the next revocation list says so.

        Raises CertificateRefused for what is revoked already, Misuse for a reason of others.
        """
        if reason not in FOR_GOOD:
            raise Misuse(f"a reason is one of {', '.join(one.value for one in FOR_GOOD)}")
        self.register.check_revoke(serial)
        self._keep(register.revoked(serial, reason), why)
        return self.register.find(serial)

    def revocation_list(self, days: int = LIST_DAYS, *, why: str = "") -> RevocationList:
        """A new revocation list, also as files in the folder; the next one is due in `days`.

        Raises CertificateRefused when the clock is behind the last list, StateUnavailable.
        """
        now, last = self._now(), self.register.list_at
        if last is not None and now < last:
            raise CertificateRefused(
                f"the last list is of {moment_text(last)}, and it is not so late: the clock is wrong"
            )
        check_days(days, "a list holds")
        number, following = self.register.list_number + 1, now + timedelta(days=days)
        revoked = self.register.revocations()
        made = RevocationList(self._signer(now).revocation_list(revoked, number, now, following))
        self._keep(register.listed(number, following), why, now)
        write_public(self.folder / f"{LIST}.der", made.der, "revocation list")
        write_public(self.folder / f"{LIST}.pem", made.to_pem(), "revocation list")
        return made

    # --- how --------------------------------------------------------------------------------

    def _certify(
        self,
        make: Callable[[], Certificate],
        now: datetime,
        why: str,
        replaces: bytes | None = None,
        token: str | None = None,
    ) -> Entry:
        try:
            made = make()
            while made.serial in self.register:  # drawn from 2^159: another draw is another number
                made = make()
        except Misuse as error:  # curves that do not go together: the request's fault
            raise CertificateRefused(str(error)) from None
        if self.certificate.not_after < made.not_after:
            _log.warning("it has no end, its authority has: the chain holds until %s", self._end_text)
        self._keep(register.issued(made, replaces, token), why, now)
        return self.register.find(made.serial)

    def _certify_sub(
        self, key: SigningKey, name: str, days: int | None, why: str, now: datetime
    ) -> Authority:
        if self.certificate.path_length == 0:
            raise CertificateRefused(f"{self.certificate.subject_text} may certify no authorities")
        validity, signer = self._within(now, days), self._signer(now)
        made: list[Authority] = []

        def make() -> Certificate:
            made.append(signer.sub(key, name, validity))
            subject = made[-1].certificate.subject_text
            if subject in {one.subject_text for one in (self.certificate, *self.register.above)}:
                raise CertificateRefused(f"the authority above has the name {subject} already")
            self.register.check_issue(key.public, (subject, Purpose.AUTHORITY), now)
            return made[-1].certificate

        self._certify(make, now, why)
        return made[-1]

    def _signer(self, now: datetime) -> Authority:
        """The signing key with its certificate, in date."""
        self.certificate.check_dates(now)
        if self._authority is None:
            key = ca_keys.read(self.folder, self._password)
            try:
                self._authority = Authority(self.certificate, key)
            except Misuse:
                raise StateDamaged(
                    f"{self.folder / ca_keys.NAME} is not the key of this authority; {MEND}"
                ) from None
        return self._authority

    def _check_request(self, request: Request, title: bytes | None) -> None:
        """Possession of the key was proved when the request was read; this is about who asks."""
        if request.title != title:
            known = "no title" if title is None else title.hex().upper()
            raise CertificateRefused(f"the request is for {request.title.hex().upper()}, not for {known}")

    def _within(self, now: datetime, days: int | None) -> Validity:
        self.certificate.check_dates(now)
        validity = terms.validity(now, days, self.certificate)
        if days is not None and validity.end > self.certificate.not_after:
            raise CertificateRefused(f"fewer days: its authority ends before, at {self._end_text}")
        return validity

    @property
    def _end_text(self) -> str:
        return moment_text(self.certificate.not_after)

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(microsecond=0)

    def _keep(self, record: dict[str, Any], why: str, now: datetime | None = None) -> None:
        """Durable first, then true."""
        at = moment_text(now or self._now())
        record = {**record, "at": at, "by": self._by, "why": why}
        self._journal.commit(record)
        self.register.apply(record)


def founded(found: Register, folder: Path) -> Certificate:
    """The certificate of the authority that a register is about.  Raises ConfigurationError: unfinished."""
    if found.authority is None:
        raise ConfigurationError(
            f"the authority in {folder} was never finished: `meterseal pki init` makes one"
        )
    return found.authority


def _subject(title: bytes) -> str:
    return title_name(title).rfc4514_string()
