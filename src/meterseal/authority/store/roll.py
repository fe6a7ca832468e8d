"""The roll: people of a store with their public keys, what they signed, and how that is looked at again.

A person is enrolled by a card: name and public key, signed by the private one, which stays with the person.
A row of the roll is sealed under the storage KEK, an entry of the journal has it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from meterseal.authority.store import schema
from meterseal.crypto import SigningKey, VerifyingKey, curve
from meterseal.errors import ConfigurationError, Forged, Malformed, MetersealError, StateDamaged
from meterseal.keys.kinds import Slot
from meterseal.keys.people import DEEDS, Deed, Duty

FORMAT: Final = "meterseal-person-1"
_LAST: Final = 4096
"""Entries of a journal whose hashes are at hand: somebody signs on shortly before the first change."""

LARGEST_CARD: Final = 4096
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Card:
    """What somebody is enrolled by."""

    name: str
    key: VerifyingKey


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody on the roll.  `scope`: roles of devices that it is limited to; empty: no limit."""

    id: int
    name: str
    duties: frozenset[Duty]
    scope: frozenset[str]
    key: VerifyingKey
    enrolled: bool


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has proved who it is, for one deed."""

    person: Person
    deed: str
    about: Mapping[str, Any] | None = None
    """What an approved request names: it reaches that far and no further.  None: no request."""

    @property
    def row(self) -> Deed:
        """The row of the deed."""
        return DEEDS[self.deed]

    def reaches(self, slot: Slot) -> bool:
        """Whether the secret of a slot may be opened for it."""
        within = not self.person.scope or slot.role in self.person.scope
        return self.row.opens and within and self.covers(slot)

    def covers(self, slot: Slot, number: int | None = None) -> bool:
        """Whether what was approved names this device and, where it names one, this key."""
        told = self.about or {}
        devices, key = told.get("devices"), told.get("key")
        there = devices is None or slot.device.hex().upper() in devices
        return there and (key is None or number is None or number == key)


def statement(what: str, store: str, **said: Any) -> bytes:
    """What is signed: JSON, keys in order."""
    return _canonical({"format": FORMAT, "what": what, "store": store, **said}).encode("ascii")


def make_card(name: str, key: SigningKey) -> bytes:
    """A card, for a file that everybody may read.  Raises ConfigurationError for a name that is none."""
    check_name(name)
    head = {
        "format": FORMAT,
        "name": name,
        "curve": key.public.curve.name,
        "key": key.public.octets.hex().upper(),
    }
    signed = key.sign(_canonical(head).encode("ascii"))
    return json.dumps({**head, "signature": signed.hex().upper()}, indent=1).encode("ascii") + b"\n"


def read_card(octets: bytes) -> Card:
    """The card of a file.  Raises Malformed, Forged for one that its own key has not signed."""
    try:
        whole = json.loads(octets) if len(octets) <= LARGEST_CARD else {}
        if set(whole) != {"format", "name", "curve", "key", "signature"} or whole["format"] != FORMAT:
            raise ValueError
        signature = bytes.fromhex(whole.pop("signature"))
        key = VerifyingKey(curve(whole["curve"]), bytes.fromhex(whole["key"]))
        check_name(whole["name"])
    except (ValueError, TypeError, AttributeError, RecursionError, MetersealError):
        raise Malformed(f"not a {FORMAT}") from None
    key.verify(signature, _canonical(whole).encode("ascii"))
    return Card(whole["name"], key)


def check_name(name: object) -> None:
    """Raises ConfigurationError for what is no name of a person."""
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= _LONGEST
        or not name.isascii()
        or not name.isprintable()
    ):
        raise ConfigurationError(f"a name has 1 to {_LONGEST} printable ASCII characters")


def _canonical(said: Mapping[str, Any]) -> str:
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def canonical(about: Mapping[str, Any]) -> str:
    """What a request is about, as it is signed and compared."""
    return _canonical(about)


# --- rows ---------------------------------------------------------------------------------------


def sealed_parts(row: Mapping[str, Any]) -> tuple[bytes, ...]:
    """What the seal of a row binds."""
    texts = (row["name"], row["duties"], row["scope"], row["curve"], str(int(row["enrolled"])))
    return (b"person", *(text.encode() for text in texts), row["key"])


def everybody(connection: Connection) -> list[Row[Any]]:
    """All rows of the roll, in the order in which they were enrolled."""
    return list(connection.execute(select(schema.people).order_by(schema.people.c.id)))


def person_of(row: Row[Any]) -> Person:
    """A row as a person; its seal has been looked at.  Raises StateDamaged."""
    try:
        duties = frozenset(Duty(word) for word in row.duties.split())
        key = VerifyingKey(curve(row.curve), row.key)
    except (ValueError, MetersealError):
        raise StateDamaged(f"person {row.id} of the store is none") from None
    return Person(row.id, row.name, duties, frozenset(row.scope.split()), key, row.enrolled)


# --- the journal, looked at again ---------------------------------------------------------------


class Audit:
    """Goes along the journal and holds every signature in it against the roll of that moment."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._heads: dict[int, str] = {}  # of the last entries
        self._keys: dict[str, VerifyingKey] = {}
        self._asked: dict[int, dict[str, Any]] = {}
        self._approved: dict[int, dict[str, Any]] = {}
        self.roll: dict[str, dict[str, Any]] = {}
        """Who is enrolled by now, by name: duties, scope and key."""

    def take(self, number: int, said: dict[str, Any], head: bytes) -> None:
        """An entry, whose place in the chain is verified.  Raises StateDamaged for one that nobody signed."""
        look = _LOOKS.get(str(said.get("verb")))
        try:
            if look is not None:
                look(self, said)
        except (Forged, KeyError, ValueError, TypeError):
            raise StateDamaged(f"journal: entry {number} is not signed by who it names") from None
        self._heads[number] = head.hex().upper()
        self._heads.pop(number - _LAST, None)

    def check(self, rows: Iterable[Row[Any]]) -> None:
        """The roll as the store has it.  Raises StateDamaged where the journal says something else."""
        held = {
            row.name: {"duties": row.duties, "scope": row.scope, "key": row.key.hex().upper()}
            for row in rows
            if row.enrolled
        }
        if held != self.roll:
            raise StateDamaged("the people of the store are not those that its journal has enrolled")

    def _verify(self, name: str, signature: str, message: bytes) -> None:
        self._keys[name].verify(bytes.fromhex(signature), message)

    def _person(self, said: dict[str, Any]) -> None:
        name = said["name"]
        if said["enrolled"]:
            self._keys[name] = VerifyingKey(curve(said["curve"]), bytes.fromhex(said["key"]))
            self.roll[name] = {"duties": said["duties"], "scope": said["scope"], "key": said["key"]}
        else:
            del self.roll[name]

    def _sign_on(self, said: dict[str, Any]) -> None:
        told = {name: said[name] for name in ("deed", "entry", "head", "moment")}
        if self._heads.get(said["entry"], said["head"]) != said["head"]:
            raise Forged("another journal's")
        self._verify(said["by"], said["signature"], statement("sign-on", self._store, by=said["by"], **told))

    def _ask(self, said: dict[str, Any]) -> None:
        told = {name: said[name] for name in ASKED}
        self._verify(said["by"], said["signature"], statement("request", self._store, **told))
        self._asked[said["request"]] = said

    def _approve(self, said: dict[str, Any]) -> None:
        asked = self._asked[said["request"]]
        told = {name: said[name] for name in APPROVED}
        signed = statement("approve", self._store, asked=asked["signature"], **told)
        self._verify(said["by"], said["signature"], signed)
        if said["by"] == asked["by"]:
            raise Forged("one's own")
        self._approved[said["request"]] = said

    def _run(self, said: dict[str, Any]) -> None:
        asked, approved = self._asked.pop(said["request"]), self._approved.pop(said["request"])
        if (said["by"], said["approved_by"], said["deed"]) != (asked["by"], approved["by"], asked["deed"]):
            raise Forged("another's")


ASKED: Final = ("request", "epoch", "deed", "about", "by", "reason", "moment", "until")
"""What a request says, as it is signed and in the journal."""

APPROVED: Final = ("request", "epoch", "by", "reason", "moment", "until")
"""What an approval says beside the signature of the request."""

_LOOKS: Final = {
    "person": Audit._person,
    "sign-on": Audit._sign_on,
    "request": Audit._ask,
    "approve": Audit._approve,
    "four-eyes": Audit._run,
}
