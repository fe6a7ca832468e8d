"""The published layers through `unprotect`: keys agreed on, ephemeral keys and signatures verified."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.crypto import AgreementKey, AgreementPoint, GcmKey, VerifyingKey, curve, suite
from meterseal.errors import Forged, Malformed, Replayed, UnknownKey
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Context, KeyInUse, SecuritySetup, unprotect
from meterseal.security.directory import KnownKeys
from meterseal.security.layers import CIPHERING, SIGNING
from tests.vectors import load, vector

Row = dict[str, Any]
CLIENT, SERVER = bytes.fromhex("4D4D4D0000BC614E"), bytes.fromhex("4D4D4D0000000001")
BROKER, DEVICE = bytes.fromhex("123456789ABCDEF0"), bytes.fromhex("FFFFFFFFFFFFFFFE")
P256 = curve("P-256")
GBCS = frozenset({"algorithm_id", "ak_in_use", "empty_header_fields", "fresh_key_any_counter"})

CIPHERED = {row["id"]: row for row in load("general_ciphering")}
STATIC_CLIENT = vector("gbC3-0e2s-ecdh")["inputs"]
SERVER_AGREES = vector("gbC2-1e1s-ecdh-request-v")["inputs"]["private"]
CLIENT_SIGNS = vector("gbC2-1e1s-sign-request")["inputs"]["public"]


def octets(row: Row, name: str) -> bytes:
    return bytes.fromhex(row["inputs"][name])


def reader(row: Row, *, peer: bytes = CLIENT, own: bytes = SERVER, suite_id: int = 1) -> Context:
    """The recipient of a vector: global keys of its own, and what the sheet prints of the curve keys."""
    known = KnownKeys()
    known.signing[CLIENT] = VerifyingKey(P256, bytes.fromhex(CLIENT_SIGNS))
    known.agreement[CLIENT] = AgreementPoint(P256, bytes.fromhex(STATIC_CLIENT["public"]))
    identified = row["expected"].get("key_info_choice", 0) == 0
    ek = octets(row, "ek") if identified else b"another key here"
    setup = SecuritySetup(suite(suite_id), own, peer)
    setup.unicast = KeyInUse(GcmKey(ek, octets(row, "ak")), SendCounter(1, 9), ReceiveCounter())
    setup.agreement = AgreementKey(P256, bytes.fromhex(SERVER_AGREES))
    setup.directory = known
    return Context(setup, peer, general=True, serving=True)


OPENED = ("derived-general-ciphering-1e1s", "derived-general-ciphering-0e2s",
          "derived-general-ciphering-identified-guek", "derived-general-ciphering-auth-only",
          "derived-general-ciphering-no-key-info")  # fmt: skip
PRINTED = ("gb41-general-ciphering-1e1s", "gbC3-general-ciphering-0e2s")


def test_every_vector_has_its_test() -> None:
    assert set(CIPHERED) == {*OPENED, *PRINTED, "gbcs184-mac"}
    assert {row["id"] for row in load("general_signing")} == {
        "derived-general-signing-length-signed", "gbcs184-signed"
    }  # fmt: skip


def suite_of(id: str) -> int:
    return 1 if "e1s" in id or "e2s" in id else 0


@pytest.mark.parametrize("id", OPENED)
def test_general_ciphering(id: str) -> None:
    row = CIPHERED[id]
    context = reader(row, suite_id=suite_of(id))
    opened = unprotect(context, octets(row, "apdu"))
    assert opened.apdu.hex().upper() == row["expected"]["plaintext"]
    assert opened.applied == (AUTHENTICATED if "auth-only" in id else AUTHENTICATED | ENCRYPTED)
    (layer,) = opened.layers
    assert (layer.kind, layer.originator, layer.recipient) == (CIPHERING, CLIENT, SERVER)
    assert layer.transaction_id.hex() == row["expected"]["transaction_id"]
    with pytest.raises(Replayed):
        unprotect(context, octets(row, "apdu"))


@pytest.mark.parametrize("id", PRINTED)
def test_the_printed_tags_of_the_green_book_are_no_tags(id: str) -> None:
    """Structure, signature and agreed key hold; the tag does not, and nothing leaves."""
    context = reader(CIPHERED[id])
    with pytest.raises(Forged, match="tag does not verify"):
        unprotect(context, octets(CIPHERED[id], "apdu"))
    assert context.setup.fresh.rx.lowest == 0


def device(*options: str) -> Context:
    ecdh, signed = vector("gbcs184-ecdh")["inputs"], vector("gbcs184-signed")["inputs"]
    known = KnownKeys()
    known.signing[BROKER] = VerifyingKey(P256, bytes.fromhex(signed["public"]))
    known.agreement[BROKER] = AgreementPoint(P256, bytes.fromhex(ecdh["peer_public"]))
    setup = SecuritySetup(suite(1), DEVICE, BROKER, directory=known)
    setup.agreement = AgreementKey(P256, bytes.fromhex(ecdh["private"]))
    return Context(setup, BROKER, general=True, serving=True, options=frozenset(options))


def test_gbcs_signed() -> None:
    row = vector("gbcs184-signed")
    opened = unprotect(device(), octets(row, "apdu"))
    assert opened.apdu.hex().upper() == row["expected"]["content"]
    assert (opened.applied, opened.origin, opened.layers[0].kind) == (SIGNED, BROKER, SIGNING)
    with pytest.raises(Forged):
        unprotect(device("content_length_signed"), octets(row, "apdu"))


def test_gbcs_mac_around_signed() -> None:
    row = vector("gbcs184-mac")
    context = device(*GBCS)
    opened = unprotect(context, octets(row, "apdu"))
    assert opened.apdu.hex().upper() == vector("gbcs184-signed")["expected"]["content"]
    assert opened.applied == AUTHENTICATED | SIGNED
    assert [layer.kind for layer in opened.layers] == [CIPHERING, SIGNING]
    assert opened.layers[0].form == "bare"
    with pytest.raises(Replayed):
        unprotect(context, octets(row, "apdu"))


@pytest.mark.parametrize(
    ("left_out", "error"),
    [("algorithm_id", Forged), ("empty_header_fields", UnknownKey), ("ak_in_use", UnknownKey)],
)
def test_gbcs_needs_each_of_its_options(left_out: str, error: type[Exception]) -> None:
    context = device(*GBCS - {left_out})
    with pytest.raises(error):
        unprotect(context, octets(vector("gbcs184-mac"), "apdu"))
    assert len(context.setup.exchanges) == 0


def test_derived_signing() -> None:
    row = vector("derived-general-signing-length-signed")
    context = reader(CIPHERED["derived-general-ciphering-1e1s"])
    opened = unprotect(context, octets(row, "apdu"))
    assert opened.apdu.hex().upper() == row["expected"]["content"]
    with pytest.raises(Replayed):
        unprotect(context, octets(row, "apdu"))


def test_no_octet_after_a_layer() -> None:
    for row in CIPHERED.values():
        with pytest.raises((Malformed, UnknownKey)):
            unprotect(reader(row), octets(row, "apdu") + b"\0")
