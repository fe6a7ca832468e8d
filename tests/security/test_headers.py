"""Security headers that say what cannot be: refused by their shape, before any key is asked."""

from __future__ import annotations

import pytest

from meterseal.apdu.general import GeneralCiphering
from meterseal.errors import Malformed, MetersealError, TooWeak, UnknownKey, Unsupported
from meterseal.security import AUTHENTICATED, Style, protect, unprotect
from meterseal.security.layers import CIPHERING, Layer
from meterseal.security.signing import check_parties
from tests.security.parties import (
    BOTH,
    CLIENT,
    GET,
    METER,
    MIRRORED,
    STRANGER,
    both,
    by,
    ciphering,
    floors,
    refused,
)

EMPTY = GeneralCiphering(b"", b"", b"", b"", b"", None, b"")
OPTION = frozenset({"empty_header_fields"})


@pytest.mark.parametrize("length", range(5))
def test_B02_content_without_room_for_its_header(length: int) -> None:
    client, meter = both()
    message = GeneralCiphering.decode(by(client, "identified"))
    short = message.replace(ciphered_content=message.ciphered_content[:length]).encode()
    with pytest.raises(Malformed, match=f"content of {length} octets has no security header"):
        unprotect(meter, short)
    refused(meter, short, Malformed)


@pytest.mark.parametrize("sc", [0x31, 0x21, 0x01])
def test_empty_fields_are_for_what_is_authenticated_only(sc: int) -> None:
    """They take who it is from out of the signed APDU inside: it has to be there to be read, and whole."""
    _, meter = both(options=OPTION)
    message = EMPTY.replace(ciphered_content=bytes((sc,)) + bytes(40)).encode()
    with pytest.raises(Unsupported, match=r"with empty fields is .*: nothing says whose"):
        unprotect(meter, message)
    refused(meter, message, Unsupported)


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO])
@pytest.mark.parametrize(
    ("sc", "error", "text"),
    [
        (0x01, TooWeak, "01 says neither authenticated nor encrypted"),
        (0x30, UnknownKey, "30 names suite 0, not 1"),
        (0x3F, UnknownKey, "3F names suite 15, not 1"),
        (0xB1, Malformed, "B1: compression is"),
    ],
)
def test_a_security_control_that_cannot_be(
    style: Style, sc: int, error: type[MetersealError], text: str
) -> None:
    client, meter = both()
    sent = bytearray(protect(client, GET, BOTH, style))
    at = 2 if style is Style.GLO else 11
    assert sent[at] == 0x31
    sent[at] = sc
    before = floors(meter)
    with pytest.raises(error, match=f"security control {text}"):
        unprotect(meter, bytes(sent))
    assert floors(meter) == before


@pytest.mark.parametrize(
    ("style", "text"), [(Style.GLO, "glo-get-request"), (Style.GENERAL_GLO, "general-glo-ciphering")]
)
def test_less_than_the_least_is_named(style: Style, text: str) -> None:
    client, meter = both(minimum=AUTHENTICATED)
    sent = protect(client, GET, 2, style)
    with pytest.raises(TooWeak, match=f"{text} is only encrypted: its contents cannot be trusted"):
        unprotect(meter, sent)
    assert unprotect(meter, protect(client, GET, AUTHENTICATED, style)).applied == AUTHENTICATED


@pytest.mark.parametrize(
    ("sc", "error", "text"),
    [
        (0x30, UnknownKey, "30 names suite 0, not 1"),
        (0x32, UnknownKey, "32 names suite 2, not 1"),
        (0x71, Malformed, "71: in general-ciphering key-info says which key it is"),
        (0xB1, Malformed, "B1: compression is off"),
    ],
)
def test_a_security_control_that_cannot_be_in_a_layer(
    sc: int, error: type[MetersealError], text: str
) -> None:
    client, meter = both()
    for form in MIRRORED:
        message = GeneralCiphering.decode(by(client, form))
        changed = message.replace(ciphered_content=bytes((sc,)) + message.ciphered_content[1:])
        before = floors(meter)
        with pytest.raises(error, match=f"security control {text}"):
            unprotect(meter, changed.encode())
        assert floors(meter) == before
        assert unprotect(meter, message.encode()).apdu == GET


def test_a_layer_without_protection_has_a_header_of_zeros() -> None:
    """As an answer may have it: the counter says nothing, and none is used up."""
    client, meter = both()
    left = client.setup.key().tx.left
    sent = protect(client, GET, 0, Style.LAYERED, (ciphering("identified"),))
    content = GeneralCiphering.decode(sent).ciphered_content
    assert content == bytes.fromhex("0100000000") + GET
    opened = unprotect(meter, sent)
    assert (opened.apdu, opened.applied, opened.counter) == (GET, 0, 0)
    assert client.setup.key().tx.left == left


@pytest.mark.parametrize(
    ("originator", "recipient", "for_all", "text"),
    [
        (CLIENT, METER, False, ""),
        (CLIENT, METER, True, ""),
        (CLIENT, b"", True, ""),
        (CLIENT, b"", False, "not for this end"),
        (CLIENT, STRANGER, True, "is for 4D534C4845533032, not for this end"),
        (STRANGER, METER, True, "of 4D534C4845533032, who is not this association's peer"),
        (b"", METER, False, "not this association's peer"),
        (METER, METER, False, "this end's own system title"),
    ],
)
def test_B14_whose_a_layer_is_and_whom_it_is_for(
    originator: bytes, recipient: bytes, for_all: bool, text: str
) -> None:
    """To everybody goes only what is under the key that everybody has."""
    _, meter = both()
    layer = Layer(CIPHERING, originator, recipient, b"", "identified")
    if not text:
        check_parties(meter, layer, for_all=for_all)
        return
    with pytest.raises(UnknownKey, match=text):
        check_parties(meter, layer, for_all=for_all)
    if not for_all:
        with pytest.raises(UnknownKey, match=text):
            check_parties(meter, layer)
