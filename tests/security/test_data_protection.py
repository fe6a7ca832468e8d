"""Values in layers of their own (class 30): there and back, the published capture, and what is off."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data as codec
from meterseal.crypto import AgreementKey, AgreementPoint, curve, suite
from meterseal.crypto.v44 import PACKET
from meterseal.errors import Forged, Malformed, MetersealError, Replayed, TooWeak, UnknownKey
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Context, SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.data_protection import (
    answered,
    between,
    binding,
    bound_elsewhere,
    counted,
    protecting_data,
    unprotecting_data,
)
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value, read_elements
from meterseal.security.steps import settle
from tests.security.parties import BOTH, CLIENT, METER, SIGN, STRANGER, TRANSACTION, both, floors
from tests.vectors import vector

PLAIN = bytes.fromhex("0201060000002A")
P256 = curve("P-256")


def parameters(
    form: str = "static", applied: int = BOTH, *, signed: bool = False, **fields: Any
) -> tuple[Element, ...]:
    layer = Layer(CIPHERING, CLIENT, METER, TRANSACTION, form)._replace(**fields)
    cipher = Element(applied, layer)
    if not signed:
        return (cipher,)
    return Element(SIGNED, layer._replace(kind=SIGNING, form="")), cipher


def made(
    context: Context, elements: tuple[Element, ...], plain: bytes = PLAIN
) -> tuple[tuple[Element, ...], bytes]:
    return settle(protecting_data(between(context), elements, plain))


def opened(context: Context, elements: tuple[Element, ...], octets: bytes) -> Any:
    return settle(unprotecting_data(between(context), elements, octets))


FORMS = [
    (0, "identified"),
    (0, "wrapped"),
    *((s, f) for s in (1, 2) for f in ("identified", "wrapped", "one-pass", "static")),
]


@pytest.mark.parametrize("option", ["header", "sc-only"])
@pytest.mark.parametrize(
    ("suite_id", "form", "signed"),
    [(id, form, signed) for id, form in FORMS for signed in ((False, True) if id else (False,))],
)
def test_there_and_back(suite_id: int, form: str, signed: bool, option: str) -> None:
    options = frozenset({"class30_aad"} if option == "sc-only" else ())
    client, meter = both(suite_id, options=options)
    elements, octets = made(client, parameters(form, signed=signed))
    # As the array that goes over the wire, and back.
    value, type_ = elements_value(elements)
    elements = read_elements(codec.decode(codec.encode(value, type_)))
    found = opened(meter, elements, octets)
    assert found.plain == PLAIN and found.applied == BOTH | SIGNED * signed
    found.commit()
    with pytest.raises(Replayed):
        opened(meter, elements, octets)
    back, answer = made(meter, answered(elements))
    assert [one.layer.originator for one in back] == [METER] * len(back)
    assert opened(client, back, answer).plain == PLAIN


@pytest.mark.parametrize(("suite_id", "form"), FORMS)
def test_what_a_value_counts_with_is_what_takes_one(suite_id: int, form: str) -> None:
    """The lasting key's counter or that of fresh keys; a signature counts with none."""
    client, _ = both(suite_id)
    setup = client.setup
    assert setup.unicast is not None
    elements = parameters(form, signed=bool(suite_id))
    (named,) = counted(between(client), elements)
    assert named is (setup.unicast if form == "identified" else setup.fresh)
    other = setup.fresh if named is setup.unicast else setup.unicast
    before = named.tx.left, other.tx.left
    made(client, elements)
    assert (named.tx.left, other.tx.left) == (before[0] - 1, before[1])


@pytest.mark.parametrize("applied", [AUTHENTICATED, ENCRYPTED, BOTH])
def test_every_protection_type(applied: int) -> None:
    client, meter = both()
    elements, octets = made(client, parameters(applied=applied))
    found = opened(meter, elements, octets)
    assert found.plain == PLAIN and len(found.guards) == bool(applied & AUTHENTICATED)


def test_a_key_that_both_hold_brings_no_data_along() -> None:
    (element,), _ = made(both()[0], parameters("identified"))
    assert element == parameters("identified")[0] and element.key_data == b""


def test_an_empty_value_only_encrypted_is_its_header() -> None:
    client, meter = both()
    elements, octets = made(client, parameters(applied=ENCRYPTED), b"")
    assert len(octets) == 5 and opened(meter, elements, octets).plain == b""
    with pytest.raises(Malformed, match="4 octets has no security header"):
        opened(meter, elements, octets[:4])


