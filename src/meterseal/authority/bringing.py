"""How new keys get to a meter and old certificates off it: one function per way.

| way                | the meter is asked for                                                              |
|--------------------|-------------------------------------------------------------------------------------|
| transfer           | key_transfer of the key that is stored, wrapped under the KEK                       |
| agreement          | key_agreement; the key is stored when the answer is here                            |
| secret             | a write to attribute 7 of the association                                           |
| certificate        | import_certificate of the client's new pair                                         |
| drawn in the meter | generate_key_pair, generate_certificate_request, then import_certificate of its own |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from meterseal.authority.certifying import Certifier, listed_as
from meterseal.authority.probing import Prober, drawn
from meterseal.authority.store import Rotation, Store
from meterseal.authority.store.leases import Lease
from meterseal.authority.store.rotating import Fresh
from meterseal.client.aio import Meter
from meterseal.client.setups import CertificateInfo
from meterseal.client.setups_aio import SecuritySetup
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import SUITES, AgreementKey, SigningKey
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request, make_request
from meterseal.errors import CertificateRefused, Misuse, Refused
from meterseal.keys.kinds import KINDS, Proof, Slot, Way
from meterseal.keys.lifecycle import Record, State
from meterseal.keys.rotation import way_back

AGREED: Final = "agreed"
"""Origin of a key that was agreed on with its device."""

_ASSOCIATION, _SECRET = 15, 7

_PAIRS: Final[dict[Proof, tuple[str, Purpose, Any]]] = {
    Proof.SIGNATURE: ("signature", Purpose.SIGNATURE, SigningKey),
    Proof.AGREEMENT: ("agreement", Purpose.AGREEMENT, AgreementKey),
}
"""What a pair is called at the meter, what it is for, and the type of its private half."""


class Bringer:
    """Brings new keys to one meter, for one worker that holds its lease."""

    def __init__(self, prober: Prober, certifier: Certifier | None, lease: Lease) -> None:
        self._prober, self._certifier, self._lease = prober, certifier, lease
        self._store: Store = prober.store
        self._device = prober.device

    @property
    def certifies(self) -> bool:
        """True where there is an authority for new pairs."""
        return self._certifier is not None

    def way(self, slot: Slot, record: Record | None = None) -> Way:
        """How a slot's new key comes about: as its kind says, or by agreement where its role does.

        A key that is stored already can only be transferred.
        """
        way = KINDS[slot.kind].way
        settings = self._device.roles.get(slot.role or self._prober.carrier, {})
        if way is Way.TRANSFER and slot.kind in settings.get("agreed", ()):
            return Way.AGREEMENT if record is None or record.origin == AGREED else way
        return way

    def via(self, slot: Slot, way: Way) -> str:
        """The role that carries the change.  Raises Misuse where there would be no way back.

        A meter's own pair goes over a sign-on that needs none, where there is one: some use it at once.
        """
        carriers = self._prober.carriers
        if way is Way.GENERATED:
            return min(carriers, key=self._prober.signs_on)
        return way_back(slot, carriers) if way is Way.AGREEMENT else carriers[0]

    def fresh(self, slot: Slot) -> Fresh | None:
        """A new key for a slot; None where it comes from the meter.  Raises Misuse where it cannot be."""
        way = self.way(slot)
        self.via(slot, way)
        if KINDS[slot.kind].certified:
            self._check_anchor(slot)
        if way is Way.CERTIFICATE:
            return self._pair(slot)
        if way in (Way.AGREEMENT, Way.GENERATED):
            return None
        return Fresh(drawn(self._store, self._device, slot))

    def _check_anchor(self, slot: Slot) -> None:
        """Raises Misuse where the meter is known not to believe the authority: it takes nothing of it."""
        told = self._device.settings.get("meter", {}).get("anchors", ())
        anchors = [Certificate(bytes.fromhex(one)).key for one in told]
        chain = self._authority(slot).chain if anchors else []
        if anchors and not any(one.key in anchors for one in chain):
            who = chain[0].subject_text
            raise Misuse(
                f"{slot.text}: {who} is under no trust anchor of this meter: say another --authority"
            )

    def _pair(self, slot: Slot) -> Fresh:
        """The newer pair that this client has at another meter already, else a new one."""
        there = self._store.pairs.elsewhere(slot)
        if there is not None:
            secret = self._store.keys.opened(there).reveal()
            return Fresh(secret, self._store.pairs.certificate(there), "another device")
        _, _, kind = _PAIRS[KINDS[slot.kind].proof]
        secret, origin = self._store.pairs.new(slot, str(SUITES[self._device.suite].curve), kind)
        return Fresh(secret, origin=origin)

    async def bring(self, meter: Meter, rotation: Rotation, way: Way, via: str) -> None:
        """Bring a key to the meter, in an association as `via`.

        A key that comes from the meter is stored when this returns.  Raises what the meter says, Misuse
        where the authority says no, StateLocked where it is busy.
        """
        await _WAYS[way](self, meter, rotation, via)

    # --- secrets ----------------------------------------------------------------------------------

    async def _transfer(self, meter: Meter, rotation: Rotation, via: str) -> None:
        await self._setup(meter, rotation.slot, via).key_transfer(
            {rotation.slot.kind: self._secret(rotation)}
        )

    async def _agree(self, meter: Meter, rotation: Rotation, via: str) -> None:
        made = await self._setup(meter, rotation.slot, via).key_agreement(rotation.slot.kind)
        self._equip(rotation, Fresh(made[rotation.slot.kind], origin=AGREED))

    async def _write(self, meter: Meter, rotation: Rotation, via: str) -> None:
        client = int(self._device.roles[rotation.slot.role]["client"])
        name = Obis("0.0.40.0.0.255").with_group("E", client)
        await meter.set(_ASSOCIATION, str(name), _SECRET, Data.of(self._secret(rotation), Tag.OCTET_STRING))

    def _secret(self, rotation: Rotation) -> bytes:
        return self._store.keys.opened(self._store.keys.find(rotation.key or 0)).reveal()

    def _setup(self, meter: Meter, slot: Slot, via: str) -> SecuritySetup:
        """The Security setup object of a slot's role."""
        if slot.role in ("", via):
            return meter.security_setup()
        settings: dict[str, Any] = self._device.roles[slot.role]
        named = settings.get("setup")
        return meter.security_setup(
            str(named or Obis("0.0.43.0.0.255").with_group("E", int(settings["client"])))
        )

    def _equip(self, rotation: Rotation, fresh: Fresh) -> None:
        self._store.rotations.equip(rotation, fresh, lease=self._lease)

    # --- pairs ------------------------------------------------------------------------------------

    async def _import_clients(self, meter: Meter, rotation: Rotation, via: str) -> None:
        """The pair is certified, where this authority has not done so, and the certificate imported."""
        slot, number = rotation.slot, rotation.key or 0
        certificate = self._store.pairs.certificate(self._store.keys.find(number))
        if certificate is None or self._foreign(certificate):
            self._check_anchor(slot)
            _, purpose, kind = _PAIRS[KINDS[slot.kind].proof]
            title = bytes.fromhex(self._device.roles[slot.role]["client_system_title"])
            key = self._store.pairs.private(self._store.keys.find(number), kind)
            certificate = self._certify(slot, Request(make_request(key, title)), title, purpose)
            self._store.pairs.certify(number, certificate)
        self._store.pairs.bound(self._store.keys.find(number))
        setup = meter.security_setup()
        await self._import(setup, await setup.certificates(), certificate)

    def _foreign(self, certificate: Certificate) -> bool:
        """Whether the authority at hand is another than this certificate's: what did not go under that one
        goes under this."""
        return self._certifier is not None and certificate.issuer != self._certifier.chain[0].subject

    async def _import_own(self, meter: Meter, rotation: Rotation, via: str) -> None:
        """The pair that waits at the meter, else one that it draws now, is certified and imported."""
        slot, setup = rotation.slot, meter.security_setup()
        word, purpose, _ = _PAIRS[KINDS[slot.kind].proof]
        request = await self._waiting(setup, word)
        if request is None or self._spent(slot, request, purpose):
            await setup.generate_key_pair(word)
            request = Request(await setup.generate_certificate_request(word))
        certificate = self._certify(slot, request, slot.device, purpose)
        staged = None if rotation.key is None else self._store.keys.find(rotation.key)
        if staged is None or self._store.pairs.certificate(staged) != certificate:
            self._equip(rotation, Fresh(None, certificate, "drawn in the device"))
        await self._import(setup, await setup.certificates(), certificate)

    def _spent(self, slot: Slot, request: Request, purpose: Purpose) -> bool:
        """True for a key that was in use already: it is certified no more, a new one is drawn."""
        kept = self._store.keys.stored(slot.device).get(slot, [])
        used = (self._store.pairs.certificate(one) for one in kept if one.record.state is not State.STAGED)
        key = request.key(purpose)
        if any(one is not None and one.key == key for one in used):
            return True
        return self._authority(slot).spent(request, slot.device, purpose)

    @staticmethod
    async def _waiting(setup: SecuritySetup, word: str) -> Request | None:
        """The meter's request as it stands; None where it has no pair to make one of."""
        try:
            return Request(await setup.generate_certificate_request(word))
        except Refused:
            return None

    def _certify(self, slot: Slot, request: Request, title: bytes, purpose: Purpose) -> Certificate:
        certifier = self._authority(slot)
        try:
            return certifier.certificate(request, title, purpose, f"rotation of {slot.text}")
        except CertificateRefused as error:
            raise Misuse(f"{slot.text}: the authority does not certify it: {error}") from None

    def _authority(self, slot: Slot) -> Certifier:
        if self._certifier is None:
            raise Misuse(f"{slot.text}: say which authority certifies it (--authority)")
        return self._certifier

    async def _import(
        self, setup: SecuritySetup, listed: list[CertificateInfo], certificate: Certificate
    ) -> None:
        """Import what the meter does not have: authorities on the way to its anchor, then the certificate."""
        between = [] if self._certifier is None else self._certifier.between()
        for one in (*between, certificate):
            if listed_as(listed, one) is None:
                await setup.import_certificate(one.der)

    async def retire(self, meter: Meter, slot: Slot) -> None:
        """Take the certificates of replaced pairs off the meter, as far as it holds them beside the new one.

        Raises what the meter says.
        """
        setup, pairs = meter.security_setup(), self._store.pairs
        listed = await setup.certificates()
        kept = self._store.keys.stored(slot.device).get(slot, [])
        active = pairs.active(slot)
        new = None if active is None else pairs.certificate(active)
        if new is None or listed_as(listed, new) is None:
            return
        for one in kept:
            certificate = None if one.record.state in (State.ACTIVE, State.STAGED) else pairs.certificate(one)
            named = None if certificate is None else listed_as(listed, certificate)
            if named is not None:
                await setup.remove_certificate(named.name)


_Bring = Callable[[Bringer, Meter, Rotation, str], Awaitable[None]]

_WAYS: Final[dict[Way, _Bring]] = {
    Way.TRANSFER: Bringer._transfer,
    Way.AGREEMENT: Bringer._agree,
    Way.SECRET: Bringer._write,
    Way.CERTIFICATE: Bringer._import_clients,
    Way.GENERATED: Bringer._import_own,
}
