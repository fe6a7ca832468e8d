"""Layers as commands show them in JSON."""

from __future__ import annotations

import pytest

from meterseal.apdu.ciphered import parse
from meterseal.framing.items import Layer as Frame
from meterseal.security import Style, protect, unprotect
from meterseal.security.describe import (
    ciphered_layer,
    framing_layer,
    party_fields,
    party_layers,
    signed_layer,
)
from meterseal.security.layers import SIGNING, Layer
from tests.security.parties import ALL, CLIENT, CURVES, METER, TRANSACTION, both, by, party

GET = bytes.fromhex("C001C100080000010000FF0200")


def test_framing_has_the_fields_of_its_header() -> None:
    assert framing_layer(Frame("wrapper", {"source": 16, "destination": 1})) == {
        "kind": "wrapper",
        "source": 16,
        "destination": 1,
    }
    assert framing_layer(Frame("p1", {"checked": True})) == {"kind": "p1-telegram", "checked": True}


@pytest.mark.parametrize("verified", [True, False, None])
@pytest.mark.parametrize(
    ("applied", "style", "title", "kind"),
    [
        (3, Style.GLO, None, "glo-get-request"),
        (1, Style.GENERAL_GLO, CLIENT, "general-glo-ciphering"),
        (2, Style.GENERAL_GLO, CLIENT, "general-glo-ciphering"),
    ],
)
def test_a_ciphered_layer_says_what_protects(
    applied: int, style: Style, title: bytes | None, kind: str, verified: bool | None
) -> None:
    message = parse(protect(party(CLIENT, METER, 2), GET, applied, style))
    assert ciphered_layer(message, title, verified) == {
        "kind": kind,
        "suite": 2,
        "authenticated": bool(applied & 1),
        "encrypted": bool(applied & 2),
        "signed": False,
        "compressed": False,
        "broadcast": False,
        "system_title": "4D534C4845533031" if title else None,
        "invocation_counter": 100,
        "verified": verified,
    }


@pytest.mark.parametrize(("bit", "field"), [(0x40, "broadcast"), (0x80, "compressed")])
def test_the_other_bits_of_the_security_control(bit: int, field: str) -> None:
    message = parse(protect(party(CLIENT, METER), GET, 3, Style.GENERAL_GLO))
    shown = ciphered_layer(message._replace(sc=message.sc | bit), None, None)
    assert {name for name in ("broadcast", "compressed") if shown[name]} == {field}
    assert (shown["suite"], shown["authenticated"], shown["encrypted"]) == (1, True, True)


@pytest.mark.parametrize(("length", "suite"), [(64, 1), (96, 2), (65, None), (0, None)])
def test_a_signed_layer_is_known_by_the_length_of_its_signature(length: int, suite: int | None) -> None:
    assert signed_layer(Layer(SIGNING, CLIENT, METER, TRANSACTION), length, True) == {
        "kind": "general-signing",
        "suite": suite,
        "authenticated": False,
        "encrypted": False,
        "signed": True,
        "compressed": False,
        "broadcast": False,
        "system_title": "4D534C4845533031",
        "invocation_counter": None,
        "verified": True,
        "recipient": "4D534C3030303031",
        "transaction_id": "0102030405060708",
    }


def test_parties_may_be_left_out() -> None:
    assert party_fields(Layer(SIGNING, b"", b"", b"")) == {"recipient": "", "transaction_id": ""}
    assert party_fields(Layer(SIGNING, b"", b"\xab", b"\xcd")) == {"recipient": "AB", "transaction_id": "CD"}


@pytest.mark.parametrize("suite_id", CURVES)
def test_verified_layers_from_the_outside_in(suite_id: int) -> None:
    client, meter = both(suite_id)
    opened = unprotect(meter, by(client, "identified", ALL))
    outer, inner = party_layers(opened.layers, meter.setup.suite, opened.counter)
    parties = {"system_title": "4D534C4845533031", "recipient": "4D534C3030303031", "verified": True}
    assert outer | parties == outer and inner | parties == inner
    assert outer["transaction_id"] == inner["transaction_id"] == "0102030405060708"
    assert (outer["kind"], outer["suite"], outer["signed"]) == ("general-ciphering", suite_id, False)
    assert (outer["authenticated"], outer["encrypted"], outer["invocation_counter"]) == (True, True, 100)
    assert (inner["kind"], inner["suite"], inner["signed"]) == ("general-signing", suite_id, True)
    assert inner["invocation_counter"] is None