@pytest.mark.parametrize("suite_id", [1, 2])
def test_what_a_signature_covers(suite_id: int) -> None:
    """The four fields, no date-time and the value, each with its length; by option the value alone."""
    signature = (parameters(signed=True, other_information=b"more")[0],)
    fields = b"\x08" + TRANSACTION + b"\x08" + CLIENT + b"\x08" + METER + b"\x00" + b"\x04more"
    for options, covered in (
        (frozenset(), fields + bytes((len(PLAIN),)) + PLAIN),
        (frozenset({"class30_aad"}), PLAIN),
    ):
        client, _ = both(suite_id, options=options)
        _, octets = made(client, signature)
        assert octets[: len(PLAIN)] == PLAIN
        SIGN[suite_id, CLIENT].public.verify(octets[len(PLAIN) :], covered)


def test_a_layer_is_between_this_end_and_whom_it_names() -> None:
    """Also where the context would be found for anybody."""
    client, meter = both()
    elements, octets = made(client, parameters())
    others: list[dict[str, Any]] = [{"originator": STRANGER}, {"recipient": STRANGER}, {"originator": b""}]
    for fields in others:
        wrong = tuple(one._replace(layer=one.layer._replace(**fields)) for one in elements)
        with pytest.raises(UnknownKey, match="between other parties"):
            settle(unprotecting_data(lambda title: meter, wrong, octets))
        with pytest.raises(UnknownKey, match="between other parties"):
            settle(protecting_data(lambda title: client, wrong, PLAIN))


def test_one_aad_form_is_not_the_other() -> None:
    client, meter = both()
    client.options = frozenset({"class30_aad"})
    with pytest.raises(Forged):
        opened(meter, *made(client, parameters()))


@pytest.mark.parametrize("form", ["static", "one-pass"])
def test_E02_every_octet_of_a_protected_value(form: str) -> None:
    client, meter = both()
    elements, octets = made(client, parameters(form, signed=True))
    before = floors(meter)
    for at in range(len(octets)):
        broken = octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]
        with pytest.raises(MetersealError):
            opened(meter, elements, broken)
    for end in range(len(octets)):
        with pytest.raises(MetersealError):
            opened(meter, elements, octets[:end])
    assert floors(meter) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"transaction_id": b"other"},
        {"originator": STRANGER},
        {"recipient": STRANGER},
        {"other_information": b"x"},
        {"form": "one-pass"},
        {"form": "identified"},
    ],
    ids=str,
)  # fmt: skip
def test_E03_a_value_belongs_to_its_parameters(fields: dict[str, Any]) -> None:
    client, meter = both()
    elements, octets = made(client, parameters(signed=True))
    moved = tuple(
        one._replace(
            layer=one.layer._replace(**({} if one.applied == SIGNED and "form" in fields else fields))
        )
        for one in elements
    )
    with pytest.raises(MetersealError):
        opened(meter, moved, octets)


def test_E06_layers_that_do_not_go_together() -> None:
    client, meter = both()
    signature, cipher = parameters(signed=True)
    for wrong in ([cipher, signature], [cipher, cipher], [signature, signature]):
        with pytest.raises(Malformed):
            made(client, tuple(wrong))
    value, _ = elements_value([cipher])
    with pytest.raises(Malformed):
        read_elements(value * 100)
    for kind in (4, 255, -1):
        (_, options) = value[0]
        with pytest.raises(Malformed):
            read_elements([(kind, options)])
    # What the parameters say and what the value carries is the same thing said twice.
    _, octets = made(client, parameters(applied=AUTHENTICATED))
    with pytest.raises(TooWeak):
        opened(meter, parameters(applied=BOTH), octets)


@given(st.binary(max_size=80), st.lists(st.sampled_from([0, 1, 2]), max_size=3))
def test_E06_anything_is_a_value_or_a_typed_error(octets: bytes, which: list[int]) -> None:
    _, meter = both()
    choices = (*parameters(signed=True), *parameters("one-pass"))
    elements = tuple(choices[at] for at in which)
    before = floors(meter)
    try:
        opened(meter, elements, octets)
    except MetersealError:
        pass
    assert floors(meter) == before


class Agreed(AgreementKey):
    """A static key of which only the shared secret was published."""

    def __init__(self, z: bytes) -> None:
        super().__init__(P256, bytes(31) + b"\x01")  # any: the secret is what was published
        self._z = z

    def _shared(self, peer: AgreementPoint) -> bytes:
        return self._z


def test_published_capture_of_get_protected_attributes() -> None:
    """A request and its answer from the British reference test data, with the secret of their static keys."""
    row, asked = vector("gbcs-class30-response"), vector("gbcs-class30-get-protected-attributes")
    supplier, device = (bytes.fromhex(row["expected"][name]) for name in ("recipient", "originator"))
    setup = SecuritySetup(suite(1), supplier, device)
    setup.agreement = Agreed(bytes.fromhex(vector("gbcs-class30-kdf")["inputs"]["z"]))
    setup.directory.agreement[device] = AgreementKey.generate(P256).public  # type: ignore[attr-defined]
    setup.fresh = Counted(SendCounter(1, 9), ReceiveCounter())
    options = frozenset({"class30_aad", "algorithm_id", "ak_in_use"})
    context = Context(setup, device, options=options)
    request = codec.decode(bytes.fromhex(asked["inputs"]["data"]))
    parts, octets = codec.decode(bytes.fromhex(row["inputs"]["data"]))
    elements = read_elements(parts)
    assert elements == answered(read_elements(request[1]))
    assert opened(context, elements, octets).plain.hex().upper() == row["expected"]["plaintext"]
    # Each of the three deviations has its part in it.
    for left_out in options:
        context.options = options - {left_out}
        with pytest.raises((Forged, UnknownKey)):
            opened(context, elements, octets)


