"""The executor: carries rotations of a meter's keys to their end, and finds out which keys a meter has.

What to do next is said by the table of `keys.rotation`; here it is done, one step at a time, each outcome in
the store before the next.  A run that is cut off anywhere is gone on with by the next one, whoever runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from meterseal.authority.bringing import Bringer
from meterseal.authority.certifying import Certifier
from meterseal.authority.probing import Answer, Line, Prober, Shut, Silent
from meterseal.authority.store import Rotation, Store
from meterseal.authority.store.keeping import slot_of
from meterseal.authority.store.leases import Lease
from meterseal.client.aio import Meter
from meterseal.errors import Blame, MetersealError, Misuse, Refused
from meterseal.keys.kinds import KINDS, ORDER, Proof, Slot, Way, kind_of
from meterseal.keys.lifecycle import Record, State, find
from meterseal.keys.rotation import STEP, Heard, Phase, Step, candidates, chosen, ended, mixtures

MOST_STEPS: Final = 10
"""Steps of one rotation in one run; more than that goes in a circle."""

_TOGETHER: Final = ("guek", "gak", "lls", "hls")
_SIGNING: Final = ("client-sign", "meter-sign")
"""Keys that open an association only together; the second where it is signed on to by signature."""

_LOOKS: Final = (*_TOGETHER, *_SIGNING, "client-agree", "meter-agree", "gbek", "kek")
"""What a survey looks at, in its order: whose proof needs others comes after them."""

_MIXED: Final = frozenset({Proof.ASSOCIATION, Proof.MECHANISM, Proof.SIGNATURE})
"""Proofs that need the others of them."""

_FROM_METER: Final = frozenset({Way.AGREEMENT, Way.GENERATED})
"""Ways on which the meter makes the key: where nobody knows the one that it has, it makes another."""

_FALLEN_BACK: Final = frozenset({State.DEACTIVATED, State.COMPROMISED})
"""Keys that a device was thought not to have any more, or is not to have."""

EXPOSED: Final = "it has a key that is compromised, and no other yet: `keys rotate` brings one"

_log = logging.getLogger("meterseal.authority")


@dataclass(slots=True)
class Report:
    """What became of the slots of one meter in one run."""

    device: bytes
    done: list[Slot] = field(default_factory=list)
    waiting: dict[Slot, str] = field(default_factory=dict)
    """Slots to be run again, and why."""
    failed: dict[Slot, str] = field(default_factory=dict)
    """Slots that keep their old key, and why."""

    @property
    def again(self) -> bool:
        """True when another run is needed."""
        return bool(self.waiting)


class Rotator:
    """Rotates keys of meters, for one worker; key pairs where it has an authority that certifies them."""

    def __init__(self, store: Store, line: Line | None = None, certifier: Certifier | None = None) -> None:
        self._store, self._line, self._certifier = store, line or Line(), certifier

    async def rotate(
        self, title: bytes, kinds: Iterable[str] = (), roles: Iterable[str] = (), why: str = ""
    ) -> Report:
        """Give a meter new keys: of these kinds and roles, or all that the store has active ones of.

        Without an authority key pairs are left out, and refused by name.

        What was begun earlier is ended first.  Raises StateLocked where another worker is at this meter,
        Misuse for a kind that is not there; what goes wrong at the meter is in the report.
        """
        wanted = {kind_of(kind).name for kind in kinds}
        with self._store.leases.held(title) as lease:
            run = self._run(title, lease)
            await run.go_on()
            if not run.blocked:
                ended = set(run.report.done)  # what was begun earlier is what is wanted now
                for slot in (one for one in run.slots(wanted, set(roles)) if one not in ended):
                    await run.begin(slot, why)
                await run.go_on()
        return run.report

    async def recover(self, title: bytes, kinds: Iterable[str] = ()) -> Report:
        """End what was begun at a meter; where nothing was, find out which of the stored keys it has.

        Every role is asked for its GUEK.  `kinds` are asked for besides, each by its proof; so is, unasked,
        what is in doubt, and all of a meter that has gone back to an earlier key.  The proof of a KEK brings
        a new GBEK.  Raises as `rotate`.
        """
        wanted = {kind_of(kind).name for kind in kinds}
        with self._store.leases.held(title) as lease:
            run = self._run(title, lease)
            asked = run.slots(wanted, set(), able=False) if wanted else []
            await run.go_on()
            await run.survey(asked)
        return run.report

    def _run(self, title: bytes, lease: Lease) -> _Run:
        return _Run(self._store, title, self._line, self._certifier, lease)


class _Run:
    """One meter, while its lease is held."""

    def __init__(
        self, store: Store, title: bytes, line: Line, certifier: Certifier | None, lease: Lease
    ) -> None:
        self._store, self._lease, self._title = store, lease, title
        self._prober = Prober(store, store.keys.device(title), line)
        self._bringer = Bringer(self._prober, certifier, lease)
        self.report = Report(title)

    async def begin(self, slot: Slot, why: str) -> None:
        """Begin a rotation and take it as far as it goes; what must not be begun is reported as failed."""
        fresh = partial(self._bringer.fresh, slot)
        try:
            rotation = self._store.rotations.begin(slot, fresh, lease=self._lease, why=why)
        except Misuse as error:
            self.report.failed[slot] = str(error)
        else:
            await self.end(rotation)

    def slots(self, kinds: set[str], roles: set[str], *, able: bool = True) -> list[Slot]:
        """Slots that have keys, in the order of a change of all; `able`: that can be changed in this run."""
        found = [slot for slot in self._store.keys.slots(self._title) if chosen(slot, kinds, roles)]
        if (kinds or roles) and not found:
            raise Misuse(f"{self._title.hex().upper()} has no key of these kinds and roles")
        certifies = self._bringer.certifies or not able
        found = [slot for slot in found if certifies or not KINDS[slot.kind].certified]
        if kinds and not found:
            raise Misuse(f"{', '.join(sorted(kinds))}: say which authority certifies new pairs (--authority)")
        return sorted(found, key=self._turn)

    def _turn(self, slot: Slot) -> tuple[bool, int, str]:
        """Whoever carries the changes of others comes first."""
        return slot.role != self._prober.carrier, ORDER.index(slot.kind), slot.role

    @property
    def blocked(self) -> bool:
        """True when what waits is a key that associations are opened with, or no answer came."""
        return any(KINDS[slot.kind].proof is not Proof.BROADCAST for slot in self.report.waiting)

    async def go_on(self) -> None:
        """End every rotation that is open, and has not been tried in this run."""
        tried: set[int] = set()
        while True:
            waiting = [one for one in self._store.rotations.open(self._title) if one.id not in tried]
            if not waiting:
                return
            for rotation in sorted(waiting, key=lambda one: self._turn(one.slot)):
                tried.add(rotation.id)
                if rotation.slot not in self.report.waiting:
                    await self.end(rotation)

    async def end(self, rotation: Rotation) -> None:
        """Take a rotation to its end, or as far as the meter lets it."""
        slot, note = rotation.slot, ""
        for _ in range(MOST_STEPS):
            step = STEP[rotation.phase]
            if step is Step.END:
                break
            try:
                following = await self._take(rotation, step)
            except Misuse as error:
                note = str(error)
                break
            note = following.note or note
            if following.phase is rotation.phase:
                rotation = following
                break
            rotation = following
        if rotation.phase is Phase.DONE:
            self.report.done.append(slot)
            self.report.waiting.pop(slot, None)
        elif ended(rotation.phase):
            self.report.failed[slot] = note or "the meter does not take it"
        else:
            self.report.waiting[slot] = note or f"it is {rotation.phase.value}"

    # --- steps ------------------------------------------------------------------------------------

    async def _take(self, rotation: Rotation, step: Step) -> Rotation:
        """One step; raises Misuse where it cannot be made."""
        if step is Step.TRANSFER:
            return await self._bring(rotation)
        if step is Step.RETIRE:
            return await self._retire(rotation)
        return await self._ask(rotation, step)

    async def _bring(self, rotation: Rotation) -> Rotation:
        rotations, lease, slot = self._store.rotations, self._lease, rotation.slot
        record = None if rotation.key is None else self._store.keys.find(rotation.key).record
        way = self._bringer.way(slot, record)
        via = self._bringer.via(slot, way)
        fresh = self._bringer.fresh(slot) if record is None else None
        if fresh is not None:  # it was to be agreed on, and is transferred after all
            rotation = rotations.equip(rotation, fresh, lease=lease)

        async def work(meter: Meter) -> tuple[Rotation, Heard, str]:
            # From here on the meter may have it, whatever is heard.
            sending = rotations.hear(rotation, Heard.SENDING, lease=lease)
            return sending, *await _outcome(self._bringer.bring(meter, sending, way, via), Heard.TAKEN)

        return await self._speak(rotation, via, work)

    async def _retire(self, rotation: Rotation) -> Rotation:
        async def work(meter: Meter) -> tuple[Rotation, Heard, str]:
            return rotation, *await _outcome(self._bringer.retire(meter, rotation.slot), Heard.REMOVED)

        return await self._speak(rotation, self._prober.carrier, work)

    async def _speak(self, rotation: Rotation, role: str, work: _Work) -> Rotation:
        """Something done in an association as a role, and what was heard of it kept."""
        hear = partial(self._store.rotations.hear, lease=self._lease)
        try:
            async with self._prober.speaking(role) as meter:
                rotation, heard, note = await work(meter)
                rotation = hear(rotation, heard, note=note)
        except Silent as error:
            return hear(rotation, Heard.SILENT, note=str(error))
        except Shut as error:
            return hear(rotation, Heard.NONE, note=str(error))
        return rotation

    async def _ask(self, rotation: Rotation, step: Step) -> Rotation:
        """Which key the meter has; the phase that follows."""
        slot = rotation.slot
        held = self._store.keys.slot(slot)
        likely = {State.STAGED, State.ACTIVE}
        first = [one for one in held if one.id == rotation.key or one.state in likely]
        found, beside, silent = await self._which(slot, held if step is Step.SEARCH else first)
        also = [partial(self._store.keys.found, record=one) for one in beside]
        if found is None:
            heard = Heard.SILENT if silent else self._none(rotation, step)
        elif found.id == rotation.key:
            heard = Heard.BESIDE if KINDS[slot.kind].certified else Heard.NEW
        else:
            heard = Heard.OLD if found.state is State.ACTIVE else Heard.OTHER
        if heard is Heard.OTHER and step is not Step.SEARCH:
            heard = Heard.NONE
        note = "" if found is not None else "it does not answer" if silent else self._prober.said
        return self._store.rotations.hear(
            rotation, heard, other=found, also=also, lease=self._lease, note=note
        )

    def _none(self, rotation: Rotation, step: Step) -> Heard:
        """None of the keys that were tried answers: can the meter be asked to make another one?"""
        record = None if rotation.key is None else self._store.keys.find(rotation.key).record
        theirs = self._bringer.way(rotation.slot, record) in _FROM_METER
        return Heard.NOBODYS if theirs and (record is None or step is Step.SEARCH) else Heard.NONE

    async def _which(
        self, slot: Slot, held: list[Record], tries: _Tries | None = None
    ) -> tuple[Record | None, list[Record], bool]:
        """The key of a slot that the meter answers under, others beside it that are neither active nor new
        but had to be, and whether it was silent."""
        silent = False
        for use in (tries or self._tries)(slot, held):
            answer = await self._prober.shows(slot, use[slot], use)
            if answer is Answer.YES:
                beside = [one for other, one in use.items() if other != slot and one.state in _FALLEN_BACK]
                return use[slot], beside, False
            silent = silent or answer is Answer.SILENT
        return None, [], silent

    def _tries(self, slot: Slot, held: list[Record]) -> Iterable[Mapping[Slot, Record]]:
        beside = self._beside(slot) if KINDS[slot.kind].proof in _MIXED else {}
        for mine, *others in mixtures(held, *beside.values()):
            yield {slot: mine, **dict(zip(beside, others, strict=True))}

    def _beside(self, slot: Slot) -> dict[Slot, list[Record]]:
        """The other slots that an association of this one's role opens with, and what they hold."""
        role = self._prober.prover(slot)
        kinds = (*_TOGETHER, *_SIGNING) if self._prober.signs_on(role) else _TOGETHER
        slots = (slot_of(slot.device, role, kind) for kind in kinds)
        held = {one: self._store.keys.slot(one) for one in slots if one != slot}
        return {one: records for one, records in held.items() if candidates(records)}

    async def survey(self, asked: Iterable[Slot] = ()) -> None:
        """Does the meter answer under the active keys, or under which others?  Of every role the GUEK, with
        what opens an association beside it; then what was `asked` for, or gives reason to.

        What is left with a key that others may have is not done, whatever answers.
        """
        fallen, opened = False, set[Slot]()
        for role in self._prober.device.roles:
            slot = slot_of(self._title, role, "guek")
            held = self._store.keys.slot(slot)
            if held and slot not in self.report.waiting and slot not in self.report.done:
                fallen |= await self._look(slot, held, self._tries)
                opened |= self._beside(slot).keys() if slot in self.report.done else set()
        if self.report.waiting:
            asked = []  # what would carry the questions is not known
        for slot in sorted({*asked, *self._suspect(fallen)}, key=lambda one: _LOOKS.index(one.kind)):
            if slot in self.report.waiting or slot in self.report.done:
                continue
            if slot in opened:  # its role has signed on with it just now
                self.report.done.append(slot)
            else:
                try:
                    await self._look(slot, self._store.keys.slot(slot), _alone)
                except Misuse as error:  # nothing shows which one it has
                    _log.warning("%s: %s", slot.text, error)
                    if slot in asked:
                        self.report.failed[slot] = str(error)
        await self.go_on()  # the proof of a KEK has a new GBEK on its way
        self._expose()

    def _suspect(self, fallen: bool) -> list[Slot]:
        """Slots whose key is in doubt; of a meter that has gone back to an earlier one, all with others."""
        if self.report.waiting:
            return []
        return [
            slot
            for slot, held in self._store.keys.slots(self._title).items()
            if slot.kind in _LOOKS
            and len(candidates(held)) > 1
            and (fallen or any(one.sent is not None and one.standing.tried for one in held))
        ]

    async def _look(self, slot: Slot, held: list[Record], tries: _Tries) -> bool:
        """Which key of a slot the meter has, the active one first; whether that is an earlier one."""
        found, beside, silent = await self._which(slot, _first(held, find(held, State.ACTIVE)), tries)
        if found is None and not silent:
            found, beside, silent = await self._which(slot, held, tries)
        if found is None:
            none = f"it answers under none of the keys that are stored: {self._prober.said}"
            self.report.waiting[slot] = "it does not answer" if silent else none
            return False
        changed = [one for one in (found, *beside) if one.state in _FALLEN_BACK]
        if changed:
            _log.warning("%s: it has an earlier key", slot.text)
            with self._store.core.acting("the meter answers under it") as act:
                for one in changed:
                    self._store.keys.found(act, one)
        self.report.done.append(slot)
        return bool(changed)

    def _expose(self) -> None:
        """Slots whose only key in use is compromised wait for another one."""
        for slot in self._store.keys.slots(self._title):
            states = {one.state for one in self._store.keys.slot(slot)}
            if State.COMPROMISED in states and State.ACTIVE not in states:
                self.report.waiting.setdefault(slot, EXPOSED)
                self.report.done = [one for one in self.report.done if one != slot]


def _alone(slot: Slot, held: list[Record]) -> Iterable[Mapping[Slot, Record]]:
    """One key of a slot at a time, beside keys that are known to be the meter's."""
    return ({slot: one} for (one,) in mixtures(held))


_Tries = Callable[[Slot, list[Record]], Iterable[Mapping[Slot, Record]]]
_Work = Callable[[Meter], Awaitable[tuple[Rotation, Heard, str]]]


async def _outcome(request: Awaitable[None], done: Heard) -> tuple[Heard, str]:
    """What a request to the meter came to: `done`, refused by what it says itself, or nobody knows."""
    try:
        await request
    except MetersealError as error:
        if error.blame not in (Blame.PEER, Blame.NOBODY):
            raise
        said_no = isinstance(error, Refused) and error.authenticated
        return Heard.REFUSED if said_no else Heard.LOST, str(error)
    return done, ""


def _first(held: list[Record], active: Record | None) -> list[Record]:
    return held if active is None else [active]
