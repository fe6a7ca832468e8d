"""What the executor asks a meter: which key it has; one function per proof.

Every question ends in one of three: the meter answers under this key, it answers and not under this key, or
it does not answer.  The first two are known of the meter; the third is of the line.

A proof of a pair takes no certificate on its way: neither end's goes along at the sign-on, and nothing is
trusted but the certificates that are stored.  So it shows what the meter holds, and not what it would take.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from meterseal.authority.adoption import carriers_of, credentials_of
from meterseal.authority.store import Device, Store
from meterseal.authority.store.keeping import slot_of
from meterseal.authority.store.rotating import Fresh
from meterseal.client.aio import Meter, link
from meterseal.codec.types import Tag
from meterseal.credentials import Credentials
from meterseal.crypto import SUITES, random_octets
from meterseal.errors import Blame, ConnectionLost, MetersealError, Misuse, Refused, TimedOut
from meterseal.keys.kinds import KINDS, Material, Proof, Slot
from meterseal.keys.lifecycle import Record, State, find
from meterseal.keys.rotation import Heard
from meterseal.security.hls import BY_NAME

if TYPE_CHECKING:
    from meterseal import net

DEVICE_NAME: Final = "1/0.0.42.0.0.255:2"
"""What is read as a proof where a role names nothing else (`probe`): every logical device has it."""

_OTHER_END: Final = {Proof.SIGNATURE: "client-sign", Proof.AGREEMENT: "client-agree"}
"""The pair of the client that a proof of the meter's needs."""

Chosen = Mapping[Slot, Record]


class Answer(Enum):
    """What was found out about a key."""

    YES = "the meter answers under it"
    NO = "the meter answers, and not under it"
    SILENT = "the meter does not answer"


class Silent(Exception):
    """The meter could not be reached, or stopped answering."""


class Shut(Exception):
    """The meter answers, and does not let this role in with these keys."""


@dataclass(frozen=True, slots=True)
class Line:
    """How meters are reached: `url` in place of the store's, seconds for each answer."""

    url: str | None = None
    timeout: float = 10.0
    wire_log: net.WireLog | None = None
    line: Callable[[], net.Line] | None = None
    """A line that is open already, for every time that one is needed."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a pair is proved: `signed` members are asked for by signature, `layers` names the agreed key."""

    signed: tuple[str, ...] = ()
    layers: str | None = None

    def of(self, credentials: Credentials, role: str) -> Credentials:
        """The same credentials for this: of one role, and without anything that vouches for a certificate."""
        given = credentials.role(role)
        bare = replace(
            given,
            signing_certificate=None,
            agreement_certificate=None,
            signed=(*given.signed, *self.signed),
            layers=self.layers or given.layers,
        )
        return replace(credentials, meter=replace(credentials.meter, trust=()), roles={role: bare})


