"""Moulds write what declarations write, and read what declarations read, for every message they take."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.apdu.acse import Aare, Aarq, Rlrq
from meterseal.codec.ber import tlv, writer
from meterseal.codec.message import _rows
from meterseal.codec.moulds import Mould
from meterseal.errors import DecodeError

SOME = settings(max_examples=settings().max_examples // 3)
FRESH = st.binary(max_size=130)
STILL = st.fixed_dictionaries(
    {},
    optional={
        "application_context_name": st.binary(max_size=8),
        "mechanism_name": st.binary(max_size=8),
        "implementation_information": st.binary(max_size=3),
    },
)
ACSE = st.sampled_from([(Aarq, "calling_authentication_value"), (Aare, "responding_authentication_value")])


@SOME
@given(ACSE, STILL, st.lists(st.tuples(st.none() | FRESH, st.none() | FRESH), min_size=1, max_size=4))
def test_what_is_written_again_is_as_if_it_were_written_for_the_first_time(
    kind: tuple[type[Any], str], still: dict[str, bytes], fresh: list[tuple[bytes | None, bytes | None]]
) -> None:
    cls, challenge = kind
    for first, second in fresh:
        message = cls(**still, **{challenge: first, "user_information": second})
        octets = message.encode()
        assert octets == message.encode() == writer(cls, _rows(cls))(message)
        assert cls.decode(octets) == message


@SOME
@given(ACSE, STILL, FRESH, FRESH, st.data())
def test_what_fits_a_mould_is_the_same_message_with_other_fields(
    kind: tuple[type[Any], str], still: dict[str, bytes], first: bytes, second: bytes, data: st.DataObject
) -> None:
    cls, challenge = kind
    message = cls(**still, **{challenge: first, "user_information": second})
    octets, last = message.encode(), data.draw(st.integers(0, len(second)))
    mould = cls.mould(octets, last)
    assert mould is not None and mould.fresh(octets) == (first, second[len(second) - last :])
    assert (mould.first, mould.second, mould.size) == (len(first), last, len(octets))
    changed = bytearray(octets)
    for at, octet in data.draw(st.lists(st.tuples(st.integers(0, len(octets) - 1), st.integers(0, 255)))):
        changed[at] = octet
    found = mould.fresh(bytes(changed))
    if found is not None:
        kept = second[: len(second) - last]
        same = message.replace(**{challenge: found[0], "user_information": kept + found[1]})
        assert cls.decode(bytes(changed)) == same and mould.cast(*found) == same.encode() == bytes(changed)


@SOME
@given(ACSE, STILL, FRESH, FRESH, st.binary(max_size=3))
def test_another_length_does_not_fit(
    kind: tuple[type[Any], str], still: dict[str, bytes], first: bytes, second: bytes, more: bytes
) -> None:
    cls, challenge = kind
    octets = cls(**still, **{challenge: first, "user_information": second}).encode()
    mould = cls.mould(octets, len(second))
    assert mould.fresh(octets + more) == (None if more else (first, second))
    assert mould.fresh(octets[:-1]) is None


def test_there_is_no_mould_without_both_fields() -> None:
    for message in (Aarq(), Aarq(user_information=b"1"), Aarq(calling_authentication_value=b"1")):
        assert Aarq.mould(message.encode(), 0) is None
    whole = Aarq(calling_authentication_value=b"12", user_information=b"345").encode()
    assert Aarq.mould(whole, 4) is None
    assert Rlrq.mould(Rlrq(0, b"345").encode(), 1) is None
    with pytest.raises(DecodeError):
        Aarq.mould(whole[:-1], 1)


def test_a_mould_keeps_nothing_of_its_fields() -> None:
    octets = Aarq(calling_authentication_value=b"password", user_information=b"sealed").encode()
    mould = Aarq.mould(octets, 6)
    assert mould is not None
    held = [getattr(mould, name) for name in Mould.__slots__]
    assert not any(word in one for one in held if isinstance(one, bytes) for word in (b"password", b"sealed"))


def test_a_mould_is_found_by_writing() -> None:
    mould = Mould.of(lambda a, b: b"\x01" + a + b"\x02\x03" + b, 2, 3)
    assert mould.cast(b"ab", b"cde") == b"\x01ab\x02\x03cde"
    assert mould.fresh(b"\x01ab\x02\x03cde") == (b"ab", b"cde")
    assert mould.fresh(b"\x01ab\x02\x04cde") is None and mould.fresh(b"\x00ab\x02\x03cde") is None
    with pytest.raises(ValueError, match="field"):
        Mould.of(lambda a, b: tlv(1, a + b) + b"\x00", 2, 3)
