"""HDLC frames: check sums against the table in the standard, addresses, control octets, single frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated
from meterseal.framing import hdlc
from meterseal.framing.hdlc import Address, Control, Frame, Kind
from meterseal.framing.hdlc.control import CONTROLS
from meterseal.framing.hdlc.parameters import DEFAULT, Parameters
from meterseal.framing.hdlc.parameters import decode as decode_parameters
from tests.framing.captures import CLIENT, E450, HDLC_FRAMES, SERVER
from tests.mutate import hammer, truncations
from tests.vectors import load, vector

addresses = st.one_of(
    st.builds(Address, st.integers(0, 127), st.none(), st.just(1)),
    st.builds(Address, st.integers(0, 127), st.integers(0, 127), st.just(2)),
    st.builds(Address, st.integers(0, 16383), st.integers(0, 16383), st.just(4)),
)


def table_crc(octets: bytes) -> bytes:
    """FCS-16 as the standard defines it: a table of 256 entries, polynomial 8408, lowest bit first."""
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ 0x8408 if entry & 1 else entry >> 1
        table.append(entry)
    state = 0xFFFF
    for octet in octets:
        state = state >> 8 ^ table[(state ^ octet) & 0xFF]
    return (state ^ 0xFFFF).to_bytes(2, "little")


def test_checksum_of_the_standard() -> None:
    octets = bytes.fromhex(vector("iec46-fcs-annexA")["inputs"]["frame"]).strip(b"\x7e")
    assert hdlc.checksum(octets[:2]) == octets[2:]


@pytest.mark.slow
def test_checksum_is_the_table_of_the_standard() -> None:
    for octet in range(256):  # with every start state of 8 bits, and so every entry of the table
        for second in (0, 1, 0x7E, 0x80, 0xFF, octet):
            assert hdlc.checksum(bytes((octet, second))) == table_crc(bytes((octet, second)))


@given(st.binary(max_size=300))
def test_checksum_is_the_table_of_the_standard_for_any_octets(octets: bytes) -> None:
    assert hdlc.checksum(octets) == table_crc(octets)


@pytest.mark.parametrize(
    "row", [row for row in load("hdlc") if row["inputs"]["format3"]], ids=lambda row: row["id"]
)
def test_vectors_decode_and_encode(row: dict[str, dict[str, str]]) -> None:
    octets = bytes.fromhex(row["inputs"]["frame"])
    expected = row["expected"]
    frame = hdlc.decode(octets)
    assert frame.destination.encode().hex().upper() == expected["destination"]
    assert frame.source.encode().hex().upper() == expected["source"]
    assert f"{frame.control:02X}" == expected["control"]
    assert frame.information.hex().upper() == expected.get("information", "")
    assert frame.segmented is False
    assert hdlc.encode(frame).strip(b"\x7e") == octets.strip(b"\x7e")


def test_addresses_of_the_sheet() -> None:
    assert Address(0x10).encode() == b"\x21"
    assert Address(1, 0x11).encode() == b"\x02\x23"
    assert Address(1, 0x11, 4).encode() == bytes.fromhex("00020023")
    assert hdlc.decode(
        bytes.fromhex(vector("hdlc-dest-extended-address")["inputs"]["frame"])
    ).destination == Address(17, 5481, 4)
    assert Address(200, 1).size == 4
    assert str(Address(1, 17)) == "1/17" and str(Address(16)) == "16"


def test_client_address_of_two_octets() -> None:
    frame = hdlc.decode(E450[0])
    assert (frame.destination, frame.source) == (Address(103, 127), Address(1))


@pytest.mark.parametrize(
    "wrong",
    [
        (128, None, 1),
        (1, 2, 1),
        (1, None, 2),
        (1, 128, 2),
        (16384, 0, 4),
        (1, None, 4),
        (1, 2, 3),
        (-1, None, 0),
    ],
)
def test_addresses_outside_their_octets_are_misuse(wrong: tuple[int, int | None, int]) -> None:
    with pytest.raises(Misuse):
        Address(*wrong)


def test_F10_addresses_of_three_or_more_than_four_octets_are_refused() -> None:
    for address in ("020203", "0202020203"):
        body = bytes.fromhex(f"A000{address}2193")
        body = bytes((0xA0, len(body) + 2)) + body[2:]
        with pytest.raises(Malformed, match="1, 2 or 4"):
            hdlc.decode(body + hdlc.checksum(body))


@given(
    addresses,
    addresses,
    st.integers(0, 255),
    st.binary(max_size=2030),
    st.booleans(),
)
def test_any_frame_comes_back(
    destination: Address, source: Address, control: int, information: bytes, segmented: bool
) -> None:
    frame = Frame(destination, source, control, information, segmented)
    octets = hdlc.encode(frame)
    assert hdlc.decode(octets) == frame
    assert hdlc.decode(octets[1:-1]) == frame
    assert hdlc.decode(b"\x7e" + octets) == frame


def test_control_octets() -> None:
    named = {
        0x93: Control(Kind.SNRM, True),
        0x53: Control(Kind.DISC, True),
        0x73: Control(Kind.UA, True),
        0x1F: Control(Kind.DM, True),
        0x97: Control(Kind.FRMR, True),
        0x03: Control(Kind.UI, False),
        0x13: Control(Kind.UI, True),
        0x10: Control(Kind.I, True, 0, 0),
        0x76: Control(Kind.I, True, 3, 3),
        0x51: Control(Kind.RR, True, None, 2),
        0xE5: Control(Kind.RNR, False, None, 7),
    }
    for octet, control in named.items():
        assert CONTROLS[octet] == control
    known = [(octet, control) for octet, control in enumerate(CONTROLS) if control is not None]
    assert len(known) == 128 + 2 * 16 + 2 * 6
    for octet, control in known:
        assert control.encode() == octet
    with pytest.raises(Misuse):
        Control(Kind.I, True).encode()
    with pytest.raises(Misuse):
        Control(Kind.RR, True, 1, 1).encode()


def test_meaning_of_an_unused_control_octet_is_none() -> None:
    assert Frame(SERVER, CLIENT, 0x0B).meaning is None


def test_llc_is_stripped_once() -> None:
    assert hdlc.strip_llc(hdlc.COMMAND + hdlc.RESPONSE) == hdlc.RESPONSE
    assert hdlc.strip_llc(b"\xe6\xe6") == b"\xe6\xe6"
    assert (hdlc.llc(hdlc.COMMAND), hdlc.llc(hdlc.RESPONSE), hdlc.llc(b"\xe0")) == (
        "command",
        "response",
        None,
    )


def test_every_single_bit_is_covered_by_a_check() -> None:
    octets = HDLC_FRAMES[3]
    for bit in range(8, 8 * (len(octets) - 1)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Malformed, Truncated)):
            hdlc.decode(changed)


def test_which_check_failed_is_told() -> None:
    octets = bytearray(hdlc.encode(Frame(SERVER, CLIENT, 0x10, b"information")))
    octets[-3] ^= 1
    with pytest.raises(Malformed, match="FCS"):
        hdlc.decode(octets)
    octets[7] ^= 1
    with pytest.raises(Malformed, match="HCS"):
        hdlc.decode(octets)
    with pytest.raises(Malformed, match="FCS"):
        hdlc.decode(bytes.fromhex("A00A0002002321931872"))


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        ("7E0000", "format type 0"),
        ("7EA006", "6 octets"),
        ("7EA0070203039300007F", "no 7E"),
        ("7EA007020321937E7E", "control field"),
        ("A00A0002002321931871FF", "1 octets after"),
        ("A00B00020023219318710A", "no room"),
    ],
)
def test_F10_frames_that_are_none(octets: str, cause: str) -> None:
    with pytest.raises((Malformed, Truncated), match=cause):
        hdlc.decode(bytes.fromhex(octets))


def test_decode_at_begins_at_a_flag() -> None:
    with pytest.raises(Malformed, match="7E"):
        hdlc.decode_at(HDLC_FRAMES[0], 0)
    doubled = b"\x7e\x7e" + E450[2]
    assert hdlc.decode_at(doubled, 0) == (hdlc.decode(E450[2]), len(doubled))


def test_F10_length_too_short_for_the_addresses() -> None:
    body = bytes.fromhex("A007020202")  # four octets of address, two of them where the FCS should be
    with pytest.raises((Malformed, Truncated)):
        hdlc.decode(body + hdlc.checksum(body))


def test_encode_refuses_what_does_not_fit() -> None:
    with pytest.raises(TooLarge):
        hdlc.encode(Frame(SERVER, CLIENT, 0x10, bytes(2040)))
    with pytest.raises(Misuse):
        hdlc.encode(Frame(SERVER, CLIENT, 256))


@pytest.mark.parametrize(
    ("id", "wide", "parameters"),
    [
        ("hdlc-ua-params-2byte-len", True, Parameters(128, 128, 1, 1)),
        ("hdlc-ua-params-1byte-len", False, Parameters(154, 154, 1, 1)),
    ],
)
def test_parameters_of_ua(id: str, wide: bool, parameters: Parameters) -> None:
    information = bytes.fromhex(vector(id)["expected"]["information"])
    assert decode_parameters(information) == parameters
    assert parameters.encode(wide) == information


@given(st.integers(1, 2030), st.integers(1, 2030), st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_any_parameters_come_back(transmit: int, receive: int, out: int, back: int, wide: bool) -> None:
    parameters = Parameters(transmit, receive, out, back)
    assert decode_parameters(parameters.encode(wide)) == parameters


def test_parameters_are_negotiated_crosswise() -> None:
    proposal = Parameters(max_transmit=500, max_receive=300, window_transmit=7, window_receive=2)
    own = Parameters(max_transmit=1000, max_receive=200, window_transmit=5, window_receive=5)
    assert proposal.answer(own) == Parameters(300, 200, 2, 5)
    assert decode_parameters(b"") == DEFAULT == Parameters(128, 128, 1, 1)
    assert decode_parameters(bytes.fromhex("818003050140")) == Parameters(max_transmit=64)


@pytest.mark.parametrize(
    "information",
    ["8180", "828000", "818100", "818004050140", "818002050140", "81800309 0140", "8180030503",
     "818006050140050140", "8180 04 0503000080", "818003050100", "8180040502FFFF", "8180 06 0704 00000008",
     "8180050503000080", "818003050201", "81800105"],
)  # fmt: skip
def test_F10_other_parameters_are_refused(information: str) -> None:
    with pytest.raises((Malformed, Truncated)):
        decode_parameters(bytes.fromhex(information))


@given(st.binary(max_size=40), st.booleans())
def test_user_data_behind_the_parameters_is_passed_over(said: bytes, wide: bool) -> None:
    """A subfield FF without a length, up to the end of the field (as XID frames of ITU-T V.42 have one)."""
    parameters = Parameters(500, 300, 7, 2)
    assert decode_parameters(parameters.encode(wide) + b"\xff" + said) == parameters
    assert decode_parameters(b"\x81\xff" + said) == decode_parameters(b"\x81\x80\x00\xff" + said) == DEFAULT
    with pytest.raises(Malformed, match="no user data"):
        decode_parameters(parameters.encode(wide) + b"\xf0" + said)


def test_parameters_outside_their_range_are_misuse() -> None:
    for wrong in ({"max_transmit": 0}, {"max_receive": 2031}, {"window_transmit": 8}, {"window_receive": 0}):
        with pytest.raises(Misuse):
            Parameters(**wrong)


PARAMETERS = [Parameters().encode(), Parameters(2030, 300, 7, 7).encode(), Parameters(128, 128).encode(True)]


def test_F01_every_truncation_is_truncated() -> None:
    for _, prefix in truncations([frame for frame in (*HDLC_FRAMES, *E450) if frame[0] == 0x7E]):
        with pytest.raises(Truncated):
            hdlc.decode(prefix)
    for _, prefix in truncations(PARAMETERS):
        if prefix:
            with pytest.raises(Truncated):
                decode_parameters(prefix)


@pytest.mark.slow
def test_F02_mutated_frames() -> None:
    outcomes = hammer(hdlc.decode, HDLC_FRAMES)
    assert {"value", "truncated", "malformed"} == set(outcomes)


@pytest.mark.slow
def test_F02_mutated_parameters() -> None:
    outcomes = hammer(decode_parameters, PARAMETERS)
    assert {"value", "truncated", "malformed"} == set(outcomes)
