"""Key pairs between credentials and a store: those that a file names, those of a device as files in memory.

The private half of a client's pair is a secret of the store; of a meter's own there is the certificate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from meterseal.authority.store import Device, Store
from meterseal.authority.store.records import Stored
from meterseal.credentials import Credentials
from meterseal.credentials.files import in_hsm
from meterseal.crypto import SUITES, AgreementKey, SigningKey
from meterseal.keys.kinds import KINDS, Kind, Proof, Slot
from meterseal.keys.lifecycle import Record, State, find
from meterseal.keys.rotation import candidates
from meterseal.security.hls import BY_NAME

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate

CERTIFICATES = ("anchors", "behind")
"""Settings of the meter that are the store's own, and no field of credentials."""


def named_pairs(credentials: Credentials) -> Named | None:
    """The pairs that credentials name; None in suite 0, and where they name files of somebody else: without a
    file of their own, and nothing in memory."""
    reads = credentials.path is not None or credentials.held
    return Named(credentials) if reads and SUITES[credentials.meter.suite].curve else None


def trusted(credentials: Credentials) -> list[Certificate]:
    """The trust anchors that credentials bring along: in a file beside theirs, or held in memory."""
    if named_pairs(credentials) is None or not credentials.meter.trust:
        return []
    from meterseal.credentials.identity import Files  # loads the backend's X.509 part

    return Files(credentials).anchors()


class Named:
    """The key pairs and certificates that credentials name, to be taken into a store.

    Those of a file come from beside it; those without one from memory and nowhere else, for somebody else may
    have written the names.
    """

    def __init__(self, credentials: Credentials) -> None:
        from meterseal.credentials.identity import Files  # loads the backend's X.509 part

        self._given, self._files = credentials, Files(credentials)

    def trusted(self) -> dict[str, Any]:
        """The settings `anchors` and `behind`: certificates in hex."""
        meter = self._given.meter
        named = {meter.signing_certificate, meter.agreement_certificate} - {None}
        behind = {one.der: one for name in named for one in self._files.all_of(str(name))[1:]}
        found = {"anchors": self._files.anchors(), "behind": behind.values()}
        return {name: [one.der.hex().upper() for one in held] for name, held in found.items() if held}

    def slots(self) -> Iterator[tuple[Slot, bytes | None, Certificate | None]]:
        """Each pair: where it belongs, the private half (none of the meter's own), its certificate."""
        title = self._given.meter.system_title or b""
        for kind in (kind for kind in KINDS.values() if kind.certified):
            if kind.own:
                certificate = self._certificate(self._given.meter, kind)
                if certificate is not None:
                    yield Slot(title, "", kind.name), None, certificate
                continue
            for name, role in self._given.roles.items():
                key = getattr(role, str(kind.field))
                if self._here(key):
                    yield Slot(title, name, kind.name), self._key(key, kind), self._certificate(role, kind)

    def _certificate(self, record: Any, kind: Kind) -> Certificate | None:
        field = str(kind.certificate)
        name, title = getattr(record, field), getattr(record, "title", self._given.meter.system_title)
        return self._files.certificate(name, field, title) if self._here(name) else None

    def _here(self, name: str | None) -> bool:
        return name is not None and (self._given.path is not None or name in self._given.held)

    def _key(self, name: str, kind: Kind) -> bytes:
        """A private key in the one form that a store has, or what names it in an HSM."""
        from meterseal.crypto.keyfiles import write_key

        if in_hsm(name):
            return name.encode("utf-8")
        if kind.proof is Proof.SIGNATURE:
            return write_key(self._files.key(name, SigningKey))
        return write_key(self._files.key(name, AgreementKey))


class Held:
    """The key pairs of a device as files in memory, and the names by which credentials find them."""

    def __init__(
        self,
        store: Store,
        known: Device,
        rows: Mapping[Slot, list[Stored]],
        chosen: Mapping[Slot, Record],
        carrying: bool,
    ) -> None:
        self._store, self._title, self._rows = store, known.title, rows
        self._chosen, self._carrying = chosen, carrying
        self._behind = self._pem(known, "behind")
        self.files: dict[str, bytes] = {}
        self.meter: dict[str, Any] = {}
        self._whole = True
        anchors = self._pem(known, "anchors")
        if anchors:
            self.files["anchors.pem"], self.meter["trust"] = anchors, ["anchors.pem"]
        for kind in (kind for kind in KINDS.values() if kind.own):
            self._whole &= self._put("", kind, self.meter)

    def of_role(self, role: str, table: dict[str, Any]) -> bool:
        """Name a role's pairs in its table; False where it signs, and one that it needs may not be used."""
        whole = True
        for kind in (kind for kind in KINDS.values() if kind.common):
            whole &= self._put(role, kind, table)
        scheme = BY_NAME.get(str(table.get("mechanism")))
        if scheme is None or not scheme.needs_keys:
            return whole
        return whole and self._whole and "signing_key" in table

    def _put(self, role: str, kind: Kind, table: dict[str, Any]) -> bool:
        """Name the pair of a slot, where there is one; False where there is, and it may not be used."""
        slot = Slot(self._title, role, kind.name)
        held = self._rows.get(slot, [])
        found = pick(held, self._chosen.get(slot), self._carrying)
        if found is None:
            return not held
        stem = f"{role}-{kind.name}".lstrip("-")
        if not kind.own:
            secret = self._store.keys.opened(found).reveal()
            named = secret.decode("utf-8") if secret.startswith(b"pkcs11:") else f"{stem}.key"
            table[str(kind.field)], self.files[f"{stem}.key"] = named, secret
        certificate = self._store.pairs.certificate(found)
        if certificate is not None:
            table[str(kind.certificate)] = f"{stem}.pem"
            self.files[f"{stem}.pem"] = certificate.to_pem() + self._behind
        return True

    @staticmethod
    def _pem(known: Device, name: str) -> bytes:
        told = known.settings.get("meter", {}).get(name, ())
        if not told:
            return b""
        from meterseal.crypto.certificates import Certificate

        return b"".join(Certificate(bytes.fromhex(text)).to_pem() for text in told)


def pick(slot: list[Stored], wanted: Record | None, carrying: bool) -> Stored | None:
    """The key of a slot that is used: the one that is wanted, else the active one; to bring in a successor
    (`carrying`) the likeliest other one that was in use will do."""
    records = [one.record for one in slot]
    record = wanted or find(records, State.ACTIVE)
    if record is None and carrying:
        record = next((one for one in candidates(records) if one.state is not State.STAGED), None)
    return next((one for one in slot if record is not None and one.record.id == record.id), None)
