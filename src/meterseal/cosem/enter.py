"""Values coming in: text or JSON to (value, Type) for the wire, guided by the class tables.

The inverse of `present`, for the command line's write and call: what one shows the other takes.
Where the class leaves the type open, the text names it: "u32:1234", "os:0102FF", "vs:name".
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from meterseal.codec.types import Array, BitString, MixedArray, Structure, Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.cosem.shapes import ANY, LEAVES, Group, Kind, Leaf, Many, Shape
from meterseal.cosem.times import Date, DateTime, Time, meant
from meterseal.errors import Misuse

_INTEGERS: Final = frozenset(
    {
        Tag.INTEGER, Tag.LONG, Tag.DOUBLE_LONG, Tag.LONG64,
        Tag.UNSIGNED, Tag.LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED, Tag.LONG64_UNSIGNED,
        Tag.ENUM, Tag.BCD,
    }
)  # fmt: skip
_TIMES: Final[dict[Kind, type[DateTime] | type[Date] | type[Time]]] = {
    Kind.DATE_TIME: DateTime,
    Kind.DATE: Date,
    Kind.TIME: Time,
}
_DEEPEST: Final = 32


def from_text(text: str, expected: Shape = ANY) -> tuple[Any, Type]:
    """A command line word as (value, Type).

    For an open type the word is "TYPE:VALUE" with the type words of `cosem.shapes`; true, false and
    null stand for themselves. For a list or structure it is JSON. Raises `Misuse`.
    """
    if isinstance(expected, Leaf):
        if expected.tag is None:
            return _self_described(text)
        return _leaf_from_text(text, expected)
    try:
        plain = json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Misuse("a list or structure is given as JSON, and this is none") from error
    return from_plain(plain, expected)


def from_plain(plain: Any, expected: Shape, path: str = "value", depth: int = 0) -> tuple[Any, Type]:
    """A JSON value as (value, Type) of the shape; a structure may be a list, or an object by field names.

    Raises `Misuse` with the path of what does not fit.
    """
    if depth > _DEEPEST:
        raise Misuse(f"{path} nests too deep")
    if isinstance(expected, Many):
        if not isinstance(plain, list):
            raise Misuse(f"{path} is a list, not {_word(plain)}")
        parts = [
            from_plain(item, expected.element, f"{path}[{at}]", depth + 1) for at, item in enumerate(plain)
        ]
        return [value for value, _ in parts], _array_type([type_ for _, type_ in parts])
    if isinstance(expected, Group):
        items = _fields(plain, expected, path)
        parts = [
            from_plain(item, field, f"{path}.{name}", depth + 1)
            for name, item, field in zip(expected.names, items, expected.fields, strict=True)
        ]
        return tuple(value for value, _ in parts), Structure(tuple(type_ for _, type_ in parts))
    return _leaf_from_plain(plain, expected, path, depth)


def _fields(plain: Any, expected: Group, path: str) -> list[Any]:
    names = expected.names
    if isinstance(plain, dict):
        if set(plain) != set(names):
            raise Misuse(f"{path} has the fields {', '.join(names)}")
        return [plain[name] for name in names]
    if isinstance(plain, list) and len(plain) == len(names):
        return plain
    raise Misuse(f"{path} is a structure of {len(names)}: {', '.join(names)}")


def _array_type(types: list[Type]) -> Type:
    return Array(types[0]) if types and len(set(types)) == 1 else MixedArray(tuple(types))


def _leaf_from_plain(plain: Any, expected: Leaf, path: str, depth: int) -> tuple[Any, Type]:
    tag = expected.tag
    if tag is None:
        return _open(plain, path, depth)
    if isinstance(plain, str):
        return _leaf_from_text(plain, expected, path)
    if tag in _INTEGERS and isinstance(plain, int) and not isinstance(plain, bool):
        return plain, tag
    if tag is Tag.BOOLEAN and isinstance(plain, bool):
        return plain, tag
    if (
        tag in (Tag.FLOAT32, Tag.FLOAT64)
        and isinstance(plain, int | float | Decimal)
        and not isinstance(plain, bool)
    ):
        return float(plain), tag
    if tag is Tag.NULL and plain is None:
        return None, tag
    raise Misuse(f"{path} is {expected.word}, not {_word(plain)}")


def _open(plain: Any, path: str, depth: int) -> tuple[Any, Type]:
    """A value of open type: null, booleans and "TYPE:VALUE" say which; a list is an array."""
    if plain is None:
        return None, Tag.NULL
    if isinstance(plain, bool):
        return plain, Tag.BOOLEAN
    if isinstance(plain, str):
        return _self_described(plain, path)
    if isinstance(plain, list):
        parts = [from_plain(item, ANY, f"{path}[{at}]", depth + 1) for at, item in enumerate(plain)]
        return [value for value, _ in parts], _array_type([type_ for _, type_ in parts])
    raise Misuse(f'{path} may be of any type: say which, as in "u32:1234" or "os:0102"')


def _self_described(text: str, path: str = "value") -> tuple[Any, Type]:
    """Read "TYPE:VALUE"."""
    if text in ("true", "false"):
        return text == "true", Tag.BOOLEAN
    if text == "null":
        return None, Tag.NULL
    word, colon, rest = text.partition(":")
    if not colon:
        raise Misuse(f'{path} may be of any type: say which, as in "u32:1234" or "os:0102"')
    expected = LEAVES.get(word, ANY)
    if expected.tag is None:
        raise Misuse(f"{path}: {word[:20]!r} is no type word")
    return _leaf_from_text(rest, expected, path)


def _leaf_from_text(text: str, expected: Leaf, path: str = "value") -> tuple[Any, Type]:
    tag = expected.tag
    if tag is None:
        return _self_described(text, path)
    reader = _TIMES.get(expected.kind)
    try:
        if reader is not None:
            return meant(reader.from_text(text), path).to_octets(), tag
        if expected.kind is Kind.LOGICAL_NAME:
            return bytes(Obis(text)), tag
        return _SCALAR_TEXTS.get(tag, int)(text), tag
    except (ValueError, KeyError) as error:
        raise Misuse(f"{path} is {expected.word}, and {text[:40]!r} is none") from error


def _bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text]


def _null(text: str) -> None:
    if text not in ("", "null"):
        raise ValueError(text)


_SCALAR_TEXTS: Final[dict[Tag, Any]] = {
    Tag.NULL: _null,
    Tag.BOOLEAN: _bool,
    Tag.BIT_STRING: BitString.of,
    Tag.OCTET_STRING: bytes.fromhex,
    Tag.VISIBLE_STRING: str,
    Tag.UTF8_STRING: str,
    Tag.FLOAT32: float,
    Tag.FLOAT64: float,
}


def _word(plain: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(plain), "a number")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