class Prober:
    """Asks one meter, for one worker that holds its lease."""

    def __init__(self, store: Store, device: Device, line: Line) -> None:
        self.store, self.device, self._line = store, device, line
        self.carriers = carriers_of(device)
        self.carrier = self.carriers[0]
        self.said = ""
        """Why the meter did not let a role in, the last time that it did not."""

    @asynccontextmanager
    async def speaking(
        self, role: str, use: Chosen | None = None, manner: Manner | None = None
    ) -> AsyncIterator[Meter]:
        """An association as a role; with keys of `use` in the place of the active ones.

        Raises Silent, Shut.  An error within the block goes through as it is.
        """
        credentials = credentials_of(self.store, self.device.title, use, carrying=True)
        if self._line.url is not None:
            credentials = credentials.at(self._line.url)
        if manner is not None:
            credentials = manner.of(credentials, credentials.role_name(role))
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(
                    link(
                        credentials=credentials,
                        counters=self.store.counters,
                        timeout=self._line.timeout,
                        wire_log=self._line.wire_log,
                        line=None if self._line.line is None else self._line.line(),
                    )
                )
                meter = await stack.enter_async_context(opened.associate(role, timeout=self._line.timeout))
            except (TimedOut, ConnectionLost) as error:
                raise Silent(str(error)) from None
            except MetersealError as error:
                if error.blame is not Blame.PEER:
                    raise
                self.said = str(error)
                raise Shut(self.said) from None
            yield meter

    # --- is it this key? --------------------------------------------------------------------------

    async def shows(self, slot: Slot, record: Record, use: Chosen) -> Answer:
        """Whether the meter has `record` in this slot; `use` says which keys to try beside it."""
        chosen = {**use, slot: record}
        try:
            return await _PROOFS[KINDS[slot.kind].proof](self, slot, record, chosen)
        except (Silent, TimedOut, ConnectionLost):
            return Answer.SILENT
        except Shut:
            return Answer.NO
        except MetersealError as error:
            if error.blame is not Blame.PEER:
                raise
            return Answer.NO

    async def _by_association(self, slot: Slot, record: Record, use: Chosen) -> Answer:
        """A new association under it that reads something: whatever the meter says comes under the key."""
        async with self.speaking(slot.role, use) as meter:
            probe = self.device.roles[slot.role].get("probe", DEVICE_NAME)
            try:
                await meter.read(probe)
            except Refused:
                pass
        return Answer.YES

    async def _by_signature(self, slot: Slot, record: Record, use: Chosen) -> Answer:
        """A sign-on by signature, or a signed request whose answer is signed."""
        role = self.prover(slot)
        probe, signs = self.device.roles[role].get("probe", DEVICE_NAME), self.signs_on(role)
        async with self.speaking(role, use, Manner(signed=() if signs else (probe,))) as meter:
            try:
                await meter.read(probe)
            except Refused as error:
                return Answer.YES if signs or error.authenticated else Answer.NO
        return Answer.YES

    async def _by_exchange(self, slot: Slot, record: Record, use: Chosen) -> Answer:
        """A request under a key that the two static keys agree on, and its answer."""
        role = self.prover(slot)
        layers = self.device.roles[role].get("layers")
        manner = Manner(layers=layers if layers in ("static", "one-pass") else "static")
        async with self.speaking(role, use, manner) as meter:
            try:
                await meter.read(self.device.roles[role].get("probe", DEVICE_NAME))
            except Refused as error:
                return Answer.YES if error.authenticated else Answer.NO
        return Answer.YES

    def prover(self, slot: Slot) -> str:
        """The role that can show which key of a slot the meter has.  Raises Misuse where none can."""
        if slot.role:
            return slot.role
        needed = _OTHER_END.get(KINDS[slot.kind].proof)
        if needed is None:
            return self.carrier
        able = [
            role
            for role in self.device.roles
            if find(self.store.keys.slot(slot_of(slot.device, role, needed)), State.ACTIVE) is not None
        ]
        if not able:
            raise Misuse(f"{slot.text}: nothing proves it, for no role has a {needed} pair")
        return min(able, key=lambda role: (not self.signs_on(role), role not in self.carriers))

    def signs_on(self, role: str) -> bool:
        """True for a role that signs on by signature."""
        return BY_NAME[str(self.device.roles[role].get("mechanism", "none"))].needs_keys

    async def _by_broadcast(self, slot: Slot, record: Record, use: Chosen) -> Answer:
        """An unconfirmed write under it, and whether it had an effect; what was there is put back."""
        target = self.device.roles[slot.role].get("broadcast")
        if target is None:
            raise Misuse(
                f"{slot.text}: no proof without something to write under it (`broadcast` of the role)"
            )
        key = self.store.keys.reveal(record).reveal()
        others = {one: chosen for one, chosen in use.items() if one != slot}
        async with self.speaking(self.carrier, others) as reader:
            before = (await reader.read(target)).value
        mark = random_octets(len(before) if isinstance(before, bytes) and before else 8)
        async with self.speaking(slot.role, others) as meter:
            await meter.broadcast(target, mark, Tag.OCTET_STRING, key=key)
        async with self.speaking(self.carrier, others) as reader:
            found = (await reader.read(target)).value
            if found != mark:
                return Answer.NO
            await reader.write(target, before, Tag.OCTET_STRING)
        return Answer.YES

    async def _by_next_transfer(self, slot: Slot, record: Record, use: Chosen) -> Answer:
        """A fresh GBEK wrapped under it is taken.  It is the store's next GBEK, on its way from then on."""
        gbek = slot_of(self.device.title, self.carrier, "gbek")
        kek = self.store.keys.reveal(record).reveal()
        others = {one: chosen for one, chosen in use.items() if one != slot}
        async with self.speaking(self.carrier, others) as meter:
            on_its_way = self.store.rotations.anew(gbek, lambda: Fresh(drawn(self.store, self.device, gbek)))
            fresh = self.store.keys.reveal(self.store.keys.find(on_its_way.key or 0).record).reveal()
            try:
                await meter.security_setup().key_transfer({"gbek": fresh}, kek)
            except Refused:
                self.store.rotations.hear(on_its_way, Heard.REFUSED)
                return Answer.NO
            self.store.rotations.hear(on_its_way, Heard.TAKEN)
        return Answer.YES


def drawn(store: Store, device: Device, slot: Slot) -> bytes:
    """A new secret for a slot, as long as the suite's keys; a secret at least as long as the one before.

    Raises Misuse for a key pair.
    """
    length = SUITES[device.suite].key_length
    if KINDS[slot.kind].material is Material.PAIR:
        raise Misuse(f"{slot.text}: a key pair comes with its certificate, from an authority")
    if KINDS[slot.kind].material is Material.SECRET:
        active = find(store.keys.slot(slot), State.ACTIVE)
        length = max(16, 0 if active is None else len(store.keys.reveal(active).reveal()))
    return random_octets(length)


_Proof = Callable[[Prober, Slot, Record, Chosen], Awaitable[Answer]]

_PROOFS: Final[dict[Proof, _Proof]] = {
    Proof.ASSOCIATION: Prober._by_association,
    Proof.MECHANISM: Prober._by_association,
    Proof.SIGNATURE: Prober._by_signature,
    Proof.AGREEMENT: Prober._by_exchange,
    Proof.BROADCAST: Prober._by_broadcast,
    Proof.NEXT_TRANSFER: Prober._by_next_transfer,
}
