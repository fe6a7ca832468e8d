"""BER as ACSE uses it: definite lengths, fields in order, integers in the fewest octets."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.acse import Aare, Aarq, Rlrq
from meterseal.codec.ber import KEPT, Ber, read_tlv, reader, tlv
from meterseal.errors import DecodeError, Malformed, Misuse, Truncated


@pytest.mark.parametrize(
    ("size", "lead"), [(0, "00"), (127, "7F"), (128, "8180"), (255, "81FF"), (256, "820100")]
)
def test_lengths_are_written_shortest(size: int, lead: str) -> None:
    octets = tlv(0xBE, bytes(size))
    assert octets == b"\xbe" + bytes.fromhex(lead) + bytes(size)
    assert read_tlv(b"\xaa" + octets, 1, 1 + len(octets)) == (0xBE, 1 + len(octets) - size, 1 + len(octets))


@given(st.integers(0, 255), st.binary(max_size=70_000))
def test_any_element_comes_back(tag: int, contents: bytes) -> None:
    octets = tlv(tag, contents)
    found, start, end = read_tlv(octets, 0, len(octets))
    assert (found, octets[start:end], end) == (tag, contents, len(octets))


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("BE", Truncated),
        ("BE02AA", Truncated),
        ("BE81", Truncated),
        ("BE82AA", Truncated),
        ("BE84FFFFFFFF00", Truncated),
        ("BE80AA0000", Malformed),
        ("BE850000000001AA", Malformed),
        ("BEFF" + "00" * 127, Malformed),
    ],
)
def test_F07_lengths_that_are_cut_indefinite_or_too_long(octets: str, error: type[DecodeError]) -> None:
    with pytest.raises(error):
        read_tlv(bytes.fromhex(octets), 0, len(octets) // 2)
    # The same as a field of an RLRQ, whose own length fits.
    with pytest.raises(error):
        Rlrq.decode(tlv(0x62, bytes.fromhex(octets)))


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("6280" + "8001000000", Malformed),  # indefinite, ended by two zeros
        ("62850000000003800100", Malformed),  # five length octets
        ("62" + "FF" + "00" * 127, Malformed),
        ("6204800100", Truncated),
        ("6202800100", Truncated),  # the field reaches beyond the APDU
        ("6203800100AA", Malformed),
        ("62", Truncated),
        ("628203", Truncated),
    ],
)
def test_F07_the_length_of_the_whole_apdu(octets: str, error: type[DecodeError]) -> None:
    with pytest.raises(error):
        Rlrq.decode(bytes.fromhex(octets))


@pytest.mark.parametrize("octets", ["628103800100", "62840000000380" + "0100", "6204808101" + "00"])
def test_F07_longer_than_needed_is_read_and_written_shortest(octets: str) -> None:
    message = Rlrq.decode(bytes.fromhex(octets))
    assert message == Rlrq(0, None)
    assert message.encode() == bytes.fromhex("6203800100")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("800100 800100", "repeated"),
        ("BE03040100 800100", "out of order"),
        ("810100", "no field"),
        ("A1020500", "no field"),
        ("BE03020100", "no field"),
        ("BE0404010000", "left over"),
        ("BE00", "tag and length"),
        ("8000", "INTEGER"),
        ("80050102030405", "INTEGER"),
    ],
)
def test_fields_that_are_none(fields: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        Rlrq.decode(tlv(0x62, bytes.fromhex(fields)))


def test_of_two_rows_with_one_tag_the_inner_tags_decide() -> None:
    user, provider = Aare(result=1, user_diagnostic=2), Aare(result=1, provider_diagnostic=2)
    assert Aare.decode(user.encode()) == user
    assert Aare.decode(provider.encode()) == provider
    with pytest.raises(Malformed):
        Aare.decode(tlv(0x61, bytes.fromhex("A305A103020101A305A103020101")))
    with pytest.raises(Malformed):
        Aare.decode(tlv(0x61, bytes.fromhex("A305A303020101")))


def test_an_empty_message_has_no_fields() -> None:
    assert Aarq.decode(b"\x60\x00") == Aarq()
    assert Aarq().encode() == b"\x60\x00"


@pytest.mark.parametrize(
    ("value", "contents"),
    [
        (0, "00"),
        (127, "7F"),
        (128, "0080"),
        (-1, "FF"),
        (-128, "80"),
        (-129, "FF7F"),
        (2**31 - 1, "7FFFFFFF"),
    ],
)
def test_integers_take_the_fewest_octets(value: int, contents: str) -> None:
    octets = Rlrq(value).encode()
    assert octets == tlv(0x62, tlv(0x80, bytes.fromhex(contents)))
    assert Rlrq.decode(octets).reason == value


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**100])
def test_integers_of_more_than_four_octets_are_misuse(value: int) -> None:
    with pytest.raises(Misuse):
        Rlrq(value).encode()


def test_passwords_and_challenges_do_not_show() -> None:
    aarq = Aarq(mechanism_name=b"\x01", calling_authentication_value=b"12345678")
    assert repr(aarq) == r"Aarq(mechanism_name=b'\x01', calling_authentication_value=<8 octets>)"


def fresh_reader() -> Any:
    """A reader of AARQs that has never seen one."""
    hints = get_type_hints(Aarq, include_extras=True)
    return reader(
        Aarq, [next(m for m in hints[name].__metadata__ if isinstance(m, Ber)) for name in Aarq.fields]
    )


def read(reader: Any, octets: bytes) -> Any:
    try:
        return reader(octets, 1, len(octets))
    except (DecodeError, IndexError) as error:
        return type(error)


_FIELDS = st.sampled_from(["called_ap_title", "calling_ap_title", "mechanism_name", "user_information"])


@given(
    st.dictionaries(_FIELDS, st.binary(max_size=5), min_size=1),
    st.integers(-(2**31), 2**31 - 1),
    st.data(),
)
def test_what_is_like_an_earlier_message_is_read_as_if_it_were_the_first(
    fields: dict[str, bytes], user: int, data: st.DataObject
) -> None:
    message = Aarq(calling_ae_invocation_id=user, **fields)  # type: ignore[arg-type]
    octets = message.encode()
    used = fresh_reader()
    assert used(octets, 1, len(octets)) == (message, len(octets))
    at, octet = data.draw(st.integers(1, len(octets) - 1)), data.draw(st.integers(0, 255))
    changed = octets[:at] + bytes((octet,)) + octets[at + 1 :]
    assert read(used, changed) == read(fresh_reader(), changed)
    assert used(octets, 1, len(octets)) == (message, len(octets)), "another of its size came between"


def test_more_sizes_and_beginnings_than_are_kept() -> None:
    for size in [*range(2 * KEPT), 0]:
        message = Aarq(calling_ap_title=bytes(size), calling_authentication_value=bytes(8))
        assert Aarq.decode(message.encode()) == message
