"""Access by descriptor, several at once, and the classes of objects; as steps, for both drivers.

Classes of objects named without one are found in this order: the object list already read in this
association, the table of well-known names, one read of the object list.  With a class the meter is
asked at once: what a view hides is refused by the meter, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from meterseal.apdu.common import SelectiveAccess
from meterseal.association import Operation, Outcome, Service, conformance
from meterseal.client.steps import Steps
from meterseal.client.typed import to_selection
from meterseal.client.values import refusal
from meterseal.codec.data import Data, decode
from meterseal.cosem.obis import Obis, ObjectAddress, parse_object
from meterseal.cosem.object_list import ASSOCIATION_LN, CURRENT_ASSOCIATION, ObjectEntry, ObjectList
from meterseal.cosem.selection import Selection
from meterseal.cosem.units import scaler_unit
from meterseal.cosem.well_known import well_known
from meterseal.errors import MetersealError, Misuse, Refused

_LISTS: Final = conformance("multiple-references")
_LONGEST_LIST: Final = 32
"""Attributes asked for in one list: more make answers that meters with little memory refuse."""

_DESCRIPTOR: Final = 10
_LIST_OVERHEAD: Final = 64
_OBJECT_LIST: Final = Operation(Service.GET, ASSOCIATION_LN, CURRENT_ASSOCIATION, 2)

Result: TypeAlias = Outcome | MetersealError
"""Of one operation among several: what the meter said, or why its request failed."""

ScalerName: TypeAlias = tuple[int, Obis, int]
"""Class, object and attribute of a scaler_unit."""


class Asks(Protocol):
    """Who asks a meter: an association's session, or a third party through somebody else's."""

    @property
    def negotiated(self) -> int:
        """The conformance block that holds between the two."""

    @property
    def server_max_pdu(self) -> int:
        """Octets of the largest request; 0: no limit."""

    def ask(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
    ) -> Steps[tuple[Outcome, ...]]:
        """One request, all its blocks included; the outcomes in order."""

    def know(self, entries: Iterable[ObjectEntry]) -> None:
        """Take notice of an object list that was read."""


class Access:
    """Requests of one session, and what it has learned of the meter's objects."""

    def __init__(self, session: Asks) -> None:
        self.session = session
        self._objects: ObjectList | None = None
        self._scalers: dict[ScalerName, tuple[int, int]] = {}

    # --- by descriptor ---------------------------------------------------------------------------

    def get(
        self,
        class_id: int,
        instance: str | bytes,
        attribute: int,
        selection: Selection | SelectiveAccess | None = None,
    ) -> Steps[bytes]:
        """One attribute as A-XDR; nothing else is asked."""
        name = Obis(instance) if isinstance(instance, str) else instance
        chosen = None if selection is None else to_selection(selection)
        asked = self.session.ask((Operation(Service.GET, class_id, name, attribute, chosen),))
        return (yield from self.got(asked, class_id, name, attribute))

    def got(
        self, asked: Steps[tuple[Outcome, ...]], class_id: int, name: str | bytes, attribute: int
    ) -> Steps[bytes]:
        """The one attribute that these steps come to."""
        ((code, data),) = yield from asked
        if code or data is None:
            raise refusal(f"{class_id}/{Obis(name)}:{attribute}", code)
        return data

    def set(
        self,
        class_id: int,
        instance: str | bytes,
        attribute: int,
        data: Data | bytes,
        selection: Selection | SelectiveAccess | None = None,
    ) -> Steps[None]:
        """Write one attribute."""
        operation = Operation(
            Service.SET, class_id, Obis(instance), attribute, to_selection(selection), _as_data(data)
        )
        ((code, _),) = yield from self.session.ask((operation,))
        if code:
            raise refusal(f"{class_id}/{Obis(instance)}:{attribute}", code)

    def action(
        self, class_id: int, instance: str | bytes, method: int, data: Data | bytes | None = None
    ) -> Steps[bytes | None]:
        """Invoke one method; what it returns as A-XDR, None when it returns nothing."""
        parameters = None if data is None else _as_data(data)
        operation = Operation(Service.ACTION, class_id, Obis(instance), method, None, parameters)
        ((code, returned),) = yield from self.session.ask((operation,))
        if code:
            raise refusal(f"{class_id}/{Obis(instance)}:{method}", code, method=True)
        return returned

    # --- several at once ---------------------------------------------------------------------------

    def get_all(self, operations: Sequence[Operation]) -> Steps[list[Result]]:
        """One result per operation: in lists where they were negotiated, else one after another.

        A request that the meter refuses as a whole is the result of each of its operations; what ends the
        conversation (time, line) is raised.
        """
        results: list[Result] = []
        size = self._list_size()
        for at in range(0, len(operations), size):
            part = operations[at : at + size]
            try:
                results += yield from self.session.ask(part)
            except Refused as error:
                results += [error] * len(part)
        return results

    def _list_size(self) -> int:
        if not self.has_lists:
            return 1
        room = self.session.server_max_pdu
        fitting = (room - _LIST_OVERHEAD) // _DESCRIPTOR if room else _LONGEST_LIST
        return max(1, min(_LONGEST_LIST, fitting))

    @property
    def has_lists(self) -> bool:
        """True when several attributes can be asked for in one request."""
        return bool(self.session.negotiated & _LISTS)

    # --- objects ---------------------------------------------------------------------------------

    def object_list(self, again: bool = False) -> Steps[ObjectList]:
        """The objects of this association's view, read once and kept, or read `again`."""
        if self._objects is None or again:
            ((code, data),) = yield from self.session.ask((_OBJECT_LIST,))
            if code or data is None:
                raise refusal("object_list", code)
            self._objects = ObjectList.from_value(decode(data))
            self.session.know(self._objects)
        return self._objects

    def resolve(self, text: str | ObjectAddress) -> Steps[ObjectAddress]:
        """The object with its class.  Raises Misuse when nothing tells it."""
        address = parse_object(text) if isinstance(text, str) else text
        if address.explicit_class:
            return address
        listed = None if self._objects is None else self._objects.find(address.obis)
        if listed is not None:
            return address.with_class(listed.class_id)
        known = well_known(address.obis)
        if known is not None:
            return address.with_class(known.class_id)
        listed = (yield from self.object_list()).find(address.obis)
        if listed is None:
            raise Misuse(f"{address.obis} is not in the object list: name its class, as in 3/{address.obis}")
        return address.with_class(listed.class_id)

    def scalers(self, wanted: Sequence[ScalerName]) -> Steps[dict[ScalerName, tuple[int, int]]]:
        """Scaler and unit number by the attribute that holds them, as far as the meter shows them."""
        missing = [name for name in dict.fromkeys(wanted) if name not in self._scalers]
        results = yield from self.get_all([Operation(Service.GET, *name) for name in missing])
        for name, result in zip(missing, results, strict=True):
            self.keep_scaler(name, result)
        return {name: self._scalers[name] for name in wanted if name in self._scalers}

    def keep_scaler(self, name: ScalerName, result: Result) -> None:
        """Remember a scaler_unit that was read; it does not change while an association lasts."""
        if isinstance(result, Outcome) and not result.code and result.data is not None:
            self._scalers[name] = scaler_unit(decode(result.data))

    def known_scaler(self, name: ScalerName) -> tuple[int, int] | None:
        """Scaler and unit number, where they have been read."""
        return self._scalers.get(name)


def _as_data(data: Data | bytes) -> Data:
    return data if isinstance(data, Data) else Data.decode(data)
