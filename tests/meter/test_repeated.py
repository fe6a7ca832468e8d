"""Reads that a meter has answered before: what changes in between counts at once, and nothing is left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from meterseal.association import ServerAssociation
from meterseal.codec.types import Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectEntry, encode_element
from meterseal.crypto import random_octets
from meterseal.errors import MetersealError
from meterseal.keys.counters import BLOCK
from meterseal.meter.delays import FIRST
from meterseal.meter.objects import READ_WRITE_DENIED, CosemObject, Denied
from meterseal.security import Style
from tests.meter.test_fleet import Street
from tests.meter.test_key_transfer import GAK, GUEK, octets, transfer, use
from tests.meter.test_objects import USERS
from tests.meter.test_session import REJECTED, wrong
from tests.meter.world import Client, World, read, world

REGISTER, POINT, CURRENT = "1.0.1.8.0.255", "0.0.96.1.10.255", "0.0.40.0.0.255"
USER = Structure((Tag.UNSIGNED, Tag.VISIBLE_STRING))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The answers that were given by the short road."""
    given: list[bytes] = []
    repeat = ServerAssociation.repeat

    def spied(machine: ServerAssociation, apdu: bytes) -> Any:
        answer = repeat(machine, apdu)
        if answer:
            given.append(answer)
        return answer

    monkeypatch.setattr(ServerAssociation, "repeat", spied)
    return given


def reading(
    here: World, role: str = "operator", name: str = REGISTER, class_id: int = 3, **how: Any
) -> Client:
    """A client whose next read of this attribute is a repetition."""
    client = here.signed_on(role, **how)
    client.get(class_id, name)
    return client


def held(here: World, class_id: int = 3, name: str = REGISTER) -> CosemObject:
    return here.meter.devices[1].objects[class_id, Obis(name)]


def test_a_written_value_is_what_is_read_next(short: list[bytes]) -> None:
    here = world()
    operator, installer = reading(here, name=POINT, class_id=1), here.signed_on("installer")
    for value in (bytes(32), b"the second of 32 octets, or less"):
        assert installer.set(1, POINT, 2, value, Tag.OCTET_STRING) == 0
        assert operator.get(1, POINT) == value
    assert len(short) == 2


def test_an_object_taken_out_of_the_view_is_gone_at_once(short: list[bytes]) -> None:
    here = world()
    operator, manager = reading(here), here.signed_on("manager")
    assert operator.get(3, REGISTER) > 0 and len(short) == 1
    entry = encode_element(ObjectEntry(3, 0, Obis(REGISTER), {}, {}), 3)
    assert manager.call(15, "0.0.40.0.2.255", 4, *entry) == 0
    assert operator.one(read(3, REGISTER)).code == 4
    assert operator.one(read(3, REGISTER)).code == 4
    weaker = encode_element(ObjectEntry(3, 0, Obis(REGISTER), {1: 1, 3: 1}, {}), 3)
    assert manager.call(15, "0.0.40.0.2.255", 3, *weaker) == 0
    assert operator.one(read(3, REGISTER)).code == READ_WRITE_DENIED
    assert len(short) == 1


def test_a_person_taken_off_the_list_reads_nothing_more(short: list[bytes], tmp_path: Path) -> None:
    here = world(USERS, tmp=tmp_path)
    operator, manager = reading(here, user=7), here.signed_on("manager")
    assert operator.get(3, REGISTER) > 0 and len(short) == 1
    assert manager.call(15, "0.0.40.0.2.255", 6, (7, "all"), USER) == 0
    assert operator.one(read(3, REGISTER)).code == 4
    assert len(short) == 1


@pytest.mark.parametrize("key_id", [GUEK, GAK])
def test_new_keys_count_from_the_next_request(short: list[bytes], key_id: int) -> None:
    here = world()
    operator, manager = reading(here), here.signed_on("manager")
    new, old = random_octets(16), octets(here, "operator", "gak")
    start = here.keys["operator"].tx._next
    assert transfer(manager, {key_id: new}) == 0
    with pytest.raises(MetersealError):
        operator.get(3, REGISTER)
    guek = octets(here, "operator", "guek")
    use(operator, *((new, old) if key_id == GUEK else (guek, new)), start + 1)
    assert operator.get(3, REGISTER) > 0 and not short
    assert operator.get(3, REGISTER) > 0 and len(short) == 1


def test_whatever_is_set_in_a_setup_is_noted() -> None:
    here = world()
    setup = here.meter.rings[2].setup
    for name in (
        "suite",
        "own_title",
        "peer_title",
        "policy",
        "unicast",
        "broadcast",
        "signing",
        "directory",
    ):
        before = setup.changes.number
        setattr(setup, name, getattr(setup, name))
        assert setup.changes.number > before


def test_a_new_sign_on_in_its_place_ends_the_first(short: list[bytes], tmp_path: Path) -> None:
    here = world("[roles.operator]\nsingle = true\n", tmp=tmp_path)
    operator = reading(here)
    here.signed_on("operator", here.line("192.0.2.2"))
    with pytest.raises(MetersealError):
        operator.get(3, REGISTER)
    assert not short


