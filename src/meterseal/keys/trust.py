"""Trust: which certificates one party holds of others, and on what ground (classes 12; keys 6).

A certificate is held against the anchors when it is taken in, and its dates and the revocation lists again
each time its key is asked for.  Per system title and purpose there is one: a newer one that holds takes the
place of the older.  What comes along at a sign-on brings back neither an older certificate nor one that was
removed.  The anchors are set once; nothing that comes over a line changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeAlias

from meterseal.crypto import AgreementPoint, Curve, VerifyingKey
from meterseal.crypto.certificates import Certificate, Purpose, verify_chain
from meterseal.crypto.revocation import RevocationList
from meterseal.errors import CertificateRefused, UnknownKey
from meterseal.keys.introduced import Introduced
from meterseal.keys.revocation import RevocationLists

MOST: Final = 4096
"""Certificates of others that are held at most; one that is not asked for any more can be removed."""


Introducing: TypeAlias = Generator[Callable[[], Any], Any, VerifyingKey]
"""Steps to the key of a certificate that came along: the calls that it yields are pure, and take time."""

Finding: TypeAlias = Generator[Callable[[], Any], Any, list[Certificate]]
"""Steps to the way from a certificate to its anchor."""

Clock = Callable[[], datetime | None]
"""The time, with a zone; None where this party has none: dates are then not looked at."""


def name_of(certificate: Certificate) -> bytes:
    """What a certificate is known by: issuer and serial number, however its signature is written."""
    return certificate.issuer + certificate.serial


class Trust:
    """Certificates of others, as keys by system title: a `Directory` of `security`.

    `anchors` are trusted as they are; `authorities` are certificates between them and the end entities.
    Only what is `pinned` is taken without a way to an anchor.  `lists` say what is revoked; a party
    without them looks at no revocation.  With `curve` the keys of end entities are on that one (catalogue
    D13, D20).  `withdrawn` are names of certificates that were removed.  `keep` is called with what came
    along at a sign-on, once that is proved and before it is held.
    """

    def __init__(
        self,
        anchors: Iterable[Certificate],
        clock: Clock,
        authorities: Iterable[Certificate] = (),
        lists: RevocationLists | None = None,
        *,
        curve: Curve | None = None,
        keep: Callable[[Certificate], None] = lambda certificate: None,
    ) -> None:
        self.anchors = tuple(anchors)
        self.lists = RevocationLists() if lists is None else lists
        self._authorities: dict[bytes, Certificate] = {one.subject: one for one in authorities}
        self._clock, self._curve, self._keep = clock, curve, keep
        self.withdrawn: set[bytes] = set()
        # Each with its way to an anchor; alone where it was pinned and there is none.
        self._held: dict[tuple[bytes, Purpose], list[Certificate]] = {}

    # --- what is held -----------------------------------------------------------------------

    @property
    def held(self) -> list[Certificate]:
        """All certificates of end entities."""
        return [way[0] for way in self._held.values()]

    @property
    def authorities(self) -> list[Certificate]:
        """The certificates between anchors and end entities."""
        return list(self._authorities.values())

    def find(self, title: bytes, purpose: Purpose) -> Certificate | None:
        """The certificate of one party for one purpose."""
        way = self._held.get((title, purpose))
        return None if way is None else way[0]

    def pin(self, certificate: Certificate) -> None:
        """Take a certificate in because somebody who may say so has handed it over.

        Where it has a way to an anchor now, revocation lists count for it as for others.
        """
        try:
            way = verify_chain(certificate, self._between(certificate, ()), self.anchors, None)
        except CertificateRefused:
            way = [certificate]
        self._put(way)

    def take(self, certificate: Certificate, others: Sequence[Certificate] = ()) -> list[Certificate]:
        """Take a certificate in on its own strength; the way to its anchor.

        Raises CertificateRefused: outside its dates, no way to an anchor, or more than MOST.
        """
        way = self.verify(certificate, others)
        self.hold(way)
        return way

    def hold(self, way: list[Certificate]) -> None:
        """Take in the first of a way that was verified right now (`take`, in steps)."""
        certificate = way[0]
        if certificate.title is None:
            self._authorities[certificate.subject] = certificate
        else:
            self._put(way)
        self.withdrawn.discard(name_of(certificate))

    def take_list(self, found: RevocationList) -> None:
        """Hold a revocation list.  Raises CertificateRefused unless it is of an anchor or an authority here,
        and as `RevocationLists.take` does."""
        refused = CertificateRefused(f"a revocation list of an unknown issuer, {found.issuer_text}")
        for issuer in (*self.anchors, *self._authorities.values()):
            if issuer.subject == found.issuer:
                try:
                    return self.lists.take(found, issuer, self._clock())
                except CertificateRefused as error:
                    refused = error
        raise refused

    def verify(self, certificate: Certificate, others: Sequence[Certificate] = ()) -> list[Certificate]:
        """The way from a certificate to its anchor, without taking it in.  Raises CertificateRefused."""
        return self._to_verify(certificate, others)()

    def verifying(self, certificate: Certificate) -> Finding:
        """As `verify`, in steps: it holds when it is found, whatever others did meanwhile."""
        way: list[Certificate] = yield self._to_verify(certificate, ())
        self._check_still(way)
        return way

    def _check_still(self, way: list[Certificate]) -> None:
        if any(one not in (*self.anchors, *self._authorities.values()) for one in way[1:]):
            raise CertificateRefused("an authority on the way of the certificate was removed")
        self._check_key(way[0])

    def _to_verify(
        self, certificate: Certificate, others: Sequence[Certificate]
    ) -> Callable[[], list[Certificate]]:
        """A pure call that verifies it against what is held now."""
        on, now = certificate.key.curve, self._clock()
        if self._curve is not None and certificate.title is not None and on is not self._curve:
            raise CertificateRefused(f"a key on {on.name}, the suite has {self._curve.name}")
        self._check_key(certificate)
        between, lists = self._between(certificate, others), self.lists.as_now()
        standing = partial(_standing, lists, now)
        return partial(verify_chain, certificate, between, self.anchors, now, standing)

    def remove(self, certificate: Certificate) -> None:
        """Hold it no more, and take it from no sign-on."""
        self.withdrawn.add(name_of(certificate))
        self._held = {name: way for name, way in self._held.items() if way[0] != certificate}
        self._authorities = {n: held for n, held in self._authorities.items() if held != certificate}

    def _between(self, certificate: Certificate, others: Sequence[Certificate]) -> list[Certificate]:
        issuers = [one for one in self._authorities.values() if one.subject == certificate.issuer]
        above = [one for one in self._authorities.values() if issuers and one.subject == issuers[0].issuer]
        return [*others, *issuers, *above]

    def _put(self, way: list[Certificate]) -> None:
        certificate = way[0]
        if certificate.title is None:
            raise CertificateRefused("a certificate of an authority where one of an end entity is wanted")
        name = certificate.title, certificate.purpose
        if name not in self._held and len(self._held) >= MOST:
            raise CertificateRefused(f"{MOST} certificates of others are held already")
        self._check_key(certificate)
        self._held[name] = way

    def _check_key(self, certificate: Certificate) -> None:
        """One key, one party, one purpose (catalogue D10)."""
        mine = certificate.title, certificate.purpose
        for other in (*self.anchors, *self._authorities.values(), *self.held):
            if other.key.octets == certificate.key.octets and (other.title, other.purpose) != mine:
                raise CertificateRefused("the key serves another purpose or another party already")

    # --- a directory of keys ----------------------------------------------------------------

    def verifying_key(self, title: bytes) -> VerifyingKey:
        """The signature key of `title`, from the certificate held.  Raises UnknownKey, CertificateRefused."""
        return _signing(self._in_order(title, Purpose.SIGNATURE))

    def introduced(self, title: bytes, certificate: bytes | None) -> VerifyingKey | Introducing:
        """The same at a sign-on; steps to it where `certificate` (DER) came along and is not held yet."""
        held = self.find(title, Purpose.SIGNATURE)
        if certificate is None or (held is not None and certificate == held.der):
            return self.verifying_key(title)
        return self._introducing(title, certificate)

    def agreement_point(self, title: bytes) -> AgreementPoint:
        """The static key agreement key of `title`.  Raises UnknownKey, CertificateRefused."""
        key = self._in_order(title, Purpose.AGREEMENT).key
        if not isinstance(key, AgreementPoint):
            raise CertificateRefused("not a key agreement key")
        return key

    def _introducing(self, title: bytes, der: bytes) -> Introducing:
        certificate = yield partial(Certificate, der)
        self._check_introduced(title, certificate)
        way = yield from self.verifying(certificate)
        # What is held may have changed meanwhile.
        self._check_introduced(title, certificate)
        self._check_now(way)
        return Introduced(_signing(certificate), partial(self._hold_introduced, title, way))

    def _hold_introduced(self, title: bytes, way: list[Certificate]) -> None:
        self._check_introduced(title, way[0])
        self._check_still(way)
        self._check_now(way)
        self._keep(way[0])
        self._put(way)

    def _check_introduced(self, title: bytes, certificate: Certificate) -> None:
        held = self.find(title, Purpose.SIGNATURE)
        if certificate.title != title:
            raise CertificateRefused("the certificate names another system title than its sender")
        if certificate.purpose is not Purpose.SIGNATURE:
            raise CertificateRefused(f"a certificate for {certificate.purpose.name.lower()}, not signature")
        if name_of(certificate) in self.withdrawn:
            raise CertificateRefused("this certificate was removed")
        if held is not None and certificate.not_before < held.not_before:
            raise CertificateRefused("an older certificate than the one that is held")

    def _in_order(self, title: bytes, purpose: Purpose) -> Certificate:
        """The certificate held: in date, and nothing on its way revoked."""
        way = self._held.get((title, purpose))
        if way is None:
            raise UnknownKey(f"no {purpose.name.lower()} certificate of {title.hex().upper()} is held")
        self._check_now(way)
        return way[0]

    def _check_now(self, way: list[Certificate]) -> None:
        now = self._clock()
        if now is not None:
            way[0].check_dates(now)
        for one, issuer in pairwise(way):
            self.lists.check(one, issuer, now)


def _signing(certificate: Certificate) -> VerifyingKey:
    if not isinstance(certificate.key, VerifyingKey):  # the purpose says so already
        raise CertificateRefused("not a signature key")
    return certificate.key


def _standing(lists: RevocationLists, now: datetime | None, one: Certificate, issuer: Certificate) -> None:
    lists.check(one, issuer, now)
