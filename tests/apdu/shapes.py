"""Values for every declared message, from its declaration: strategies, and a typical sample."""

from __future__ import annotations

import typing
from typing import Any

from hypothesis import strategies as st

from meterseal.apdu import (
    access,
    acse,
    common,
    general,
    initiate,
    lists,
    services,
    short_names,
    specifications,
)
from meterseal.codec.ber import Ber
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.codec.octets import length_octets
from meterseal.codec.parts import Call, Choice, Nested, Optional, Part, SequenceOf

MODULES = (acse, common, general, initiate, lists, services, access, short_names, specifications)

DECLARED: tuple[type[Message], ...] = tuple(
    declared
    for module in MODULES
    for declared in vars(module).values()
    if isinstance(declared, type) and issubclass(declared, Message) and declared.__module__ == module.__name__
)
"""Every declaration of the package: APDUs, their pieces, and the bare lists of block transfers."""

_INTEGERS = {
    "B": (0, 0xFF),
    "H": (0, 0xFFFF),
    "I": (0, 0xFFFF_FFFF),
    "b": (-0x80, 0x7F),
    "h": (-0x8000, 0x7FFF),
}
_SCALARS = st.one_of(
    st.just(b"\x00"),
    st.binary(min_size=1, max_size=1).map(lambda b: b"\x11" + b),
    st.binary(min_size=4, max_size=4).map(lambda b: b"\x06" + b),
    st.binary(max_size=200).map(lambda b: b"\x09" + length_octets(len(b)) + b),
    st.text(max_size=20).map(lambda t: b"\x0c" + length_octets(len(t.encode())) + t.encode()),
)
_COMPACT = st.binary(max_size=8).map(lambda b: b"\x13\x11" + bytes((len(b),)) + b)


def _container(children: st.SearchStrategy[list[bytes]]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda tag, items: tag + length_octets(len(items)) + b"".join(items),
        st.sampled_from([b"\x01", b"\x02"]),
        children,
    )


data: st.SearchStrategy[Data] = st.recursive(
    _SCALARS | _COMPACT, lambda inner: _container(st.lists(inner, max_size=4)), max_leaves=6
).map(Data.decode)
"""A value of DLMS Data as a message carries it."""


def ber_rows(cls: type[Message]) -> list[tuple[str, Ber]]:
    """The fields of an ACSE declaration with their BER rows."""
    hints = typing.get_type_hints(cls, include_extras=True)
    rows = []
    for name in cls.fields:
        (mark,) = [m for m in hints[name].__metadata__ if isinstance(m, Ber)]
        rows.append((name, mark))
    return rows


def is_ber(cls: type[Message]) -> bool:
    """True for ACSE declarations."""
    return cls.__module__ == acse.__name__


def messages(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Any message of a declaration."""
    if is_ber(cls):
        fields = {name: st.none() | _ber(row) for name, row in ber_rows(cls)}
    else:
        fields = {name: _part(part) for name, part in cls.parts}
    return st.builds(cls, **fields)


def _ber(row: Ber) -> st.SearchStrategy[Any]:
    return st.binary(max_size=300) if row.content == "octets" else st.integers(-(2**31), 2**31 - 1)


def _part(part: Part) -> st.SearchStrategy[Any]:
    if isinstance(part, Call):
        return _CALLS[part.decode.__qualname__]
    if isinstance(part, Optional):
        return st.just(part.absent) | _part(part.part)
    if isinstance(part, SequenceOf):
        return st.lists(_part(part.part), max_size=4).map(tuple)
    if isinstance(part, Choice):
        return st.one_of([messages(a) for a in part.alternatives])
    if isinstance(part, Nested):
        return messages(part.message)
    if part.fmt == "6s":
        return st.binary(min_size=6, max_size=6)
    return st.integers(*_INTEGERS[str(part.fmt)])


_CALLS: dict[str, st.SearchStrategy[Any]] = {
    "read_octets": st.binary(max_size=300),
    "read_boolean": st.booleans(),
    "Data.read": data,
    "_read_conformance": st.integers(0, 0xFF_FFFF),
}

# --- one sample of each ------------------------------------------------------------------------

_OCTETS = bytes.fromhex("4D534C4845530001")
_LONG = Data.decode(bytes.fromhex("01020203090C07E5010203040506070800FF12001106000000FF0202030109020A0B"))
_TYPICAL: dict[str, Any] = {
    "read_octets": _OCTETS,
    "read_boolean": True,
    "Data.read": _LONG,
    "_read_conformance": 0x007E1F,
}


def sample(cls: type[Message]) -> Message:
    """A message with every optional field there and two elements in every list."""
    if is_ber(cls):
        skip = {"user_diagnostic"} if cls is acse.Aare else set()
        values = {
            name: (_OCTETS if row.content == "octets" else 1)
            for name, row in ber_rows(cls)
            if name not in skip
        }
        return cls(**values)
    return cls(**{name: _typical(part) for name, part in cls.parts})


def _typical(part: Part) -> Any:
    if isinstance(part, Call):
        return _TYPICAL[part.decode.__qualname__]
    if isinstance(part, Optional):
        return False if part.absent is True else _typical(part.part)
    if isinstance(part, SequenceOf):
        return (_typical(part.part), _typical(part.part))
    if isinstance(part, Choice):
        return sample(part.alternatives[0])
    if isinstance(part, Nested):
        return sample(part.message)
    return b"\x01\x00\x01\x08\x00\xff" if part.fmt == "6s" else 0x41


SAMPLES: tuple[Message, ...] = tuple(sample(cls) for cls in DECLARED)
"""One of every declaration, for truncating and mutating."""
