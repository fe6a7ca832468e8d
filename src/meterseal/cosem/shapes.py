"""Shapes: what an attribute or parameter looks like, in one line of text.

The interface-class tables write types as the fact sheets do, for example

    [{class_id u16, logical_name ln, attribute_index i8, data_index u16}]

and this module compiles that line once to a tree that knows the type on the wire, the name of each
field and how octets are to be shown. Words: `LEAVES`; `[x]` array; `{name x, ...}` structure;
`@name` a definition of `DEFINITIONS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final, TypeAlias

from meterseal.codec.types import Array, Structure, Tag, Type
from meterseal.errors import Misuse


class Kind(Enum):
    """How an octet-string is to be shown (design 5): as hex unless the class says otherwise."""

    PLAIN = "plain"
    DATE_TIME = "date-time"
    DATE = "date"
    TIME = "time"
    LOGICAL_NAME = "logical-name"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar; `tag` None means any type at all (a measured value, a CHOICE)."""

    tag: Tag | None
    kind: Kind = Kind.PLAIN
    word: str = "any"


@dataclass(frozen=True, slots=True)
class Many:
    """An array of one element shape."""

    element: Shape


@dataclass(frozen=True, slots=True)
class Group:
    """A structure with named fields."""

    names: tuple[str, ...]
    fields: tuple[Shape, ...]


Shape: TypeAlias = Leaf | Many | Group

ANY: Final = Leaf(None)

LEAVES: Final[dict[str, Leaf]] = {
    leaf.word: leaf
    for leaf in (
        ANY,
        Leaf(Tag.NULL, word="null"),
        Leaf(Tag.BOOLEAN, word="bool"),
        Leaf(Tag.BIT_STRING, word="bits"),
        Leaf(Tag.INTEGER, word="i8"),
        Leaf(Tag.LONG, word="i16"),
        Leaf(Tag.DOUBLE_LONG, word="i32"),
        Leaf(Tag.LONG64, word="i64"),
        Leaf(Tag.UNSIGNED, word="u8"),
        Leaf(Tag.LONG_UNSIGNED, word="u16"),
        Leaf(Tag.DOUBLE_LONG_UNSIGNED, word="u32"),
        Leaf(Tag.LONG64_UNSIGNED, word="u64"),
        Leaf(Tag.FLOAT32, word="f32"),
        Leaf(Tag.FLOAT64, word="f64"),
        Leaf(Tag.ENUM, word="enum"),
        Leaf(Tag.BCD, word="bcd"),
        Leaf(Tag.OCTET_STRING, word="os"),
        Leaf(Tag.VISIBLE_STRING, word="vs"),
        Leaf(Tag.UTF8_STRING, word="utf8"),
        Leaf(Tag.OCTET_STRING, Kind.LOGICAL_NAME, "ln"),
        Leaf(Tag.OCTET_STRING, Kind.DATE_TIME, "date-time"),
        Leaf(Tag.OCTET_STRING, Kind.DATE, "date"),
        Leaf(Tag.OCTET_STRING, Kind.TIME, "time"),
        Leaf(Tag.DATE_TIME, Kind.DATE_TIME, "date-time-25"),
    )
}
"""Words of scalars. The times are octet-strings of 12, 5 and 4; date-time-25 is the type of tag 19 hex."""

DEFINITIONS: Final[dict[str, str]] = {
    "scaler_unit": "{scaler i8, unit enum}",
    "capture_object": "{class_id u16, logical_name ln, attribute_index i8, data_index u16}",
    "attribute": "{class_id u16, logical_name ln, attribute_index i8}",
    "object": "{class_id u16, logical_name ln}",
    "script": "{script_logical_name ln, script_selector u16}",
    "user": "{id u8, name vs}",
    "object_definition": (
        "{class_id u16, logical_name ln, attribute_index i8, data_index u16,"
        " restriction {restriction_type enum, restriction_value any}}"
    ),
    "protection_parameters": (
        "[{protection_type enum, protection_options {transaction_id os, originator_system_title os,"
        " recipient_system_title os, other_information os,"
        " key_info {key_info_type enum, key_info_options any}}}]"
    ),
    "object_list_element": (
        "{class_id u16, version u8, logical_name ln, access_rights {"
        "attribute_access [{attribute_id i8, access_mode enum, access_selectors any}],"
        " method_access [{method_id i8, access_mode any}]}}"
    ),
    "certificate_identification": "{identification_type enum, identification_options any}",
    "season": "{season_profile_name os, season_start date-time, week_name os}",
    "week": (
        "{week_profile_name os, monday u8, tuesday u8, wednesday u8, thursday u8, friday u8,"
        " saturday u8, sunday u8}"
    ),
    "day": "{day_id u8, day_schedule [{start_time time, script_logical_name ln, script_selector u16}]}",
}
"""Structures that several classes use, by name."""

_TOKEN: Final = re.compile(r"\s*([\[\]{},]|@?[A-Za-z0-9_-]+)", re.ASCII)


@cache
def shape(line: str) -> Shape:
    """Compile one line; `Misuse` where it is not in the notation (the lines are our own tables')."""
    tokens = _TOKEN.findall(line)
    if "".join(tokens) != re.sub(r"\s", "", line):
        raise Misuse(f"shape {line!r} has a character of no meaning")
    tokens.reverse()
    found = _read(tokens, line)
    if tokens:
        raise Misuse(f"shape {line!r} goes on behind its end")
    return found


def _read(tokens: list[str], line: str) -> Shape:
    """One shape off the end of the reversed token list."""
    token = _next(tokens, line)
    if token == "[":
        element = _read(tokens, line)
        _expect(tokens, "]", line)
        return Many(element)
    if token == "{":
        names, fields = [], []
        closing = ","
        while closing == ",":
            names.append(_next(tokens, line))
            fields.append(_read(tokens, line))
            closing = _next(tokens, line)
        if closing != "}":
            raise Misuse(f"shape {line!r}: {closing!r} where a structure goes on or ends")
        return Group(tuple(names), tuple(fields))
    if token.startswith("@") and token[1:] in DEFINITIONS:
        return shape(DEFINITIONS[token[1:]])
    if token in LEAVES:
        return LEAVES[token]
    raise Misuse(f"shape {line!r}: {token!r} is no word")


def _next(tokens: list[str], line: str) -> str:
    if not tokens:
        raise Misuse(f"shape {line!r} ends too early")
    return tokens.pop()


def _expect(tokens: list[str], wanted: str, line: str) -> None:
    if _next(tokens, line) != wanted:
        raise Misuse(f"shape {line!r}: {wanted!r} expected")


@cache
def wire_type(of: Shape) -> Type | None:
    """The codec's type description; None where some part may be of any type."""
    if isinstance(of, Leaf):
        return of.tag
    if isinstance(of, Many):
        element = wire_type(of.element)
        return None if element is None else Array(element)
    types = tuple(wire_type(field) for field in of.fields)
    known = tuple(field for field in types if field is not None)
    return Structure(known) if len(known) == len(types) else None


def element_of(of: Shape | None, index: int) -> Shape:
    """The shape of the `index`-th part (0-based) of an array or structure; `ANY` where none is known."""
    if isinstance(of, Many):
        return of.element
    if isinstance(of, Group) and index < len(of.fields):
        return of.fields[index]
    return ANY


def kind_of(of: Shape | None) -> Kind:
    """How a scalar of this shape is shown."""
    return of.kind if isinstance(of, Leaf) else Kind.PLAIN
