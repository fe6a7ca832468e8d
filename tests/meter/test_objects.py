"""The objects one by one: types, methods, associations with users and views, the clock, the switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meterseal.apdu.common import SelectiveAccess
from meterseal.association import Failed
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectEntry, ObjectList, encode_element
from meterseal.cosem.selection import AllObjects, ByClasses, ByObjects, ObjectSelection, OneObject
from meterseal.cosem.times import DateTime
from tests.meter.world import Client, call, read, world

CURRENT, CLOCK, POINT, SWITCH = "0.0.40.0.0.255", "0.0.1.0.0.255", "0.0.96.1.10.255", "0.0.96.3.10.255"
USER = Structure((Tag.UNSIGNED, Tag.VISIBLE_STRING))
USERS = """# two persons behind the operator
[roles.operator.users.1]
name = "reader"
objects = ["1.0.*.8.0.255"]
[roles.operator.users.7]
name = "all"
"""


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "type_", "code"),
    [
        (b"\x01" * 12, Tag.OCTET_STRING, 0),
        (b"", Tag.OCTET_STRING, 0),
        ("text", Tag.VISIBLE_STRING, 0x0C),
        (1, Tag.UNSIGNED, 0x0C),
        ((b"",), Structure((Tag.OCTET_STRING,)), 0x0C),
        (None, Tag.NULL, 0x0C),
    ],
)
def test_a_value_keeps_its_type(value: Any, type_: Any, code: int) -> None:
    client = world().signed_on("installer")
    before = client.get(1, POINT)
    assert client.set(1, POINT, 2, value, type_) == code
    assert client.get(1, POINT) == (before if code else value)


def test_a_register_that_is_written_and_reset(tmp_path: Path) -> None:
    here = world(
        '[[objects]]\nclass = 3\nobis = "1.0.9.9.9.255"\ntype = "i16"\nvalue = -5\n'
        'unit = "W"\nwritable = true\n'
        '[[objects]]\nclass = 4\nobis = "1.0.1.6.0.255"\ntype = "u32"\nvalue = 7\nscaler = -3\nunit = 30\n',
        folder=tmp_path / "state",
        tmp=tmp_path,
    )
    manager = here.signed_on("manager")
    assert manager.get(3, "1.0.9.9.9.255", 3) == (0, 27)
    assert manager.set(3, "1.0.9.9.9.255", 2, 1234, Tag.LONG) == 0
    here.restart()
    manager = here.signed_on("manager")
    assert manager.get(3, "1.0.9.9.9.255") == 1234
    assert manager.call(3, "1.0.9.9.9.255", 1) == 0
    assert manager.get(3, "1.0.9.9.9.255") == -5
    assert manager.get(4, "1.0.1.6.0.255") == 7
    assert manager.get(4, "1.0.1.6.0.255", 3) == (-3, 30)
    assert manager.one(read(4, "1.0.1.6.0.255", 5)).code == 0
    assert manager.set(4, "1.0.1.6.0.255", 2, 1, Tag.DOUBLE_LONG_UNSIGNED) == 3


def test_parameters_of_methods_are_held_to_the_class() -> None:
    manager = world().signed_on("manager")
    assert manager.one(call(8, CLOCK, 3, type_=None)).code == 0, "the customary 0 may be left out"
    assert manager.one(call(8, CLOCK, 6, type_=None)).code == 0x0C
    assert manager.call(8, CLOCK, 6, 1, Tag.INTEGER) == 0x0C
    assert manager.call(8, CLOCK, 99) == 3
    assert manager.call(15, CURRENT, 5, (1, b"x"), Structure((Tag.UNSIGNED, Tag.OCTET_STRING))) == 0x0C


# --- clock --------------------------------------------------------------------------------------


def shown(client: Client) -> DateTime:
    return DateTime.from_octets(client.get(8, CLOCK))


def test_the_clock_is_set_with_its_deviation_or_by_its_own_face() -> None:
    client = world().signed_on("installer")
    assert shown(client).text() == "2025-07-15T12:00:00+02:00"
    for text, then in (
        ("2025-07-15T08:00:00Z", "2025-07-15T10:00:00+02:00"),
        ("2025-12-24T18:00:00", "2025-12-24T18:00:00+01:00"),
        ("2025-07-20T18:30:00", "2025-07-20T18:30:00+02:00"),
    ):
        octets = DateTime.from_text(text).to_octets()
        assert client.set(8, CLOCK, 2, octets, Tag.OCTET_STRING) == 0
        assert shown(client).text() == then
    farthest = [
        f"{face}{zone}" for face in ("0001-01-01T00:00:00", "9999-12-31T23:59:59") for zone in ("", "+14:00")
    ]
    for text in ("2025-07-20", "1969-12-31T23:00:00", "2100-01-01T02:00:00", *farthest):
        octets = DateTime.from_text(text).to_octets()
        assert client.set(8, CLOCK, 2, octets, Tag.OCTET_STRING) == 0xFA
    assert client.set(8, CLOCK, 2, bytes(11), Tag.OCTET_STRING) == 0x0C
    assert shown(client).text() == "2025-07-20T18:30:00+02:00"


def test_methods_of_the_clock() -> None:
    here = world()
    client = here.signed_on("installer")
    here.pass_time(8 * 60 + 31)
    assert client.call(8, CLOCK, 3) == 0
    assert shown(client).text() == "2025-07-15T12:09:00+02:00"
    assert client.call(8, CLOCK, 1) == 0
    assert shown(client).text() == "2025-07-15T12:15:00+02:00"
    assert client.call(8, CLOCK, 6, -60, Tag.LONG) == 0
    assert client.call(8, CLOCK, 6, 901, Tag.LONG) == 0xFA
    assert shown(client).text() == "2025-07-15T12:14:00+02:00"
    assert client.call(8, CLOCK, 4) == 0xFA, "nothing is preset"
    times = [DateTime.from_text(f"2025-07-15T{t}:00+02:00").to_octets() for t in ("15:00", "12:20", "12:30")]
    assert client.call(8, CLOCK, 5, tuple(times), Structure((Tag.OCTET_STRING,) * 3)) == 0
    assert client.call(8, CLOCK, 4) == 0xFA, "not yet valid"
    here.pass_time(10 * 60)
    assert client.call(8, CLOCK, 4) == 0
    assert shown(client).text() == "2025-07-15T15:00:00+02:00"
    here.pass_time(100)
    assert client.call(8, CLOCK, 2) == 0
    assert shown(client).text() == "2025-07-15T15:00:00+02:00"
    assert client.get(8, CLOCK, 3) == -60
    assert client.get(8, CLOCK, 4) == 0x80
    assert DateTime.from_octets(client.get(8, CLOCK, 5)).month == 3


# --- disconnect control -------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "after"), [(0, 1), (1, 2), (2, 1), (3, 2), (4, 1), (5, 2), (6, 2)])
def test_disconnect_control_modes(mode: int, after: int, tmp_path: Path) -> None:
    config = f'[[objects]]\nclass = 70\nobis = "{SWITCH}"\ncontrol_mode = {mode}\n'
    here = world(config, folder=tmp_path / "state", tmp=tmp_path)
    client = here.signed_on("manager")
    assert (client.get(70, SWITCH), client.get(70, SWITCH, 3), client.get(70, SWITCH, 4)) == (True, 1, mode)
    assert client.call(70, SWITCH, 1) == (0 if mode else 0xFA)
    assert client.get(70, SWITCH, 3) == (0 if mode else 1)
    assert client.call(70, SWITCH, 2) == 0
    assert (client.get(70, SWITCH), client.get(70, SWITCH, 3)) == (after == 1, after)
    here.restart()
    client = here.signed_on("manager")
    assert client.get(70, SWITCH, 3) == after
    switch: Any = here.meter.devices[1].objects[70, Obis(SWITCH)]
    if after == 2:
        switch.reconnect_by_hand()
        assert client.get(70, SWITCH, 3) == 1
    else:
        with pytest.raises(Exception, match="ready"):
            switch.reconnect_by_hand()


# --- association --------------------------------------------------------------------------------


def select(client: Client, selection: ObjectSelection) -> ObjectList:
    access = SelectiveAccess(selection.selector, Data.of(*selection.parameter()))
    outcome = client.one(read(15, CURRENT, 2, access))
    assert outcome.code == 0 and outcome.data is not None
    return ObjectList.from_value(codec.decode(outcome.data), 3)


def test_selectors_of_the_object_list() -> None:
    client = world().signed_on("operator")
    whole = list(select(client, AllObjects()))
    assert whole == list(ObjectList.from_value(client.get(15, CURRENT), 3))
    assert {e.class_id for e in select(client, ByClasses((3, 8)))} == {3, 8}
    clock = 8, Obis(CLOCK)
    assert [e.obis for e in select(client, ByObjects((clock, (1, Obis(CLOCK)))))] == [Obis(CLOCK)]
    assert len(select(client, OneObject(*clock))) == 1
    assert len(select(client, OneObject(8, Obis("0.0.1.0.1.255")))) == 0


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_association_versions(version: int, tmp_path: Path) -> None:
    config = (
        f"[roles.operator]\nassociation_version = {version}\n"
        '[[roles.operator.rights]]\nobjects = ["1.0.1.8.0.255"]\n'
        'attributes = { 2 = "read auth-response enc-response" }\n'
    )
    client = world(config, tmp=tmp_path).signed_on("operator")
    listed = ObjectList.from_value(client.get(15, CURRENT), version)
    own = listed.find(Obis(CURRENT))
    assert own is not None and own.version == version
    members = {0: 8, 1: 9, 2: 11, 3: 11}[version]
    assert [client.one(read(15, CURRENT, i)).code for i in range(1, 13) if i != 7] == [
        0 if i <= members else 3 for i in range(1, 13) if i != 7
    ]
    register = listed.find(Obis("1.0.1.8.0.255"))
    assert register is not None
    full = 0x01 | 0x60
    assert register.attributes[2] == {0: 0x01, 1: 0x25, 2: 0x25, 3: full}[version]


def test_the_association_describes_itself_and_hides_its_secret() -> None:
    here = world()
    client = here.signed_on("operator")
    assert client.get(15, CURRENT, 1) == Obis(CURRENT)
    assert client.get(15, CURRENT, 3) == (2, 1)
    assert client.get(15, CURRENT, 4) == bytes.fromhex("60857405080103")
    assert client.get(15, CURRENT, 6) == bytes.fromhex("60857405080205")
    bits, own, mine, version, quality, ciphering = client.get(15, CURRENT, 5)
    assert int(str(bits), 2) == client.machine.negotiated
    assert (own, mine, version, quality, ciphering) == (4096, 4096, 6, 0, b"")
    assert client.get(15, CURRENT, 8) == 2
    assert client.get(15, CURRENT, 9) == Obis("0.0.43.0.2.255")
    assert client.get(15, CURRENT, 10) == [] and client.get(15, CURRENT, 11) == (0, "")
    assert client.one(read(15, CURRENT, 7)).code == 3
    manager = here.signed_on("manager")
    assert manager.get(15, "0.0.40.0.2.255", 8) == 2
    assert manager.get(15, "0.0.40.0.3.255", 8) == 0
    assert manager.get(15, "0.0.40.0.2.255", 1) == Obis("0.0.40.0.2.255")
    assert manager.get(15, "0.0.40.0.2.255", 5)[2] == 0
    assert manager.one(read(15, "0.0.40.0.2.255", 7)).code == 3


def test_reply_to_HLS_is_refused_once_associated() -> None:
    client = world().signed_on("operator")
    outcome = client.one(call(15, CURRENT, 1, bytes(17), Tag.OCTET_STRING))
    assert outcome == (0xFA, None)
    assert client.get(15, CURRENT, 8) == 2


def test_change_of_an_HLS_secret(tmp_path: Path) -> None:
    config = (
        '[roles.sha]\nclient = 5\nmechanism = "sha256"\npolicy = "authenticated+encrypted"\n'
        'client_system_title = "4D534C4845530005"\nsecret = "text:the first secret of it"\n'
        '[[roles.sha.rights]]\nobjects = ["0.0.40.0.0.255"]\nattributes = "read write"\n'
    )
    here = world(config, folder=tmp_path / "state", tmp=tmp_path)
    curious = here.signed_on("sha")
    assert curious.one(read(15, CURRENT, 7)).code == 3, "whatever the configuration says"
    own = ObjectList.from_value(curious.get(15, CURRENT), 3).find(Obis(CURRENT))
    assert own is not None and own.attributes[7] == 0x02
    old, manager = here.signed_on("sha"), here.signed_on("manager")
    for secret, code in ((b"short", 0xFA), (bytes(65), 0xFA), (b"another secret of it", 0)):
        assert manager.call(15, "0.0.40.0.5.255", 2, secret, Tag.OCTET_STRING) == code
    assert manager.call(15, "0.0.40.0.2.255", 2, bytes(16), Tag.OCTET_STRING) == 3, "GMAC has no secret"
    assert old.get(15, CURRENT, 8) == 2, "an association that stands goes on"
    assert any(isinstance(e, Failed) for e in here.client("sha").try_sign_on())
    here.restart()
    assert here.credentials.roles["sha"].octets("secret") == b"another secret of it"
    assert here.signed_on("sha").get(15, CURRENT, 8) == 2
    manager = here.signed_on("manager")
    assert manager.set(15, "0.0.40.0.5.255", 7, b"the third secret of it", Tag.OCTET_STRING) == 0
    here.restart()
    assert here.signed_on("sha").get(15, CURRENT, 8) == 2


def test_a_secret_in_the_clear_is_not_taken(tmp_path: Path) -> None:
    config = (
        '[roles.lls]\nclient = 5\nmechanism = "lls"\nsecret = "text:12345678"\nallow_weak = true\n'
        '[[roles.lls.rights]]\nobjects = ["0.0.40.0.0.255"]\n'
        'attributes = { all = "read", 7 = "write" }\nmethods = "access"\n'
    )
    here = world(config, tmp=tmp_path)
    client = here.signed_on("lls")
    assert client.set(15, CURRENT, 7, b"another one", Tag.OCTET_STRING) == 0x0D
    assert client.call(15, CURRENT, 2, b"another one", Tag.OCTET_STRING) == 0x0D
    assert here.signed_on("lls").get(15, CURRENT, 8) == 2, "the old one still opens"


def element(entry: ObjectEntry) -> tuple[Any, Any]:
    return encode_element(entry, 3)


def test_add_and_remove_object_change_the_view_at_once_and_for_good(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    manager, installer = here.signed_on("manager"), here.signed_on("installer")
    energy = Obis("1.0.1.8.0.255")
    assert installer.one(read(3, str(energy))).code == 4
    give = ObjectEntry(3, 0, energy, {1: 0x01, 2: 0x01 | 0x0C}, {})
    assert manager.call(15, "0.0.40.0.3.255", 3, *element(give)) == 0
    assert installer.get(3, str(energy)) > 0
    found = ObjectList.from_value(installer.get(15, CURRENT), 3).find(energy)
    assert found is not None and found.attributes == {1: 1, 2: 0x0D, 3: 0}
    here.restart()
    manager, installer = here.signed_on("manager"), here.signed_on("installer")
    assert installer.get(3, str(energy)) > 0
    assert manager.call(15, "0.0.40.0.3.255", 4, *element(give)) == 0
    assert installer.one(read(3, str(energy))).code == 4
    assert manager.call(15, "0.0.40.0.3.255", 4, *element(give)) == 4
    here.restart()
    assert here.signed_on("installer").one(read(3, str(energy))).code == 4


def test_add_object_gives_nothing_that_an_object_has_not() -> None:
    manager = world().signed_on("manager")
    target = "0.0.40.0.2.255"
    for entry, code in (
        (ObjectEntry(3, 0, Obis("1.0.1.8.0.255"), {2: 0x03}), 3),
        (ObjectEntry(15, 3, Obis("0.0.40.0.2.255"), {7: 0x01}), 3),
        (ObjectEntry(3, 1, Obis("1.0.1.8.0.255"), {2: 0x01}), 4),
        (ObjectEntry(3, 0, Obis("1.0.77.8.0.255"), {2: 0x01}), 4),
        (ObjectEntry(3, 0, Obis("1.0.1.8.0.255"), {99: 0x01}), 3),
        (ObjectEntry(64, 1, Obis("0.0.43.0.2.255"), {}, {3: 0x01}), 3),
    ):
        assert manager.call(15, target, 3, *element(entry)) == code
    assert manager.call(15, target, 4, *element(ObjectEntry(15, 3, Obis(CURRENT)))) == 3
    assert manager.call(15, target, 3, 5, Tag.UNSIGNED) == 0x0C


# --- users --------------------------------------------------------------------------------------


def test_users_are_asked_for_and_narrow_the_view(tmp_path: Path) -> None:
    here = world(USERS, folder=tmp_path / "state", tmp=tmp_path)
    for user in (None, 0, 2, 255):
        effects = here.client("operator", user=user).try_sign_on()
        assert any(isinstance(e, Failed) for e in effects), user
        here.pass_time(70)
    one, all_ = here.signed_on("operator", user=1), here.signed_on("operator", user=7)
    assert one.get(15, CURRENT, 11) == (1, "reader")
    assert one.get(15, CURRENT, 10) == [(1, "reader"), (7, "all")]
    assert one.get(3, "1.0.1.8.0.255") > 0 and all_.get(3, "1.0.1.7.0.255") >= 0
    assert one.one(read(3, "1.0.1.7.0.255")).code == 4
    assert one.one(read(8, CLOCK)).code == 4
    names = {e.obis for e in ObjectList.from_value(one.get(15, CURRENT), 3)}
    assert names == {Obis(CURRENT), Obis("1.0.1.8.0.255"), Obis("1.0.2.8.0.255")}


def test_users_added_and_removed(tmp_path: Path) -> None:
    here = world(USERS, folder=tmp_path / "state", tmp=tmp_path)
    manager = here.signed_on("manager")
    target = "0.0.40.0.2.255"
    assert manager.call(15, target, 5, (9, "new"), USER) == 0
    assert manager.call(15, target, 5, (9, "twice"), USER) == 0xFA
    assert manager.call(15, target, 5, (10, ""), USER) == 0xFA
    assert manager.call(15, target, 5, (10, "x" * 33), USER) == 0xFA
    new = here.signed_on("operator", user=9)
    assert new.get(8, CLOCK)
    here.restart()
    manager = here.signed_on("manager")
    new = here.signed_on("operator", user=9)
    narrowed = here.signed_on("operator", user=1)
    assert narrowed.one(read(8, CLOCK)).code == 4, "a kept list keeps what it narrows"
    assert manager.call(15, target, 6, (9, "wrong name"), USER) == 4
    assert manager.call(15, target, 6, (9, "new"), USER) == 0
    assert new.one(read(8, CLOCK)).code == 4, "who is off the list sees nothing any more"
    assert any(isinstance(e, Failed) for e in here.client("operator", user=9).try_sign_on())


# --- security setup -----------------------------------------------------------------------------


def test_security_policy_is_only_strengthened(tmp_path: Path) -> None:
    config = (
        '[roles.operator]\npolicy = "authenticated"\n'
        '[[roles.operator.rights]]\nobjects = ["1.0.*.7.0.255", "0.0.40.0.0.255"]\nattributes = "read"\n'
    )
    here = world(config, folder=tmp_path / "state", tmp=tmp_path)
    operator, manager = here.signed_on("operator"), here.signed_on("manager")
    setup = "0.0.43.0.2.255"
    assert manager.get(64, setup) == 0x24
    for policy in (0, 0x20, 0x04, 0x48, 0x27, 0x34, 0xFC):
        assert manager.call(64, setup, 1, policy, Tag.ENUM) == 0xFA, hex(policy)
    assert operator.get(3, "1.0.32.7.0.255")
    assert manager.call(64, setup, 1, 0x6C, Tag.ENUM) == 0
    assert manager.get(64, setup) == 0x6C
    assert operator.one(read(3, "1.0.32.7.0.255")).code == 0x0D, "an open association is held to it as well"
    get = bytes.fromhex("C001C100080000010000FF0200")
    assert operator.line.ask(operator.sealed(get, 2), 2) == bytes.fromhex("D80105"), (
        "and to a tag on everything"
    )
    here.restart()
    assert here.meter.rings[2].setup.policy == 0x6C
    assert here.signed_on("operator").get(3, "1.0.32.7.0.255")


def test_an_open_association_needs_a_tag_as_soon_as_the_policy_says_so(tmp_path: Path) -> None:
    here = world('[roles.operator]\npolicy = "none"\nciphered = true\n', tmp=tmp_path)
    operator, manager = here.signed_on("operator"), here.signed_on("manager")
    get = bytes.fromhex("C001C100080000010000FF0200")
    assert operator.line.ask(operator.sealed(get, 2), 2)[0] == 0xCC
    assert manager.call(64, "0.0.43.0.2.255", 1, 0x24, Tag.ENUM) == 0
    assert operator.line.ask(operator.sealed(get, 2), 2) == bytes.fromhex("D80105")
    assert operator.line.ask(operator.sealed(get, 1), 2)[0] == 0xCC


def test_security_setup_shows_titles_and_no_key() -> None:
    here = world()
    manager = here.signed_on("manager")
    setup = "0.0.43.0.2.255"
    assert manager.get(64, setup, 3) == 0
    assert manager.get(64, setup, 4) == here.credentials.roles["operator"].client_system_title
    assert manager.get(64, setup, 5) == here.meter.system_title
    assert manager.get(64, setup, 6) == []
    assert [manager.one(read(64, setup, i)).code for i in (7, 8, 9)] == [3, 3, 3]
    for method in range(3, 9):
        assert manager.call(64, setup, method, 0, Tag.ENUM) == 3


def test_a_version_0_setup_speaks_version_0(tmp_path: Path) -> None:
    here = world("[roles.operator]\nsetup_version = 0\n", tmp=tmp_path)
    manager = here.signed_on("manager")
    assert manager.get(64, "0.0.43.0.2.255") == 3
    assert manager.one(read(64, "0.0.43.0.2.255", 6)).code == 3
    assert manager.call(64, "0.0.43.0.2.255", 1, 2, Tag.ENUM) == 0xFA
    assert manager.call(64, "0.0.43.0.2.255", 1, 3, Tag.ENUM) == 0
