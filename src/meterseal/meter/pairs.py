"""Key pairs and certificates of a meter: its own, those of others, and its trust anchors (classes 5, 12).

They belong to the meter's system title, so every Security setup object shows the same ones.  A pair that is
generated waits beside the one in use, which goes on signing, until its own certificate is imported.
Everything is in the store before it takes effect:

| name                     | holds                                                        |
|--------------------------|--------------------------------------------------------------|
| pair/KIND                | own private key in use, PEM; pair/KIND/waiting the next one  |
| certificate/TITLE/KIND   | certificate of an end entity, DER; the meter's own among them |
| authority/SUBJECT        | certificate of an authority below an anchor, DER              |
| anchors                  | the trust anchors, DER; written once (catalogue D21)          |
| removed                  | names of removed certificates, which no sign-on brings back   |
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from meterseal.crypto import AgreementKey, SigningKey, Suite, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import make_request
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.errors import CertificateRefused, UnknownKey
from meterseal.keys.trust import Trust, name_of
from meterseal.meter.plant import Plant
from meterseal.meter.store import MeterStore
from meterseal.security import SecuritySetup
from meterseal.security.steps import Steps

Private: TypeAlias = SigningKey | AgreementKey | TlsKey

ANCHORS: Final = "anchors"
_REMOVED: Final = "removed"

MOST: Final = 256
"""Certificates of others that a meter keeps, and removed ones that it remembers, the latest of each."""


class Kind(NamedTuple):
    """One kind of key pair, by its number in class 64 (certificate_type, generate_key_pair).

    `key` is the type of its private half, one of `Private`.
    """

    number: int
    name: str
    key: type[Any]
    purpose: Purpose


SIGNATURE: Final = Kind(0, "signature", SigningKey, Purpose.SIGNATURE)
AGREEMENT: Final = Kind(1, "agreement", AgreementKey, Purpose.AGREEMENT)
TLS: Final = Kind(2, "tls", TlsKey, Purpose.TLS)
KINDS: Final = {row.number: row for row in (SIGNATURE, AGREEMENT, TLS)}
_BY_PURPOSE: Final = {row.purpose: row for row in KINDS.values()}

SERVER, CLIENT, AUTHORITY, OTHER = range(4)
"""certificate_entity of class 64."""

NO_KIND: Final = 3
"""certificate_type of what is none of the kinds: an authority's."""


def pair_name(kind: Kind) -> str:
    """Where the store has an own private key."""
    return f"pair/{kind.name}"


def certificate_name(title: bytes, kind: Kind) -> str:
    """Where the store has the certificate of an end entity."""
    return f"certificate/{title.hex().upper()}/{kind.name}"


def kept_key(store: MeterStore, name: str, kind: Kind) -> Any:
    """A private key from the store, of the type of `kind`; None where there is none."""
    pem = store.get(name)
    return None if pem is None else read_key(pem.encode("ascii"), kind.key)


def key_text(key: Private) -> str:
    """A private key as the store has it."""
    return write_key(key).decode("ascii")


def certificate_text(certificate: Certificate) -> str:
    """A certificate as the store has it."""
    return certificate.der.hex().upper()


class Own:
    """An own key pair: what is in use, with its certificate, and the pair that waits for one."""

    __slots__ = ("certificate", "key", "kind", "waiting")

    def __init__(self, kind: Kind, key: Private | None, waiting: Private | None) -> None:
        self.kind, self.key, self.waiting = kind, key, waiting
        self.certificate: Certificate | None = None

    @property
    def keys(self) -> list[Private]:
        """The pair in use and the one that waits, as far as there are."""
        return [key for key in (self.key, self.waiting) if key is not None]


