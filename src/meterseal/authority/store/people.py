"""What people do with a store: prove who they are, ask for what takes two, approve it, and do it once.

Who is enrolled signs each deed with a private key that the store never has; what takes two is asked for by
one, approved by another, and done by the first, with exactly what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from meterseal.authority.store import roll, schema
from meterseal.authority.store.keystore import Act, KeyStore
from meterseal.authority.store.records import moment
from meterseal.authority.store.roll import Card, Person, Session
from meterseal.crypto import SigningKey
from meterseal.errors import Forged, Misuse, NotAllowed, NotApproved, StateDamaged
from meterseal.keys.people import DEEDS, HOLDS, WAITS, Ask, Duty, Say, answered, check_duty, quorum

_LONGEST_WHY: Final = 400


@dataclass(frozen=True, slots=True)
class Request:
    """Something that takes two: what, by whom, why, and where it stands."""

    number: int
    deed: str
    about: str
    state: Ask
    by: str
    why: str
    made: datetime
    until: datetime
    approved_by: str | None
    approved_why: str | None


class People:
    """The roll of a store, and its requests."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    # --- the roll ---------------------------------------------------------------------------------

    def enrolled(self) -> list[Person]:
        """Who is on the roll; nobody: the store is one operator's."""
        with self._store.reading() as connection:
            return [one for one in self._roll(connection) if one.enrolled]

    @property
    def two(self) -> bool:
        """Whether there are two who can ask and approve."""
        return quorum((one.name, one.duties) for one in self.enrolled())

    def enrol(
        self, card: Card, duties: frozenset[Duty], scope: frozenset[str] = frozenset(), why: str = ""
    ) -> None:
        """Put somebody on the roll; for good reason (`Duty.SERVICE` needs a scope).

        The first one is an officer; from then on it takes a session, and once there are two who can ask and
        approve, an approved request.  Raises Misuse, NotAllowed.
        """
        if not duties or (Duty.SERVICE in duties and (not scope or len(duties) > 1)):
            raise Misuse("a person has duties; a service has that one alone, and roles that it is limited to")
        with self._store.acting(why) as act:
            if not act.store.people and Duty.OFFICER not in duties:
                raise Misuse("the first person on the roll is an officer, who asks for the others")
            known = self._roll(act.connection)
            if any(one.name == card.name or one.key == card.key for one in known):
                raise Misuse(
                    f"the name {card.name!r}, or this key, has been on the roll: nobody else gets it"
                )
            row: dict[str, Any] = {
                "name": card.name, "duties": _words(one.value for one in duties), "scope": _words(scope),
                "curve": card.key.curve.name, "key": card.key.octets, "enrolled": True,
                "made": act.now, "changed": act.now,
            }  # fmt: skip
            seal = self._store.seal(*roll.sealed_parts(row))
            act.connection.execute(insert(schema.people).values(**row, seal=seal))
            self._note(act, row, act.store.people + 1)

    def remove(self, name: str, why: str) -> None:
        """Take somebody off the roll.  Raises Misuse where no two would be left who can ask and approve."""
        with self._store.acting(why) as act:
            rows = [row for row in roll.everybody(act.connection) if row.enrolled]
            known = self._roll(act.connection)
            left = [(one.name, one.duties) for one in known if one.enrolled and one.name != name]
            if len(left) == len(rows):
                raise Misuse(f"nobody on the roll is called {name[:64]!r}")
            if not quorum(left):
                raise Misuse(
                    f"without {name} no two would be left who can ask and approve: enrol another first"
                )
            (found,) = [row for row in rows if row.name == name]
            changed = {**found._asdict(), "enrolled": False, "changed": act.now}
            changed["seal"] = self._store.seal(*roll.sealed_parts(changed))
            act.connection.execute(update(schema.people).where(schema.people.c.name == name).values(changed))
            self._note(act, changed, act.store.people - 1)

    def _note(self, act: Act, row: Mapping[str, Any], number: int) -> None:
        act.only("person")
        act.changes |= {"people": number}
        told: dict[str, Any] = {name: row[name] for name in ("name", "duties", "scope", "curve", "enrolled")}
        act.note("person", **told, key=row["key"].hex().upper())
        act.after.append(lambda: setattr(self._store, "people", number))

    def _roll(self, connection: Connection) -> list[Person]:
        found = []
        for row in roll.everybody(connection):
            if not self._store.sealed(row.seal, *roll.sealed_parts(row._asdict())):
                raise StateDamaged(f"person {row.id} of the store is not as it was enrolled")
            found.append(roll.person_of(row))
        return found

    def holder(self, key: SigningKey) -> Person:
        """Whose key this is.  Raises NotAllowed for nobody's on the roll."""
        with self._store.reading() as connection:
            return self._person(connection, key)

    # --- who acts ---------------------------------------------------------------------------------

    def sign_on(
        self,
        key: SigningKey,
        deed: str,
        about: Mapping[str, Any] | None = None,
        request: int | None = None,
    ) -> Session:
        """Somebody proves by a signature who acts, for one deed; what is then done is in that name.

        `about`: what exactly is done.  What takes two needs the number of its `request`, which is used up by
        the first change that is kept.  Raises NotAllowed, NotApproved, and StateDamaged for a request that is
        not as it was signed.
        """
        with self._store.reading() as connection:
            person = self._person(connection, key)
            row = check_duty(person.name, person.duties, deed)
            entry, head = self._store.end(connection)
            alone = deed == "person" and not quorum(
                (one.name, one.duties) for one in self._roll(connection) if one.enrolled
            )
            asked = None
            if row.four_eyes and not alone:
                asked = self._approved(connection, person, deed, about or {}, request)
        told: dict[str, Any] = {
            "deed": deed, "entry": entry, "head": head.hex().upper(), "moment": self._store.now,
        }  # fmt: skip
        message = roll.statement("sign-on", self._store.name, by=person.name, **told)
        signature = key.sign(message)
        person.key.verify(signature, message)

        def begin(act: Act) -> None:
            act.note("sign-on", **told, signature=signature.hex().upper())
            if asked is not None:
                self._use(act, asked)

        session = Session(person, deed, None if asked is None else about)
        self._store.take_session(session, begin)
        return session

    def _person(self, connection: Connection, key: SigningKey) -> Person:
        public = key.public
        for one in self._roll(connection):
            if one.key == public and one.enrolled:
                return one
        raise NotAllowed("this key is of nobody on the roll of the store")

    # --- what takes two ---------------------------------------------------------------------------

    def ask(self, key: SigningKey, deed: str, about: Mapping[str, Any], why: str) -> int:
        """Ask for something that takes two; the number of the request.  Raises NotAllowed, Misuse."""
        with self._store.reading() as connection:
            person = self._person(connection, key)
        row = check_duty(person.name, person.duties, deed)
        if not row.four_eyes:
            raise Misuse(f"to {row.meaning} takes no second person")
        _check_why(why)
        self._as(person, "request")
        table = schema.requests
        with self._store.acting() as act:
            last = act.connection.execute(select(func.max(table.c.number))).scalar()
            number, until = (last or 0) + 1, act.now + int(WAITS.total_seconds())
            said = {
                "request": number, "epoch": act.store.epoch, "deed": deed, "about": roll.canonical(about),
                "by": person.name, "reason": why, "moment": act.now, "until": until,
            }  # fmt: skip
            signature = key.sign(roll.statement("request", self._store.name, **said))
            act.connection.execute(
                insert(table).values(
                    number=number, deed=deed, about=said["about"], state=Ask.ASKED.value, person=person.id,
                    why=why, made=act.now, until=until, epoch=act.store.epoch, signature=signature,
                )
            )  # fmt: skip
            act.note("request", **_unsaid(said), signature=signature.hex().upper())
        return int(number)

    def approve(self, key: SigningKey, number: int, why: str) -> Request:
        """Approve what another has asked for; as it stands then.

        Raises NotAllowed for no approver, or one's own; NotApproved for one that waits no longer.
        """
        return self._answer(key, number, why, Say.APPROVE)

    def refuse(self, key: SigningKey, number: int, why: str) -> Request:
        """Refuse what was asked for, or take it back.  Raises as `approve`."""
        return self._answer(key, number, why, Say.REFUSE)

    def requests(self, open_only: bool = True) -> list[Request]:
        """What was asked for, the oldest first; only what may still be done, or all."""
        states = [Ask.ASKED.value, Ask.APPROVED.value]
        with self._store.reading() as connection:
            names = {one.id: one.name for one in self._roll(connection)}
            query = select(schema.requests).order_by(schema.requests.c.number)
            rows = connection.execute(
                query.where(schema.requests.c.state.in_(states)) if open_only else query
            )
            found = [_request(row, names) for row in rows]
        return [one for one in found if not open_only or self._store.moment < one.until]

    def _answer(self, key: SigningKey, number: int, why: str, say: Say) -> Request:
        _check_why(why)
        with self._store.reading() as connection:
            person = self._person(connection, key)
        check_duty(person.name, person.duties, say.value)
        self._as(person, say.value)
        with self._store.acting() as act:
            row = self._row(act.connection, number)
            known = {one.id: one for one in self._roll(act.connection)}
            state = answered(Ask(row.state), say, number)
            values: dict[str, Any] = {"state": state.value}
            if say is Say.APPROVE:
                values |= self._approval(act, key, row, person, known[row.person], why)
            else:
                act.note("refuse", request=number, reason=why)
            act.connection.execute(
                update(schema.requests).where(schema.requests.c.number == number).values(values)
            )
            names = {one.id: one.name for one in known.values()}
            return _request(self._row(act.connection, number), names)

    def _approval(
        self, act: Act, key: SigningKey, row: Row[Any], person: Person, asked: Person, why: str
    ) -> dict[str, Any]:
        """The columns of an approval, with its entry."""
        self._check_asked(row, asked, act.store.epoch, act.now)
        if person.id == asked.id:
            raise NotAllowed(f"request {row.number} is {person.name}'s own: another person approves it")
        until = act.now + int(HOLDS.total_seconds())
        said = {
            "request": row.number, "epoch": act.store.epoch, "by": person.name, "reason": why,
            "moment": act.now, "until": until,
        }  # fmt: skip
        signed = roll.statement("approve", self._store.name, asked=row.signature.hex().upper(), **said)
        signature = key.sign(signed)
        act.note("approve", **_unsaid(said), signature=signature.hex().upper())
        return {
            "approver": person.id, "approved_why": why, "approved": act.now, "approved_until": until,
            "approved_signature": signature,
        }  # fmt: skip

    def _approved(
        self, connection: Connection, person: Person, deed: str, about: Mapping[str, Any], number: int | None
    ) -> int:
        """The number of the request, once all of it has been looked at."""
        if number is None:
            rule = DEEDS[deed]
            raise NotApproved(
                f"to {rule.meaning} takes two: `{rule.asked}` and another's `keys approve` come first"
            )
        row, epoch, now = self._row(connection, number), self._store.epoch(connection), self._store.now
        known = {one.id: one for one in self._roll(connection)}
        answered(Ask(row.state), Say.RUN, number)
        self._check_asked(row, known[row.person], epoch, now)
        if row.person != person.id:
            raise NotApproved(f"request {number} is another's: who asks for it does it")
        if row.deed != deed or row.about != roll.canonical(about):
            raise NotApproved(f"request {number} is about something else: {row.deed} {row.about[:200]}")
        approver = known[row.approver]
        said = {
            "request": number, "epoch": epoch, "by": approver.name, "reason": row.approved_why,
            "moment": row.approved, "until": row.approved_until,
        }  # fmt: skip
        signed = roll.statement("approve", self._store.name, asked=row.signature.hex().upper(), **said)
        _check_signed(approver, row.approved_signature, signed, number)
        if approver.id == person.id or Duty.APPROVER not in approver.duties or not approver.enrolled:
            raise NotApproved(f"request {number} was approved by somebody who may not, or no longer")
        if not row.approved <= now < row.approved_until:
            raise NotApproved(
                f"the approval of request {number} is stale: it held until {moment(row.approved_until)}"
            )
        return number

    def _check_asked(self, row: Row[Any], asked: Person, epoch: int, now: int) -> None:
        """That a request is as it was signed, of this life of the store, and not too old."""
        said = {
            "request": row.number, "epoch": row.epoch, "deed": row.deed, "about": row.about,
            "by": asked.name, "reason": row.why, "moment": row.made, "until": row.until,
        }  # fmt: skip
        _check_signed(asked, row.signature, roll.statement("request", self._store.name, **said), row.number)
        if row.epoch != epoch or not row.made <= now < row.until or not asked.enrolled:
            raise NotApproved(f"request {row.number} is stale: ask anew")

    def _use(self, act: Act, number: int) -> None:
        """A request is used up by what is done now, in the same transaction."""
        row = self._row(act.connection, number, lock=True)
        state = answered(Ask(row.state), Say.RUN, number)
        act.connection.execute(
            update(schema.requests).where(schema.requests.c.number == number).values(state=state.value)
        )
        names = {one.id: one.name for one in self._roll(act.connection)}
        act.note(
            "four-eyes", request=number, deed=row.deed, approved_by=names[row.approver], asked=row.made,
            asked_why=row.why, approved=row.approved, approved_why=row.approved_why,
        )  # fmt: skip

    def _as(self, person: Person, deed: str) -> None:
        """What a request or an answer signs is that itself."""
        self._store.take_session(Session(person, deed), lambda act: None)

    def _row(self, connection: Connection, number: int, lock: bool = False) -> Row[Any]:
        query = select(schema.requests).where(schema.requests.c.number == number)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotApproved(f"there is no request {number}")
        return row


def _words(words: Any) -> str:
    return " ".join(sorted(words))


def _unsaid(said: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry does not say by itself."""
    return {name: value for name, value in said.items() if name != "by"}


def _check_why(why: str) -> None:
    if not 1 <= len(why) <= _LONGEST_WHY:
        raise Misuse(f"say why, in {_LONGEST_WHY} characters at the most")


def _check_signed(person: Person, signature: bytes, message: bytes, number: int) -> None:
    try:
        person.key.verify(signature, message)
    except Forged:
        raise StateDamaged(f"request {number} is not as {person.name} signed it") from None


def _request(row: Row[Any], names: Mapping[int, str]) -> Request:
    until = row.until if row.approved_until is None else row.approved_until
    return Request(
        row.number, row.deed, row.about, Ask(row.state), names[row.person], row.why, moment(row.made),
        moment(until), None if row.approver is None else names[row.approver], row.approved_why,
    )  # fmt: skip
