"""general-ciphering and general-signing: the published layers, and which octets tag and signature cover."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu.general import (
    AgreedKey,
    GeneralCiphering,
    GeneralSigning,
    IdentifiedKey,
    WrappedKey,
)
from meterseal.crypto import GcmKey, VerifyingKey, curve
from meterseal.errors import DecodeError, Forged, Malformed, Truncated
from tests.mutate import hammer, truncations
from tests.vectors import load, vector

CIPHERED, SIGNED = load("general_ciphering"), load("general_signing")
KEY_INFO = {0: IdentifiedKey, 1: WrappedKey, 2: AgreedKey}


def octets(row: dict[str, Any], name: str, part: str = "inputs") -> bytes:
    return bytes.fromhex(row[part][name])


def ids(row: dict[str, Any]) -> str:
    return f"{row['origin']}-{row['id']}"


@pytest.mark.parametrize("row", CIPHERED, ids=ids)
def test_ciphered_vectors(row: dict[str, Any]) -> None:
    apdu = octets(row, "apdu")
    layer = GeneralCiphering.decode(apdu)
    assert layer.encode() == apdu
    expected = row["expected"]
    assert layer.transaction_id == bytes.fromhex(expected["transaction_id"])
    assert layer.originator_system_title == bytes.fromhex(expected["originator"])
    assert layer.recipient_system_title == bytes.fromhex(expected["recipient"])
    if "key_info_choice" in expected:
        assert type(layer.key_info) is KEY_INFO[expected["key_info_choice"]]
    if "key_parameters" in expected:
        assert isinstance(layer.key_info, AgreedKey)
        assert layer.key_info.key_parameters == bytes.fromhex(expected["key_parameters"])
    content = layer.ciphered_content
    sc, counter, body = content[0], content[1:5], content[5:]
    title = layer.originator_system_title or octets(row, "system_title")
    key = GcmKey(octets(row, "ek"), octets(row, "ak"))
    if row["verified"]:
        assert key.open(sc, title + counter, body, layer.header()) == octets(row, "plaintext", "expected")
    else:  # its printed tag follows from nothing public; its ciphertext does
        assert key.open(0x21, title + counter, body[:-12]) == octets(row, "plaintext", "expected")
        with pytest.raises(Forged):
            key.open(sc, title + counter, body, layer.header())


@pytest.mark.parametrize("row", [r for r in CIPHERED if "originator_sign_public" in r["inputs"]], ids=ids)
def test_the_ephemeral_key_is_signed(row: dict[str, Any]) -> None:
    info = GeneralCiphering.decode(octets(row, "apdu")).key_info
    assert isinstance(info, AgreedKey)
    on = curve(row["inputs"]["curve"])
    point, signature = info.key_ciphered_data[: 2 * on.width], info.key_ciphered_data[2 * on.width :]
    VerifyingKey(on, octets(row, "originator_sign_public")).verify(signature, point)


@pytest.mark.parametrize("row", SIGNED, ids=ids)
def test_signed_vectors(row: dict[str, Any]) -> None:
    apdu = octets(row, "apdu")
    layer = GeneralSigning.decode(apdu)
    assert layer.encode() == apdu
    assert layer.content == octets(row, "content", "expected")
    assert layer.signed() == apdu[1 : -len(layer.signature) - 1]
    key = VerifyingKey(curve(row["inputs"]["curve"]), octets(row, "public"))
    key.verify(layer.signature, layer.signed())
    with pytest.raises(Forged):
        key.verify(layer.signature, layer.signed(content_length=False))


def test_B14_every_header_field_is_covered() -> None:
    apdu = octets(vector("derived-general-ciphering-identified-guek"), "apdu")
    layer = GeneralCiphering.decode(apdu)
    before = layer.header()
    for field in ("transaction_id", "originator_system_title", "recipient_system_title"):
        assert layer.replace(**{field: b""}).header() != before
    for field in ("date_time", "other_information"):
        assert layer.replace(**{field: bytes(12)}).header() != before
    assert layer.replace(key_info=None).header() == before


@pytest.mark.parametrize("choice", [3, 4, 0x7F, 0xFF])
def test_B15_unknown_choice_of_key_info(choice: int) -> None:
    apdu = octets(vector("derived-general-ciphering-identified-guek"), "apdu")
    at = 1 + len(GeneralCiphering.decode(apdu).header()) + 1
    with pytest.raises(Malformed):
        GeneralCiphering.decode(apdu[:at] + bytes((choice,)) + apdu[at + 1 :])


SEEDS = [octets(row, "apdu") for row in (*CIPHERED, *SIGNED)]


def decode(apdu: bytes) -> object:
    return (GeneralSigning if apdu[:1] == b"\xdf" else GeneralCiphering).decode(apdu)


def test_F01_every_truncation() -> None:
    for _, cut in truncations(SEEDS):
        with pytest.raises(DecodeError) as caught:
            decode(cut)
        assert len(cut) < 2 or isinstance(caught.value, Truncated)


@pytest.mark.slow
def test_F02_mutations() -> None:
    assert set(hammer(decode, SEEDS)) == {"value", "malformed", "truncated"}
