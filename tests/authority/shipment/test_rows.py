"""Makers' files: CSV, XML and KEM read into rows, and every damage to one a typed error."""

from __future__ import annotations

import base64
import io
import tracemalloc
import zipfile
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from meterseal.authority.shipment import rows as module
from meterseal.authority.shipment.mapping import Mapping, parse
from meterseal.authority.shipment.rows import rows
from meterseal.errors import ConfigurationError, Malformed, MetersealError, TooDeep, TooLarge

KEYS = [{"cell": "Key", "kind": "guek", "roles": ["a"]}]
ROLES = {"a": {"client": 2, "mechanism": "none"}}


def mapping(form: str, **more: Any) -> Mapping:
    return parse({"format": form, "title": "Title", "keys": KEYS, "roles": ROLES, **more})


CSV = mapping("csv", delimiter=";")
XML = mapping("xml", record="Delivery/Meter")
KEM = parse({"format": "kamstrup", "title": {"flag": "KAM", "number": "SerialNo"}})
PASSWORD = b"customer 42"


def kem(xml: bytes, password: bytes = PASSWORD, pad: bool = True) -> bytes:
    """As a maker's program writes one: AES-CBC, the password with zeros behind for key and IV."""
    count = 16 - len(xml) % 16
    padded = xml + bytes(count - 1) + bytes((count,)) if pad else xml
    key = password.ljust(16, b"\0")
    encryptor = Cipher(AES(key), CBC(key)).encryptor()
    value = base64.b64encode(encryptor.update(padded) + encryptor.finalize())
    return (
        b'<?xml version="1.0"?><EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><CipherData>'
        b"<CipherValue>" + value + b"</CipherValue></CipherData></EncryptedData>"
    )


INNER = (
    b"<MetersInOrder orderid='7'><Meter><MeterNo>1</MeterNo><SerialNo>12345678</SerialNo>"
    b"<DEK>A1B2C3D4E5F60718293A4B5C6D7E8F90</DEK></Meter></MetersInOrder>"
)


def test_csv_by_the_names_of_its_first_line() -> None:
    text = '\ufeffTitle;Key;Note\r\n4D53;AB;"with ; in it"\r\n\r\n 4D54 ;CD;\r\n'
    assert [*rows(CSV, text.encode())] == [
        ("line 2", {"Title": "4D53", "Key": "AB", "Note": "with ; in it"}),
        ("line 4", {"Title": "4D54", "Key": "CD", "Note": ""}),
    ]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "no column"),
        (b"Other;Key\n", "no column"),
        (b"Title;Key;Key\n", "twice"),
        (b"Title;Key\n1\n", "line 2: 1 cells"),
        (b"Title;Key\n1;2;3\n", "line 2: 3 cells"),
        (b'Title;Key\n"open;2\n', "line 2"),
        (b"Title;Key\n\xff;2\n", "UTF-8"),
    ],
)
def test_F20_csv_that_is_none(octets: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        list(rows(CSV, octets))


def test_xml_flat_with_attributes_and_name_spaces() -> None:
    text = (
        b"<x:Delivery xmlns:x='urn:x'><x:Head>no</x:Head>"
        b"<x:Meter id='7'>\n<Title>4D53</Title><Keys kind='e'><Key>A&amp;B</Key></Keys></x:Meter>\n"
        b"<x:Meter><Title>4D54</Title></x:Meter></x:Delivery>"
    )
    assert [*rows(XML, text)] == [
        ("line 1", {"@id": "7", "Title": "4D53", "Keys@kind": "e", "Keys/Key": "A&B"}),
        ("line 3", {"Title": "4D54"}),
    ]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Delivery><Meter><Title>&b;</Title></Meter></Delivery>"""
OUTSIDE = b"""<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delivery><Meter><Title>&a;</Title></Meter></Delivery>"""


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
@pytest.mark.parametrize("wrap", [False, True])
def test_F19_entities_are_refused_with_the_document_type(text: bytes, wrap: bool) -> None:
    with pytest.raises(Malformed, match="document type" if not wrap else "password is not right"):
        list(rows(KEM, kem(text), PASSWORD) if wrap else rows(XML, text))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", Malformed),
        (b"<Delivery>", Malformed),
        (b"<Delivery><Meter><Title>1</Title><Title>2</Title></Meter></Delivery>", Malformed),
        (b"<a>" * 17 + b"</a>" * 17, TooDeep),
        (b"<Delivery><Meter>" + b"".join(b"<c%d>x</c%d>" % (n, n) for n in range(201)), TooLarge),
        (b"<Delivery><Meter><Title>" + b"x" * 9000 + b"</Title></Meter></Delivery>", TooLarge),
    ],
)
def test_F20_xml_out_of_bounds(text: bytes, kind: type[MetersealError]) -> None:
    with pytest.raises(kind):
        list(rows(XML, text))


def test_kem_with_and_without_a_zip_around() -> None:
    wanted = {"MeterNo": "1", "SerialNo": "12345678", "DEK": "A1B2C3D4E5F60718293A4B5C6D7E8F90"}
    assert [row.cells for row in rows(KEM, kem(INNER), PASSWORD)] == [wanted]
    for name in ("order.kem", "ORDER.KEM2", "../../etc/order.kem"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr(name, kem(INNER))
            made.writestr("readme.txt", "hello")
        assert [row.cells for row in rows(KEM, archive.getvalue(), PASSWORD)] == [wanted]


def test_kem_with_another_password_or_none() -> None:
    with pytest.raises(Malformed, match="password is not right"):
        list(rows(KEM, kem(INNER), b"customer 43"))
    with pytest.raises(ConfigurationError, match="say its password"):
        list(rows(KEM, kem(INNER)))
    for password in (b"", b"x" * 17):
        with pytest.raises(ConfigurationError, match="1 to 16"):
            list(rows(KEM, kem(INNER), password))


@pytest.mark.parametrize(
    "octets",
    [
        b"<EncryptedData/>",
        b"<a><CipherData><CipherValue>!!</CipherValue></CipherData></a>",
        b"<a><CipherData><CipherValue>QUJD</CipherValue></CipherData></a>",
        b"<a><CipherData><CipherValue/><CipherValue/></CipherData></a>",
        b"PK\x03\x04 and no more",
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_F20_kem_that_is_none(octets: bytes) -> None:
    with pytest.raises(Malformed):
        list(rows(KEM, octets, PASSWORD))


def test_F20_a_zip_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("bomb.kem", bytes(50_000_000))
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    octets = archive.getvalue()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            list(rows(KEM, octets, PASSWORD))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_F20_more_rows_than_a_file_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    with pytest.raises(TooLarge, match="more than 3"):
        list(rows(CSV, b"Title;Key\n" + b"1;2\n" * 4))
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(TooLarge, match="octets"):
        list(rows(CSV, bytes(11)))


@given(st.binary(max_size=300), st.sampled_from([CSV, XML, KEM]), st.integers(0, 200), st.binary(max_size=4))
def test_F02_any_octets_are_rows_or_a_typed_error(octets: bytes, kind: Mapping, at: int, new: bytes) -> None:
    whole = {"csv": b"Title;Key\n1;2\n", "xml": b"<Delivery><Meter><Title>1</Title></Meter></Delivery>"}
    for given_ in (octets, whole.get(kind.format, kem(INNER))):
        changed = given_[:at] + new + given_[at + len(new) :]
        try:
            list(rows(kind, changed, PASSWORD))
        except MetersealError:
            pass
