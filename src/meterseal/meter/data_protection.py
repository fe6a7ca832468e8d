"""COSEM data protection (class 30): values read, written and called in layers of their own (classes 6).

Who carries the call needs no key of what is inside.  Layers may be several parties', one around the other;
objects inside are held against the rights of the association that carries and of every third party whose
layers there are (protected_parties.py).  What is wrong with a layer is told to the journal only.  A value is
written, and a method called, after all its layers hold and their counters are on disk.

| protection_parameters | read                                    | written                                |
|-----------------------|-----------------------------------------|----------------------------------------|
| get (4)               | as written; where reading the buffer    | layers as a request has them, or the   |
|                       | made a key, as the buffer has it now    | other way, as the answer will          |
| set (5)               | as written                              | with the keys of what will be written  |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from meterseal.association import Operation, Outcome, Service
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.octets import length_octets, read_length
from meterseal.codec.types import Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.shapes import shape
from meterseal.errors import MetersealError
from meterseal.meter.configured import Configured, Setup
from meterseal.meter.objects import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    SCOPE_VIOLATED,
    Asker,
    Denied,
    Value,
    elements,
    fits,
    listed,
)
from meterseal.meter.protected_parties import Parties, parties_of
from meterseal.security import SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.data_protection import (
    answered,
    bound_elsewhere,
    counted,
    protecting_data,
    unprotecting_data,
)
from meterseal.security.parameters import Element, elements_value, read_elements, shares
from meterseal.security.protection import of_request, of_response, text
from meterseal.security.steps import Steps, through

MOST_OBJECTS: Final = 32
"""Objects of one list, and methods of one call."""

_BUFFER, _LIST, _FOR_GET, _FOR_SET, _REQUIRED = 2, 3, 4, 5, 6
_INVOKE: Final = 3
_PROTECTION: Final = 0xFC
_NULL: Final = b"\x00"
_LISTS: Final = (b"\x02", b"\x01")
_SEVERAL: Final = shape(
    "{object_methods [@attribute], protection_parameters @protection_parameters, values os}"
)
"""invoke_protected_method for a list of methods; the class table has the form for one."""


Made: TypeAlias = tuple[tuple[Element, ...], bytes]
"""A protected value, behind the elements with what they tell of their keys."""

T = TypeVar("T")


class DataProtection(Configured):
    """One object of the class; `reserve` brings sending counters in, `note` makes received ones durable."""

    def __init__(
        self, setup: Setup, reserve: Callable[[Counted, int], None], note: Callable[[SecuritySetup], None]
    ) -> None:
        super().__init__(30, setup._replace(writable=(_LIST, _FOR_GET, _FOR_SET, _REQUIRED)))
        self._reserve, self._note = reserve, note
        self._told: Value | None = None
        self.changed = self._forget_told
        self.slow_readers[_BUFFER] = self._read_buffer
        self.readers[_FOR_GET] = lambda asker: self._told or self.values[_FOR_GET]
        self.writers[_BUFFER] = self._write_buffer
        self.callers |= {1: self._get, 2: self._set, _INVOKE: self._invoke}

    @property
    def required(self) -> int:
        """required_protection, in the bits of a policy."""
        bits: int = self.values[_REQUIRED][0]
        return bits

    def check(self, index: int, value: Value) -> None:
        """Parameters can be kept to, and the required protection only grows (E07)."""
        super().check(index, value)
        given, _ = value
        if index == _LIST and len(given) > MOST_OBJECTS:
            raise Denied(OTHER_REASON, f"a list of more than {MOST_OBJECTS} objects")
        if index in (_FOR_GET, _FOR_SET) and given:
            _read(given)
        if index == _REQUIRED and (given & ~_PROTECTION or self.required & ~given):
            raise Denied(OTHER_REASON, "required_protection only grows stronger")

    # --- methods ----------------------------------------------------------------------------

    def perform(self, asker: Asker, operation: Operation) -> Outcome | Steps[Outcome]:
        """As every object; invoke_protected_method also for a list of methods."""
        given = operation.data
        invoked = (operation.service, operation.member) == (Service.ACTION, _INVOKE)
        if invoked and given is not None and fits(given.type, given.value, _SEVERAL):
            return self._invoke_several(asker, given.value)
        return super().perform(asker, operation)

    def _get(self, asker: Asker, given: Any) -> Steps[Value]:
        objects, parameters = given
        layers = _read(parameters)
        return _told(*(yield from self._protected(asker, objects, layers, answered(layers))))

    def _set(self, asker: Asker, given: Any) -> Steps[None]:
        objects, parameters, octets = given
        return self._write_all(asker, objects, _read(parameters), octets)

    def _invoke_several(self, asker: Asker, given: Any) -> Steps[Outcome]:
        value, type_ = yield from self._invoke(asker, given)
        return Outcome(0, codec.encode(value, type_))

    def _invoke(self, asker: Asker, given: Any) -> Steps[Value]:
        """One method with its parameter, or a list of them with a structure of parameters; answered alike."""
        named, parameters, octets = given
        methods = _bounded(named) if isinstance(named, list) else [named]
        layers = _read(parameters)
        parties = parties_of(asker, layers)
        _check_bound(layers, methods)
        answer = answered(layers)

        def asked(plain: bytes) -> list[Operation]:
            return [
                Operation(Service.ACTION, class_id, Obis(name), index, None, None if at.raw == _NULL else at)
                for (class_id, name, index), at in zip(methods, _parameters(plain, named), strict=True)
            ]

        outcomes = yield from self._done(asker, parties, layers, octets, asked)
        returned = [_NULL if outcome.data is None else outcome.data for outcome in outcomes]
        plain = _structure(returned) if isinstance(named, list) else returned[0]
        return _told(*(yield from self._protect(parties, answer, plain)))

    # --- the buffer ----------------------------------------------------------------------------

    def _read_buffer(self, asker: Asker) -> Steps[Value]:
        """The objects of the list, protected anew; a key that was made for that stands in attribute 4."""
        listed_, asked = self.values[_LIST], self.values[_FOR_GET]
        if not asked[0]:
            return b"", Tag.OCTET_STRING  # nothing is set up yet: there is no protected value
        layers = _read(asked[0])
        own = asker.association.profile.setup.own_title
        as_asked = [one.layer.originator for one in layers] != [own] * len(layers)
        answer = answered(layers) if as_asked else tuple(one._replace(key_data=b"") for one in layers)
        made, octets = yield from self._protected(asker, listed_[0], answered(answer), answer)
        if self.values[_LIST] is listed_ and self.values[_FOR_GET] is asked:  # still, after curve work
            self._told = elements_value(made) if any(one.key_data for one in made) else None
        return octets, Tag.OCTET_STRING

    def _write_buffer(self, asker: Asker, value: Value) -> Steps[None]:
        if not self.values[_FOR_SET][0]:
            raise Denied(SCOPE_VIOLATED, "nothing is set up by which a value would be opened")
        return self._write_all(asker, self.values[_LIST][0], _read(self.values[_FOR_SET][0]), value[0])

    def _forget_told(self) -> None:
        self._told = None

    # --- reading --------------------------------------------------------------------------------

    def _protected(
        self, asker: Asker, objects: list[Any], layers: Sequence[Element], answer: Sequence[Element]
    ) -> Steps[Made]:
        """The values of a list of objects, in the layers of the answer to what `layers` ask."""
        parties = parties_of(asker, layers)
        _check_bound(layers, objects)
        operations = [listed(one) for one in _bounded(objects)]
        for operation in operations:
            parties.allow(asker, operation, of_value=False)
        values = []
        for operation, one in zip(operations, objects, strict=True):
            values.append(_part((yield from _outcome(asker, operation)), one[3]))
        return (yield from self._protect(parties, answer, _structure(values)))

    def _protect(self, parties: Parties, answer: Sequence[Element], plain: bytes) -> Steps[Made]:
        if of_response(self.required) & ~parties.applied:
            raise Denied(SCOPE_VIOLATED, f"required is {text(of_response(self.required))} of the answer")
        try:
            for one in counted(parties.context, answer):
                if not one.tx.left:
                    self._reserve(one, 1)
        except MetersealError as error:
            raise Denied(OTHER_REASON, f"{error.kind}: {error}") from error
        return (yield from _refused(protecting_data(parties.context, answer, plain)))

    # --- writing and calling ----------------------------------------------------------------------

    def _write_all(
        self, asker: Asker, objects: list[Any], layers: Sequence[Element], octets: bytes
    ) -> Steps[None]:
        named = _bounded(objects)
        _check_bound(layers, objects)

        def asked(plain: bytes) -> list[Operation]:
            values = _values(plain)
            if len(values) != len(named):
                raise Denied(OTHER_REASON, f"{len(values)} values for {len(named)} objects")
            return [_writing(one, value) for one, value in zip(named, values, strict=True)]

        yield from self._done(asker, parties_of(asker, layers), layers, octets, asked)

    def _done(
        self,
        asker: Asker,
        parties: Parties,
        layers: Sequence[Element],
        octets: bytes,
        asked: Callable[[bytes], list[Operation]],
    ) -> Steps[list[Outcome]]:
        """Open what is protected, look at all of it, move the counters, and only then do it in order."""
        found = yield from _refused(unprotecting_data(parties.context, layers, octets))
        parties.check_counted()
        if of_request(self.required) & ~found.applied:
            raise Denied(SCOPE_VIOLATED, f"required is {text(of_request(self.required))} of the request")
        operations = asked(found.plain)
        for operation in operations:
            parties.allow(asker, operation, of_value=True)
        found.commit()
        for setup in parties.setups:
            self._note(setup)
        outcomes = []
        for operation in operations:
            outcomes.append((yield from _outcome(asker, operation)))
        return outcomes


def _read(parameters: Any) -> tuple[Element, ...]:
    """Protection parameters that protect.  Raises Denied."""
    try:
        found = read_elements(parameters)
        shares(found, lambda layer: layer.originator + layer.recipient)
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from error
    if not found:
        raise Denied(SCOPE_VIOLATED, "without protection parameters nothing would be protected")
    return found


def _told(made: Sequence[Element], octets: bytes) -> Value:
    """What a method returns: the parameters of the answer, and the protected value."""
    value, type_ = elements_value(made)
    return (value, octets), Structure((type_, Tag.OCTET_STRING))


def _check_bound(layers: Sequence[Element], names: Sequence[tuple[Any, ...]]) -> None:
    if bound_elsewhere(layers, names):
        raise Denied(OTHER_REASON, "the layers say that the value is for other objects")


def _refused(steps: Steps[T]) -> Steps[T]:
    """The same steps; the cause of a refusal is the journal's."""
    try:
        return (yield from steps)
    except MetersealError as error:
        raise Denied(OTHER_REASON, f"{error.kind}: {error}") from error


