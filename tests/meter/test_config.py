"""Configuration: what a file can say, and errors that name file, table and key (F20)."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.codec.types import Tag
from meterseal.cosem.rights import SIGN_REQUEST
from meterseal.errors import ConfigurationError, StateDamaged
from meterseal.meter import Meter, access_table, load_plan
from meterseal.meter.config import LARGEST, PRESETS
from meterseal.state import Journal
from tests.meter.world import World, world

KEY = '"000102030405060708090A0B0C0D0E0F"'
OTHER = '"101112131415161718191A1B1C1D1E1F"'
ROLE = '[roles.extra]\nclient = 9\nmechanism = "none"\n'
KEYED = ROLE.replace("none", "gmac") + 'client_system_title = "4D534C4845530009"\n'
OBJECT = '[[objects]]\nclass = 1\nobis = "0.0.96.1.5.255"\n'


def load(tmp_path: Path, text: str) -> str:
    """Load a configuration; the text of the error, empty when there is none."""
    path = tmp_path / "meter.toml"
    path.write_text(text)
    try:
        load_plan("suite0", path)
    except ConfigurationError as error:
        return str(error).replace(str(path), "FILE")
    return ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[meter]\nsuit = 0\n", "FILE: [meter] 'suit': unknown"),
        ("[metre]\n", "FILE: 'metre': unknown"),
        ("meter = 5\n", "FILE: meter: no table"),
        ("[meter]\nsuite = 3\n", "FILE: [meter] suite: a suite is one of 0, 1, 2"),
        ("[meter]\nsuite = false\n", "FILE: [meter] suite: a suite is one of 0, 1, 2"),
        ('[meter]\nsystem_title = "00"\n', "FILE: [meter] system_title: a system title has 8 octets, not 1"),
        ('[meter]\nsystem_title = "zz"\n', "FILE: [meter] system_title: not hex"),
        (f'[meter]\nkek = {KEY[:-2]}"\n', "FILE: [meter] kek: 31 hex digits, an odd number"),
        ('[meter]\nkek = "00"\n', "FILE: [meter] kek: a key has 16 or 32 octets, not 1"),
        ('[meter]\nkek = "@missing"\n', "FILE: [meter] kek: key file"),
        ('[meter]\nwithout = ["nobody"]\n', "FILE: [meter] without: no role 'nobody'"),
        ("[logical_devices.0]\n", "FILE: [logical_devices.0]: a server SAP is a number from 1 to 16383"),
        ("[logical_devices.x]\n", "FILE: [logical_devices.x]: a server SAP"),
        ("[roles.extra]\n", "FILE: [roles.extra] client: missing"),
        ("[roles.extra]\nclient = 9\n", "FILE: [roles.extra] mechanism: missing"),
        (ROLE.replace("9", "2"), "FILE: [roles.extra] client: the same as [roles.operator] client"),
        (ROLE.replace("9", "true"), "FILE: [roles.extra] client: a number from 1 to 255 is wanted"),
        (ROLE.replace("none", "sha3"), "FILE: [roles.extra] mechanism: a mechanism is one of none, lls"),
        (ROLE.replace("none", "lls"), "FILE: [roles.extra] mechanism: lls is weak: say allow_weak = true"),
        (ROLE.replace("none", "gmac"), "FILE: [roles.extra] client_system_title: missing"),
        (ROLE.replace("none", "manufacturer"), "FILE: [roles.extra] mechanism: a mechanism is one of"),
        (KEYED.replace("gmac", "sha256"), "FILE: [roles.extra] secret: missing: mechanism sha256"),
        (KEYED + 'policy = "encrypted"\n', "FILE: [roles.extra] policy: encryption alone is weak"),
        (KEYED + 'policy = "secret"\n', "FILE: [roles.extra] policy: protection 'secret'"),
        (
            KEYED + 'policy = { request = "none" }\n',
            "FILE: [roles.extra] policy: a table with request and resp",
        ),
        (KEYED + 'policy = "authenticated"\nciphered = false\n', "FILE: [roles.extra] ciphered: false, and"),
        (KEYED + "pre_established = true\n", "FILE: [roles.extra] pre_established: only with a policy"),
        (
            KEYED + 'policy = { request = "authenticated", response = "none" }\nsetup_version = 0\n',
            "FILE: [roles.extra] setup_version: policy 04 cannot be said in version 0",
        ),
        (
            KEYED + "logical_devices = [1, 3]\n",
            "FILE: [roles.extra] logical_devices: there is no logical dev",
        ),
        (KEYED + f"guek = {KEY}\ngak = {KEY}\n", "FILE: [roles.extra] gak: the same as [roles.extra] guek"),
        (
            KEYED + f"guek = {KEY}\n[meter]\nkek = {KEY}\n",
            "FILE: [meter] kek: the same as [roles.extra] guek",
        ),
        (KEYED + f"guek = {KEY}\nguek = {OTHER}\n", "FILE: no TOML (at line 6"),
        (
            KEYED + '[meter]\nsystem_title = "4D534C4845530009"\n',
            "FILE: [roles.extra] client_system_title: the s",
        ),
        (KEYED + "[roles.extra.peer]\nnonsense = true\n", "FILE: [roles.extra.peer] 'nonsense': unknown"),
        (
            KEYED + 'broadcast = ["0.0.1.0.0.255:2"]\n',
            "FILE: [roles.extra] broadcast: '0.0.1.0.0.255:2': write",
        ),
        (KEYED + 'services = ["get", "put"]\n', "FILE: [roles.extra] services: 'put' is no service"),
        (KEYED + 'compression = "zip"\n', "FILE: [roles.extra] compression: a compression is one of packet-"),
        (KEYED + "compression = 6\n", "FILE: [roles.extra] compression: a compression is one of packet-"),
        (KEYED + 'compression = "packet-default n7=9"\n', "FILE: [roles.extra] compression: V.44 n7 is 32"),
        (KEYED + "max_pdu = 255\n", "FILE: [roles.extra] max_pdu: a number from 256 to 65535 is wanted"),
        (
            ROLE + 'association_version = 1\n[roles.extra.users.1]\nname = "a"\n',
            "[roles.extra] users: a user list",
        ),
        (
            ROLE + '[roles.extra.users.256]\nname = "a"\n',
            "FILE: [roles.extra.users.256]: a number from 0 to 255",
        ),
        (ROLE + "[roles.extra.users.1]\n", "FILE: [roles.extra.users.1] name: missing"),
        (
            ROLE + '[roles.extra.users.1]\nname = "a"\nallow = ["eat"]\n',
            "[roles.extra.users.1] allow: 'eat' is none",
        ),
        (ROLE + "[[roles.extra.rights]]\n", "FILE: [roles.extra.rights 1] objects: missing"),
        (
            ROLE + '[[roles.extra.rights]]\nobjects = ["1.8.0"]\n',
            "[roles.extra.rights 1] objects: '1.8.0' has not",
        ),
        (
            ROLE + '[[roles.extra.rights]]\nobjects = ["*.*.*.*.*.*"]\nattributes = "access"\n',
            "FILE: [roles.extra.rights 1] attributes: 'access' is no right on an attribute",
        ),
        (
            ROLE + '[[roles.extra.rights]]\nobjects = ["*.*.*.*.*.*"]\nmethods = { 0 = "access" }\n',
            "FILE: [roles.extra.rights 1] methods: '0' is no index",
        ),
        (ROLE + "rights = 5\n", "FILE: [roles.extra] rights: a list of tables is wanted"),
        ("[roles]\noperator = 5\n", "FILE: [roles.operator]: no table"),
        (OBJECT, "FILE: [objects 1: 1/0.0.96.1.5.255] type: type and value are wanted, or source"),
        (OBJECT + 'type = "u8"\n', "1/0.0.96.1.5.255] value: type and value are wanted"),
        (OBJECT + 'type = "u8"\nvalue = "x"\n', "1/0.0.96.1.5.255] value: value is u8"),
        (OBJECT + 'type = "u8"\nvalue = 256\n', "1/0.0.96.1.5.255] value: "),
        (OBJECT + 'type = "i8"\nvalue = 0x' + "9" * 4_000 + "\n", "1/0.0.96.1.5.255] value: "),
        (OBJECT + 'type = "u64"\nvalue = -1\n', "1/0.0.96.1.5.255] value: "),
        (OBJECT + 'type = "u9"\nvalue = 1\n', "[objects 1] type: a type is one of"),
        (OBJECT + 'source = "sun"\n', "[objects 1] source: a source is one of"),
        (OBJECT + 'source = "clock"\nvalue = 5\n', "1/0.0.96.1.5.255] source: stands alone"),
        (OBJECT + 'source = "clock"\nscaler = 5\n', "1/0.0.96.1.5.255] scaler: not for class 1"),
        (
            OBJECT.replace("class = 1", "class = 64"),
            "64/0.0.96.1.5.255]: objects of class 64 are not made here",
        ),
        (OBJECT.replace("class = 1", "class = 7"), "7/0.0.96.1.5.255] columns: missing"),
        (
            OBJECT + 'source = "clock"\nlogical_device = 5\n',
            "1/0.0.96.1.5.255] logical_device: there is no logic",
        ),
        ("objects = 5\n", "FILE: objects: no table"),
        ("[meter\n", "FILE: no TOML (at line 1"),
    ],
)
def test_F20_errors_name_file_table_and_key(text: str, error: str, tmp_path: Path) -> None:
    found = load(tmp_path, text)
    assert error in found, found
    assert KEY.strip('"') not in found and OTHER.strip('"') not in found


@pytest.mark.parametrize(
    "octets",
    [b"\xff\xfe", b"a" * (LARGEST + 1), b"x = " + b"[" * 100_000, b"\0", b'[meter]\nfirmware = "\xc3\x28"'],
)
def test_F20_files_that_are_none(octets: bytes, tmp_path: Path) -> None:
    path = tmp_path / "meter.toml"
    path.write_bytes(octets)
    with pytest.raises(ConfigurationError, match=r"meter\.toml"):
        load_plan("suite0", path)
    with pytest.raises(ConfigurationError, match="is no file"):
        load_plan("suite0", tmp_path)
    with pytest.raises(ConfigurationError, match="is no file"):
        load_plan("suite0", tmp_path / "missing.toml")


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no preset '\.\./suite0'"):
        load_plan("../suite0")
    assert tuple(PRESETS) == ("suite0", "suite1", "suite2")


@pytest.mark.parametrize("name", ["suite1", "suite2"])
def test_presets_of_suites_1_and_2(name: str) -> None:
    plan = load_plan(name)
    assert plan.suite == int(name[-1])
    mechanisms = {role.name: role.scheme.name for role in plan.roles}
    assert mechanisms == {"public": "none", "operator": "ecdsa", "installer": "gmac", "manager": "ecdsa"}
    assert plan.objects == load_plan("suite0").objects
    for role, plain in zip(plan.roles, load_plan("suite0").roles, strict=True):
        added = role.grants[len(plain.grants) :]
        assert role.grants[: len(plain.grants)] == plain.grants
        # Design 1: what throws the switch needs a signature.  The installer brings certificates in.
        assert bool(added) == (role.name != "public")
        if role.name == "operator":
            assert all(grant.third_parties == {"utility"} for grant in added)
        if role.name in ("manager", "operator"):
            assert all(bits & SIGN_REQUEST for grant in added for bits in grant.bits)
        else:
            assert all(grant.objects[0].text == "0.0.43.0.3.255" for grant in added)
            assert all({*grant.methods} <= {4, 5, 6} for grant in added)


def test_policies_with_signatures_are_for_suites_that_have_them(tmp_path: Path) -> None:
    path = tmp_path / "meter.toml"
    path.write_text('[roles.manager]\npolicy = "authenticated+encrypted+signed"\n')
    with pytest.raises(ConfigurationError, match="suites 1 and 2"):
        load_plan("suite0", path)
    for preset in ("suite1", "suite2"):
        role = load_plan(preset, path).role("manager")
        assert role is not None and role.policy == 0b11111100


@pytest.mark.parametrize(
    "right",
    [
        "attributes = 'read sign-request'",
        "attributes = { 2 = 'read sign-response' }",
        "methods = { 1 = 'access sign-request' }",
    ],
)
def test_rights_with_signatures_are_for_suites_that_have_them(right: str, tmp_path: Path) -> None:
    """What nobody could do, or would be answered with less, is no right."""
    path = tmp_path / "meter.toml"
    path.write_text(f'[[roles.manager.rights]]\nobjects = ["0.0.40.0.0.255"]\n{right}\n')
    with pytest.raises(ConfigurationError, match=r"\[roles.manager\] rights: signatures are for suites 1"):
        load_plan("suite0", path)
    for preset in ("suite1", "suite2"):
        assert load_plan(preset, path).role("manager") is not None


def test_keys_from_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "operator.key"
    key.write_text(KEY.strip('"') + "\n")
    key.chmod(0o600)
    monkeypatch.setenv("THE_GAK", OTHER.strip('"'))
    path = tmp_path / "meter.toml"
    path.write_text('[roles.operator]\nguek = "@keys/operator.key"\ngak = "env:THE_GAK"\n')
    here = World(load_plan("suite0", path), tmp_path / "state")
    operator = here.credentials.roles["operator"]
    assert operator.octets("guek") == bytes(range(16)) and operator.octets("gak") == bytes(range(16, 32))


def test_a_file_over_the_preset(tmp_path: Path) -> None:
    text = (
        '[meter]\nwithout = ["installer"]\nfirmware = "2.5"\n'
        '[[objects]]\nclass = 3\nobis = "1.0.1.8.0.255"\ntype = "u32"\nvalue = 42\nunit = "Wh"\n'
        "[roles.operator]\nmax_pdu = 500\n"
        '[[roles.operator.rights]]\nobjects = ["1.0.99.1.0.255"]\nhide = true\n'
    )
    here = world(text, tmp=tmp_path)
    assert set(here.credentials.roles) == {"public", "operator", "manager"}
    operator = here.signed_on("operator")
    assert operator.get(3, "1.0.1.8.0.255") == 42
    assert operator.get(1, "1.0.0.2.0.255") == b"2.5"
    assert operator.get(15, "0.0.40.0.0.255", 5)[1] == 500
    obis = {row.obis for row in access_table("suite0", tmp_path / "meter.toml", "operator")}
    assert "1.0.99.1.0.255" not in obis and "1.0.1.8.0.255" in obis


def test_columns_have_to_exist_and_to_change_with_time(tmp_path: Path) -> None:
    profile = '[[objects]]\nclass = 7\nobis = "1.0.99.2.0.255"\ncolumns = ["8/0.0.1.0.0.255:2", "%s"]\n'
    for column, error in (
        ("3/1.0.77.8.0.255:2", "there is no 3/1.0.77.8.0.255"),
        ("3/1.0.1.8.0.255:3", "does not change with time"),
        ("8/0.0.1.0.0.255:4", "does not change with time"),
    ):
        with pytest.raises(ConfigurationError, match=error):
            world(profile % column, tmp=tmp_path)
    here = world(profile % "3/1.0.1.7.0.255:2", tmp=tmp_path)
    rows = here.signed_on("manager").get(7, "1.0.99.2.0.255")
    assert len(rows) == 11520 and len(rows[0]) == 2


def test_weak_things_are_there_when_they_are_asked_for(tmp_path: Path) -> None:
    text = (
        '[roles.field]\nclient = 32\nmechanism = "lls"\nsecret = "text:12345678"\nallow_weak = true\n'
        '[[roles.field.rights]]\nobjects = ["0.0.40.0.0.255", "1.0.1.8.0.255"]\nattributes = "read"\n'
        '[roles.old]\nclient = 33\nmechanism = "md5"\nsecret = "text:an old secret"\nallow_weak = true\n'
        '[[roles.old.rights]]\nobjects = ["0.0.40.0.0.255", "1.0.1.8.0.255"]\nattributes = "read"\n'
    )
    here = world(text, tmp=tmp_path)
    for role in ("field", "old"):
        assert here.signed_on(role).get(3, "1.0.1.8.0.255") > 0


def test_the_state_of_another_meter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    world('[meter]\nsystem_title = "4D534C0000000001"\n', folder=folder, tmp=tmp_path).meter.close()
    with pytest.raises(ConfigurationError, match="is that of meter 4D534C0000000001"):
        world('[meter]\nsystem_title = "4D534C0000000002"\n', folder=folder, tmp=tmp_path)
    world(folder=folder).meter.close()


def test_damaged_state_does_not_start(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    here = world(folder=folder)
    here.signed_on("operator")
    here.meter.close()
    journal = folder / "journal.log"
    octets = bytearray(journal.read_bytes())
    octets[len(octets) // 2] ^= 1
    journal.write_bytes(octets)
    with pytest.raises(StateDamaged, match="give it new keys"):
        Meter(load_plan(), folder)
    journal.unlink()
    with pytest.raises(StateDamaged, match="missing"):
        Meter(load_plan(), folder)


def test_a_journal_of_another_format_or_kind_is_refused(tmp_path: Path) -> None:
    for record, error in (({"set": {"format": 2}}, "format 2"), ({"other": 1}, "another kind")):
        folder = tmp_path / error.replace(" ", "")
        with Journal(folder) as journal:
            journal.commit(record)
        with pytest.raises(StateDamaged, match=error):
            Meter(load_plan(), folder)
        with Journal(folder):
            pass  # the lock was given back


def test_the_format_of_the_journal_is_in_it(tmp_path: Path) -> None:
    world(folder=tmp_path / "state").meter.close()
    with Journal(tmp_path / "state") as journal:
        assert journal.records()[0]["set"]["format"] == 1


def test_the_journal_is_compacted_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.meter.store._SPARE", 20)
    here = world(folder=tmp_path / "state")
    manager = here.signed_on("manager")
    for number in range(60):
        assert manager.set(1, "0.0.96.1.10.255", 2, bytes((number,)), Tag.OCTET_STRING) == 0
    assert here.meter.store.journal is not None and here.meter.store.journal.length < 80
    floor = here.meter.rings[1].setup.unicast.rx.lowest  # type: ignore[union-attr]
    here.restart()
    assert here.signed_on("manager").get(1, "0.0.96.1.10.255") == bytes((59,))
    assert here.meter.rings[1].setup.unicast.rx.lowest > floor  # type: ignore[union-attr]
