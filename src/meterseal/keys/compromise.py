"""What follows when others may have a key: what it protected, what is changed, in which order (keys 1, 6).

Pure: tables, and a plan made of what is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from meterseal.keys.kinds import KINDS, ORDER, Slot


@dataclass(frozen=True, slots=True)
class Harm:
    """A row: what a key of the kind protected, how pressing it is to change it (1 first), and which kinds
    are changed behind it, because it carried them to the device."""

    protected: str
    priority: int
    carried: tuple[str, ...] = ()


HARMS: Final[Mapping[str, Harm]] = {
    "kek": Harm("every key that was transferred under it", 1, ("gak", "guek", "gbek")),
    "client-sign": Harm("commands signed in the client's name", 1),
    "guek": Harm("every message of the role, and the dedicated keys in them", 2),
    "lls": Harm("who signs on in the role", 2),
    "hls": Harm("who signs on in the role", 2),
    "client-agree": Harm("every exchange under keys that it agreed on", 2),
    "meter-sign": Harm("what the meter has signed, its sign-on too", 2),
    "meter-agree": Harm("every exchange under keys that it agreed on", 2),
    "gak": Harm("that messages of the role are from who has it", 3),
    "gbek": Harm("what is sent to all of its group", 4),
}
"""Kind -> what follows.  A KEK goes first: whoever has it reads the keys that come after."""

_BEHIND: Final = 4


class Step(NamedTuple):
    """Something to do: bring a new key of this slot; `certificate`: and take the old certificate off;
    `carried`: the old one came under the key that is compromised."""

    priority: int
    slot: Slot
    certificate: bool
    carried: bool


def plan(exposed: Iterable[Slot], held: Iterable[Slot]) -> list[Step]:
    """What is to be done for slots whose key is compromised, the most pressing first; `held`: all slots of
    their devices.  Each slot comes once."""
    found: dict[Slot, Step] = {}
    of_device: dict[bytes, list[Slot]] = {}
    for slot in held:
        of_device.setdefault(slot.device, []).append(slot)
    for slot in exposed:
        row = HARMS[slot.kind]
        found[slot] = Step(row.priority, slot, KINDS[slot.kind].certified, False)
        for other in of_device.get(slot.device, ()):
            if other.kind in row.carried:
                found.setdefault(other, Step(row.priority + _BEHIND, other, False, True))
    return sorted(found.values(), key=lambda step: (step.priority, ORDER.index(step.slot.kind), step.slot))
