"""Manufacture of a meter of suites 1 and 2: key pairs, trust anchors, first certificates (classes 12.1).

With anchors from the configuration the meter leaves the works bare: its pairs are drawn, and whoever runs the
authority behind the anchors certifies them.  Without, it is its own maker too: a root is drawn that certifies
the meter and the clients of its roles, so that a preset is complete.  The private keys of that root and of
those clients are kept beside the meter's own, as the symmetric keys of the roles are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from meterseal.crypto import AgreementKey, SigningKey, Suite, curve, suite
from meterseal.crypto.certificates import Certificate
from meterseal.crypto.issuing import Authority, Validity
from meterseal.errors import CertificateRefused, ConfigurationError
from meterseal.keys.trust import name_of
from meterseal.meter.pairs import (
    AGREEMENT,
    ANCHORS,
    KINDS,
    SIGNATURE,
    KeyPairs,
    Kind,
    certificate_name,
    certificate_text,
    kept_key,
    key_text,
    pair_name,
)
from meterseal.meter.plan import MeterPlan
from meterseal.meter.plant import Plant
from meterseal.meter.store import MeterStore
from meterseal.security.steps import settle

_ROOT: Final = "maker/root"
_DAY: Final = timedelta(days=1)
_CLIENT_KINDS: Final = (SIGNATURE, AGREEMENT)


def key_pairs(plan: MeterPlan, store: MeterStore, title: bytes, plant: Plant) -> KeyPairs:
    """What the store holds of pairs and certificates; what is missing is made first.

    Raises ConfigurationError where the plan names other trust anchors than those of the first start.
    """
    chosen = suite(plan.suite)
    titled = {r.client: r.client_system_title for r in plan.roles if r.client_system_title is not None}
    signing = {role.client for role in plan.roles if role.signs}
    # The clock may be behind real time, and clients go by theirs: valid for both.
    now = datetime.fromtimestamp(min(plant.real(), plant.trusted()), UTC)
    clients = {client_place(sap): client for sap, client in titled.items() if sap in signing}
    clients |= {third_place(one.name): one.system_title for one in plan.third_parties}
    manufacture(store, chosen, title, now, clients, plan.trust)
    if plan.trust and [der.hex().upper() for der in plan.trust] != store.get(ANCHORS):
        raise ConfigurationError("the state folder has other trust anchors than the configuration")
    pairs = KeyPairs(store, chosen, title, plant, titled.values())
    for role in plan.roles:
        _take(pairs, f"role {role.name}", role.client_system_title, role.certificates)
    for one in plan.third_parties:
        _take(pairs, f"third party {one.name}", one.system_title, one.certificates)
    return pairs


def _take(pairs: KeyPairs, whose: str, title: bytes | None, certificates: Sequence[bytes]) -> None:
    """Take certificates of one party in, unless they are held, or were removed since.

    Those of authorities may be among them, and go first.
    """
    known = (*pairs.trust.held, *pairs.trust.authorities)
    held = {name_of(certificate) for certificate in known} | pairs.trust.withdrawn
    for certificate in sorted(map(Certificate, certificates), key=lambda one: one.title is not None):
        if certificate.title not in (None, title):
            raise ConfigurationError(f"{whose}: a certificate of somebody else")
        if name_of(certificate) not in held:
            try:
                settle(pairs.taking(certificate.der))
            except CertificateRefused as error:
                raise ConfigurationError(f"{whose}: {error}") from None


def manufacture(
    store: MeterStore,
    chosen: Suite,
    title: bytes,
    now: datetime,
    clients: Mapping[str, bytes],
    anchors: Sequence[bytes] = (),
) -> None:
    """Draw and keep what is missing; a meter that has all of it stays as it is.

    `clients` are the titles of others that sign, by the place of their keys; `anchors` certificates in DER.
    """
    records: dict[str, Any] = {}
    first = store.get(ANCHORS) is None
    maker = maker_of(store)
    if first and not anchors:
        key = SigningKey.generate(curve(chosen.curve))
        maker = Authority.root(key, f"Maker of meter {title.hex().upper()}", _validity(now))
        records |= {_ROOT: key_text(key), f"{_ROOT}/certificate": certificate_text(maker.certificate)}
        anchors = [maker.certificate.der]
    if first:
        records[ANCHORS] = [der.hex().upper() for der in anchors]
        for kind in KINDS.values():
            records |= _pair(pair_name(kind), title, kind, chosen, maker, now)
    if maker is not None:
        for place, client in clients.items():
            for kind in _CLIENT_KINDS:
                name = f"{place}/{kind.name}"
                if store.get(name) is None:
                    records |= _pair(name, client, kind, chosen, maker, now)
    if records:
        store.keep(records)


def _pair(
    name: str, title: bytes, kind: Kind, chosen: Suite, maker: Authority | None, now: datetime
) -> dict[str, Any]:
    """A new pair as records, with a certificate where there is somebody to give it."""
    key = kind.key.generate(curve(chosen.curve))
    records = {name: key_text(key)}
    if maker is not None:
        certificate = maker.issue(key.public, title, kind.purpose, _validity(now))
        records[certificate_name(title, kind)] = certificate_text(certificate)
    return records


def _validity(now: datetime) -> Validity:
    """From the day before, so that a clock that is a little behind does not refuse it, without an end."""
    return Validity(now - _DAY)


def client_place(sap: int) -> str:
    """Where the store has the key pairs of a role's client that the maker drew."""
    return f"client/{sap}"


def third_place(name: str) -> str:
    """The same of a third party."""
    return f"third/{name}"


def maker_of(store: MeterStore) -> Authority | None:
    """The root that this meter was made with; None where its anchors are somebody else's."""
    key = kept_key(store, _ROOT, SIGNATURE)
    if key is None:
        return None
    return Authority(Certificate(bytes.fromhex(store.get(f"{_ROOT}/certificate"))), key)


def client_keys(store: MeterStore, place: str) -> tuple[SigningKey, AgreementKey] | None:
    """The private keys of somebody else, where this meter's maker drew them."""
    signing, agreement = (kept_key(store, f"{place}/{kind.name}", kind) for kind in _CLIENT_KINDS)
    return None if signing is None or agreement is None else (signing, agreement)