def test_the_captured_parameters_are_written_as_they_came() -> None:
    for name in ("gbcs-class30-response", "gbcs-class30-get-protected-attributes"):
        octets = bytes.fromhex(vector(name)["inputs"]["data"])
        value = codec.decode(octets)
        at = 0 if name.endswith("response") else 1
        assert codec.encode(*elements_value(read_elements(value[at]))) in octets


# --- what a value is for ---------------------------------------------------------------------------------

CLOCK = (8, bytes.fromhex("0000010000FF"), 2, 0)
REGISTER = (3, bytes.fromhex("0100010800FF"), 2, 0)


def test_E03_the_names_are_those_objects_in_that_order() -> None:
    """The text is stated here once more: other parties have to arrive at the same 16 octets."""
    said = b"8,0000010000FF,2,0,;3,0100010800FF,2,0,;"
    assert binding([CLOCK, REGISTER]) == b"objects:" + hashlib.sha256(said).digest()[:16]
    nested = (7, bytes.fromhex("0100630100FF"), 2, (1, None, [b"\xab"]))
    said = b"7,0100630100FF,2,1,,AB,;"
    assert binding([nested]) == b"objects:" + hashlib.sha256(said).digest()[:16]
    others: list[list[tuple[Any, ...]]] = [
        [CLOCK, REGISTER], [], [CLOCK], [REGISTER, CLOCK], [CLOCK, CLOCK], [CLOCK, (*REGISTER[:2], 3, 0)]
    ]  # fmt: skip
    assert len({binding(names) for names in others}) == 6


@pytest.mark.parametrize("signed", [False, True])
def test_E03_a_layer_that_is_for_other_objects(signed: bool) -> None:
    bound = parameters(signed=signed, other_information=binding([CLOCK]))
    assert not bound_elsewhere(bound, [CLOCK])
    assert bound_elsewhere(bound, [REGISTER]) and bound_elsewhere(bound, [CLOCK, REGISTER])
    for said in (b"", b"objects", b"something else"):
        assert not bound_elsewhere(parameters(other_information=said), [CLOCK]), "it says nothing of them"
    assert bound_elsewhere((*parameters(), *bound), [REGISTER]), "one layer is enough"


def test_no_value_under_a_key_for_all() -> None:
    client, meter = both()
    with pytest.raises(UnknownKey, match="no value is protected under a key that is broadcast"):
        made(client, parameters("broadcast"))
    elements, octets = made(client, parameters("identified"))
    wrong = tuple(one._replace(layer=one.layer._replace(form="broadcast")) for one in elements)
    before = floors(meter)
    with pytest.raises(UnknownKey, match="that is broadcast"):
        opened(meter, wrong, octets)
    assert floors(meter) == before


@pytest.mark.parametrize("suite_id", [1, 2])
def test_a_value_may_be_compressed_where_that_was_agreed(suite_id: int) -> None:
    long = b"\x09\x82\x01\x2c" + b"A" * 300
    client, meter = both(suite_id, compression=PACKET)
    elements, octets = made(client, parameters(), long)
    assert octets[0] == 0xB0 | suite_id and len(octets) < len(long)
    assert opened(meter, elements, octets).plain == long
    with pytest.raises(Malformed, match="compression is off"):
        opened(both(suite_id)[1], elements, octets)


@pytest.mark.parametrize("length", [0, 1, 63, 64])
def test_B02_a_signed_value_is_longer_than_its_signature(length: int) -> None:
    for suite_id in (0, 1):
        _, meter = both(suite_id)
        signature = parameters(signed=True)[:1]
        with pytest.raises(Malformed, match="longer than its signature"):
            opened(meter, signature, bytes(length))


@pytest.mark.parametrize("form", ["one-pass", "wrapped"])
def test_D07_a_key_made_for_one_value_is_taken_once_where_counters_say_nothing(form: str) -> None:
    options = frozenset({"fresh_key_any_counter"})
    client, meter = both(options=options)
    first, second = (made(client, parameters(form)) for _ in range(2))
    for elements, octets in (second, first):
        opened(meter, elements, octets).commit()
    for elements, octets in (first, second):
        with pytest.raises(Replayed):
            opened(meter, elements, octets)
