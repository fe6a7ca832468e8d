"""Values to be written: from Python, text or JSON to Data, by the class tables where no type is given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from meterseal.apdu.common import SelectiveAccess
from meterseal.codec.data import Data
from meterseal.codec.types import Tag, Type
from meterseal.cosem.enter import from_plain, from_text
from meterseal.cosem.selection import Selection
from meterseal.cosem.shapes import LEAVES, Shape, wire_type
from meterseal.cosem.times import Date, DateTime, Time, meant
from meterseal.errors import Misuse

_SIMPLE = {bool: Tag.BOOLEAN, type(None): Tag.NULL}


def to_data(value: Any, type_: Type | str | None, shape: Shape, what: str) -> Data:
    """`value` as Data: as it is, of the type given (a `Type` or a word as "u32"), or of the class table's.

    Text is read as the command line reads it (hex for octets, ISO 8601 for times, "u32:7" where the class
    leaves the type open), a dict by the names of a structure's fields.  Raises Misuse naming `what`.
    """
    if isinstance(value, Data):
        return value
    if type_ is not None:
        return Data.of(_plain(value, what), _type(type_, what))
    if isinstance(value, str):
        return Data.of(*from_text(value, shape))
    known = wire_type(shape)
    if isinstance(value, dict):
        return Data.of(*from_plain(value, shape))
    known = known or _SIMPLE.get(type(value))
    if known is None:
        raise Misuse(f'{what} may be of any type: give type=, for example type="u32" or Tag.LONG_UNSIGNED')
    return Data.of(_plain(value, what), known)


def _type(type_: Type | str, what: str) -> Type:
    if not isinstance(type_, str):
        return type_
    leaf = LEAVES.get(type_)
    if leaf is None or leaf.tag is None:
        raise Misuse(f"{what}: {type_[:20]!r} is no type word")
    return leaf.tag


def _plain(value: Any, what: str) -> Any:
    """Times as their octets, inside lists and structures too.  Raises Misuse for one that means nothing."""
    if isinstance(value, DateTime | Date | Time):
        return meant(value, what).to_octets()
    if isinstance(value, datetime):
        return DateTime.from_datetime(value).to_octets()
    if isinstance(value, list):
        return [_plain(part, what) for part in value]
    if type(value) is tuple:
        return tuple(_plain(part, what) for part in value)
    return value


def to_selection(selection: Selection | SelectiveAccess | None) -> SelectiveAccess | None:
    """A selection as the message carries it."""
    if selection is None or isinstance(selection, SelectiveAccess):
        return selection
    return SelectiveAccess(selection.selector, Data.of(*selection.parameter()))
