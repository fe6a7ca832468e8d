"""The register as a rule book: any order of deeds, against a plain model, and played again from records."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meterseal.authority import register as records
from meterseal.authority.register import LIFE, Register, State, Verb
from meterseal.cosem.texts import moment_text
from meterseal.crypto import PublicKey, SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity, title_name
from meterseal.crypto.revocation import FOR_GOOD, Reason
from meterseal.errors import CertificateRefused
from tests.authority.house import DAY, START, title

P256 = curve("P-256")
VALIDITY = Validity(START, START + 100 * DAY)
AUTHORITY = Authority.root(SigningKey.generate(P256), "Root", VALIDITY)
KEYS = [SigningKey.generate(P256).public for _ in range(4)]
TITLES = [title(number) for number in range(3)]
PURPOSES = [Purpose.SIGNATURE, Purpose.TLS]


class World:
    """A register with its records, and the same as plainly as possible."""

    def __init__(self) -> None:
        self.records: list[records.Record] = []
        self.register = Register()
        self.keep(records.founded(AUTHORITY.certificate, []))
        self.model: list[dict[str, Any]] = []

    def keep(self, record: records.Record) -> None:
        self.records.append({**record, "at": moment_text(START), "by": "b", "why": "w"})
        self.register.apply(self.records[-1])

    def certified(self, key: PublicKey, for_title: bytes, purpose: Purpose) -> Certificate:
        made = AUTHORITY.issue(key, for_title, purpose, VALIDITY)
        self.model.append(
            {"serial": made.serial, "key": key, "party": (for_title, purpose), "state": State.VALID}
        )
        return made

    def issue(self, key: PublicKey, for_title: bytes, purpose: Purpose) -> None:
        used = any(row["key"] == key for row in self.model)
        holds = any(
            row["party"] == (for_title, purpose) and row["state"] is State.VALID for row in self.model
        )
        party = title_name(for_title).rfc4514_string(), purpose
        try:
            self.register.check_issue(key, party, START)
        except CertificateRefused:
            assert used or holds
            return
        assert not used and not holds
        self.keep(records.issued(self.certified(key, for_title, purpose)))

    def renew(self, at: int, key: PublicKey, same: bool) -> None:
        if not self.model:
            return
        row = self.model[at % len(self.model)]
        key = row["key"] if same else key
        lost = any(one["key"] == key and one.get("reason") is Reason.KEY_COMPROMISE for one in self.model)
        used = any(one["key"] == key for one in self.model)
        allowed = row["state"] is State.VALID and not (lost if same else used)
        try:
            self.register.check_renew(row["serial"], key, same)
        except CertificateRefused:
            assert not allowed
            return
        assert allowed
        row["state"] = State.REPLACED
        self.keep(records.issued(self.certified(key, *row["party"]), row["serial"]))

    def revoke(self, at: int, reason: Reason) -> None:
        if not self.model:
            return
        row = self.model[at % len(self.model)]
        try:
            self.register.check_revoke(row["serial"])
        except CertificateRefused:
            assert row["state"] is State.REVOKED
            return
        assert row["state"] is not State.REVOKED
        row["state"], row["reason"] = State.REVOKED, reason
        self.keep(records.revoked(row["serial"], reason))


DEEDS = st.one_of(
    st.tuples(st.just("issue"), st.sampled_from(KEYS), st.sampled_from(TITLES), st.sampled_from(PURPOSES)),
    st.tuples(st.just("renew"), st.integers(0, 9), st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("revoke"), st.integers(0, 9), st.sampled_from(FOR_GOOD)),
)


@given(st.lists(DEEDS, max_size=12))
def test_D10_any_order_of_deeds(deeds: list[tuple[Any, ...]]) -> None:
    world = World()
    for name, *arguments in deeds:
        getattr(world, name)(*arguments)
    for register in (world.register, Register(world.records)):
        assert [(one.serial, one.state) for one in register] == [
            (row["serial"], row["state"]) for row in world.model
        ]
        assert {one.serial for one in register.revocations()} == {
            row["serial"] for row in world.model if row["state"] is State.REVOKED
        }
        holders = [row["party"] for row in world.model if row["state"] is State.VALID]
        assert len(holders) == len(set(holders))  # one valid certificate of a party and purpose
        # A key in two certificates is of one line of renewals.
        for one in register:
            twins = [other for other in register if other.key == one.key]
            assert {twin.party for twin in twins} == {one.party}
    assert list(Register(world.records)) == list(world.register)


def test_the_table_of_a_life() -> None:
    assert {verb for state, verb in LIFE if state is State.REVOKED} == set()
    assert all((state, Verb.REVOKE) in LIFE for state in State if state is not State.REVOKED)
