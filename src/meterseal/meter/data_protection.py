"""COSEM data protection (class 30): values read, written and called in layers of their own (classes 6).

Who carries the call needs no key of what is inside.  Objects inside are held against the rights of the
association that carries and, where the layers are a third party's, of that one as well; what is wrong with a
layer is told to the journal only.  A value is written, and a method called, after all its layers hold and
their counters are on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from meterseal.association import Operation, Outcome, Service
from meterseal.association.operations import RIGHT_NEEDED
from meterseal.association.profile import ThirdParty
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.octets import length_octets, read_length
from meterseal.codec.types import Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.errors import MetersealError
from meterseal.meter.configured import Configured
from meterseal.meter.objects import (
    OBJECT_UNDEFINED,
    OTHER_REASON,
    READ_WRITE_DENIED,
    SCOPE_VIOLATED,
    Asker,
    Denied,
    Value,
    elements,
    listed,
)
from meterseal.meter.store import MeterStore
from meterseal.security import Context, SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.data_protection import (
    answered,
    bound_elsewhere,
    counted,
    protecting_data,
    unprotecting_data,
)
from meterseal.security.keyforms import is_fresh
from meterseal.security.parameters import Element, elements_value, layers_of, read_elements
from meterseal.security.protection import of_request, of_response, text
from meterseal.security.steps import Steps, settle

MOST_OBJECTS: Final = 32
"""Objects of one list."""

_NOT_INSIDE: Final = frozenset({15, 30})
"""Associations are for those who have signed on, and no protected value holds another."""

_BUFFER, _LIST, _FOR_GET, _FOR_SET, _REQUIRED = 2, 3, 4, 5, 6
_PROTECTION: Final = 0xFC
_NULL: Final = b"\x00"


class Toward(NamedTuple):
    """Whose layers they are: the client of the association (`third` None) or a third party."""

    context: Context
    third: ThirdParty | None


class DataProtection(Configured):
    """One object of the class; `reserve` brings sending counters in, `note` makes received ones durable."""

    def __init__(
        self,
        obis: Obis,
        values: Mapping[int, Value],
        store: MeterStore,
        *,
        place: str,
        reserve: Callable[[Counted, int], None],
        note: Callable[[SecuritySetup], None],
    ) -> None:
        super().__init__(
            30, obis, values, store, place=place, writable=(_LIST, _FOR_GET, _FOR_SET, _REQUIRED)
        )
        self._reserve, self._note = reserve, note
        self.readers[_BUFFER] = self._read_buffer
        self.writers[_BUFFER] = self._write_buffer
        self.callers |= {1: self._get, 2: self._set, 3: self._invoke}

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

    def _get(self, asker: Asker, given: Any) -> Value:
        objects, parameters = given
        made, octets = self._protected(asker, objects, _read(parameters))
        value, type_ = elements_value(made)
        return (value, octets), Structure((type_, Tag.OCTET_STRING))

    def _set(self, asker: Asker, given: Any) -> None:
        objects, parameters, octets = given
        self._write_all(asker, objects, _read(parameters), octets)

    def _invoke(self, asker: Asker, given: Any) -> Value:
        (class_id, name, index), parameters, octets = given
        layers = _read(parameters)
        toward = self._toward(asker, layers)
        _check_bound(layers, [(class_id, name, index)])
        answer = answered(layers)
        operation = Operation(Service.ACTION, class_id, Obis(name), index)

        def asked(plain: bytes) -> list[Operation]:
            parameter = Data.decode(plain)
            return [operation._replace(data=None if plain == _NULL else parameter)]

        (outcome,) = self._done(asker, toward, layers, octets, asked)
        made, protected = self._protect(toward, answer, _NULL if outcome.data is None else outcome.data)
        value, type_ = elements_value(made)
        return (value, protected), Structure((type_, Tag.OCTET_STRING))

    # --- the buffer ----------------------------------------------------------------------------

    def _read_buffer(self, asker: Asker) -> Value:
        if not self.values[_FOR_GET][0]:
            return b"", Tag.OCTET_STRING  # nothing is set up yet: there is no protected value
        layers = _read(self.values[_FOR_GET][0])
        if any(is_fresh(one.layer.form) and one.layer.form != "static" for one in layers):
            raise Denied(OTHER_REASON, "a key made for one reading can be told by the method only")
        _, octets = self._protected(asker, self.values[_LIST][0], layers)
        return octets, Tag.OCTET_STRING

    def _write_buffer(self, asker: Asker, value: Value) -> None:
        self._write_all(asker, self.values[_LIST][0], _read(self.values[_FOR_SET][0]), value[0])

    # --- reading --------------------------------------------------------------------------------

    def _protected(
        self, asker: Asker, objects: list[Any], layers: Sequence[Element]
    ) -> tuple[tuple[Element, ...], bytes]:
        """The values of a list of objects, in the layers of the answer."""
        toward, answer = self._toward(asker, layers), answered(layers)
        _check_bound(layers, objects)
        operations = [listed(one) for one in _bounded(objects)]
        for operation in operations:
            self._allow(asker, toward, operation, 0, _applied(answer))
        values = [
            _part(_outcome(asker, operation), one[3])
            for operation, one in zip(operations, objects, strict=True)
        ]
        plain = b"\x02" + length_octets(len(values)) + b"".join(values)
        return self._protect(toward, answer, plain)

    def _protect(
        self, toward: Toward, answer: Sequence[Element], plain: bytes
    ) -> tuple[tuple[Element, ...], bytes]:
        if of_response(self.required) & ~_applied(answer):
            raise Denied(SCOPE_VIOLATED, f"required is {text(of_response(self.required))} of the answer")
        for one in counted(toward.context, answer):
            if not one.tx.left:
                self._reserve(one, 1)
        made: tuple[tuple[Element, ...], bytes] = _settled(protecting_data(toward.context, answer, plain))
        return made

    # --- writing and calling ----------------------------------------------------------------------

    def _write_all(self, asker: Asker, objects: list[Any], layers: Sequence[Element], octets: bytes) -> None:
        named = _bounded(objects)
        _check_bound(layers, objects)

        def asked(plain: bytes) -> list[Operation]:
            values = _values(plain)
            if len(values) != len(named):
                raise Denied(OTHER_REASON, f"{len(values)} values for {len(named)} objects")
            return [_writing(one, value) for one, value in zip(named, values, strict=True)]

        self._done(asker, self._toward(asker, layers), layers, octets, asked)

    def _done(
        self,
        asker: Asker,
        toward: Toward,
        layers: Sequence[Element],
        octets: bytes,
        asked: Callable[[bytes], list[Operation]],
    ) -> list[Outcome]:
        """Open what is protected, look at all of it, move the counters, and only then do it in order."""
        found = _settled(unprotecting_data(toward.context, layers, octets))
        if not found.guards:
            raise Denied(SCOPE_VIOLATED, "what is to be done has to be authenticated under a counter")
        if of_request(self.required) & ~found.applied:
            raise Denied(SCOPE_VIOLATED, f"required is {text(of_request(self.required))} of the request")
        operations = asked(found.plain)
        for operation in operations:
            self._allow(asker, toward, operation, found.applied, _applied(layers))
        found.commit()
        self._note(toward.context.setup)
        return [_outcome(asker, operation) for operation in operations]

    # --- who, and whether he may ------------------------------------------------------------------

    def _toward(self, asker: Asker, layers: Sequence[Element]) -> Toward:
        """The party whose layers these are, as the parameters of a request name it."""
        profile = asker.association.profile
        parties = {(one.layer.originator, one.layer.recipient) for one in layers}
        if asker.own or len(parties) != 1:
            raise Denied(OTHER_REASON, "protection parameters are between one party and the meter")
        ((title, recipient),) = parties
        if recipient != profile.setup.own_title:
            raise Denied(OTHER_REASON, "protection parameters for another meter")
        if asker.third is not None and asker.third.title != title:
            raise Denied(READ_WRITE_DENIED, "a third party asks in another one's name")
        third = profile.third_parties.get(title)
        if third is not None:
            return Toward(third.context(0), third)
        if not profile.ciphered or title != profile.setup.peer_title:
            raise Denied(OTHER_REASON, f"protection parameters of {title.hex().upper()}, who is nobody here")
        return Toward(profile.context(title, general=True, serving=True), None)

    def _allow(self, asker: Asker, toward: Toward, operation: Operation, request: int, response: int) -> None:
        """Rights of the association and of the third party; protection counts where it is.  Raises Denied."""
        profile, third = asker.association.profile, toward.third
        right = limit = profile.view.right(operation, asker.user)
        if third is not None:
            limit, more = third.view.right(operation, None), None
            if third.extra is not None:
                more = third.extra.right(operation, asker.user)
            right = more if right is None else right | (more or 0)
        if right is None or limit is None or operation.class_id in _NOT_INSIDE:
            raise Denied(
                OBJECT_UNDEFINED, f"{operation.class_id}/{Obis(operation.instance)} is not to be seen"
            )
        if not right & limit & RIGHT_NEEDED[operation.service]:
            raise Denied(READ_WRITE_DENIED, "the right is not there")
        inner = request | (0 if asker.third is None else asker.third.applied)
        policy = profile.setup.policy if profile.ciphered else 0
        carried = asker.applied | of_response(policy) | response
        if (
            of_request(right) & ~(asker.applied | inner)
            or (third is not None and of_request(limit) & ~inner)
            or of_response(right) & ~carried
            or (third is not None and of_response(limit) & ~response)
        ):
            raise Denied(SCOPE_VIOLATED, "less protection than the right asks for")


def _read(parameters: Any) -> tuple[Element, ...]:
    """Protection parameters that protect.  Raises Denied."""
    try:
        found = read_elements(parameters)
        layers_of(found)
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from error
    if not found:
        raise Denied(SCOPE_VIOLATED, "without protection parameters nothing would be protected")
    return found


def _check_bound(layers: Sequence[Element], names: Sequence[tuple[Any, ...]]) -> None:
    if bound_elsewhere(layers, names):
        raise Denied(OTHER_REASON, "the layers say that the value is for other objects")


def _applied(layers: Sequence[Element]) -> int:
    return layers_of(layers)[0]


def _settled(steps: Steps[Any]) -> Any:
    """The steps done here and now; the cause of a refusal is the journal's."""
    try:
        return settle(steps)
    except MetersealError as error:
        raise Denied(OTHER_REASON, f"{error.kind}: {error}") from error


