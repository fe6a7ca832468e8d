"""OBIS codes: spellings, octets, and the OBJECT notation."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.cosem.obis import Obis, ObjectAddress, parse_member, parse_object
from meterseal.errors import Malformed, Misuse

codes = st.binary(min_size=6, max_size=6).map(Obis)


@pytest.mark.parametrize(
    "text",
    [
        "1.0.1.8.0.255",
        "1-0:1.8.0*255",
        "1-0:1.8.0.255",
        "1-0:1.8.0",
        "1.0.1.8.0",
        "0100010800FF",
        " 1.0.1.8.0 ",
    ],
)
def test_every_spelling_names_the_same_object(text: str) -> None:
    assert Obis(text) == bytes.fromhex("0100010800FF")
    assert str(Obis(text)) == "1.0.1.8.0.255"
    assert Obis(text).reduced == "1-0:1.8.0*255"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.8.0",
        "1.0.1.8",
        "1.0.1.8.0.256",
        "1.0.1.8.0.255.1",
        "1-0:1.8",
        "1..1.8.0",
        "a.b.c.d.e.f",
        "-1.0.1.8.0",
        "1.0.1.8.0.255\n1",
        "¹.0.1.8.0",
        "x" * 10_000,
    ],
)
def test_a_text_that_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        Obis(text)


@pytest.mark.parametrize("size", [0, 1, 5, 7, 255])
def test_octets_that_are_not_six_are_refused(size: int) -> None:
    with pytest.raises(Malformed):
        Obis(bytes(size))


def test_a_number_is_no_code() -> None:
    with pytest.raises(Misuse):
        Obis(6)  # type: ignore[arg-type]


@given(codes)
def test_texts_lead_back_to_the_code(code: Obis) -> None:
    assert Obis(str(code)) == Obis(code.reduced) == Obis(code.hex()) == code
    assert Obis(code) is code
    assert type(code.octets) is bytes
    assert pickle.loads(pickle.dumps(code)) == code
    assert str(pickle.loads(pickle.dumps(code))) == str(code)


@given(codes, codes)
def test_order_and_equality_are_those_of_the_octets(one: Obis, other: Obis) -> None:
    assert (one < other) == (bytes(one) < bytes(other))
    assert (one == other) == (bytes(one) == bytes(other))
    assert hash(one) == hash(bytes(one))


def test_decoded_octets_find_their_object() -> None:
    assert {Obis("0.0.1.0.0.255"): "clock"}[bytes.fromhex("0000010000FF")] == "clock"  # type: ignore[index]


def test_one_group_can_be_changed() -> None:
    assert str(Obis("0.0.43.0.0.255").with_group("E", 3)) == "0.0.43.0.3.255"
    for group, value in (("G", 1), ("", 1), ("AB", 1), ("A", 256), ("A", -1)):
        with pytest.raises(Misuse):
            Obis("0.0.43.0.0.255").with_group(group, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0.1.8.0.255", (None, "1.0.1.8.0.255", 2, False)),
        ("3/1.0.1.8.0.255:2", (3, "1.0.1.8.0.255", 2, True)),
        ("3/1.0.1.8.0.255", (3, "1.0.1.8.0.255", 2, False)),
        ("1.0.1.8.0.255:3", (None, "1.0.1.8.0.255", 3, True)),
        ("1-0:1.8.0", (None, "1.0.1.8.0.255", 2, False)),
        ("1-0:1.8.0:3", (None, "1.0.1.8.0.255", 3, True)),
        ("7/1-0:99.1.0*255:2", (7, "1.0.99.1.0.255", 2, True)),
        ("0000010000FF:-1", (None, "0.0.1.0.0.255", -1, True)),
    ],
)
def test_objects_of_the_command_line(text: str, expected: tuple[int | None, str, int, bool]) -> None:
    address = parse_object(text)
    assert (address.class_id, str(address.obis), address.member, address.explicit_member) == expected
    assert address.explicit_class is (expected[0] is not None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "3/",
        ":2",
        "70000/1.0.1.8.0.255",
        "3/1.0.1.8.0.255:",
        "3/1.0.1.8.0.255:300",
        "3/1.0.1.8.0.255:x",
        "3/3/1.0.1.8.0.255",
        "1.8.0:2",
    ],
)
def test_a_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        parse_object(text)


@given(st.none() | st.integers(0, 0xFFFF), codes, st.integers(-128, 127))
def test_an_address_reads_back(class_id: int | None, obis: Obis, member: int) -> None:
    assert parse_object(str(ObjectAddress(class_id, obis, member, True))) == ObjectAddress(
        class_id, obis, member, True
    )


@given(st.text(max_size=40))
def test_any_text_gives_an_object_or_misuse(text: str) -> None:
    try:
        parse_object(text)
    except Misuse as error:
        assert len(str(error)) < 200


@pytest.mark.parametrize("text", ["70/0.0.96.3.10.255:1()", "3/1.0.1.8.0.255:2", "3/1-0:1.8.0*255"])
def test_members_read_back(text: str) -> None:
    member = parse_member(text)
    assert parse_member(str(member)) == member
    assert member.method == text.endswith("()")
    assert (member.class_id, member.member) == ((70, 1) if member.method else (3, 2))


@pytest.mark.parametrize(
    "text", ["1.0.1.8.0.255:2", "70/0.0.96.3.10.255()", "70/:1()", "()", "70/0.0.96.3.10.255:1( )"]
)
def test_a_text_that_is_no_member_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        parse_member(text)


def test_odd_characters_do_not_blow_an_error_up() -> None:
    for text in ("\U0010ffff" * 100, "\x00" * 100, "'" * 100, "1.0.1.8.0." + "9" * 100):
        with pytest.raises(Misuse) as caught:
            parse_object(text)
        assert len(str(caught.value)) < 200
