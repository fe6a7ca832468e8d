"""What a client does in an association: read, write, call; as steps, for both drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from meterseal.association import Operation, Outcome, Service
from meterseal.client.access import Access, Result, ScalerName
from meterseal.client.elements import Call, Element, Ended, NotDone, Read, Write, Written
from meterseal.client.profiles import Moment, read_profile
from meterseal.client.steps import Steps
from meterseal.client.typed import to_data, to_selection
from meterseal.client.values import Answer, NotRead, Profile, Value, make_value, refusal
from meterseal.codec.data import decode
from meterseal.codec.types import Tag, Type
from meterseal.cosem.classes import PROFILE, SCALED, attribute_shape, interface_class
from meterseal.cosem.obis import Obis, ObjectAddress, parse_object
from meterseal.cosem.selection import CaptureObject
from meterseal.cosem.shapes import ANY
from meterseal.errors import DecodeError, MetersealError, Misuse, PeerError, Refused

_BUFFER: Final = 2


class Verbs(Access):
    """The verbs of one session."""

    def read(self, text: str | ObjectAddress) -> Steps[Value]:
        """One attribute as a value; a profile's buffer with its columns.  Raises Refused, Misuse, ..."""
        (found,) = yield from self.read_many([text])
        if isinstance(found, NotRead):
            raise found.error
        return found

    def read_many(self, texts: Sequence[str | ObjectAddress]) -> Steps[list[Value | NotRead]]:
        """Several attributes: a value each, or why it could not be read."""
        # A text that names no object is refused before anything is asked.
        wanted = [parse_object(text) if isinstance(text, str) else text for text in texts]
        found: dict[int, Value | NotRead] = {}
        plain: dict[int, ObjectAddress] = {}
        for at, address in enumerate(wanted):
            try:
                known = yield from self.resolve(address)
            except (Misuse, Refused) as error:
                found[at] = NotRead(None, address.obis, address.member, error)
                continue
            if _alone(address) or (known.class_id, known.member) != (PROFILE, _BUFFER):
                plain[at] = known
            else:
                found[at] = yield from self._buffer(known)
        scaled = [a for at, a in plain.items() if self.has_lists and not _alone(wanted[at])]
        found |= yield from self._attributes(plain, frozenset(scaled))
        return [found[at] for at in range(len(wanted))]

    def _attributes(
        self, addresses: Mapping[int, ObjectAddress], scaled: frozenset[ObjectAddress]
    ) -> Steps[dict[int, Value | NotRead]]:
        """Values of attributes; with those of `scaled` that are quantities their scalers are read."""
        operations = [Operation(Service.GET, *_name(address)) for address in addresses.values()]
        names = {at: _scaler_name(address) for at, address in addresses.items() if address in scaled}
        missing = [n for n in dict.fromkeys(names.values()) if n is not None and self.known_scaler(n) is None]
        results = yield from self.get_all(operations + [Operation(Service.GET, *name) for name in missing])
        found: dict[int, Value | NotRead] = {}
        try:
            for name, result in zip(missing, results[len(operations) :], strict=True):
                self.keep_scaler(name, result)
        except DecodeError as error:
            results = [error] * len(results)
        for (at, address), result in zip(addresses.items(), results, strict=False):
            scaler = names.get(at)
            found[at] = _value(address, result, None if scaler is None else self.known_scaler(scaler))
        return found

    def _buffer(self, address: ObjectAddress) -> Steps[Value | NotRead]:
        try:
            profile: Value = yield from read_profile(self, address.obis)
        except (PeerError, DecodeError, Misuse) as error:
            return NotRead(address.class_id, address.obis, address.member, error)
        return profile

    def profile(
        self,
        text: str | ObjectAddress,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        entries: tuple[int, int] | None = None,
        columns: Sequence[str | CaptureObject] = (),
        short_rows: bool = False,
    ) -> Steps[Profile]:
        """Rows of a profile, by time or by entries, all columns or some."""
        address = parse_object(text) if isinstance(text, str) else text
        if address.class_id not in (None, PROFILE) or address.member != _BUFFER:
            raise Misuse(f"{address} is not the buffer of a profile")
        return (
            yield from read_profile(
                self,
                address.obis,
                since=since,
                until=until,
                entries=entries,
                columns=columns,
                short_rows=short_rows,
            )
        )

    # --- writing and calling ----------------------------------------------------------------------

    def write(self, text: str | ObjectAddress, value: Any, type_: Type | str | None = None) -> Steps[None]:
        """Write one attribute."""
        operation = yield from self.operation(Write(text, value, type_))
        ((code, _),) = yield from self.session.ask((operation,))
        if code:
            raise _refusal(operation, code)

    def call(
        self, text: str | ObjectAddress, parameters: Any = None, type_: Type | str | None = None
    ) -> Steps[Answer]:
        """Invoke one method.

        Without `parameters` a method whose parameter is the customary integer gets 0, another one none.
        """
        operation = yield from self.operation(Call(text, parameters, type_))
        ((code, returned),) = yield from self.session.ask((operation,))
        if code:
            raise _refusal(operation, code)
        return _answer(operation, returned)

    def access(
        self, elements: Sequence[Element], *, stop_at_error: bool = False, described: bool = False
    ) -> Steps[list[Ended]]:
        """Reads, writes and calls in one request; how each ended, in order."""
        operations = []
        for element in elements:
            operations.append((yield from self.operation(element)))
        outcomes = yield from self.session.ask(
            operations, access=True, stops=stop_at_error, described=described
        )
        return [_ended(operation, outcome) for operation, outcome in zip(operations, outcomes, strict=True)]

    def operation(self, element: Element) -> Steps[Operation]:
        """An element with its class, and its value as Data."""
        if isinstance(element, Call):
            return (yield from self._call_operation(element))
        address = yield from self.resolve(element.object)
        class_id, obis, attribute = _name(address)
        selection = to_selection(element.selection)
        if isinstance(element, Read):
            return Operation(Service.GET, class_id, obis, attribute, selection)
        data = to_data(element.value, element.type, attribute_shape(class_id, attribute), str(address))
        return Operation(Service.SET, class_id, obis, attribute, selection, data)

    def _call_operation(self, element: Call) -> Steps[Operation]:
        asked = parse_object(element.method) if isinstance(element.method, str) else element.method
        if not asked.explicit_member:
            raise Misuse(f"{asked.obis}: say which method, as in {asked.obis}:1")
        class_id, obis, index = _name((yield from self.resolve(asked)))
        known = interface_class(class_id)
        method = None if known is None else known.methods.get(index)
        data = None
        if element.parameters is not None or element.type is not None:
            shape = ANY if method is None else method.shape
            data = to_data(element.parameters, element.type, shape, f"{class_id}/{obis}:{index}")
        elif method is not None and method.type is Tag.INTEGER:
            data = to_data(0, Tag.INTEGER, ANY, "")
        return Operation(Service.ACTION, class_id, obis, index, None, data)


