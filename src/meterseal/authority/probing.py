"""What the executor asks a meter: which key it has, and that it takes another one; one function per way.

Every question ends in one of three: the meter answers under this key, it answers and not under this key, or
it does not answer.  The first two are known of the meter; the third is of the line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from meterseal.authority.adoption import carrier_of, credentials_of
from meterseal.authority.store import Device, Store
from meterseal.authority.store.keeping import slot_of
from meterseal.client.aio import Meter, link
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import SUITES, random_octets
from meterseal.errors import Blame, ConnectionLost, MetersealError, Misuse, Refused, TimedOut
from meterseal.keys.kinds import KINDS, Material, Proof, Slot, Way
from meterseal.keys.lifecycle import Record, State, find
from meterseal.keys.rotation import Heard

if TYPE_CHECKING:
    from meterseal import net

DEVICE_NAME: Final = "1/0.0.42.0.0.255:2"
"""What is read as a proof where a role names nothing else (`probe`): every logical device has it."""

_ASSOCIATION, _SECRET = 15, 7
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


class Prober:
    """Asks one meter, for one worker that holds its lease."""

    def __init__(self, store: Store, device: Device, line: Line) -> None:
        self.store, self.device, self._line = store, device, line
        self.carrier = carrier_of(device)
        self.said = ""
        """Why the meter did not let a role in, the last time that it did not."""

    @asynccontextmanager
    async def speaking(self, role: str, use: Chosen | None = None) -> AsyncIterator[Meter]:
        """An association as a role; with keys of `use` in the place of the active ones.

        Raises Silent, Shut.  An error within the block goes through as it is.
        """
        credentials = credentials_of(self.store, self.device.title, use, carrying=True)
        if self._line.url is not None:
            credentials = credentials.at(self._line.url)
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
            on_its_way = self.store.rotations.anew(gbek, lambda: self.draw(gbek))
            fresh = self.store.keys.reveal(self.store.keys.find(on_its_way.key).record).reveal()
            try:
                await meter.security_setup().key_transfer({"gbek": fresh}, kek)
            except Refused:
                self.store.rotations.hear(on_its_way, Heard.REFUSED)
                return Answer.NO
            self.store.rotations.hear(on_its_way, Heard.TAKEN)
        return Answer.YES

    # --- take this key ----------------------------------------------------------------------------

    async def bring(self, meter: Meter, slot: Slot, record: Record) -> None:
        """Bring a key to the meter, in an association as the carrier.  Raises what the meter says."""
        octets = self.store.keys.reveal(record).reveal()
        if KINDS[slot.kind].way is Way.SECRET:
            client = int(self.device.roles[slot.role]["client"])
            name = Obis("0.0.40.0.0.255").with_group("E", client)
            await meter.set(_ASSOCIATION, str(name), _SECRET, Data.of(octets, Tag.OCTET_STRING))
            return
        setup = None if slot.role in ("", self.carrier) else self._setup(slot.role)
        await meter.security_setup(setup).key_transfer({slot.kind: octets})

    def _setup(self, role: str) -> str:
        """The Security setup object of a role."""
        settings: dict[str, Any] = self.device.roles[role]
        named = settings.get("setup")
        return str(named or Obis("0.0.43.0.0.255").with_group("E", int(settings["client"])))

    def draw(self, slot: Slot) -> bytes:
        """A new secret for a slot."""
        return drawn(self.store, self.device, slot)


def drawn(store: Store, device: Device, slot: Slot) -> bytes:
    """A new secret for a slot, as long as the suite's keys; a secret at least as long as the one before.

    Raises Misuse for a key pair.
    """
    length = SUITES[device.suite].key_length
    if KINDS[slot.kind].material is Material.PAIR:
        raise Misuse(f"{slot.text}: a key pair comes with its certificate, from `pki`")
    if KINDS[slot.kind].material is Material.SECRET:
        active = find(store.keys.slot(slot), State.ACTIVE)
        length = max(16, 0 if active is None else len(store.keys.reveal(active).reveal()))
    return random_octets(length)


_Proof = Callable[[Prober, Slot, Record, Chosen], Awaitable[Answer]]

_PROOFS: Final[dict[Proof, _Proof]] = {
    Proof.ASSOCIATION: Prober._by_association,
    Proof.MECHANISM: Prober._by_association,
    Proof.BROADCAST: Prober._by_broadcast,
    Proof.NEXT_TRANSFER: Prober._by_next_transfer,
}