class KeyPairs:
    """All key pairs and certificates of one meter, read from a store that `manufacture` has filled.

    `clients` are the system titles of the roles.  Dates of certificates are held against the time that the
    meter was given: whoever may set the clock has no say in who is trusted.
    """

    def __init__(
        self, store: MeterStore, suite: Suite, title: bytes, plant: Plant, clients: Collection[bytes]
    ) -> None:
        self._store, self.title, self._clients = store, title, frozenset(clients)
        self._curve = curve(suite.curve)
        self._dropped: list[Private] = []
        self._own = {
            kind.number: Own(
                kind,
                kept_key(store, pair_name(kind), kind),
                kept_key(store, f"{pair_name(kind)}/waiting", kind),
            )
            for kind in KINDS.values()
        }
        self.trust = Trust(
            [Certificate(bytes.fromhex(text)) for text in store.get(ANCHORS, ())],
            lambda: datetime.fromtimestamp(plant.trusted(), UTC),
            self._kept("authority/"),
            curve=self._curve,
            keep=self._keep_introduced,
        )
        self.trust.withdrawn.update(map(bytes.fromhex, store.get(_REMOVED, ())))
        for certificate in self._kept("certificate/"):
            if certificate.title == title:
                self._own[_kind(certificate).number].certificate = certificate
            else:
                self.trust.pin(certificate)  # it was verified when it was imported

    def _kept(self, place: str) -> Iterator[Certificate]:
        return (Certificate(bytes.fromhex(self._store.get(name))) for name in self._store.names(place))

    def _drop(self, key: Private | None) -> None:
        if key is not None:
            self._dropped.append(key)

    def destroy_dropped(self) -> None:
        """Destroy the private keys that are in no setup any more, once each has been equipped anew."""
        while self._dropped:
            self._dropped.pop().destroy()

    def equip(self, setup: SecuritySetup) -> None:
        """Let a Security setup use the pairs and certificates as they are now."""
        signature, agreement = self._own[SIGNATURE.number], self._own[AGREEMENT.number]
        setup.signing = signature.key if isinstance(signature.key, SigningKey) else None
        setup.agreement = agreement.key if isinstance(agreement.key, AgreementKey) else None
        setup.certificate = None if signature.certificate is None else signature.certificate.der
        setup.directory = self.trust

    # --- own pairs --------------------------------------------------------------------------

    def own(self, kind: Kind) -> Own:
        """An own key pair."""
        return self._own[kind.number]

    def generating(self, kind: Kind) -> Steps[None]:
        """Draw a new pair, which waits for its certificate; one that waited before is dropped."""
        key = yield partial(kind.key.generate, self._curve)
        own = self._own[kind.number]
        self._store.keep({f"{pair_name(kind)}/waiting": key_text(key)})
        if own.waiting is not None:
            own.waiting.destroy()
        own.waiting = key

    def requesting(self, kind: Kind) -> Steps[bytes]:
        """PKCS#10 for the pair that waits, else for the one in use.  Raises UnknownKey without either."""
        own = self._own[kind.number]
        key = own.waiting or own.key
        if key is None:
            raise UnknownKey(f"there is no {kind.name} key pair")
        request: bytes = yield partial(make_request, key, self.title)
        return request

    # --- certificates -----------------------------------------------------------------------

    def taking(self, der: bytes) -> Steps[None]:
        """Import a certificate.

        It leads to an anchor, is in date, on the suite's curve, and its key is no other party's and for no
        other purpose; the meter's own is that of the pair that waits or of the one in use.  Raises
        CertificateRefused, StateUnavailable.
        """
        certificate: Certificate = yield partial(Certificate, der)
        way = yield from self.trust.verifying(certificate)
        if certificate in self.trust.anchors:
            raise CertificateRefused("trust anchors are not imported")
        self._check_key(certificate)
        if certificate.title == self.title:
            self._take_own(certificate)
            return
        self._keep_other(certificate, self._forgiven(certificate))
        self.trust.hold(way)

    def _keep_introduced(self, certificate: Certificate) -> None:
        """What came along at a sign-on that was proved: after a restart it is not the older one again."""
        self._check_key(certificate)
        self._keep_other(certificate, {})

    def _keep_other(self, certificate: Certificate, besides: dict[str, Any]) -> None:
        name = self._name(certificate)
        if self._store.get(name) is None and len(self.trust.held) + len(self.trust.authorities) >= MOST:
            raise CertificateRefused(f"{MOST} certificates of others are kept already")
        self._store.keep({name: certificate_text(certificate), **besides})

    def _take_own(self, certificate: Certificate) -> None:
        own = self._own[_kind(certificate).number]
        fitting = [key for key in own.keys if key.public.octets == certificate.key.octets]
        if not fitting:
            raise CertificateRefused("not the certificate of the meter's own key pair")
        records: dict[str, Any] = {self._name(certificate): certificate_text(certificate)}
        fresh = fitting[0] is own.waiting
        if fresh:
            records |= {pair_name(own.kind): key_text(fitting[0]), f"{pair_name(own.kind)}/waiting": None}
        self._store.keep(records)
        own.certificate = certificate
        if fresh:
            self._drop(own.key)
            own.key, own.waiting = own.waiting, None

    def _check_key(self, certificate: Certificate) -> None:
        """One key, one party, one purpose (D10, D17)."""
        for own in self._own.values():
            mine = (self.title, own.kind.purpose)
            for key in own.keys:
                if key.public.octets == certificate.key.octets and _owner(certificate) != mine:
                    raise CertificateRefused(f"the key is the meter's own {own.kind.name} key")

    def _name(self, certificate: Certificate) -> str:
        if certificate.title is None:
            return f"authority/{certificate.subject.hex().upper()}"
        return certificate_name(certificate.title, _kind(certificate))

    def held(self) -> list[Certificate]:
        """All certificates: own ones, those of others, authorities, anchors."""
        own = [own.certificate for own in self._own.values() if own.certificate is not None]
        return [*own, *self.trust.held, *self.trust.authorities, *self.trust.anchors]

    def entity(self, certificate: Certificate) -> int:
        """certificate_entity: whose it is."""
        if certificate.title is None:
            return AUTHORITY
        if certificate.title == self.title:
            return SERVER
        return CLIENT if certificate.title in self._clients else OTHER

    @staticmethod
    def type_of(certificate: Certificate) -> int:
        """certificate_type: the kind of its key pair."""
        kind = _BY_PURPOSE.get(certificate.purpose)
        return NO_KIND if kind is None else kind.number

    def remove(self, certificate: Certificate) -> None:
        """Remove a certificate; with an own one its private key goes.

        No sign-on brings a removed one back.  Raises CertificateRefused for an anchor.
        """
        if certificate in self.trust.anchors:
            raise CertificateRefused("trust anchors are not removed")
        own = next((own for own in self._own.values() if own.certificate == certificate), None)
        if own is not None:
            self._store.keep({self._name(certificate): None, pair_name(own.kind): None})
            self._drop(own.key)
            own.key = own.certificate = None
            return
        removed = [*self._store.get(_REMOVED, ()), name_of(certificate).hex().upper()][-MOST:]
        self._store.keep({self._name(certificate): None, _REMOVED: removed})
        self.trust.remove(certificate)

    def _forgiven(self, certificate: Certificate) -> dict[str, Any]:
        """What the store keeps of removed ones once this one is back."""
        removed, name = self._store.get(_REMOVED, []), name_of(certificate).hex().upper()
        return {_REMOVED: [other for other in removed if other != name]} if name in removed else {}


def _kind(certificate: Certificate) -> Kind:
    return _BY_PURPOSE[certificate.purpose]


def _owner(certificate: Certificate) -> tuple[bytes | None, Purpose]:
    return certificate.title, certificate.purpose