def _refusal(operation: Operation, code: int) -> Refused:
    what = f"{operation.class_id}/{Obis(operation.instance)}:{operation.member}"
    return refusal(what, code, method=operation.service is Service.ACTION)


def _answer(operation: Operation, raw: bytes | None) -> Answer:
    value = None if raw is None else decode(raw)
    return Answer(operation.class_id, Obis(operation.instance), operation.member, value, raw)


def _ended(operation: Operation, outcome: Outcome) -> Ended:
    class_id, obis, member = operation.class_id, Obis(operation.instance), operation.member
    if operation.service is Service.GET:
        return _value(ObjectAddress(class_id, obis, member), outcome, None)
    if outcome.code:
        return NotDone(class_id, obis, member, _refusal(operation, outcome.code))
    if operation.service is Service.ACTION:
        return _answer(operation, outcome.data)
    return Written(class_id, obis, member)


def _alone(asked: ObjectAddress) -> bool:
    """True for an object named with class and attribute: that one is read, and nothing else."""
    return asked.explicit_class and asked.explicit_member


def _name(address: ObjectAddress) -> ScalerName:
    if address.class_id is None:
        raise Misuse(f"{address.obis}: the class is not known")
    return address.class_id, address.obis, address.member


def _scaler_name(address: ObjectAddress) -> ScalerName | None:
    attribute = SCALED.get((address.class_id or 0, address.member))
    return None if attribute is None else (address.class_id or 0, address.obis, attribute)


def _value(address: ObjectAddress, result: Result, scaler: tuple[int, int] | None) -> Value | NotRead:
    class_id, obis, attribute = _name(address)
    error: MetersealError
    if isinstance(result, Outcome) and not result.code and result.data is not None:
        try:
            return make_value(class_id, obis, attribute, result.data, scaler)
        except DecodeError as broken:
            error = broken
    else:
        error = refusal(str(address), result.code) if isinstance(result, Outcome) else result
    return NotRead(class_id, obis, attribute, error)
