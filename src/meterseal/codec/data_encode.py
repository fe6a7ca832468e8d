"""Encoding of DLMS Data: a plain Python value and its type to octets; errors name the element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meterseal.codec.octets import length_octets
from meterseal.codec.rows_encode import pack_rows
from meterseal.codec.scalars import SCALAR_WRITERS, shown
from meterseal.codec.types import CONTAINERS, MAX_DEPTH, Array, CompactArray, MixedArray, Structure, Tag, Type
from meterseal.errors import Misuse

_SCALAR_LEADS = {tag: bytes((tag,)) for tag in SCALAR_WRITERS if tag not in CONTAINERS}


class _At(Exception):
    """An error on its way out, collecting the path of the element (indices, outermost last)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path: list[int] = []


def write_value(value: Any, type: Type) -> bytes:
    """Octets of `value` as `type`. Misuse names what does not fit: "[3].2: 300 does not fit unsigned"."""
    lead = _SCALAR_LEADS.get(type) if isinstance(type, Tag) else None
    if lead is not None:  # most values: nothing to collect, and no path
        return lead + SCALAR_WRITERS[type](value)  # type: ignore[index]
    chunks: list[bytes] = []
    try:
        _write(value, type, chunks, 0, True)
    except _At as error:
        raise Misuse(_located(error)) from None
    return b"".join(chunks)


def _located(error: _At) -> str:
    if not error.path:
        return error.text
    first, *rest = reversed(error.path)
    return f"[{first}]{''.join(f'.{index}' for index in rest)}: {error.text}"


def _write(value: Any, type_: Type, chunks: list[bytes], depth: int, tagged: bool) -> None:
    if isinstance(type_, Tag):
        if type_ in CONTAINERS:
            raise _At(f"{type_.word} needs a type for what is inside")
        if tagged:
            chunks.append(bytes((type_,)))
        try:
            chunks.append(SCALAR_WRITERS[type_](value))
        except Misuse as error:
            raise _At(str(error)) from None
        return
    if depth >= MAX_DEPTH:
        raise _At(f"nests deeper than {MAX_DEPTH}")
    if isinstance(type_, CompactArray):
        if not tagged:
            raise _At("a compact-array inside a compact-array")
        contents: list[bytes] = []
        elements = _sequence(value, "compact-array")
        _write_all(elements, [type_.element] * len(elements), contents, depth + 1, False)
        octets = b"".join(contents)
        if elements and not octets:
            raise _At("elements of a compact-array need octets")
        chunks.append(bytes((Tag.COMPACT_ARRAY,)))
        _describe(type_.element, chunks, depth + 1)
        chunks += (length_octets(len(octets)), octets)
        return
    if tagged and isinstance(type_, Array) and type_.count is None and isinstance(value, (list, tuple)):
        packed = pack_rows(value, type_.element)
        if packed is not None:
            chunks += (b"\x01", length_octets(len(value)), packed)
            return
    elements, types, tag = _parts(value, type_)
    if tagged:
        chunks += (bytes((tag,)), length_octets(len(elements)))
    elif isinstance(type_, MixedArray) or (isinstance(type_, Array) and type_.count is None):
        raise _At("an array inside a compact-array needs a fixed count")
    _write_all(elements, types, chunks, depth + 1, tagged)


def _parts(value: Any, type_: Array | Structure | MixedArray) -> tuple[Sequence[Any], Sequence[Type], Tag]:
    """The elements of `value`, the type of each, and the tag of their container."""
    if isinstance(type_, Structure):
        types: Sequence[Type] = type_.fields
        tag = Tag.STRUCTURE
        elements = _sequence(value, "structure")
    else:
        tag = Tag.ARRAY
        elements = _sequence(value, "array")
        if isinstance(type_, MixedArray):
            types = type_.elements
        else:
            types = [type_.element] * (len(elements) if type_.count is None else type_.count)
    if len(types) != len(elements):
        raise _At(f"{len(elements)} elements, the {tag.word} has {len(types)}")
    return elements, types, tag


def _sequence(value: Any, word: str) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise _At(f"{shown(value)} is no {word}")


def _write_all(
    elements: Sequence[Any], types: Sequence[Type], chunks: list[bytes], depth: int, tagged: bool
) -> None:
    index = 0
    try:
        for index, (element, type_) in enumerate(zip(elements, types, strict=True)):  # noqa: B007
            _write(element, type_, chunks, depth, tagged)
    except _At as error:
        error.path.append(index)
        raise


def _describe(type_: Type, chunks: list[bytes], depth: int) -> None:
    """Append the TypeDescription of a compact-array's element."""
    if isinstance(type_, Tag):
        chunks.append(bytes((type_,)))
    elif isinstance(type_, Structure):
        chunks += (bytes((Tag.STRUCTURE,)), length_octets(len(type_.fields)))
        for field in type_.fields:
            _describe(field, chunks, depth + 1)
    elif isinstance(type_, Array) and type_.count is not None and type_.count <= 0xFFFF:
        chunks += (bytes((Tag.ARRAY,)), type_.count.to_bytes(2, "big"))
        _describe(type_.element, chunks, depth + 1)
    else:
        raise _At("an array inside a compact-array needs a fixed count")
