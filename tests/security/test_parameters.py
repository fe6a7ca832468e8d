"""Protection parameters as values: what is written is read, published ones are what they say (classes 6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec.data import Data, encode
from meterseal.codec.types import Array, MixedArray
from meterseal.errors import DecodeError, Malformed, UnknownKey
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import (
    MOST_ELEMENTS,
    Element,
    Share,
    elements_value,
    layers_of,
    originator_of,
    read_elements,
    shares,
)
from tests.vectors import vector

titles = st.sampled_from([b"", b"MSL00001", b"MSLUTI01"])
ciphers = st.builds(
    lambda applied, originator, recipient, transaction, form, other, data: Element(
        applied,
        Layer(CIPHERING, originator, recipient, transaction, form, 0, b"", other),
        b"" if form in ("identified", "broadcast") else data,
    ),
    st.sampled_from([AUTHENTICATED, ENCRYPTED, AUTHENTICATED | ENCRYPTED]),
    titles, titles, st.binary(max_size=12),
    st.sampled_from(["identified", "broadcast", "wrapped", "one-pass", "static"]),
    st.binary(max_size=4), st.binary(max_size=80),
)  # fmt: skip
signatures = st.builds(
    lambda recipient, transaction: Element(SIGNED, Layer(SIGNING, b"", recipient, transaction)),
    titles, st.binary(max_size=12),
)  # fmt: skip


@given(st.lists(st.one_of(ciphers, signatures), max_size=6))
def test_written_and_read(elements: list[Element]) -> None:
    octets = encode(*elements_value(elements))
    assert list(read_elements(Data.decode(octets).value)) == elements


def test_elements_of_one_type_are_an_array_of_it() -> None:
    """An array has one type of elements; where they differ each says its own."""
    one, same, other = (
        Element(applied, Layer(CIPHERING, b"MSL00001", b"MSLUTI01", b"", form))
        for applied, form in ((AUTHENTICATED, "static"), (ENCRYPTED, "static"), (ENCRYPTED, "wrapped"))
    )
    type_ = one.value()[1]
    assert elements_value([one, same])[1] == Array(type_)
    assert elements_value([one, other])[1] == MixedArray((type_, other.value()[1]))
    assert elements_value([])[1] == MixedArray(())


def test_F02_so_many_elements_and_no_more() -> None:
    value, _ = elements_value([Element(ENCRYPTED, Layer(CIPHERING, b"", b"", b"", "static"))] * MOST_ELEMENTS)
    assert len(read_elements(value)) == MOST_ELEMENTS
    with pytest.raises(Malformed, match=f"at most {MOST_ELEMENTS} elements"):
        read_elements([*value, value[0]])


def test_each_party_has_its_share_of_a_value() -> None:
    sign, cipher = (
        Element(SIGNED, Layer(SIGNING, b"MSL00001", b"")),
        Element(AUTHENTICATED, Layer(CIPHERING, b"MSL00001", b"", form="static")),
    )
    other = cipher._replace(layer=cipher.layer._replace(originator=b"MSLUTI01"))
    assert shares((sign, cipher, other), originator_of) == (
        Share(b"MSL00001", SIGNED | AUTHENTICATED, (sign, cipher)),
        Share(b"MSLUTI01", AUTHENTICATED, (other,)),
    )


def test_published_parameters() -> None:
    row = vector("gbcs-class30-get-protected-attributes")
    octets = bytes.fromhex(row["inputs"]["data"])
    (element,) = read_elements(Data.decode(octets).value[1])
    transaction, originator, recipient, other = (bytes.fromhex(one) for one in row["expected"]["options"])
    layer = Layer(CIPHERING, originator, recipient, transaction, "static", 0, b"", other)
    assert element == Element(AUTHENTICATED | ENCRYPTED, layer)
    assert octets.endswith(encode(*elements_value([element])))
    answer = vector("gbcs-class30-response")
    (element,) = read_elements(Data.decode(bytes.fromhex(answer["inputs"]["data"])).value[0])
    assert element.layer.originator.hex().upper() == answer["expected"]["originator"]
    assert element.layer.transaction_id.hex().upper() == answer["expected"]["transaction_id"]


OPTIONS = (b"", b"", b"", b"", (0, 0))


@pytest.mark.parametrize("value", [
    None, 1, b"", [1], [(2,)], [(2, OPTIONS[:4])], [(4, OPTIONS)], [(-1, OPTIONS)], [(b"", OPTIONS)],
    [(2, (b"7 octet", *OPTIONS[1:]))] * 7, [(2, (b"", b"MSL", b"", b"", (0, 0)))], [(2, (1, *OPTIONS[1:]))],
    [(2, (*OPTIONS[:4], (1, (0, 1))))],
    [(2, (*OPTIONS[:4], ([], 0)))], [(2, (*OPTIONS[:4], (0, None)))], [(2, (bytes(65), *OPTIONS[1:]))],
])  # fmt: skip
def test_E06_F02_values_that_are_no_parameters(value: Any) -> None:
    with pytest.raises(DecodeError):
        read_elements(value)


@pytest.mark.parametrize("key", [(0, 2), (3, 0), (1, (1, b"")), (2, (b"\x03", b"")), (2, (b"", b""))])
def test_B15_keys_that_there_are_not(key: Any) -> None:
    with pytest.raises(UnknownKey):
        read_elements([(2, (*OPTIONS[:4], key))])


def test_what_stands_as_key_of_a_signature_is_passed_over() -> None:
    for key in ((0, 0), (9, None), (b"", ())):
        (element,) = read_elements([(3, (*OPTIONS[:4], key))])
        assert element == Element(SIGNED, Layer(SIGNING, b"", b""))


def test_E06_order_of_layers() -> None:
    sign, cipher = (
        Element(SIGNED, Layer(SIGNING, b"", b"")),
        Element(1, Layer(CIPHERING, b"", b"", form="static")),
    )
    assert layers_of([]) == (0, ())
    assert layers_of([sign, cipher]) == (SIGNED | 1, (cipher.layer, sign.layer))
    for wrong in ([cipher, sign], [sign, sign], [cipher, cipher]):
        with pytest.raises(Malformed):
            layers_of(wrong)
