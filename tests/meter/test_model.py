"""The preset meter seen by its roles: what each reads, several associations at once, what survives."""

from __future__ import annotations

from pathlib import Path

from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from tests.meter.world import read, world

REGISTER = "1.0.1.8.0.255"


def test_three_roles_at_once_on_one_line_see_what_is_theirs() -> None:
    here = world()
    line = here.line()
    public, operator, installer = (here.signed_on(role, line) for role in ("public", "operator", "installer"))
    assert operator.get(3, REGISTER) > 0
    assert installer.one(read(3, REGISTER)).code == 4
    assert public.one(read(3, REGISTER)).code == 4
    assert public.get(1, "0.0.43.1.2.255") == here.key("operator").tx._next  # type: ignore[union-attr]
    assert installer.get(1, "0.0.42.0.0.255") == operator.get(1, "0.0.42.0.0.255")
    assert operator.set(8, "0.0.1.0.0.255", 2, bytes(12), Tag.OCTET_STRING) == 3


def test_every_role_reads_the_objects_of_its_list_and_nothing_is_in_the_list_twice() -> None:
    here = world()
    for role in ("public", "operator", "installer", "manager"):
        for server in (1, 17):
            client = here.signed_on(role, server=server)
            listed = client.get(15, "0.0.40.0.0.255")
            names = [(class_id, name) for class_id, _, name, _ in listed]
            assert len(set(names)) == len(names) and (15, Obis("0.0.40.0.0.255")) in names
            for class_id, name in names:
                assert client.one(read(class_id, str(Obis(name)), 1)).data == b"\x09\x06" + name


def test_a_second_logical_device_has_its_own_association_and_shares_the_keys() -> None:
    here = world()
    line = here.line()
    first, second = here.signed_on("operator", line), here.signed_on("operator", line, server=17)
    assert second.get(3, "8.0.1.0.0.255") == 345678
    assert first.one(read(3, "8.0.1.0.0.255")).code == 4
    assert second.one(read(3, REGISTER)).code == 4
    assert second.get(15, "0.0.40.0.0.255", 3) == (2, 17)
    assert [sap for sap, _ in first.get(17, "0.0.41.0.0.255")] == [1, 17]


def test_the_same_pair_from_another_line_is_a_second_association() -> None:
    here = world()
    one, two = here.signed_on("operator"), here.signed_on("operator", here.line("192.0.2.2"))
    assert one.get(3, REGISTER) == two.get(3, REGISTER)
    one.release()
    assert one.line.ask(bytes.fromhex("C001C100030100010800FF0200"), 2) == bytes.fromhex("D80101")
    assert two.get(3, REGISTER) > 0


def test_state_survives_a_restart(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    manager = here.signed_on("manager")
    title, credentials = here.meter.system_title, here.credentials
    point = bytes(range(20))
    assert manager.set(1, "0.0.96.1.10.255", 2, point, Tag.OCTET_STRING) == 0
    floor = here.meter.rings[1].setup.unicast.rx.lowest  # type: ignore[union-attr]
    here.restart()
    assert here.meter.system_title == title
    assert here.credentials.roles["manager"].octets("guek") == credentials.roles["manager"].octets("guek")
    assert here.meter.rings[1].setup.unicast.rx.lowest == floor  # type: ignore[union-attr]
    assert here.signed_on("manager").get(1, "0.0.96.1.10.255") == point
