"""The published vectors, each as far as a key handle reaches: ciphering, HLS answers, key wrap."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from meterseal.codec.data import Data
from meterseal.crypto import GcmKey, WrappingKey, hls_md5, hls_sha1, hls_sha256, same
from meterseal.errors import Forged
from tests.vectors import HERE, load, vector

Row = dict[str, Any]
ORIGINS = {"standard", "standard-erratum", "implementation-test", "capture", "derived"}
CUT_TAG_IDS = {"gb41-general-ciphering-1e1s", "gbC3-general-ciphering-0e2s"}
"""Their printed tag does not follow from public facts; their ciphertext does."""


def octets(row: Row, name: str) -> bytes:
    return bytes.fromhex(row["inputs"].get(name, ""))


def ids(row: Row) -> str:
    return f"{row['origin']}-{row['id']}"


def split(apdu: bytes, pos: int) -> tuple[bytes, int]:
    """The octets behind a length at `pos`, and where they end."""
    length, pos = apdu[pos], pos + 1
    if length & 0x80:
        width = length & 0x7F
        length, pos = int.from_bytes(apdu[pos : pos + width], "big"), pos + width
    assert pos + length <= len(apdu)
    return apdu[pos : pos + length], pos + length


def content(row: Row) -> tuple[bytes, bytes]:
    """Originator title and SC || IC || body of a service-specific or general-glo/ded APDU."""
    apdu, title, pos = octets(row, "apdu"), octets(row, "system_title"), 1
    if apdu[0] in (0xDB, 0xDC):
        carried, pos = split(apdu, 1)
        title = carried or title
    inside, end = split(apdu, pos)
    assert end == len(apdu)
    return title, inside


@pytest.mark.parametrize("row", load("protect"), ids=ids)
def test_protect(row: Row) -> None:
    key = GcmKey(octets(row, "ek"), octets(row, "ak"))
    sc, ic = octets(row, "sc")[0], octets(row, "ic")
    body = key.seal(sc, octets(row, "system_title") + ic, octets(row, "plaintext"))
    apdu = bytes.fromhex(row["expected"]["apdu"])
    inside = bytes((sc,)) + ic + body
    assert apdu.endswith(bytes((len(inside),)) + inside)
    assert key.open(sc, octets(row, "system_title") + ic, body) == octets(row, "plaintext")


@pytest.mark.parametrize("row", load("unprotect"), ids=ids)
def test_unprotect(row: Row) -> None:
    title, inside = content(row)
    key = GcmKey(octets(row, "ek"), octets(row, "ak"))
    plain = key.open(inside[0], title + inside[1:5], inside[5:])
    assert plain == bytes.fromhex(row["expected"]["plaintext"])
    assert key.seal(inside[0], title + inside[1:5], plain) == inside[5:]


@pytest.mark.parametrize("row", load("general_ciphering"), ids=ids)
def test_general_ciphering(row: Row) -> None:
    apdu = octets(row, "apdu")
    pos = 1
    fields = []
    for _ in range(5):
        field, pos = split(apdu, pos)
        fields.append(field)
    header = apdu[1:pos]
    inside, end = split(apdu[-skip_key_info(apdu, pos) :], 0)
    assert end == skip_key_info(apdu, pos)
    title = octets(row, "system_title") or fields[1]
    key = GcmKey(octets(row, "ek"), octets(row, "ak"))
    sc, iv, body = inside[0], title + inside[1:5], inside[5:]
    plain = bytes.fromhex(row["expected"]["plaintext"])
    if row["id"] in CUT_TAG_IDS:
        assert not row["verified"]
        assert key.seal(sc, iv, plain, header)[:-12] == body[:-12]
        with pytest.raises(Forged):
            key.open(sc, iv, body, header)
        return
    assert row["verified"]
    assert key.open(sc, iv, body, header) == plain
    assert key.seal(sc, iv, plain, header) == body
    with pytest.raises(Forged):
        key.open(sc, iv, body, header + b"\0")


def skip_key_info(apdu: bytes, pos: int) -> int:
    """How many octets stand behind the optional key-info at `pos`."""
    if apdu[pos] == 0:
        return len(apdu) - pos - 1
    choice, pos = apdu[pos + 1], pos + 2
    if choice == 0:
        return len(apdu) - pos - 1
    if choice == 1:
        pos += 1
    else:
        pos = split(apdu, pos)[1]
    return len(apdu) - split(apdu, pos)[1]


@pytest.mark.parametrize("row", load("gcm_raw"), ids=ids)
def test_gcm_raw(row: Row) -> None:
    aad, plain, iv = octets(row, "aad"), octets(row, "plaintext"), octets(row, "iv")
    expected_tag = bytes.fromhex(row["expected"]["tag"])[:12]
    # With no AK in use the additional data is SC || header, which says any additional data that
    # starts with such an SC.
    key = GcmKey(octets(row, "key"))
    if not row["verified"]:  # a training hand-out: neither half of it is AES-GCM
        body = key.seal(0x20, iv, plain)
        assert not body.startswith(bytes.fromhex(row["expected"]["ciphertext"]))
        return
    sealed = key.seal(aad[0], iv, plain, aad[1:]) if plain else key.tag(aad[0], iv, aad[1:])
    assert sealed == bytes.fromhex(row["expected"].get("ciphertext", "")) + expected_tag


@pytest.mark.parametrize("row", load("hls_gmac"), ids=ids)
def test_hls_gmac(row: Row) -> None:
    key = GcmKey(octets(row, "ek"), octets(row, "ak"))
    sc, ic = octets(row, "sc"), octets(row, "ic")
    token = key.tag(sc[0], octets(row, "system_title") + ic, octets(row, "challenge"))
    assert sc + ic + token == bytes.fromhex(row["expected"]["f"])
    sealed = key.seal(sc[0], octets(row, "system_title") + ic, octets(row, "challenge"))
    assert sealed == octets(row, "challenge") + token


@pytest.mark.parametrize("row", load("hls_hash"), ids=ids)
def test_hls_hash(row: Row) -> None:
    secret, ctos, stoc = (octets(row, name) for name in ("secret", "ctos", "stoc"))
    client, server = octets(row, "st_c"), octets(row, "st_s")
    answers = {
        3: (hls_md5(stoc, secret), hls_md5(ctos, secret)),
        4: (hls_sha1(stoc, secret), hls_sha1(ctos, secret)),
        6: (hls_sha256(secret, client, server, stoc, ctos), hls_sha256(secret, server, client, ctos, stoc)),
    }[row["inputs"]["mechanism"]]
    assert answers == tuple(bytes.fromhex(row["expected"][name]) for name in ("pass3", "pass4"))


@pytest.mark.parametrize("row", load("keywrap"), ids=ids)
def test_keywrap(row: Row) -> None:
    kek = WrappingKey(octets(row, "kek"))
    wrapped = bytes.fromhex(row["expected"]["wrapped"])
    assert kek.wrap(octets(row, "key")) == wrapped
    assert same(kek.unwrap(wrapped), octets(row, "key"))


@pytest.mark.parametrize("row", load("data_protection"), ids=ids)
def test_data_protection(row: Row) -> None:
    """Class 30: protected data behind its parameters, under the agreed key; SC alone is additional data."""
    assert row["inputs"]["aad_header"] is False
    data, expected = octets(row, "data"), row["expected"]
    (((_, (transaction, originator, recipient, *_)),), blob) = Data.decode(data).value
    assert [one.hex().upper() for one in (transaction, originator, recipient)] == [
        expected["transaction_id"], expected["originator"], expected["recipient"]
    ]  # fmt: skip
    key, iv = GcmKey(octets(row, "ek"), octets(row, "ak")), originator + blob[1:5]
    plain = bytes.fromhex(expected["plaintext"])
    assert key.open(blob[0], iv, blob[5:]) == plain
    assert key.seal(blob[0], iv, plain) == blob[5:]
    with pytest.raises(Forged):  # with the header it does not fit
        key.open(blob[0], iv, blob[5:], bytes((len(transaction),)) + transaction)


def test_a_field_capture_opens_by_encryption_alone() -> None:
    row = vector("tirol-push")
    key = GcmKey(octets(row, "ek"))
    # The first M-Bus frame: header 9, DB 08 title(8) 82 len(2), then SC IC body; checksum 2.
    first, second = (bytes.fromhex(frame) for frame in row["inputs"]["frames"])
    general = first[9:-2] + second[9:-2]
    title, pos = split(general, 1)
    inside, _ = split(general, pos)
    assert key.open(inside[0], title + inside[1:5], inside[5:]).hex().upper() == row["expected"]["plaintext"]


def test_the_files_are_the_published_ones() -> None:
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^([0-9a-f]{64})  (\S+)$", readme, re.MULTILINE)
    assert len(named) == 7
    for digest, name in named:
        assert hashlib.sha256((HERE / name).read_bytes()).hexdigest() == digest
    for row in load():
        assert row["source"]
        assert row["origin"] in ORIGINS
    unverified = [row["id"] for row in load() if not row["verified"]]
    assert unverified == [*sorted(CUT_TAG_IDS), "scribd-handout-gcm"]
    with pytest.raises(KeyError):
        load("no-such-kind")
