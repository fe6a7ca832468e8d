"""Benchmarks of the Data codec: load profiles, regular and irregular, in and out, against the peers."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from dlms_cosem.utils import parse_as_dlms_data
from gurux_dlms import GXUInt32
from gurux_dlms.enums import DataType
from gurux_dlms.GXArray import GXArray
from gurux_dlms.GXByteBuffer import GXByteBuffer
from gurux_dlms.GXStructure import GXStructure
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.internal._GXDataInfo import _GXDataInfo

from bench.case import Case, Pair, equal
from meterseal.codec.data import Array, Structure, Tag, decode, encode

ROWS = 96
PROFILE_OCTETS = 2978
ROW = Array(Structure((Tag.OCTET_STRING, *(Tag.DOUBLE_LONG_UNSIGNED,) * 3)))


def profile(has_clock: Callable[[int], bool] = lambda row: True) -> bytes:
    """An array of 96 structures: a clock of 12 octets, null where it is left out, and three registers."""
    rows = []
    for number in range(ROWS):
        clock = b"\x09\x0c" + os.urandom(12) if has_clock(number) else b"\x00"
        rows.append(b"\x02\x04" + clock + b"".join(b"\x06" + os.urandom(4) for _ in range(3)))
    return b"\x01\x60" + b"".join(rows)


def regular() -> bytes:
    """The profile of the table: 2,978 octets."""
    octets = profile()
    equal(None, len(octets), PROFILE_OCTETS)
    return octets


def hourly() -> bytes:
    """Clock null in 3 of 4 rows."""
    return profile(lambda row: row % 4 == 0)


def scattered() -> bytes:
    """Clock null in 3 of 4 rows, but which ones cannot be foreseen."""
    full = {0, *random.sample(range(1, ROWS), ROWS // 4 - 1)}
    return profile(lambda row: row in full)


def alternating() -> bytes:
    """The regular profile with one more string in each row, of 3 and 4 octets in turn."""
    octets = bytearray(b"\x01\x60")
    whole = regular()
    for number in range(ROWS):
        row = whole[2 + 31 * number : 33 + 31 * number]
        size = 3 + number % 2
        octets += b"\x02\x05" + row[2:16] + bytes((0x09, size)) + os.urandom(size) + row[16:]
    return bytes(octets)


def plain(value: Any) -> Any:
    """The same value of tuples, int and bytes, whatever kinds of lists and octets it was made of."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(element) for element in value)
    return bytes(value) if isinstance(value, (bytes, bytearray)) else value


def agree(_: Any, ours: Any, theirs: Any) -> None:
    """The values are the same, and no date was converted."""
    equal(None, plain(ours), plain(theirs))


def against_gurux(make: Callable[[], bytes]) -> Pair:
    """`decode` against `_GXCommon.getData`, whose buffer object is made beforehand."""

    def inputs(count: int) -> Sequence[tuple[bytes, Any]]:
        made = [make() for _ in range(count)]
        return [(octets, GXByteBuffer(octets)) for octets in made]

    return Pair(
        inputs,
        lambda item: decode(item[0]),
        lambda item: _GXCommon.getData(None, item[1], _GXDataInfo()),
        agree,
        calls=150,
        calls_theirs=4,
    )


def profile_vs_dlms_cosem() -> Pair:
    """`decode` against `parse_as_dlms_data`."""
    return Pair(
        lambda count: [regular() for _ in range(count)],
        decode,
        parse_as_dlms_data,
        agree,
        calls=300,
        calls_theirs=8,
    )


def encode_vs_gurux() -> Pair:
    """`encode` with one type description against `_GXCommon.setData`, from the same lists.

    The peer takes types from the values, so its own kinds of list and integer are given to both.
    """

    def inputs(count: int) -> Sequence[Any]:
        made = []
        for _ in range(count):
            rows = GXArray()
            for clock, *registers in decode(regular()):
                row = GXStructure()
                row.extend([clock, *map(GXUInt32, registers)])
                rows.append(row)
            made.append(rows)
        return made

    def theirs(rows: Any) -> bytes:
        buffer = GXByteBuffer()
        _GXCommon.setData(None, buffer, DataType.ARRAY, rows)
        return bytes(buffer.array())

    return Pair(inputs, lambda rows: encode(rows, ROW), theirs, equal, calls=150, calls_theirs=4)


CASES = (
    Case("decode_profile_vs_gurux", 100, lambda: against_gurux(regular)),
    Case("decode_profile_vs_dlms_cosem", 30, profile_vs_dlms_cosem),
    Case("decode_irregular_vs_gurux", 20, lambda: against_gurux(hourly)),
    Case("decode_irregular_lengths_vs_gurux", 20, lambda: against_gurux(alternating)),
    Case("decode_irregular_scattered_vs_gurux", 15, lambda: against_gurux(scattered)),
    Case("encode_profile_vs_gurux", 80, encode_vs_gurux),
)
