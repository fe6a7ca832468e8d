"""The life of a key as a table: states, what a key may do in each, verbs, and where they lead (keys 1).

Pure: `plan` says what a verb changes in a slot, whoever keeps the records carries it out at once or not at
all.  In a slot there is at most one staged and one active key.  No verb takes the last key away that the
device may have: what is replaced is kept until somebody destroys it by name, and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from meterseal.errors import Misuse
from meterseal.keys.kinds import KINDS, Kind, Slot


class State(Enum):
    """Where a key is in its life."""

    STAGED = "staged"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a state allows: `protect` new messages, `open` what comes or was recorded, be `tried` when it
    is asked which key a device has, or carry the change that replaces it.  `held`: its material is kept."""

    nist: str
    meaning: str
    protect: bool
    open: bool
    tried: bool
    held: bool = True


STANDING: Final = {
    State.STAGED: Standing(
        "pre-activation", "made or received, not yet proved on the device", False, True, True
    ),
    State.ACTIVE: Standing("active", "in use: the device is known to have it", True, True, True),
    State.DEACTIVATED: Standing(
        "deactivated", "replaced; kept to open what was recorded under it", False, True, True
    ),
    State.COMPROMISED: Standing(
        "compromised",
        "not to be trusted; serves to bring in its successor and nothing else",
        False,
        True,
        True,
    ),
    State.DESTROYED: Standing(
        "destroyed", "the material is gone, the record stays", False, False, False, False
    ),
}


class Verb(Enum):
    """What may be done with a key."""

    ADOPT = "adopt"
    STAGE = "stage"
    ACTIVATE = "activate"
    RETIRE = "retire"
    WITHDRAW = "withdraw"
    COMPROMISE = "compromise"
    DESTROY = "destroy"


MOVES: Final[dict[tuple[State | None, Verb], State]] = {
    (None, Verb.ADOPT): State.ACTIVE,
    (None, Verb.STAGE): State.STAGED,
    (State.STAGED, Verb.ACTIVATE): State.ACTIVE,
    (State.ACTIVE, Verb.ACTIVATE): State.ACTIVE,  # proved once more
    (State.DEACTIVATED, Verb.ACTIVATE): State.ACTIVE,  # the device has gone back to it
    (State.ACTIVE, Verb.RETIRE): State.DEACTIVATED,
    (State.STAGED, Verb.WITHDRAW): State.DEACTIVATED,
    (State.STAGED, Verb.COMPROMISE): State.COMPROMISED,
    (State.ACTIVE, Verb.COMPROMISE): State.COMPROMISED,
    (State.DEACTIVATED, Verb.COMPROMISE): State.COMPROMISED,
    (State.DEACTIVATED, Verb.DESTROY): State.DESTROYED,
    (State.COMPROMISED, Verb.DESTROY): State.DESTROYED,
}
"""(state, verb) -> state.  What has no row is refused and changes nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a verb means; `reason`: nobody uses it without saying why."""

    meaning: str
    reason: bool = False


RULES: Final = {
    Verb.ADOPT: Rule("take over what the device is known to have"),
    Verb.STAGE: Rule("keep a new one, before the device has it"),
    Verb.ACTIVATE: Rule("the device has proved that it has it"),
    Verb.RETIRE: Rule("another one has taken its place"),
    Verb.WITHDRAW: Rule("a later one takes its place before it was proved"),
    Verb.COMPROMISE: Rule("somebody else may have it", reason=True),
    Verb.DESTROY: Rule("take the material away for good", reason=True),
}


@dataclass(frozen=True, slots=True)
class Record:
    """A key as it is known without its material.

    `sent`: since when the device may have it without having proved it; None when it cannot have it, or has
    proved it.  `proved`: when it last did.
    """

    id: int
    slot: Slot
    version: int
    state: State
    suite: int
    kcv: str
    origin: str
    made: datetime
    changed: datetime
    proved: datetime | None = None
    sent: datetime | None = None

    @property
    def standing(self) -> Standing:
        """What it may do."""
        return STANDING[self.state]

    @property
    def kind(self) -> Kind:
        """The row of its kind."""
        return KINDS[self.slot.kind]


class Change(NamedTuple):
    """One key goes from one state to another, by a verb."""

    record: Record
    verb: Verb
    after: State


def move(state: State | None, verb: Verb) -> State:
    """Where a verb leads.  Raises Misuse for what the table does not have."""
    found = MOVES.get((state, verb))
    if found is None:
        raise Misuse(f"{verb.value}: not what is done with a key that is {_word(state)}")
    return found


def plan(
    slot: Sequence[Record], verb: Verb, record: Record | None = None, *, serving: bool = True
) -> list[Change]:
    """What a verb changes among the keys of a slot, in the order in which it has to be done.

    `record` None: the key is yet to come (stage, adopt), and only what makes room for it is returned.
    `serving`: the device is in service, and has a key.  Raises Misuse: no such move, a second active key by
    adoption, a device in service left without a key.
    """
    before = None if record is None else record.state
    after = move(before, verb)
    changes: list[Change] = []
    if verb is Verb.ADOPT and find(slot, State.ACTIVE) is not None:
        raise Misuse("adopt: there is an active key, and the device has only one")
    if verb is Verb.STAGE:
        changes += _each(slot, State.STAGED, Verb.WITHDRAW)
    if verb is Verb.ACTIVATE:
        others = [one for one in slot if record is not None and one.id != record.id]
        changes += _each(others, State.ACTIVE, Verb.RETIRE)
    if verb is Verb.RETIRE and serving:
        raise Misuse("retire: a device in service keeps its key until another one is proved")
    if verb is Verb.DESTROY and serving and find(slot, State.ACTIVE) is None:
        raise Misuse("destroy: no other key of this slot is active, and the device may have this one")
    if record is not None:
        changes.append(Change(record, verb, after))
    return changes


def find(slot: Iterable[Record], state: State) -> Record | None:
    """The key in a state of which there is one; the newest version where there are several."""
    found = [record for record in slot if record.state is state]
    return max(found, key=lambda record: record.version, default=None)


def _each(slot: Iterable[Record], state: State, verb: Verb) -> list[Change]:
    return [Change(one, verb, _kept(one, verb)) for one in slot if one.state is state]


def _kept(record: Record, verb: Verb) -> State:
    """A private signature key is not kept when another one takes its place (SP 800-57; keys 1)."""
    after = move(record.state, verb)
    return State.DESTROYED if verb is Verb.RETIRE and record.kind.spent else after


def _word(state: State | None) -> str:
    return "yet to come" if state is None else state.value
