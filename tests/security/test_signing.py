"""general-signing at its edges: whom a layer is for, and whom it is taken from (security 6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterseal.apdu.general import GeneralSigning
from meterseal.errors import Forged, MetersealError, Misuse, UnknownKey
from meterseal.keys.exchanges import Exchanges
from meterseal.security import SIGNED, Style, protect, unprotect
from meterseal.security.layers import SIGNING, Layer, check_fields
from meterseal.security.protect import planned
from meterseal.security.signing import (
    check_parties,
    layer_of,
    open_signed,
    recipient_of,
    to_sign,
    usual,
)
from meterseal.security.steps import settle
from tests.security.parties import (
    CLIENT,
    GET,
    LONGER,
    METER,
    STRANGER,
    both,
    ciphering,
    party,
    refused,
    signing,
)


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


@given(st.lists(LONGER, min_size=7, max_size=7), st.booleans())
def test_B14_lengths_that_are_longer_than_needed_are_covered_as_they_came(
    before: list[bytes], content_length: bool
) -> None:
    """All but that of the signature, which nothing covers: the layer is the same however it is written."""
    options = frozenset() if content_length else frozenset({"content_length_signed"})
    client, meter = both(options=options)
    message = GeneralSigning(b"transact", CLIENT, METER, b"", b"", GET, b"")
    parts = [
        longer + bytes((len(value),)) + value for longer, value in zip(before, message[:6], strict=False)
    ]
    signed = b"".join(parts) if content_length else b"".join(parts[:5]) + GET
    signature = client.setup.signing_key().sign(signed)
    sent = b"\xdf" + b"".join(parts) + before[6] + bytes((len(signature),)) + signature
    assert unprotect(meter, sent).apdu == GET
    if any(before[:5]):
        shortest = GeneralSigning.decode(sent).encode()
        refused(both(options=options)[1], shortest, Forged)  # somebody on the way has written them so


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


def octets(*lengths: int) -> st.SearchStrategy[bytes]:
    return st.sampled_from(lengths).flatmap(lambda n: st.binary(min_size=n, max_size=n))


FIELDS = st.tuples(
    octets(8, 8, 8, 0, 7, 9, 64), octets(8, 8, 8, 0, 7), octets(8, 8, 8, 0, 9), octets(0, 0, 0, 12),
    octets(0, 0, 0, 3), octets(0, 1, 13, 127, 128, 300),
)  # fmt: skip
SIGNATURES = octets(0, 64, 96, 127, 128)


def written(fields: Any, signature: bytes) -> GeneralSigning:
    transaction, originator, recipient, date_time, other, content = fields
    return GeneralSigning(transaction, originator, recipient, date_time, other, content, signature)


class Covers:
    """A key that tells what it is given."""

    def sign(self, message: bytes) -> bytes:
        return message


def is_usual(message: GeneralSigning) -> bool:
    transaction, originator, recipient, date_time, other, content, signature = message
    titled = len(transaction) == len(originator) == len(recipient) == 8
    return titled and not date_time + other and len(content) < 128 and len(signature) < 128


@given(FIELDS, SIGNATURES)
def test_the_usual_form_is_taken_apart_as_by_the_declaration(fields: Any, signature: bytes) -> None:
    message = written(fields, signature)
    sent = message.encode()
    layer = layer_of(message)
    expected = layer, message.content, message.signature, message.signed_in(sent)
    assert usual(sent) == (expected if is_usual(message) else None)
    if is_usual(message):
        check_fields(layer)  # which is not asked again


WHOLE = GeneralSigning(b"transact", CLIENT, METER, b"", b"", GET, bytes(64)).encode()


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@example(len(WHOLE) - 65, 0x81)
def test_what_is_not_quite_of_the_usual_form_is_for_the_declaration(at: int, octet: int) -> None:
    """Whatever one octet is changed to, cut off or added: the same fields come out, or it is left alone."""
    changed = WHOLE[:at] + bytes((octet,)) + WHOLE[at + 1 :]
    for sent in (changed, WHOLE[:at], WHOLE + bytes((octet,)), WHOLE[:at] + bytes((octet,)) + WHOLE[at:]):
        found = usual(sent)
        if found is not None:
            message = GeneralSigning.decode(sent)
            expected = layer_of(message), message.content, message.signature
            assert found == (*expected, message.signed_in(sent))


def came_to(meter: Any, sent: bytes) -> Any:
    """What opening it comes to, an error with its words."""
    meter.setup.exchanges = Exchanges()
    try:
        return unprotect(meter, sent)
    except MetersealError as error:
        return type(error), str(error)


@given(st.integers(0, 110), st.integers(0, 255), st.sampled_from([CLIENT, STRANGER]), st.binary(max_size=20))
def test_both_ways_of_reading_come_to_the_same(at: int, octet: int, peer: bytes, apdu: bytes) -> None:
    client, meter = both()
    meter.peer_title = peer
    sent = protect(client, apdu, SIGNED, Style.PLAIN, (signing(),))
    for arriving in (sent, sent[:at] + bytes((octet,)) + sent[at + 1 :]):
        short = came_to(meter, arriving)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("meterseal.security.signing.usual", lambda _: None)
            assert came_to(meter, arriving) == short


@given(FIELDS, st.booleans())
def test_what_is_to_be_signed_is_what_the_declaration_writes(fields: Any, usually: bool) -> None:
    client: Any = both()[0]
    transaction, own, recipient, date_time, other, content = fields
    client.setup.own_title, client.setup.signing, client.peer_title = own, Covers(), recipient
    client.options = frozenset() if usually else frozenset({"content_length_signed"})
    layer = Layer(SIGNING, b"", b"", transaction, date_time=date_time, other_information=other)
    begun, job = to_sign(client, layer, content)
    message = written(fields, b"")
    assert (begun + b"\0", job()) == (message.encode(), message.signed(content_length=usually))
