"""Sign-ons at many meters wait for the disk together, and nothing is told before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meterseal.association import Associated
from meterseal.crypto import random_octets
from meterseal.errors import Refused, StateUnavailable
from meterseal.meter import load_plan
from meterseal.meter.together import Together
from tests.meter.test_fleet import REGISTER, Street
from tests.meter.world import Client, Line, Timer, talk

NOT_POSSIBLE = bytes.fromhex("D80101")


class Disk:
    """The log behind the journal of a street: counts writes, or takes nothing."""

    def __init__(self, street: Street, patch: pytest.MonkeyPatch) -> None:
        self.writes, self.full = 0, False
        log = street.fleet._ledger.journal._log
        commit = log.commit

        def counted(texts: list[bytes]) -> None:
            if self.full:
                raise StateUnavailable("No space left on device")
            self.writes += bool(texts)
            commit(texts)

        patch.setattr(log, "commit", counted)


class Slow(Line):
    """A line whose frames lie there until the meters have their turn."""

    def put(self, apdu: bytes, client: int, server: int = 1) -> None:
        self.handler.received(client, server, apdu)


class Caller:
    """One sign-on, step by step."""

    def __init__(self, street: Street, number: int, role: str = "operator") -> None:
        self.line = Slow(street, "192.0.2.1")  # type: ignore[arg-type]
        house = street.house(number)
        self.client = Client(house, role, self.line, server=street.fleet.address(number))
        machine = self.client.machine
        first = machine.associate(random_octets(machine.profile.scheme.drawn))
        self.steps, self.found = talk(machine, first), list[Any]()
        self.out: bytes | None = next(self.steps)

    def put(self) -> None:
        assert self.out is not None
        self.line.put(self.out, self.client.sap, self.client.server)

    def take(self) -> None:
        try:
            (answer,) = self.line.answers()
            self.out = self.steps.send(answer)
        except StopIteration as done:
            self.out, self.found = None, done.value

    @property
    def signed_on(self) -> bool:
        return any(isinstance(effect, Associated) for effect in self.found)


def both_passes(street: Street, callers: list[Caller]) -> None:
    for proof in (False, True):
        for caller in callers:
            caller.put()
        told = any(caller.line.arrived for caller in callers)
        assert not (proof and told), "before it is on disk nobody is told"
        street.timer.advance(0)
        for caller in callers:
            caller.take()


def test_sign_ons_at_many_meters_take_two_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(tmp_path / "state", 8)
    callers = [Caller(street, number) for number in range(1, 9)]
    disk = Disk(street, monkeypatch)
    both_passes(street, callers)
    assert all(caller.signed_on for caller in callers)
    assert disk.writes == 2, "one for the counters of all, one for what was received"
    street.fleet.close()
    street.start()
    later = [Caller(street, number) for number in range(1, 9)]
    both_passes(street, later)
    assert all(caller.signed_on for caller in later), "nothing that was sent is sent again"


def test_the_counters_of_one_key_are_shared_out_to_all_who_wait(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 1)
    callers = [Caller(street, 1) for _ in range(3)]
    both_passes(street, callers)
    assert all(caller.signed_on for caller in callers)
    values = [caller.client.get(3, REGISTER) for caller in callers]
    assert len(set(values)) == 1


def test_a_block_that_somebody_took_at_once_meanwhile_comes_first(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 1)
    caller = Caller(street, 1)
    caller.put()
    meter = street.fleet.party(1).meter
    key = meter.rings[2].setup.unicast
    assert key is not None
    meter.store.reserve(key, 1)  # as a push does
    taken = key.tx.take()
    street.timer.advance(0)
    assert key.tx.take() == taken + 2, "the AARE took the one between"
    caller.take()
    both_passes(street, [Caller(street, 1)])


@pytest.mark.parametrize("at", [0, 1])
def test_with_a_full_disk_no_association_opens_and_no_counter_is_used(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    street = Street(tmp_path / "state", 2)
    callers = [Caller(street, number) for number in (1, 2)]
    disk = Disk(street, monkeypatch)
    for step in range(at + 1):
        disk.full = step == at
        for caller in callers:
            caller.put()
        street.timer.advance(0)
        if not disk.full:
            for caller in callers:
                caller.take()
    answers = [caller.line.answers() for caller in callers]
    assert answers == [[NOT_POSSIBLE]] * 2
    for number in (1, 2):
        key = street.fleet.party(number).meter.rings[2].setup.unicast
        assert key is not None and (key.tx.left == 0 or at)
        states = [live.machine.state.name for _, live in street.fleet.party(number).live()]
        assert states == ["IDLE"]
    disk.full = False
    again = [Caller(street, number) for number in (1, 2)]
    both_passes(street, again)
    assert all(caller.signed_on for caller in again)


def test_who_hangs_up_meanwhile_gets_nothing_and_disturbs_nobody(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 2)
    gone, stays = Caller(street, 1), Caller(street, 2)
    for caller in (gone, stays):
        caller.put()
    gone.line.close()
    street.timer.advance(0)
    assert gone.line.answers() == []
    stays.take()
    gone, stays = Caller(street, 1), stays
    gone.put()
    street.timer.advance(0)
    gone.take()
    for caller in (gone, stays):
        caller.put()
    gone.line.close()
    street.timer.advance(0)
    stays.take()
    assert stays.signed_on and gone.line.answers() == []
    assert street.fleet.party(1).live() == []


def test_frames_that_come_meanwhile_are_answered_behind(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 1)
    caller = Caller(street, 1)
    get = bytes.fromhex("C001C100080000010000FF0200")
    caller.put()
    caller.line.put(get, caller.client.sap, caller.client.server)
    assert not caller.line.arrived
    street.timer.advance(0)
    assert [octets[0] for octets in caller.line.answers()] == [0x61]
    street.timer.advance(1)  # no proof came, and that answer waits as always
    assert caller.line.answers() == [NOT_POSSIBLE]


def test_single_of_two_who_prove_themselves_at_once_the_later_one_stays(tmp_path: Path) -> None:
    config = tmp_path / "meter.toml"
    config.write_text("[roles.operator]\nsingle = true\n")
    street = Street(tmp_path / "state", 1, load_plan("suite0", config))
    old = Caller(street, 1)
    both_passes(street, [old])
    callers = [Caller(street, 1), Caller(street, 1)]
    both_passes(street, callers)
    assert all(caller.signed_on for caller in callers)
    for replaced in (old, callers[0]):
        with pytest.raises(Refused):
            replaced.client.get(3, REGISTER)
    assert callers[1].client.get(3, REGISTER) > 0


def test_a_fleet_that_ends_meanwhile_tells_nobody(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 1)
    caller = Caller(street, 1)
    caller.put()
    street.fleet.close()
    street.timer.advance(1)
    assert caller.line.answers() == []


def test_each_write_serves_all_who_asked_before_it() -> None:
    timer, told, writes = Timer(), list[Any](), list[int]()

    def sync() -> None:
        writes.append(len(told))
        if len(writes) == 2:
            raise StateUnavailable("full")

    together = Together(timer, sync)

    def first(error: StateUnavailable | None) -> None:
        told.append(error)
        together.wait(told.append)  # asks while the write is going on: the next one

    together.wait(first)
    together.wait(told.append)
    timer.advance(0)
    assert writes == [0, 2] and told[:2] == [None, None] and isinstance(told[2], StateUnavailable)
    together.wait(told.append)
    together.close()
    timer.advance(1)
    assert len(told) == 3 and timer.pending == 0