def _bounded(objects: list[Any]) -> list[Any]:
    if not 0 < len(objects) <= MOST_OBJECTS:
        raise Denied(OTHER_REASON, f"a list has 1 to {MOST_OBJECTS} objects")
    return objects


def _writing(one: Any, value: Data) -> Operation:
    class_id, name, index, data_index, (restriction, _) = one
    if data_index or restriction:
        raise Denied(OTHER_REASON, "an attribute is written as a whole")
    return Operation(Service.SET, class_id, Obis(name), index, None, value)


def _outcome(asker: Asker, operation: Operation) -> Outcome:
    """What an operation that is allowed came to.  Raises Denied."""
    held = asker.association.view.held(operation.class_id, operation.instance)
    if held is None:
        raise Denied(OBJECT_UNDEFINED, "not in the logical device")
    outcome = held.perform(asker, operation)
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
    """The elements of a structure.  Raises Denied for anything else."""
    try:
        if plain[:1] != b"\x02":
            raise Denied(OTHER_REASON, "the values of a list are a structure")
        Data.decode(plain)
        count, at = read_length(plain, 1, len(plain))
        found = []
        for _ in range(count):
            value, at = Data.read(plain, at, len(plain))
            found.append(value)
    except MetersealError as error:
        raise Denied(OTHER_REASON, str(error)) from error
    return found
