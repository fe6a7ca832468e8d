"""general-signing at its edges: whom a layer is for, and whom it is taken from (security 6)."""

from __future__ import annotations

import pytest

from meterseal.apdu.general import GeneralSigning
from meterseal.errors import Forged, Misuse, UnknownKey
from meterseal.security import SIGNED, Style, protect
from meterseal.security.layers import SIGNING, Layer
from meterseal.security.protect import planned
from meterseal.security.signing import check_parties, open_signed, recipient_of
from meterseal.security.steps import settle
from tests.security.parties import CLIENT, GET, METER, STRANGER, both, ciphering, party, signing


def to_nobody() -> bytes:
    """Signed by the client, and for nobody by name: for everybody."""
    client, _ = both()
    key = client.setup.signing_key()
    message = GeneralSigning(b"1", CLIENT, b"", b"", b"", GET, b"")
    return message.replace(signature=key.sign(message.signed(content_length=True))).encode()


def test_B18_a_layer_for_nobody_is_taken_in_a_broadcast_alone() -> None:
    _, meter = both()
    with pytest.raises(UnknownKey, match="is for nobody, not for this end"):
        settle(open_signed(meter, to_nobody()))
    content, layer = settle(open_signed(meter, to_nobody(), for_all=True))
    assert (content, layer.originator, layer.recipient) == (GET, CLIENT, b"")


@pytest.mark.parametrize("for_all", [False, True])
@pytest.mark.parametrize(
    ("originator", "recipient", "text"),
    [
        (METER, METER, "own system title"),
        (STRANGER, METER, "of 4D534C4845533032, who is not"),
        (b"", METER, "of nobody, who is not"),
        (CLIENT, STRANGER, "for 4D534C4845533032, not for"),
    ],
)
def test_B14_B18_from_the_peer_to_this_end(
    originator: bytes, recipient: bytes, text: str, for_all: bool
) -> None:
    with pytest.raises(UnknownKey, match=text):
        check_parties(both()[1], Layer(SIGNING, originator, recipient), for_all=for_all)


def test_B14_nobody_is_the_peer_before_its_title_is_known() -> None:
    meter = party(METER, CLIENT)
    meter.peer_title = None
    with pytest.raises(UnknownKey):
        check_parties(meter, Layer(SIGNING, CLIENT, METER))
    meter.peer_title = b""
    with pytest.raises(UnknownKey):
        check_parties(meter, Layer(SIGNING, b"", METER))


def test_a_layer_is_for_whom_it_names_else_for_the_peer() -> None:
    client, _ = both()
    assert recipient_of(client, Layer(SIGNING, b"", b"")) == METER
    assert recipient_of(client, Layer(SIGNING, b"", STRANGER)) == STRANGER
    client.peer_title = None
    assert recipient_of(client, Layer(SIGNING, b"", STRANGER)) == STRANGER
    with pytest.raises(Misuse, match="for nobody"):
        recipient_of(client, Layer(SIGNING, b"", b""))


def test_what_is_planned_is_one_layer_of_each_kind_from_the_outside_in() -> None:
    """A signed layer that nobody began is of the exchange of the ciphered one around it."""
    outer, inner = ciphering(transaction=b"outer"), signing(b"inner")
    begun = Layer(SIGNING, b"", b"", b"outer")
    for applied, layers, expected in (
        (0, (), ()),
        (3, (outer,), (outer,)),
        (3, (outer, inner), (outer,)),
        (SIGNED, (), (Layer(SIGNING, b"", b""),)),
        (SIGNED, (inner,), (inner,)),
        (SIGNED | 3, (outer, inner), (outer, inner)),
        (SIGNED | 3, (outer,), (outer, begun)),
    ):
        assert planned(applied, layers) == expected


def test_each_field_of_a_signed_layer_is_what_the_signature_covers() -> None:
    client, meter = both()
    layer = Layer(SIGNING, b"", METER, b"number", date_time=bytes(12), other_information=b"more")
    sent = GeneralSigning.decode(protect(client, GET, SIGNED, Style.PLAIN, (layer,)))
    assert sent[:6] == (b"number", CLIENT, METER, bytes(12), b"more", GET)
    _, found = settle(open_signed(meter, sent.encode()))
    assert found == layer._replace(originator=CLIENT)
    for field, value in (
        ("transaction_id", b"numbes"),
        ("date_time", b""),
        ("other_information", b""),
        ("content", GET[:-1] + b"\1"),
    ):
        with pytest.raises(Forged):
            settle(open_signed(meter, sent.replace(**{field: value}).encode()))
