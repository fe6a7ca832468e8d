"""Elements of an ACCESS request: reads, writes and calls in any mixture, and how each ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from meterseal.apdu.common import SelectiveAccess
from meterseal.client.values import Answer, NotRead, Value
from meterseal.codec.types import Type
from meterseal.cosem.obis import Obis, ObjectAddress
from meterseal.cosem.selection import Selection
from meterseal.errors import MetersealError


@dataclass(frozen=True, slots=True)
class Read:
    """Read an attribute, `[CLASS/]OBIS[:ATTRIBUTE]`, whole or a selection of it."""

    object: str | ObjectAddress
    selection: Selection | SelectiveAccess | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Write an attribute.  Without `type` the class tables tell it."""

    object: str | ObjectAddress
    value: Any
    type: Type | str | None = None
    selection: Selection | SelectiveAccess | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Invoke a method, `[CLASS/]OBIS:METHOD`; without parameters the customary integer 0 is sent."""

    method: str | ObjectAddress
    parameters: Any = None
    type: Type | str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """An attribute that was written."""

    class_id: int
    obis: Obis
    attribute: int


@dataclass(frozen=True, slots=True)
class NotDone:
    """A write or call that the meter did not do, and why."""

    class_id: int
    obis: Obis
    member: int
    error: MetersealError


Element: TypeAlias = Read | Write | Call
Ended: TypeAlias = Value | NotRead | Written | Answer | NotDone
"""How an element ended: a value, an answer, written; or not, with the error."""
