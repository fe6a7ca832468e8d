"""The compiler of declarations: what it makes of annotations, and what it refuses to make."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu import MESSAGES
from meterseal.apdu.initiate import InitiateRequest
from meterseal.codec.ber import Ber
from meterseal.codec.data import Data
from meterseal.codec.message import Message, MessageType, _ber_row, standard_name
from meterseal.codec.parts import (
    I8,
    I16,
    U8,
    U16,
    U32,
    Boolean,
    Default,
    Fixed,
    Nested,
    Octets6,
    OctetString,
    Part,
    Source,
    decoder_of,
    encoder_of,
)
from meterseal.errors import DecodeError, Malformed, Misuse, Truncated


class Pair(Message):
    """A fixed piece."""

    left: U8
    right: I16


class Deep(Message):
    """A fixed piece that holds a fixed piece."""

    label: Octets6
    pair: Pair


class Loose(Message):
    """A piece of no fixed size."""

    octets: OctetString


class Red(Message, tag=b"\x05"):
    """One alternative."""

    pair: Pair


class Blue(Message, tag=b"\x06"):
    """Another alternative."""

    value: Data


class Everything(Message, tag=b"\xaa\x01", name="everything"):
    """All that annotations can say."""

    first: U8
    deep: Deep
    last: U32
    flag: Boolean
    maybe: U16 | None
    usual: Annotated[Boolean, Default(True)]
    loose: Loose
    colour: Red | Blue
    pairs: tuple[Pair, ...]
    colours: tuple[Red | Blue, ...]
    only: Red
    data: Data
    small: I8


SAMPLE = Everything(
    1,
    Deep(b"abcdef", Pair(2, -3)),
    4,
    True,
    5,
    True,
    Loose(b"xyz"),
    Blue(Data.decode(b"\x11\x07")),
    (Pair(8, 9), Pair(10, 11)),
    (Red(Pair(1, 1)), Blue(Data.decode(b"\x00"))),
    Red(Pair(0, 0)),
    Data.decode(b"\x02\x01\x11\x01"),
    -1,
)
OCTETS = bytes.fromhex(
    "AA01 01 616263646566 02 FFFD 00000004 01 01 0005 00 03 78797A 06 1107 02 08 0009 0A 000B"
    "02 05 01 0001 06 00 05 00 0000 02 01 1101 FF"
)


def test_all_kinds_of_fields_in_their_order() -> None:
    assert SAMPLE.encode() == OCTETS
    assert Everything.decode(OCTETS) == SAMPLE
    assert Everything.name == "everything"
    assert Everything.minimum == 1 + 9 + 4 + 1 + 1 + 1 + 1 + 2 + 1 + 1 + 4 + 1 + 1


def test_nested_values_are_messages_again() -> None:
    again = Everything.decode(OCTETS)
    assert type(again.deep) is Deep
    assert type(again.deep.pair) is Pair
    assert [type(p) for p in again.pairs] == [Pair, Pair]
    assert [type(c) for c in again.colours] == [Red, Blue]
    assert again.deep.pair.right == -3


@pytest.mark.parametrize("end", range(len(OCTETS)))
def test_F01_every_cut_is_typed(end: int) -> None:
    with pytest.raises(DecodeError) as caught:
        Everything.decode(OCTETS[:end])
    assert end < 2 or isinstance(caught.value, Truncated)


@given(st.integers(0, len(OCTETS) - 1), st.integers(0, 255))
def test_any_octet_changed_is_read_back_the_same_or_typed(at: int, octet: int) -> None:
    changed = OCTETS[:at] + bytes((octet,)) + OCTETS[at + 1 :]
    try:
        message = Everything.decode(changed)
    except DecodeError:
        return
    assert Everything.decode(message.encode()) == message


def test_names_follow_the_standard() -> None:
    assert standard_name("GetRequestNormal") == "get-request-normal"
    assert Pair.name == "pair"


def declared(word: str = "Odd", field: Any = int, **options: Any) -> Any:
    """A fresh declaration of one field, of which nothing has been asked yet."""
    space = {"__annotations__": {"field": field}, "__module__": __name__}
    return MessageType(word, (Message,), space, **options)


def test_what_has_no_part() -> None:
    asks: list[Callable[[Any], Any]] = [
        lambda made: made.decode(b""),
        lambda made: made(1).encode(),
        lambda made: made.minimum,
    ]
    for ask in asks:
        with pytest.raises(TypeError, match="no part for the annotation"):
            ask(declared(field=complex))


def test_ber_rows_need_a_mark_in_the_annotation() -> None:
    asks: list[Callable[[Any], Any]] = [lambda made: made.decode(b"\x60"), lambda made: made(1).encode()]
    for ask in asks:
        with pytest.raises(TypeError, match="no BER row"):
            ask(declared(tag=b"\x60", ber=True))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.name)
def test_every_apdu_is_a_sound_declaration(message: type[Message]) -> None:
    # Declarations are looked at when they are first used: here all of them are.
    assert callable(message.read)
    assert message.ber or len(message.parts) == len(message.fields)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_has_room_for_its_fields_only(message: type[Message]) -> None:
    """And so nothing can be put into it: 8 octets for each of the messages that a list is."""
    assert message.__dictoffset__ == 0


def test_a_declaration_is_no_base_of_another() -> None:
    with pytest.raises(TypeError, match="Longer: a declaration is no base of another"):
        MessageType("Longer", (Pair,), {"__module__": __name__})


def test_what_no_declaration_has() -> None:
    with pytest.raises(AttributeError, match="Pair has no 'colour'"):
        Pair.colour  # type: ignore[attr-defined]  # noqa: B018


def test_a_first_use_by_many_threads_at_once() -> None:
    for _ in range(20):
        fresh, at_once = declared(field=U16), Barrier(4)

        def use(made: Any = fresh, gate: Barrier = at_once) -> tuple[bytes, Any, int, str]:
            gate.wait(30)
            return made(7).encode(), made.decode(b"\x00\x07"), made.minimum, repr(made(7))

        with ThreadPoolExecutor(4) as pool:
            found = [job.result(30) for job in [pool.submit(use) for _ in range(4)]]
        assert found == [(b"\x00\x07", fresh(7), 2, "Odd(field=7)")] * 4


def test_the_bare_part_writes_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Part().write_decode(Source(), "x")
    with pytest.raises(NotImplementedError):
        Part().write_encode(Source(), "x")


def test_parts_on_their_own() -> None:
    read, write = decoder_of(Nested(Deep)), encoder_of(Nested(Deep))
    value = Deep(b"abcdef", Pair(1, 2))
    assert write(value) == b"abcdef\x01\x00\x02"
    assert read(b"?abcdef\x01\x00\x02", 1, 10) == (value, 10)
    assert Nested(Loose).fmt is None
    assert encoder_of(Nested(Loose))(Loose(b"a")) == b"\x01a"
    assert Fixed("I").minimum == 4


def test_a_message_without_fields() -> None:
    empty = MessageType("Empty", (Message,), {"__module__": __name__}, tag=b"\x99")
    made: Any = empty()
    assert made.encode() == b"\x99"
    assert empty.decode(b"\x99") == made  # type: ignore[attr-defined]


def test_a_wrong_type_where_a_number_belongs_is_misuse() -> None:
    with pytest.raises(Misuse, match="pair: "):
        Pair(1, "x").encode()  # type: ignore[arg-type]


def test_dedicated_keys_do_not_show() -> None:
    text = repr(InitiateRequest(bytes(16), True, None, 6, 0, 0))
    assert "dedicated_key=<16 octets>" in text
    assert "\\x00" not in text


def test_malformed_says_which_message() -> None:
    with pytest.raises(Malformed, match="pair: 1 octets left over"):
        Pair.decode(b"\0\0\0\0")
    with pytest.raises(Truncated, match="pair: the octets end within the message"):
        Pair.decode(b"\0\0")


def test_a_ber_row_is_found_among_other_marks() -> None:
    assert _ber_row(Annotated[int, "words", Ber((0x80,))]) == Ber((0x80,))
    with pytest.raises(TypeError, match="no BER row"):
        _ber_row(Annotated[int, "words"])
