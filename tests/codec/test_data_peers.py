"""Data against two other people's codecs: where all agree on a value they agree on its octets."""

from __future__ import annotations

from typing import Any

import pytest
from dlms_cosem.utils import parse_as_dlms_data
from gurux_dlms.enums import DataType
from gurux_dlms.GXByteBuffer import GXByteBuffer
from gurux_dlms.internal._GXCommon import _GXCommon
from gurux_dlms.internal._GXDataInfo import _GXDataInfo
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.codec.data import MixedArray, Tag
from tests.codec.typed import row_arrays, values_of

SHARED = [
    Tag.NULL, Tag.DOUBLE_LONG, Tag.DOUBLE_LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG,
    Tag.UNSIGNED, Tag.LONG_UNSIGNED, Tag.LONG64, Tag.LONG64_UNSIGNED, Tag.ENUM, Tag.BOOLEAN,
]  # fmt: skip


def plain(value: Any) -> Any:
    """Lists for every kind of sequence, bytes for every kind of octets, numbers for every kind of them."""
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return value if value is None else int(value)


def by_gurux(octets: bytes) -> Any:
    """What the peer decodes."""
    return plain(_GXCommon.getData(None, GXByteBuffer(octets), _GXDataInfo()))


@pytest.mark.parametrize("tag", SHARED, ids=[tag.word for tag in SHARED])
@given(draw=st.data())
def test_scalars_decode_alike(tag: Tag, draw: st.DataObject) -> None:
    octets = data.encode(draw.draw(values_of(tag)), tag)
    ours = plain(data.decode(octets))
    assert plain(parse_as_dlms_data(octets)) == ours
    assert by_gurux(octets) == ours


@pytest.mark.parametrize("tag", SHARED, ids=[tag.word for tag in SHARED])
@given(draw=st.data())
def test_scalars_encode_alike(tag: Tag, draw: st.DataObject) -> None:
    value = draw.draw(values_of(tag))
    buffer = GXByteBuffer()
    _GXCommon.setData(None, buffer, DataType(int(tag)), value)
    assert bytes(buffer.array()) == data.encode(value, tag)


@pytest.mark.slow
@given(row_arrays(SHARED, least_fields=1))
def test_rows_decode_alike(made: tuple[list[Any], MixedArray]) -> None:
    octets = data.encode(*made)
    ours = plain(data.decode(octets))
    assert plain(parse_as_dlms_data(octets)) == ours
    assert by_gurux(octets) == ours