def _bounded(objects: list[Any]) -> list[Any]:
    if not 0 < len(objects) <= MOST_OBJECTS:
        raise Denied(OTHER_REASON, f"a list has 1 to {MOST_OBJECTS} objects")
    return objects


def _structure(values: Sequence[bytes]) -> bytes:
    return b"\x02" + length_octets(len(values)) + b"".join(values)


def _parameters(plain: bytes, named: Any) -> list[Data]:
    """The parameter of a method, or one for each of a list."""
    if isinstance(named, list):
        values = _values(plain)
        if len(values) != len(named):
            raise Denied(OTHER_REASON, f"{len(values)} parameters for {len(named)} methods")
        return values
    try:
        return [Data.decode(plain)]
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from error


def _writing(one: Any, value: Data) -> Operation:
    class_id, name, index, data_index, (restriction, _) = one
    if data_index or restriction:
        raise Denied(OTHER_REASON, "an attribute is written as a whole")
    return Operation(Service.SET, class_id, Obis(name), index, None, value)


def _outcome(asker: Asker, operation: Operation) -> Steps[Outcome]:
    """What an operation that is allowed came to.  Raises Denied."""
    held = asker.association.view.held(operation.class_id, operation.instance)
    if held is None:
        raise Denied(OBJECT_UNDEFINED, "not in the logical device")
    outcome = yield from through(held.perform(asker, operation))
    if outcome.code:
        raise Denied(outcome.code, "not done")
    return outcome


def _part(outcome: Outcome, data_index: int) -> bytes:
    """The value, or the element of it that `data_index` names, as A-XDR."""
    raw = _NULL if outcome.data is None else outcome.data
    if not data_index:
        return raw
    value, type_ = codec.decode_typed(raw)
    types = type_.fields if isinstance(type_, Structure) else ()
    if isinstance(value, list):
        types = elements(type_, len(value))
    if data_index > len(types):
        raise Denied(OTHER_REASON, f"there is no element {data_index}")
    return codec.encode(value[data_index - 1], types[data_index - 1])


def _values(plain: bytes) -> list[Data]:
    """The elements of a structure or an array.  Raises Denied for anything else."""
    try:
        if plain[:1] not in _LISTS:
            raise Denied(OTHER_REASON, "the values of a list are a structure or an array")
        Data.decode(plain)
        count, at = read_length(plain, 1, len(plain))
        found = []
        for _ in range(count):
            value, at = Data.read(plain, at, len(plain))
            found.append(value)
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from error
    return found
