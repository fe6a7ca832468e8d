"""What an authority remembers of every certificate it issued: entries, their states, and what may come next.

Pure: the register is what its records make of it, in their order.  A record is JSON:

| record        | holds                                                                       |
|---------------|-----------------------------------------------------------------------------|
| `authority`   | the authority's own certificate and those above it; the first, and once     |
| `certificate` | one that was issued; `replaces` where it renews another                     |
| `revoked`     | a serial number, with its reason                                            |
| `list`        | the number of a revocation list, and when the next one is due               |
| `token`       | the digest of a one-time token, whose it is and until when                  |

Each has `at`, `by` and `why`.  Certificates stand in it whole: none is lost that has left the process.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple, NoReturn

from meterseal.authority.tokens import Tokens
from meterseal.cosem.texts import moment_text
from meterseal.crypto import PublicKey
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import title_name
from meterseal.crypto.revocation import Reason, Revocation
from meterseal.errors import CertificateRefused, ConfigurationError, Misuse, NotAllowed, StateDamaged

FORMAT: Final = 1
"""Of the records.  What this version cannot read it does not touch."""

Record = dict[str, Any]


class State(Enum):
    """What an authority holds of a certificate of its own; that its dates have passed is another thing."""

    VALID = "valid"
    REPLACED = "replaced"
    REVOKED = "revoked"


class Verb(Enum):
    """What may be done with an issued certificate."""

    RENEW = "renew"
    REVOKE = "revoke"


LIFE: Final[dict[tuple[State, Verb], State]] = {
    (State.VALID, Verb.RENEW): State.REPLACED,
    (State.VALID, Verb.REVOKE): State.REVOKED,
    (State.REPLACED, Verb.REVOKE): State.REVOKED,
}
"""What follows; what has no row is refused.  A replaced one holds until it ends or is revoked."""


class Event(NamedTuple):
    """One line of a certificate's history."""

    at: datetime
    what: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One issued certificate."""

    serial: bytes
    subject: str
    title: bytes | None
    purpose: Purpose
    curve: str
    key: bytes
    begin: datetime
    end: datetime
    der: bytes
    replaces: bytes | None = None
    state: State = State.VALID
    replaced_by: bytes | None = None
    revocation: Revocation | None = None
    history: tuple[Event, ...] = ()

    @property
    def certificate(self) -> Certificate:
        """Read anew."""
        return Certificate(self.der)

    @property
    def party(self) -> tuple[str, Purpose]:
        """Who it is for, and what for: one certificate of it is valid at a time."""
        return self.subject, self.purpose

    @property
    def name(self) -> str:
        """For texts: title or subject, purpose, serial number."""
        who = self.subject if self.title is None else self.title.hex().upper()
        return f"{who} {self.purpose.name.lower()}, serial {self.serial.hex().upper()}"


# --- records ------------------------------------------------------------------------------------


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a moment without a time zone, {text}")
    return moment


def _packed(der: bytes) -> str:
    return b64encode(der).decode("ascii")


def founded(
    authority: Certificate, above: Iterable[Certificate], tokens: bool = False, roll: str | None = None
) -> Record:
    """The first record: who this authority is, and whether it certifies against tokens only; `roll`: the name
    of the store whose people act for it."""
    chain = [_packed(one.der) for one in above]
    made: Record = {"record": "authority", "format": FORMAT, "der": _packed(authority.der), "above": chain}
    return made | ({"tokens": True} if tokens else {}) | ({} if roll is None else {"roll": roll})


def issued(certificate: Certificate, replaces: bytes | None = None, token: str | None = None) -> Record:
    """A certificate that leaves, with the digest of the token that was given for it."""
    redeemed = {} if token is None else {"token": token}
    return redeemed | {
        "record": "certificate",
        "serial": certificate.serial.hex(),
        "subject": certificate.subject_text,
        "title": None if certificate.title is None else certificate.title.hex(),
        "purpose": certificate.purpose.name,
        "curve": certificate.key.curve.name,
        "key": certificate.key.octets.hex(),
        "begin": moment_text(certificate.not_before),
        "end": moment_text(certificate.not_after),
        "der": _packed(certificate.der),
        "replaces": None if replaces is None else replaces.hex(),
    }


def revoked(serial: bytes, reason: Reason) -> Record:
    """A certificate that holds no more."""
    return {"record": "revoked", "serial": serial.hex(), "reason": reason.value}


def promised(digest: str, title: bytes, until: datetime) -> Record:
    """A one-time token that leaves: its digest, for whom, and how long it may be redeemed."""
    return {"record": "token", "digest": digest, "title": title.hex(), "until": moment_text(until)}


def listed(number: int, following: datetime) -> Record:
    """A revocation list that leaves."""
    return {"record": "list", "number": number, "next": moment_text(following)}


# --- the register -------------------------------------------------------------------------------


def _refuse(why: str) -> NoReturn:
    raise CertificateRefused(why)


class Register:
    """All that an authority has issued, in order, and the rules of what may come next."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Raises StateDamaged for records that make no register, ConfigurationError for a newer format."""
        self.authority: Certificate | None = None
        self.above: tuple[Certificate, ...] = ()
        self.list_number = 0
        self.list_at: datetime | None = None
        self.list_next: datetime | None = None
        self.tokens = Tokens()
        self.roll: str | None = None
        self._entries: dict[bytes, Entry] = {}
        self._keys: dict[tuple[str, bytes], bytes] = {}
        self._parties: dict[tuple[str, Purpose], bytes] = {}
        for number, record in enumerate(records, 1):
            try:
                self.apply(record)
            except (KeyError, ValueError, TypeError, AttributeError, CertificateRefused) as error:
                raise StateDamaged(
                    f"record {number} of the authority's index makes no sense ({error}): bring back a copy"
                ) from None

    def apply(self, record: Record) -> None:
        """Take one record in."""
        kind = record["record"]
        if (self.authority is None) is not (kind == "authority"):
            raise ValueError("the record of the authority itself is the first, and comes once")
        event = Event(_moment(record["at"]), kind, str(record["by"]), str(record["why"]))
        _APPLY[kind](self, record, event)

    def _found(self, record: Record, event: Event) -> None:
        if record["format"] != FORMAT:
            raise ConfigurationError(
                f"the authority's index has format {record['format']!r:.20}, this version reads {FORMAT}"
            )
        self.authority = Certificate(b64decode(record["der"], validate=True))
        self.above = tuple(Certificate(b64decode(one, validate=True)) for one in record["above"])
        self.tokens.needed = bool(record.get("tokens", False))
        self.roll = None if record.get("roll") is None else str(record["roll"])

    def _issue(self, record: Record, event: Event) -> None:
        title, replaces = record["title"], record["replaces"]
        entry = Entry(
            serial=bytes.fromhex(record["serial"]),
            subject=str(record["subject"]),
            title=None if title is None else bytes.fromhex(title),
            purpose=Purpose[record["purpose"]],
            curve=str(record["curve"]),
            key=bytes.fromhex(record["key"]),
            begin=_moment(record["begin"]),
            end=_moment(record["end"]),
            der=b64decode(record["der"], validate=True),
            replaces=None if replaces is None else bytes.fromhex(replaces),
            history=(event._replace(what="issued"),),
        )
        if entry.serial in self._entries:
            raise ValueError("a serial number that was given before")
        if entry.replaces is not None:
            self._move(entry.replaces, Verb.RENEW, event, replaced_by=entry.serial)
        if "token" in record:
            self.tokens.redeem(record["token"], entry.purpose)
        self._entries[entry.serial] = entry
        self._keys[entry.curve, entry.key] = entry.serial
        self._parties[entry.party] = entry.serial

    def _revoke(self, record: Record, event: Event) -> None:
        serial = bytes.fromhex(record["serial"])
        revocation = Revocation(serial, event.at, Reason(record["reason"]))
        self._move(serial, Verb.REVOKE, event, revocation=revocation)

    def _promise(self, record: Record, event: Event) -> None:
        self.tokens.promise(record["digest"], bytes.fromhex(record["title"]), _moment(record["until"]))

    def _list(self, record: Record, event: Event) -> None:
        number = record["number"]
        if type(number) is not int or number <= self.list_number:
            raise ValueError("a number of a revocation list that was given before")
        self.list_number, self.list_at, self.list_next = number, event.at, _moment(record["next"])

    def _move(self, serial: bytes, verb: Verb, event: Event, **changes: Any) -> None:
        entry = self._entries[serial]
        state = LIFE[entry.state, verb]
        history = (*entry.history, event._replace(what=state.value))
        self._entries[serial] = replace(entry, state=state, history=history, **changes)

    # --- looking ----------------------------------------------------------------------------

    @property
    def certificate(self) -> Certificate:
        """The authority's own.  Raises Misuse before the first record."""
        if self.authority is None:
            raise Misuse("a register without its authority")
        return self.authority

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, serial: bytes) -> bool:
        return serial in self._entries

    def find(self, serial: bytes) -> Entry:
        """The certificate of a serial number.  Raises ConfigurationError for one that is not from here."""
        entry = self._entries.get(serial)
        if entry is None:
            raise ConfigurationError(f"no certificate of serial number {serial.hex().upper()} is from here")
        return entry

    def of_key(self, key: PublicKey) -> Entry | None:
        """The latest certificate of a key."""
        serial = self._keys.get((key.curve.name, key.octets))
        return None if serial is None else self._entries[serial]

    def of_party(self, title: bytes, purpose: Purpose) -> Entry | None:
        """The latest certificate of a device for a purpose, in whatever state."""
        serial = self._parties.get((title_name(title).rfc4514_string(), purpose))
        return None if serial is None else self._entries[serial]

    def revocations(self) -> list[Revocation]:
        """Everything that a revocation list has to say."""
        return [entry.revocation for entry in self if entry.revocation is not None]

    def ending(self, until: datetime) -> list[Entry]:
        """What is valid, not replaced, and ends up to `until` or has ended: soonest first."""
        found = [entry for entry in self if entry.state is State.VALID and entry.end <= until]
        return sorted(found, key=lambda entry: entry.end)

    # --- rules ------------------------------------------------------------------------------

    def check_roll(self, roll: str | None) -> None:
        """Raises NotAllowed for an authority of people of a store, where nobody of its roll acts."""
        if self.roll is not None and self.roll != roll:
            raise NotAllowed(
                f"{self.certificate.subject_text} acts for people on the roll of store {self.roll[:8]}: "
                "say --store, and who you are (`pki --as KEY`)"
            )

    def check_issue(self, key: PublicKey, party: tuple[str, Purpose], now: datetime) -> None:
        """Raises CertificateRefused: a key that has been certified, or a party that holds a certificate."""
        self._check_new_key(key)
        serial = self._parties.get(party)
        if serial is not None:
            there = self._entries[serial]
            if there.state is State.VALID and now <= there.end:
                _refuse(f"there is one already, {there.name}: renew or revoke it")

    def check_renew(self, serial: bytes, key: PublicKey, same: bool) -> Entry:
        """The entry to be renewed with `key`; `same`: it has to be the key that it has, else a new one.

        Raises CertificateRefused, ConfigurationError.
        """
        entry = self._check_life(serial, Verb.RENEW)
        if entry.purpose is Purpose.AUTHORITY:
            _refuse("an authority is not renewed: a new one is put beside it (pki sub)")
        if not same:
            self._check_new_key(key)
        elif (key.curve.name, key.octets) != (entry.curve, entry.key):
            _refuse("the request holds another key than the certificate, and the same one was asked for")
        elif any(one.key == key.octets and _compromised(one) for one in self):
            _refuse("the key of a certificate that was revoked as compromised is not certified again")
        return entry

    def check_revoke(self, serial: bytes) -> Entry:
        """The entry to be revoked.  Raises CertificateRefused, ConfigurationError."""
        return self._check_life(serial, Verb.REVOKE)

    def _check_life(self, serial: bytes, verb: Verb) -> Entry:
        entry = self.find(serial)
        if (entry.state, verb) not in LIFE:
            last = entry.history[-1]
            _refuse(f"{entry.name} is {entry.state.value} since {moment_text(last.at)}")
        return entry

    def _check_new_key(self, key: PublicKey) -> None:
        """One key pair is for one purpose of one party (D10)."""
        for authority in (self.authority, *self.above):
            if authority is not None and authority.key.octets == key.octets:
                _refuse(f"the key of an authority, {authority.subject_text}")
        serial = self._keys.get((key.curve.name, key.octets))
        if serial is not None:
            _refuse(f"this key was certified before, for {self._entries[serial].name}")


_APPLY: Final = {
    "authority": Register._found,
    "certificate": Register._issue,
    "revoked": Register._revoke,
    "list": Register._list,
    "token": Register._promise,
}
"""Record -> what it does to the register."""


def _compromised(entry: Entry) -> bool:
    return entry.revocation is not None and entry.revocation.reason is Reason.KEY_COMPROMISE
