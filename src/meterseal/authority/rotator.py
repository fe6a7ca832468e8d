"""The executor: carries rotations of a meter's keys to their end, and finds out which keys a meter has.

What to do next is said by the table of `keys.rotation`; here it is done, one step at a time, each outcome in
the store before the next.  A run that is cut off anywhere is gone on with by the next one, whoever runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from meterseal.authority.probing import Answer, Line, Prober, Shut, Silent, drawn
from meterseal.authority.store import Rotation, Store
from meterseal.authority.store.keeping import kind_of, slot_of
from meterseal.authority.store.leases import Lease
from meterseal.errors import Blame, MetersealError, Misuse, Refused
from meterseal.keys.kinds import KINDS, ORDER, Proof, Slot
from meterseal.keys.lifecycle import Record, State, Verb, find
from meterseal.keys.rotation import MOST_TRIES, STEP, Heard, Phase, Step, candidates, ended, mixtures

MOST_STEPS: Final = 10
"""Steps of one rotation in one run; more than that goes in a circle."""

_PAIRED: Final = {"guek": "gak", "gak": "guek"}
"""Keys that open an association only together."""

__all__ = ["Report", "Rotator", "drawn"]

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
    """Rotates keys of meters, for one worker."""

    def __init__(self, store: Store, line: Line | None = None) -> None:
        self._store, self._line = store, line or Line()

    async def rotate(
        self, title: bytes, kinds: Iterable[str] = (), roles: Iterable[str] = (), why: str = ""
    ) -> Report:
        """Give a meter new keys: of these kinds and roles, or all that the store has active ones of.

        What was begun earlier is ended first.  Raises StateLocked where another worker is at this meter,
        Misuse for a kind that is not there; what goes wrong at the meter is in the report.
        """
        wanted = {kind_of(kind).name for kind in kinds}
        with self._store.leases.held(title) as lease:
            run = _Run(self._store, title, self._line, lease)
            await run.go_on()
            if not run.blocked:
                ended = set(run.report.done)  # what was begun earlier is what is wanted now
                for slot in (one for one in run.slots(wanted, set(roles)) if one not in ended):
                    await run.end(self._store.rotations.begin(slot, run.drawing(slot), lease=lease, why=why))
                await run.go_on()
        return run.report

    async def recover(self, title: bytes) -> Report:
        """End what was begun at a meter; where nothing was, find out which of the stored keys it has."""
        with self._store.leases.held(title) as lease:
            run = _Run(self._store, title, self._line, lease)
            await run.go_on()
            await run.survey()
        return run.report


class _Run:
    """One meter, while its lease is held."""

    def __init__(self, store: Store, title: bytes, line: Line, lease: Lease) -> None:
        self._store, self._lease, self._title = store, lease, title
        self._prober = Prober(store, store.keys.device(title), line)
        self.report = Report(title)

    def drawing(self, slot: Slot) -> Callable[[], bytes]:
        """Draws a secret for a slot."""
        return lambda: self._prober.draw(slot)

    def slots(self, kinds: set[str], roles: set[str]) -> list[Slot]:
        """What is to be changed: slots that have keys, in the order of a change of all."""
        found = [
            slot
            for slot in self._store.keys.slots(self._title)
            if (slot.kind in kinds or not kinds) and (not roles or slot.role in roles or not slot.role)
        ]
        if kinds and not found:
            raise Misuse(f"{self._title.hex().upper()} has no key of these kinds and roles")
        supported = [slot for slot in found if not KINDS[slot.kind].own]
        return sorted(supported, key=self._turn)

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
                following = await (
                    self._transfer(rotation) if step is Step.TRANSFER else self._ask(rotation, step)
                )
            except Misuse as error:
                note = str(error)
                break
            note = following.note
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

    async def _transfer(self, rotation: Rotation) -> Rotation:
        rotations, lease = self._store.rotations, self._lease
        record = self._store.keys.find(rotation.key).record
        try:
            async with self._prober.speaking(self._prober.carrier) as meter:
                # From here on the meter may have it, whatever is heard.
                rotation = rotations.hear(rotation, Heard.SENDING, lease=lease)
                heard, note = Heard.TAKEN, ""
                try:
                    await self._prober.bring(meter, rotation.slot, record)
                except MetersealError as error:
                    if error.blame not in (Blame.PEER, Blame.NOBODY):
                        raise
                    said_no = isinstance(error, Refused) and error.authenticated
                    heard, note = Heard.REFUSED if said_no else Heard.LOST, str(error)
                rotation = rotations.hear(rotation, heard, lease=lease, note=note)
        except Silent as error:
            return rotations.hear(rotation, Heard.SILENT, lease=lease, note=str(error))
        except Shut as error:
            return rotations.hear(rotation, Heard.NONE, lease=lease, note=str(error))
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
            heard = Heard.SILENT if silent else Heard.NONE
        elif found.id == rotation.key:
            heard = Heard.NEW
        else:
            heard = Heard.OLD if found.state is State.ACTIVE else Heard.OTHER
        if heard is Heard.OTHER and step is not Step.SEARCH:
            heard = Heard.NONE
        note = "" if found is not None else "it does not answer" if silent else self._prober.said
        return self._store.rotations.hear(
            rotation, heard, other=found, also=also, lease=self._lease, note=note
        )

    async def _which(self, slot: Slot, held: list[Record]) -> tuple[Record | None, list[Record], bool]:
        """The key of a slot that the meter answers under, others beside it that are not the active ones but
        had to be, and whether it was silent."""
        silent = False
        for use in self._tries(slot, held):
            answer = await self._prober.shows(slot, use[slot], use)
            if answer is Answer.YES:
                beside = [
                    one for other, one in use.items() if other != slot and one.state is State.DEACTIVATED
                ]
                return use[slot], beside, False
            silent = silent or answer is Answer.SILENT
        return None, [], silent

    def _tries(self, slot: Slot, held: list[Record]) -> Iterable[Mapping[Slot, Record]]:
        partner = _PAIRED.get(slot.kind)
        if partner is not None and KINDS[slot.kind].proof is Proof.ASSOCIATION:
            beside = slot_of(slot.device, slot.role, partner)
            others = self._store.keys.slot(beside)
            if others:
                for mine, other in mixtures(held, others):
                    yield {slot: mine, beside: other}
                return
        for record in candidates(held)[:MOST_TRIES]:
            yield {slot: record}

    async def survey(self) -> None:
        """For every role: does the meter answer under the active keys, or under which others?"""
        keys = self._store.keys
        for role in self._prober.device.roles:
            slot = slot_of(self._title, role, "guek")
            held = keys.slot(slot)
            active = find(held, State.ACTIVE)
            if not held or slot in self.report.waiting or slot in self.report.done:
                continue
            found, beside, silent = await self._which(slot, _first(held, active))
            if found is None and not silent:
                found, beside, silent = await self._which(slot, held)
            if found is None:
                none = f"it answers under none of the keys that are stored: {self._prober.said}"
                self.report.waiting[slot] = "it does not answer" if silent else none
                continue
            changed = [one for one in (found, *beside) if one.state is State.DEACTIVATED]
            if changed:
                _log.warning("%s: it has gone back to an earlier key", slot.text)
            for one in changed:
                keys.apply(Verb.ACTIVATE, one, "the meter answers under it")
            self.report.done.append(slot)


def _first(held: list[Record], active: Record | None) -> list[Record]:
    return held if active is None else [active]
