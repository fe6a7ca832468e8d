"""Script table (class 9): what the meter does by itself when somebody, or its clock, says so.

Who may call execute may have done what the script says: its actions run with the meter's own rights.  They
run in order up to the first one that does not go through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from meterseal.association import Operation, Service
from meterseal.codec.data import Data
from meterseal.codec.types import Structure, Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.meter.configured import Configured, Setup
from meterseal.meter.objects import OTHER_REASON, Asker, Denied, Value, elements

Do: TypeAlias = Callable[[Asker, Operation], None]
"""Does one operation with the meter's own rights.  Raises Denied."""

WRITE, EXECUTE = 1, 2
"""service_id of an action."""

_SERVICES: Final = {WRITE: Service.SET, EXECUTE: Service.ACTION}


class ScriptTable(Configured):
    """Scripts by identifier, each a list of writes and calls within the logical device."""

    def __init__(self, setup: Setup, do: Do) -> None:
        super().__init__(9, setup)
        self._do = do
        self.callers[1] = self.execute

    def check(self, index: int, value: Value) -> None:
        """Identifiers are not 0 and not there twice; services are writes and calls."""
        super().check(index, value)
        scripts, _ = value
        names = [name for name, _ in scripts]
        if 0 in names or len(set(names)) < len(names):
            raise Denied(OTHER_REASON, "a script has an identifier of its own, from 1")
        if any(action[0] not in _SERVICES for _, actions in scripts for action in actions):
            raise Denied(OTHER_REASON, "the service of an action is 1 (write) or 2 (execute)")

    def execute(self, asker: Asker, selector: int) -> None:
        """Run a script.  Raises Denied for one that is not there, or with the code of what did not go."""
        for operation in self.operations(selector):
            self._do(asker, operation)

    def operations(self, selector: int) -> Iterator[Operation]:
        """What a script does, in order.  Raises Denied for one that is not there."""
        for script, type_ in _each(self.values[2]):
            identifier, actions = script
            if identifier == selector:
                return (_operation(action) for action in _each((actions, _fields(type_)[1])))
        raise Denied(OTHER_REASON, f"there is no script {selector} in {self.obis}")


def _operation(action: Value) -> Operation:
    (service, class_id, name, index, parameter), type_ = action
    kind = _fields(type_)[4]
    given = None if service == EXECUTE and kind is Tag.NULL else Data.of(parameter, kind)
    return Operation(_SERVICES[service], class_id, Obis(name), index, None, given)


def _each(array: Value) -> Iterator[Value]:
    """The elements of an array, each with its type."""
    value, type_ = array
    return zip(value, elements(type_, len(value)), strict=True)


def _fields(type_: Type) -> tuple[Type, ...]:
    """The types of a structure's fields; the class table says that it is one."""
    return type_.fields if isinstance(type_, Structure) else ()
