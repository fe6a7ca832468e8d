"""Rotation that loses no device: the next step from what is known, as a table (keys 3).

A rotation stands in a phase, which is durable.  `STEP` says what to do in it, `NEXT` where what was heard
leads.  Before anything is sent the phase says that the device may have the new key; whatever is cut off,
the phase that is found afterwards leads on.  Which key a device has is found by trying, in the order of
`candidates`: nothing that is held is given up before another one has been proved.

A key that comes from the device - agreed on with it, or a pair that it draws - is not known before it
answers.  Is the answer lost, then it may have one that nobody knows, and is asked to make another: over an
association that does not open with that key, or the rotation is never begun (`way_back`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from itertools import islice, product
from typing import Final

from meterseal.errors import Misuse
from meterseal.keys.kinds import KINDS, Proof, Slot
from meterseal.keys.lifecycle import Record, State

MOST_TRIES: Final = 12
"""Keys, or pairs of keys, that a recovery tries on a device in one run."""


class Phase(Enum):
    """Where a rotation stands."""

    STAGED = "staged"
    SENT = "sent"
    TAKEN = "taken"
    REFUSED = "refused"
    ASTRAY = "astray"
    PROVED = "proved"
    DONE = "done"
    FAILED = "failed"


class Step(Enum):
    """What to do next."""

    TRANSFER = "transfer"
    PROVE = "prove"
    RECOVER = "recover"
    SEARCH = "search"
    RETIRE = "retire"
    END = "end"


class Heard(Enum):
    """What a step brought to light."""

    SENDING = "sending"
    TAKEN = "taken"
    REFUSED = "refused"
    LOST = "lost"
    NEW = "new"
    BESIDE = "beside"
    OLD = "old"
    OTHER = "other"
    NONE = "none"
    NOBODYS = "nobodys"
    REMOVED = "removed"
    SILENT = "silent"


MEANING: Final = {
    Phase.STAGED: "the new key is stored, the device cannot have it",
    Phase.SENT: "the new key is on its way, or an answer was lost",
    Phase.TAKEN: "the device says that it has it",
    Phase.REFUSED: "the device said no: it has the old one, or has the new one already",
    Phase.ASTRAY: "it answers under neither the new key nor the old one",
    Phase.PROVED: "the new key is the active one, the device may hold the certificate of the old one still",
    Phase.DONE: "proved; the new key is the active one",
    Phase.FAILED: "the device keeps the old key and does not take the new one",
}

HEARD: Final = {
    Heard.SENDING: "about to send",
    Heard.TAKEN: "taken",
    Heard.REFUSED: "refused",
    Heard.LOST: "no answer",
    Heard.NEW: "the new key answers",
    Heard.BESIDE: "the new key answers, with a certificate beside that of the old one",
    Heard.OLD: "the old key answers",
    Heard.OTHER: "an earlier key answers",
    Heard.NONE: "it answers, under none of them",
    Heard.NOBODYS: "it answers under none, and makes another one when it is asked",
    Heard.REMOVED: "the old certificate is off the device",
    Heard.SILENT: "it does not answer at all",
}

STEP: Final = {
    Phase.STAGED: Step.TRANSFER,
    Phase.SENT: Step.RECOVER,
    Phase.TAKEN: Step.PROVE,
    Phase.REFUSED: Step.RECOVER,
    Phase.ASTRAY: Step.SEARCH,
    Phase.PROVED: Step.RETIRE,
    Phase.DONE: Step.END,
    Phase.FAILED: Step.END,
}
"""What is done in a phase that is found: after a crash as in the midst of a run."""

NEXT: Final[dict[tuple[Phase, Heard], Phase]] = {
    (Phase.STAGED, Heard.SENDING): Phase.SENT,
    (Phase.STAGED, Heard.SILENT): Phase.STAGED,
    (Phase.STAGED, Heard.NONE): Phase.SENT,  # the old key opens nothing: ask which one does
    (Phase.SENT, Heard.TAKEN): Phase.TAKEN,
    (Phase.SENT, Heard.REFUSED): Phase.REFUSED,
    (Phase.SENT, Heard.LOST): Phase.SENT,
    (Phase.SENT, Heard.NEW): Phase.DONE,
    (Phase.SENT, Heard.BESIDE): Phase.PROVED,
    (Phase.SENT, Heard.OLD): Phase.STAGED,
    (Phase.SENT, Heard.NONE): Phase.ASTRAY,
    (Phase.SENT, Heard.NOBODYS): Phase.STAGED,
    (Phase.SENT, Heard.SILENT): Phase.SENT,
    (Phase.TAKEN, Heard.NEW): Phase.DONE,
    (Phase.TAKEN, Heard.BESIDE): Phase.PROVED,
    (Phase.TAKEN, Heard.OLD): Phase.STAGED,
    (Phase.TAKEN, Heard.NONE): Phase.ASTRAY,
    (Phase.TAKEN, Heard.SILENT): Phase.TAKEN,
    (Phase.REFUSED, Heard.NEW): Phase.DONE,
    (Phase.REFUSED, Heard.BESIDE): Phase.PROVED,
    (Phase.REFUSED, Heard.OLD): Phase.FAILED,
    (Phase.REFUSED, Heard.NONE): Phase.ASTRAY,
    (Phase.REFUSED, Heard.NOBODYS): Phase.ASTRAY,
    (Phase.REFUSED, Heard.SILENT): Phase.REFUSED,
    (Phase.ASTRAY, Heard.NEW): Phase.DONE,
    (Phase.ASTRAY, Heard.BESIDE): Phase.PROVED,
    (Phase.ASTRAY, Heard.OLD): Phase.STAGED,
    (Phase.ASTRAY, Heard.OTHER): Phase.STAGED,  # that one is the active key now
    (Phase.ASTRAY, Heard.NONE): Phase.ASTRAY,
    (Phase.ASTRAY, Heard.NOBODYS): Phase.STAGED,
    (Phase.ASTRAY, Heard.SILENT): Phase.ASTRAY,
    (Phase.PROVED, Heard.REMOVED): Phase.DONE,
    (Phase.PROVED, Heard.REFUSED): Phase.DONE,  # it keeps a certificate that nobody signs under any more
    (Phase.PROVED, Heard.LOST): Phase.PROVED,
    (Phase.PROVED, Heard.SILENT): Phase.PROVED,
    (Phase.PROVED, Heard.NONE): Phase.PROVED,
}
"""(phase, what was heard) -> phase."""


def after(phase: Phase, heard: Heard) -> Phase:
    """Where a rotation stands then.  Raises Misuse for what cannot be heard in this phase."""
    found = NEXT.get((phase, heard))
    if found is None:
        raise Misuse(f"a rotation that is {phase.value} does not hear {heard.value}")
    return found


def ended(phase: Phase) -> bool:
    """True when nothing is left to do."""
    return STEP[phase] is Step.END


def chosen(slot: Slot, kinds: Collection[str], roles: Collection[str]) -> bool:
    """Whether a change of these kinds and roles, empty for all, changes this slot too.

    What is no role's own, as the KEK, is in where its kind is named, or no role.
    """
    return (slot.kind in kinds or not kinds) and (
        slot.role in roles or not roles or (bool(kinds) and not slot.role)
    )


def candidates(slot: Sequence[Record]) -> list[Record]:
    """The keys that a device may have, most likely first: staged, active, those that were sent and never
    proved, then the others that are held, newest first."""
    return sorted((one for one in slot if one.standing.tried), key=_likely)


def _likely(record: Record) -> tuple[int, int]:
    if record.state is State.STAGED:
        rank = 0
    elif record.state is State.ACTIVE:
        rank = 1
    elif record.sent is not None or record.state is State.COMPROMISED:
        rank = 2
    else:
        rank = 3
    return rank, -record.version


def mixtures(*slots: Sequence[Record], most: int = MOST_TRIES) -> Iterator[tuple[Record, ...]]:
    """One key of each slot at a time, `most` at the most, the likeliest first: all that are new, all that
    are old, then new beside old, as a change that was cut off in the middle leaves them (keys 3)."""
    orders = [candidates(slot) for slot in slots]
    yield from islice(sorted(product(*orders), key=lambda chosen: _together(chosen, orders)), most)


def _together(chosen: tuple[Record, ...], orders: Sequence[list[Record]]) -> tuple[int, ...]:
    ranks = [_likely(record)[0] for record in chosen]
    newest = all(record is order[0] for record, order in zip(chosen, orders, strict=True))
    mixed = 0 if newest else 1 if len(set(ranks)) == 1 else 2
    return (
        max(ranks, default=0),
        mixed,
        *(order.index(one) for one, order in zip(chosen, orders, strict=True)),
    )


def way_back(slot: Slot, carriers: Sequence[str]) -> str:
    """The role over whose association a key is agreed on, of those that may change keys.

    What opens an association is agreed on over another one: were the answer lost, its own would be shut for
    good.  Raises Misuse where there is no such role.
    """
    opens = KINDS[slot.kind].proof is Proof.ASSOCIATION
    for role in carriers:
        if role != slot.role or not opens:
            return role
    raise Misuse(
        f"{slot.text}: were the answer to key_agreement lost, nobody could open the device as "
        f"{slot.role} again, and no other role may change keys there: transfer it"
    )
