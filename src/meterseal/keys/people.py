"""Who may do what with the keys of a fleet, and what takes two: duties, deeds, requests, as tables (keys 7).

Pure: who somebody is has been verified before, by whoever keeps the roll.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from meterseal.errors import Misuse, NotAllowed, NotApproved
from meterseal.keys.lifecycle import Verb


class Duty(Enum):
    """What a person is there for; one may have several."""

    OFFICER = "officer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    AUDITOR = "auditor"
    SERVICE = "service"


DUTIES: Final = {
    Duty.OFFICER: "key officer: takes in, stages, rotates, revokes; asks for what takes two",
    Duty.APPROVER: "the second person: approves what another has asked for",
    Duty.OPERATOR: "runs rotations and campaigns, marks what is compromised; sees no key",
    Duty.ENGINEER: "asks for a set of keys for one meter in the field",
    Duty.AUDITOR: "looks at everything that happened, and changes nothing",
    Duty.SERVICE: "a program: counts and speaks under keys of its own roles",
}

_CHANGE: Final = frozenset({Verb.STAGE, Verb.WITHDRAW, Verb.ACTIVATE, Verb.RETIRE})
_WORKERS: Final = (Duty.OFFICER, Duty.OPERATOR)


@dataclass(frozen=True, slots=True)
class Deed:
    """A row: who may do it, whether it takes two, which verbs of a key's life it carries out.

    `opens`: secrets are unwrapped for it; `master`: it may also stage the KEK of a device; `asked`: the
    command that asks for it.
    """

    meaning: str
    duties: tuple[Duty, ...]
    four_eyes: bool = False
    verbs: frozenset[Verb] = frozenset()
    opens: bool = False
    master: bool = False
    asked: str = "keys request"


_OFFICER: Final = (Duty.OFFICER,)
_ADOPT: Final = frozenset({Verb.ADOPT})

DEEDS: Final[Mapping[str, Deed]] = {
    "adopt": Deed("take a meter's credentials into the store", _OFFICER, verbs=_ADOPT),
    "trust-anchor": Deed(
        "bring in a trust anchor that the store does not know, or change a device's",
        _OFFICER, four_eyes=True, verbs=_ADOPT,
    ),
    "authority": Deed(
        "make an authority, a root or one below another", _OFFICER, four_eyes=True, asked="pki ask"
    ),
    "certify": Deed("let an authority certify a key, promise that, or say what is revoked", _OFFICER),
    "import": Deed("take meters of a file into the store", _OFFICER, verbs=_ADOPT),
    "generate": Deed("make new meters, their keys sealed for a receiver", _OFFICER, verbs=_ADOPT),
    "generate-open": Deed(
        "make new meters, their keys in a file that can be read", _OFFICER, four_eyes=True, verbs=_ADOPT
    ),
    "stage": Deed("keep a new key before its device has it", _OFFICER, verbs=_CHANGE, opens=True),
    "rotate": Deed("bring new keys to a device", _WORKERS, verbs=_CHANGE, opens=True),
    "recover": Deed("end what was cut off", _WORKERS, verbs=_CHANGE, opens=True),
    "campaign": Deed(
        "plan and run new keys for many devices", _WORKERS, verbs=_CHANGE, opens=True, master=True
    ),
    "master-key": Deed(
        "stage or rotate the KEK of a device, plan that for many, change the storage KEK",
        _OFFICER, four_eyes=True, verbs=_CHANGE, opens=True, master=True,
    ),
    "rewrap": Deed("wrap everything under the new storage KEK, until all is", _WORKERS, opens=True),
    "revoke": Deed(
        "mark keys and certificates as compromised",
        (Duty.OFFICER, Duty.APPROVER, Duty.OPERATOR), verbs=frozenset({Verb.COMPROMISE}),
    ),
    "destroy": Deed(
        "take the material of a key away", _OFFICER, four_eyes=True, verbs=frozenset({Verb.DESTROY})
    ),
    "way": Deed("say how new keys of a slot come about", _OFFICER),
    "retire": Deed("take a device out of service", _OFFICER, verbs=frozenset({Verb.RETIRE})),
    "periods": Deed("say how old keys may grow", _OFFICER),
    "upgrade": Deed("bring a store to a later version of this program", _OFFICER),
    "restored": Deed("take a store that was put back into use", _OFFICER),
    "export": Deed("hand keys over to a named receiver", _OFFICER, four_eyes=True, opens=True),
    "export-credentials": Deed(
        "write keys of a meter as a credentials file",
        (Duty.OFFICER, Duty.ENGINEER), four_eyes=True, opens=True,
    ),
    "person": Deed("put somebody on the roll, or take somebody off", _OFFICER, four_eyes=True),
    "request": Deed("ask for what takes two", (Duty.OFFICER, Duty.ENGINEER)),
    "approve": Deed("approve what another has asked for", (Duty.APPROVER,)),
    "refuse": Deed("refuse or take back what was asked for", (Duty.APPROVER, Duty.OFFICER, Duty.ENGINEER)),
    "use": Deed("count and speak under keys of one's own roles", (Duty.SERVICE,), opens=True),
}  # fmt: skip
"""What is done to a store, by name.  Looking at what holds no key takes no duty."""


class Ask(Enum):
    """Where a request stands."""

    ASKED = "asked"
    APPROVED = "approved"
    DONE = "done"
    REFUSED = "refused"


class Say(Enum):
    """What may be said to a request."""

    APPROVE = "approve"
    REFUSE = "refuse"
    RUN = "run"


ANSWERS: Final[Mapping[tuple[Ask, Say], Ask]] = {
    (Ask.ASKED, Say.APPROVE): Ask.APPROVED,
    (Ask.ASKED, Say.REFUSE): Ask.REFUSED,
    (Ask.APPROVED, Say.REFUSE): Ask.REFUSED,
    (Ask.APPROVED, Say.RUN): Ask.DONE,
}
"""(state, what is said) -> state.  A request that is done or refused hears nothing more."""

WAITS: Final = timedelta(days=7)
"""How long a request waits for its approval."""

HOLDS: Final = timedelta(days=1)
"""How long an approval holds."""


LENT: Final = timedelta(days=30)
"""How long keys are lent at the most to who is there for the field."""


def check_loan(who: str, duties: Iterable[Duty], until: datetime | None, now: datetime) -> None:
    """Raises NotAllowed for keys that would be handed to the field without an end, or with a late one."""
    if Duty.OFFICER not in set(duties) and (until is None or until > now + LENT):
        raise NotAllowed(f"{who} is handed keys for {LENT.days} days at the most: say --until")


def answered(state: Ask, said: Say, number: int) -> Ask:
    """Where a request stands then.  Raises NotApproved for what it does not hear any more, or not yet."""
    found = ANSWERS.get((state, said))
    if found is None:
        raise NotApproved(f"request {number} is {state.value}: there is nothing to {said.value}")
    return found


def deed(name: str) -> Deed:
    """A deed by its name.  Raises Misuse."""
    if name not in DEEDS:
        raise Misuse(f"no deed {name[:20]!r}; there are {', '.join(DEEDS)}")
    return DEEDS[name]


def check_duty(who: str, duties: Iterable[Duty], name: str) -> Deed:
    """The deed, for somebody with these duties.  Raises NotAllowed."""
    found, held = deed(name), set(duties)
    if held.isdisjoint(found.duties):
        those = " or ".join(one.value for one in found.duties)
        mine = ", ".join(sorted(one.value for one in held))
        raise NotAllowed(f"{who} is {mine}; to {found.meaning} is for {those}")
    return found


def allows(name: str, verb: Verb, kind: str) -> bool:
    """Whether a deed may carry out a verb on a key of this kind."""
    found = deed(name)
    return verb in found.verbs and (found.master or kind != "kek" or verb is not Verb.STAGE)


def quorum(people: Iterable[tuple[str, Iterable[Duty]]]) -> bool:
    """Whether there are two different people of whom one can ask and the other approve."""
    held = [(name, set(duties)) for name, duties in people]
    officers = {name for name, duties in held if Duty.OFFICER in duties}
    approvers = {name for name, duties in held if Duty.APPROVER in duties}
    return bool(officers and approvers) and len(officers | approvers) > 1