def test_a_read_that_fails_is_a_line_each_time(
    short: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = world()
    operator = reading(here)

    def refuse(asker: Any) -> Any:
        raise Denied(READ_WRITE_DENIED, "the sensor is silent")

    monkeypatch.setitem(held(here).readers, 2, refuse)
    with caplog.at_level(logging.INFO, logger="meterseal.meter"):
        for _ in range(3):
            assert operator.one(read(3, REGISTER)).code == READ_WRITE_DENIED
    assert sum("the sensor is silent" in line for line in caplog.messages) == 3
    assert not short


def test_what_waits_for_the_answer_comes_after_it(
    short: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world()
    operator = reading(here)
    sent: list[tuple[bool, int]] = []
    kept = held(here).readers[2]

    def telling(asker: Any) -> Any:
        asker.after.append(lambda answered: sent.append((answered, len(operator.line.arrived))))
        return kept(asker)

    monkeypatch.setitem(held(here).readers, 2, telling)
    for _ in range(2):
        operator.get(3, REGISTER)
    assert sent == [(True, 1)] * 2 and len(short) == 2


def test_reads_behind_a_refusal_that_waits_keep_their_place(short: list[bytes]) -> None:
    here = world()
    operator = reading(here)
    request = bytes.fromhex("C001C100030100010800FF0200")
    operator.line.put(wrong(here, operator.line), operator.sap)
    operator.line.put(operator.sealed(request), operator.sap)
    assert operator.line.answers() == []
    here.timer.advance(FIRST)
    refusal, answer = operator.line.answers()
    assert refusal == REJECTED and operator.opened(answer).startswith(b"\xc4\1\xc1\0")
    assert not short
    assert operator.get(3, REGISTER) > 0 and len(short) == 1


def test_reads_that_fail_or_are_long_are_done_once(
    short: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world()
    operator = reading(here)
    done: list[int] = []
    kept = held(here).readers[2]

    def counted(asker: Any) -> Any:
        done.append(len(done))
        if len(done) % 2:
            raise Denied(READ_WRITE_DENIED, "the sensor is silent")
        return kept(asker)

    operator.get(3, REGISTER)
    monkeypatch.setitem(held(here).readers, 2, counted)
    assert operator.get(3, REGISTER) > 0 and done == [0, 1], "what failed is asked for once more"
    assert operator.one(read(3, REGISTER)).code == 0 and len(short) == 1

    def long(asker: Any) -> Any:
        done.append(len(done))
        return bytes(70_000), Tag.OCTET_STRING

    monkeypatch.setitem(held(here).readers, 2, long)
    for _ in range(2):
        del done[:]
        operator.get(3, REGISTER)
    assert len(done) == 1


def test_counters_are_reserved_block_by_block_and_none_comes_twice(short: list[bytes]) -> None:
    here = world()
    operator = reading(here)
    before = here.meter.rings[2].setup.unicast
    assert before is not None
    request = bytes.fromhex("C001C100030100010800FF0200")
    seen = set()
    for _ in range(BLOCK + 50):
        seen.add(operator.line.ask(operator.sealed(request), operator.sap)[3:7])
    assert len(seen) == BLOCK + 50
    assert BLOCK + 40 < len(short) < BLOCK + 50
    assert before.rx.lowest == here.keys["operator"].tx._next


def test_a_link_that_ends_takes_with_it_what_was_remembered(short: list[bytes]) -> None:
    here = world()
    operator = reading(here)
    operator.line.handler.parted(operator.sap, 1, None)
    with pytest.raises(MetersealError):
        operator.get(3, REGISTER)
    assert not short


def test_a_link_to_one_of_many_meters_ends_for_that_one(short: list[bytes], tmp_path: Path) -> None:
    street = Street(tmp_path, 2)
    line = street.line()
    first, second = (street.house(number).client("operator", line) for number in (1, 2))
    for client in (second, first) * 3:
        client.get(1, "0.0.96.1.0.255")
    assert len(short) == 4
    line.handler.parted(first.sap, first.server, None)
    with pytest.raises(MetersealError):
        first.get(1, "0.0.96.1.0.255")
    second.get(1, "0.0.96.1.0.255")
    assert len(short) == 5
    street.fleet.close()


def test_many_meters_on_one_connection_each_answer_for_themselves(short: list[bytes], tmp_path: Path) -> None:
    street = Street(tmp_path, 3)
    line = street.line()
    clients = [street.house(number).client("operator", line) for number in (1, 2, 3)]
    titles = [{client.get(1, "0.0.96.1.0.255") for _ in range(3)} for client in clients]
    assert len(short) == 6
    assert all(len(one) == 1 for one in titles) and len(set.union(*titles)) == 3
    for _ in range(2):  # each in its turn
        assert {client.get(1, "0.0.96.1.0.255") for client in clients} == set.union(*titles)
    assert len(short) == 12
    general = clients[1]
    plain = bytes.fromhex("C001C100010000600100FF0200")
    assert general.plain(plain, style=Style.GENERAL_GLO)[:2] == b"\xc4\x01"
    street.fleet.close()
