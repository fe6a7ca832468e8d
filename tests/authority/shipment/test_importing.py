"""Files into the store: all of one or nothing, weak and shared keys refused, no key in any text."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from meterseal.authority.adoption import credentials_of
from meterseal.authority.shipment import (
    Refusal,
    Shipped,
    Transport,
    read_shipment,
    take_in,
)
from meterseal.authority.shipment.checks import look
from meterseal.authority.shipment.mapping import parse, read_mapping
from meterseal.authority.store.records import Flag
from meterseal.crypto import WrappingKey, random_octets
from meterseal.crypto.transport import RsaTransportKey
from meterseal.errors import ConfigurationError, Forged
from meterseal.keys.kinds import Slot
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
