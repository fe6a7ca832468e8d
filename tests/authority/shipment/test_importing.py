"""Files into the store: all of one or nothing, weak and shared keys refused, no key in any text."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from meterseal.authority.adoption import credentials_of, strange_anchors
from meterseal.authority.shipment import (
    Refusal,
    Shipped,
    Transport,
    generate,
    read_own,
    read_shipment,
    read_template,
    take_in,
    write_own,
)
from meterseal.authority.shipment.checks import look
from meterseal.authority.shipment.mapping import parse, read_mapping
from meterseal.authority.store.records import Flag
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, SigningKey, WrappingKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.hashes import digest_of
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import write_key
from meterseal.crypto.transport import RsaTransportKey
from meterseal.errors import ConfigurationError, Forged
from meterseal.keys.kinds import KINDS, Slot
from tests.authority.shipment.test_rows import INNER, PASSWORD, kem
from tests.authority.vaulted import TITLE, House, adopt

ROLES = {
    "operator": {"client": 2, "mechanism": "gmac", "client_system_title": "4D534C4845530002"},
    "manager": {"client": 1, "mechanism": "gmac", "client_system_title": "4D534C4845530001"},
}
TABLES: dict[str, Any] = {
    "format": "csv",
    "delimiter": ";",
    "title": "Title",
    "serial": "Serial",
    "url": "Url",
    "place": "Station",
    "keys": [
        {"cell": "EK", "kind": "guek", "roles": ["operator", "manager"]},
        {"cell": "AK", "kind": "gak", "roles": ["operator", "manager"]},
        {"cell": "MK", "kind": "kek", "roles": ["manager"]},
    ],
    "roles": ROLES,
}
HEAD = "Title;Serial;Url;Station;EK;AK;MK"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def line(number: int, **changed: str) -> str:
    cells = {
        "Title": f"4D534C{number:010X}", "Serial": f"S{number}", "Url": f"tcp://127.0.0.1:{4000 + number}",
        "Station": "north", **{name: random_octets(16).hex() for name in ("EK", "AK", "MK")}, **changed,
    }  # fmt: skip
    return ";".join(cells.values())


def text(*lines: str) -> bytes:
    return "\n".join([HEAD, *lines, ""]).encode()


def read(octets: bytes, transport: Transport | None = None, **changed: Any) -> list[Shipped]:
    return read_shipment(parse({**TABLES, **changed}), octets, transport or Transport())


def test_a_file_of_meters_into_the_store(house: House) -> None:
    octets = text(*(line(number) for number in range(100, 110)))
    with house.open() as store:
        assert take_in(store, read(octets), "maker") == 10
        title = bytes.fromhex("4D534C0000000064")
        known = store.keys.device(title)
        assert (known.serial, known.place, known.url) == ("S100", "north", "tcp://127.0.0.1:4100")
        wanted = bytes.fromhex(octets.split(b"\n")[1].split(b";")[4].decode())
        assert store.keys.reveal(store.keys.slot(Slot(title, "operator", "guek"))[0]).reveal() == wanted
        back = credentials_of(store, title)
        assert back.roles["operator"].octets("guek") == wanted and back.roles["manager"].kek is not None
        assert store.core.verify_journal() > 0


def test_F20_one_bad_line_and_nothing_is_taken_but_all_is_told(house: House) -> None:
    good = line(100)
    lines = [
        good,
        line(101, EK="not hex at all"),
        line(102, Title="4D53"),
        line(103, AK=""),
        line(104, EK="AB" * 8),
        line(105, Url="gopher://x"),
        line(106),
    ]
    with pytest.raises(Refusal) as caught:
        read(text(*lines))
    assert [found.split(":")[0] for found in caught.value.report] == [f"line {n}" for n in (3, 4, 5, 6, 7)]
    for key in good.split(";")[4:]:
        assert key not in str(caught.value) and key.upper() not in str(caught.value)
    assert "not hex at all" not in str(caught.value)


def test_F20_a_title_that_the_store_has_and_one_that_comes_twice(house: House) -> None:
    with house.open() as store:
        before = store.core.verify_journal()
        with pytest.raises(Refusal, match=r"line 3.*in the store already"):
            take_in(store, read(text(line(100), line(1))), "maker")
        with pytest.raises(Refusal, match="line 3: title 4D534C0000000064 is that of line 2 too"):
            take_in(store, read(text(line(100), line(100))), "maker")
        assert store.core.verify_journal() == before
        with pytest.raises(ConfigurationError):
            store.keys.device(bytes.fromhex("4D534C0000000064"))


def test_F20_texts_that_are_too_long_are_told_of_by_line(house: House) -> None:
    with house.open() as store:
        with pytest.raises(Refusal) as caught:
            take_in(store, read(text(line(3, Serial="S" * 65), line(2), line(4, Station="N" * 65))), "import")
        assert [one.partition(":")[0] for one in caught.value.report] == ["line 2", "line 4"]
        with pytest.raises(ConfigurationError):
            store.keys.device(bytes.fromhex("4D534C0000000002"))


def test_G07_what_a_group_shares_is_marked_at_each_and_on_every_road(house: House) -> None:
    group = read(text(line(2), line(3)))
    gbek = random_octets(16)
    shipped = [
        Shipped(one.place, one.credentials.with_keys("operator", {"gbek": gbek}), one.serial, one.site)
        for one in group
    ]
    with house.open() as store:
        take_in(store, shipped, "import")
        for number in (2, 3):
            title = bytes.fromhex(f"4D534C{number:010X}")
            (held,) = store.keys.stored(title)[Slot(title, "operator", "gbek")]
            assert held.flags is Flag.SHARED
            (kek,) = store.keys.stored(title)[Slot(title, "", "kek")]
            assert not kek.flags
        third = read(text(line(4)))[0]
        later = Shipped(third.place, third.credentials.with_keys("operator", {"gbek": gbek}))
        take_in(store, [later], "import")
        title = bytes.fromhex("4D534C0000000004")
        assert store.keys.stored(title)[Slot(title, "operator", "gbek")][0].flags is Flag.SHARED


def test_G07_a_key_of_two_meters_of_two_kinds_or_of_the_store(house: House) -> None:
    key = random_octets(16)
    with house.open() as store:
        adopt(store, Slot(TITLE, "operator", "guek"), key)
        for lines, words in (
            (
                (line(100, EK=(twin := random_octets(16).hex())), line(101, EK=twin)),
                "line 3: its guek is the guek of line 2",
            ),
            ((line(100, EK=twin, AK=twin),), "its gak is its guek"),
            ((line(100, MK=key.hex()),), f"a key of {TITLE.hex().upper()} in the store"),
        ):
            with pytest.raises(Refusal, match=words) as caught:
                take_in(store, read(text(*lines)), "maker")
            assert twin not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "flag"),
    [
        (bytes(16), Flag.WEAK),
        (b"\xff" * 32, Flag.WEAK),
        (bytes(range(16)), Flag.DEFAULT),
        (bytes(range(0xD0, 0xE0)), Flag.DEFAULT),
        (bytes(range(5, 21)), Flag.WEAK),
        (bytes(range(200, 184, -1)), Flag.WEAK),
        (b"\x01\x02\x03" * 5 + b"\x01", Flag.WEAK),
        (bytes.fromhex("A5A5A5A5A5A5A5A55A5A5A5A5A5A5A5A"), Flag.WEAK),
        (b"Summer2024!Meter", Flag.WEAK),
        (bytes.fromhex("9F3A5C0174E2886BD1402F7B66AA13C8"), Flag(0)),
    ],
)
def test_G08_keys_that_nobody_drew(key: bytes, flag: Flag, house: House) -> None:
    assert look(key)[0] == flag
    if not flag or len(key) != 16:
        return
    octets = text(line(100, EK=key.hex()))
    with house.open() as store:
        with pytest.raises(Refusal, match="line 2: guek of operator") as caught:
            take_in(store, read(octets), "maker")
        assert key.hex() not in str(caught.value).lower()
        assert take_in(store, read(octets), "maker", lab=True) == 1
        slot = store.keys.slot(Slot(bytes.fromhex("4D534C0000000064"), "operator", "guek"))
        assert flag in store.keys.find(slot[0].id).flags


@given(st.binary(min_size=16, max_size=16))
def test_G08_look_never_fails(key: bytes) -> None:
    flag, words = look(key)
    assert bool(flag) == bool(words) and key.hex() not in words


def test_keys_wrapped_by_a_transport_key_and_by_RSA(house: House) -> None:
    kek, private = random_octets(16), rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ek, ak, mk = (random_octets(16) for _ in range(3))
    oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    cells = {
        "EK": WrappingKey(kek).wrap(ek).hex(),
        "AK": base64.b64encode(private.public_key().encrypt(ak, oaep)).decode(),
        "MK": base64.b64encode(private.public_key().encrypt(mk, padding.PKCS1v15())).decode(),
    }
    keys = [
        {**TABLES["keys"][0], "wrapped": "aes"},
        {**TABLES["keys"][1], "wrapped": "rsa-oaep", "encoding": "base64"},
        {**TABLES["keys"][2], "wrapped": "rsa", "encoding": "base64"},
    ]
    octets = text(line(100, **cells))
    (one,) = read(octets, Transport(WrappingKey(kek), RsaTransportKey(pem)), keys=keys)
    manager = one.credentials.roles["manager"]
    assert [manager.octets(name) for name in ("guek", "gak", "kek")] == [ek, ak, mk]
    for transport, words in (
        (Transport(), "say the transport key"),
        (Transport(WrappingKey(kek)), "say the private key"),
        (Transport(WrappingKey(random_octets(16)), RsaTransportKey(pem)), "does not unwrap"),
    ):
        with pytest.raises(Refusal, match=words):
            read(octets, transport, keys=keys)
    with pytest.raises(ConfigurationError):
        RsaTransportKey(b"-----BEGIN nothing")
    with pytest.raises(Forged):
        RsaTransportKey(pem).unwrap(b"short", "rsa-oaep")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "yaml"},
        {"colour": 1},
        {"title": {"flag": "TOOLONG", "number": "x"}},
        {"title": 7},
        {"suite": 9},
        {"suite": True},
        {"delimiter": ";;"},
        {"keys": []},
        {"keys": [{"cell": "EK", "kind": "nothing", "roles": ["operator"]}]},
        {"keys": [{"cell": "EK", "kind": "guek", "roles": ["nobody"]}]},
        {"keys": [{"cell": "EK", "kind": "guek", "roles": ["operator"], "wrapped": "rot13"}]},
        {"keys": ["EK"]},
        {"roles": {"operator": 7}},
        {"format": "xml"},
    ],
)
def test_F20_mappings_that_are_none(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        parse({**TABLES, **change})


def test_mapping_files_and_titles_out_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "maker.toml"
    path.write_text(
        'format = "csv"\ndelimiter = ";"\ntitle = { flag = "KFM", number = "Serial" }\n'
        '[[keys]]\ncell = "EK"\nkind = "guek"\nroles = ["a"]\n'
        '[[keys]]\ncell = "AK"\nkind = "gak"\nroles = ["a"]\n'
        '[roles.a]\nclient = 2\nmechanism = "gmac"\nclient_system_title = "4D534C4845530002"\n'
    )
    keys = (random_octets(16).hex() for _ in range(2))
    octets = f"Serial;EK;AK\n123456;{';'.join(keys)}\n".encode()
    (one,) = read_shipment(read_mapping(path), octets, Transport())
    assert one.credentials.meter.system_title == b"KFM" + (123456).to_bytes(5, "big")
    with pytest.raises(Refusal, match="number for the title"):
        read_shipment(read_mapping(path), octets.replace(b"123456", b"12x"), Transport())
    path.write_text("= nonsense")
    with pytest.raises(ConfigurationError, match="mapping"):
        read_mapping(path)


def test_a_KEM_file_into_the_store(house: House) -> None:
    mapped = parse({"format": "kamstrup", "title": {"flag": "KAM", "number": "SerialNo"}})
    with house.open() as store:
        shipped = read_shipment(mapped, kem(INNER), Transport(password=PASSWORD))
        assert take_in(store, shipped, "KEM file") == 1
        title = b"KAM" + (12345678).to_bytes(5, "big")
        wanted = bytes.fromhex("A1B2C3D4E5F60718293A4B5C6D7E8F90")
        assert credentials_of(store, title).roles["customer"].octets("guek") == wanted
        assert store.keys.device(title).serial == "12345678"


# --- generation and our own file ------------------------------------------------------------------------

TEMPLATE = """
suite = 0
title = { flag = "MSL", first = 1000 }
serial = "MS-{number:08}"
url = "tcp://127.0.0.1:{number}"
place = "north"
[roles.operator]
client = 2
mechanism = "gmac"
client_system_title = "4D534C4845530002"
draw = ["guek", "gak"]
[roles.manager]
client = 1
mechanism = "gmac"
client_system_title = "4D534C4845530001"
draw = ["guek", "gak", "kek"]
[groups]
gbek = ["manager"]
"""


def test_meters_are_generated_shipped_and_taken_in(house: House, tmp_path: Path) -> None:
    path = tmp_path / "template.toml"
    path.write_text(TEMPLATE)
    made = [*generate(read_template(path), 20)]
    keys = [
        one.credentials.roles[role].octets(kind)
        for one in made
        for role, kind in (("operator", "guek"), ("operator", "gak"), ("manager", "guek"), ("manager", "kek"))
    ]
    assert len(set(keys)) == 80
    assert len({one.credentials.roles["manager"].octets("gbek") for one in made}) == 1
    assert made[7].serial == "MS-00001007"
    back = read_own(write_own(made))
    assert [one.credentials for one in back] == [one.credentials for one in made] or [
        one.credentials.to_toml() for one in back
    ] == [one.credentials.to_toml() for one in made]
    with house.open() as store:
        assert take_in(store, back, "factory") == 20
        assert store.keys.device(b"MSL" + (1019).to_bytes(5, "big")).url == "tcp://127.0.0.1:1019"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('flag = "MSL"', 'flag = "MS"'),
        ("first = 1000", "first = -1"),
        ("suite = 0", "suite = 7"),
        ('draw = ["guek", "gak"]', 'draw = ["everything"]'),
        ('gbek = ["manager"]', 'kek = ["manager"]'),
        ('gbek = ["manager"]', 'gbek = ["nobody"]'),
        ("[groups]", "[colours]"),
    ],
)
def test_F20_templates_that_are_none(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "template.toml"
    path.write_text(TEMPLATE.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match="template"):
        read_template(path)


def with_anchors(*anchors: Certificate) -> Shipped:
    """A meter of suite 1 that trusts these."""
    keys = {name: random_octets(16) for name in ("guek", "gak", "kek")}
    role = {"client": 1, "mechanism": "gmac", "client_system_title": "4D534C4845530001", **keys}
    meter = {
        "system_title": "4D534C00000000B1",
        "suite": 1,
        "trust": ["a.pem"],
        "signing_certificate": "m.pem",
    }
    held = {"a.pem": b"".join(one.to_pem() for one in anchors)}
    return Shipped("", Credentials.from_mapping({"meter": meter, "roles": {"manager": role}}, held=held))


@pytest.fixture(scope="module")
def root() -> Certificate:
    key = SigningKey.generate(curve("P-256"))
    return Authority.root(key, "Maker", Validity(datetime(2026, 11, 1, tzinfo=UTC))).certificate


def test_trust_anchors_travel_in_our_own_file_into_the_store_and_out_again(
    house: House, root: Certificate
) -> None:
    octets = write_own([with_anchors(root)])
    (back,) = read_own(octets)
    with house.open() as store:
        assert strange_anchors(store, back.credentials) == [digest_of(root.der).hex().upper()]
        take_in(store, [back], "factory")
        title = bytes.fromhex("4D534C00000000B1")
        assert store.keys.device(title).settings["meter"]["anchors"] == [root.der.hex().upper()]
        assert strange_anchors(store, back.credentials) == [], "it is known now"
        again = write_own([Shipped("", credentials_of(store, title))])
    assert json.loads(again.split(b"\n")[1])["files"] == {"anchors.pem": root.to_pem().decode()}


def test_key_pairs_travel_too_and_nothing_is_read_that_only_a_name_is_here_of(
    house: House, root: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    title, client = bytes.fromhex("4D534C00000000B1"), bytes.fromhex("4D534C4845530001")
    key, begin = SigningKey.generate(curve("P-256")), Validity(root.not_before)
    maker = Authority.root(SigningKey.generate(curve("P-256")), "M", begin)
    files = {
        "a.pem": maker.certificate.to_pem(),
        "m.pem": maker.issue(
            SigningKey.generate(curve("P-256")).public, title, Purpose.SIGNATURE, begin
        ).to_pem(),
        "c.key": write_key(key),
        "c.pem": maker.issue(key.public, client, Purpose.SIGNATURE, begin).to_pem(),
    }
    (tmp_path / "mine.key").write_bytes(write_key(AgreementKey.generate(curve("P-256"))))
    role = {"client": 1, "mechanism": "ecdsa", "client_system_title": client.hex(), "signing_key": "c.key",
            "signing_certificate": "c.pem", "agreement_key": "mine.key",
            **{name: random_octets(16) for name in ("guek", "gak", "kek")}}  # fmt: skip
    other = {**role, "client": 2, "signing_key": "pkcs11:token=t;object=x?module-path=evil.so"}
    meter = {"system_title": title.hex(), "suite": 1, "trust": ["a.pem"], "signing_certificate": "m.pem"}
    tables = {"meter": meter, "roles": {"manager": role, "other": other}}
    (back,) = read_own(write_own([Shipped("", Credentials.from_mapping(tables, held=files))]))
    with house.open() as store:
        take_in(store, [back], "factory", lab=True)
        held = {(slot.role, slot.kind) for slot in store.keys.slots(title) if KINDS[slot.kind].certified}
        assert held == {("manager", "client-sign"), ("", "meter-sign")}
        found = store.pairs.active(Slot(title, "manager", "client-sign"))
        assert found is not None and store.pairs.private(found, SigningKey).public == key.public
        assert store.pairs.certificate(found) == Certificate.from_pem(files["c.pem"])[0]


def test_F20_files_of_a_meter_that_are_none(root: Certificate) -> None:
    leaf = SigningKey.generate(curve("P-256"))
    maker = Authority.root(SigningKey.generate(curve("P-256")), "M", Validity(root.not_before))
    certificate = maker.issue(leaf.public, TITLE, Purpose.SIGNATURE, Validity(root.not_before))
    head, line, _ = write_own([with_anchors(root)]).split(b"\n")
    table = json.loads(line)
    wrong: Any
    for wrong in (
        [], "a.pem", {"a.pem": 1}, {"a.pem": "pkcs11:token=t;object=x"}, {"a.pem": "-----BEGIN \u00fc"},
        {"a.pem": "-----BEGIN CERTIFICATE-----"}, {"a.pem": certificate.to_pem().decode()},
        dict.fromkeys(map(str, range(101)), root.to_pem().decode()),
    ):  # fmt: skip
        with pytest.raises(Refusal, match="line 2"):
            read_own(b"\n".join([head, json.dumps({**table, "files": wrong}).encode(), b""]))


def test_F20_a_shipment_file_cut_spliced_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "template.toml"
    path.write_text(TEMPLATE)
    octets = write_own(generate(read_template(path), 3))
    lines = octets.split(b"\n")
    for changed in (
        b"",
        octets[:-30],
        b"\n".join(lines[:3]) + b"\n",
        b"\n".join([*lines[:-1], lines[1], b""]),
        octets.replace(b"shipment-1", b"shipment-2"),
        octets.replace(b'"serial"', b'"cereal"'),
        octets.replace(b'"place":"north"', b'"place":"north","place":"south"', 1),
        b"[" * 100_000,
        octets.replace(b'"gmac"', b'"rot13"'),
    ):
        with pytest.raises(Refusal):
            read_own(changed)
