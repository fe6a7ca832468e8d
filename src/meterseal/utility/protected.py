"""A third party's conversation by COSEM data protection: reads, writes and calls of a class 30 object.

Whoever has an association calls the methods and sees which objects are asked for, but no value.  What is read
and what a method returns comes back protected; that a write was done is the carrier's word alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from meterseal.apdu.common import ACTION_RESULT, SelectiveAccess
from meterseal.association import Operation, Outcome, Service
from meterseal.client.plan import State
from meterseal.client.steps import Acting, Steps
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.octets import length_octets, read_length
from meterseal.codec.types import Array, MixedArray, Structure, Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.cosem.selection import parse_selection, restriction_of
from meterseal.credentials import Credentials
from meterseal.errors import (
    Altered,
    DecodeError,
    Misuse,
    ProtectionError,
    ProtocolViolation,
    Refused,
    Replayed,
    TimedOut,
    TooWeak,
    UnknownKey,
    Withheld,
)
from meterseal.security import SIGNED
from meterseal.security.data_protection import answered, between, binding, protecting_data, unprotecting_data
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value, read_elements
from meterseal.utility.session import ThirdSession, through_jobs

CLASS: Final = 30
FIRST: Final = Obis("0.0.43.2.0.255")
"""The object that is asked when no other is named."""

_GET, _SET, _INVOKE = 1, 2, 3
_NULL: Final = b"\x00"
_LISTS: Final = (b"\x02", b"\x01")
_MEMBER: Final = (Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER)
_ATTRIBUTE: Final = Structure(_MEMBER)


class ProtectedSession(ThirdSession):
    """The same requests as of a `SealedSession`, by the methods of one object."""

    def __init__(
        self,
        credentials: Credentials,
        state: State,
        name: str | None = None,
        *,
        obis: Obis = FIRST,
        **more: Any,
    ) -> None:
        super().__init__(credentials, state, name, **more)
        self._obis = obis

    @property
    def names(self) -> tuple[int, bytes]:
        """Class and name of the object."""
        return CLASS, self._obis

    def ask(
        self,
        operations: Sequence[Operation],
        *,
        access: bool = False,
        stops: bool = False,
        described: bool = False,
    ) -> Steps[tuple[Outcome, ...]]:
        """Several of one service, all or none of them; a call stands alone.

        Raises Refused (on the carrier's word) where the meter does not do it; Altered, Replayed, Withheld.
        """
        asked = tuple(operations)
        services = {operation.service for operation in asked}
        if access or len(services) != 1:
            raise Misuse("data protection takes operations of one service, and no ACCESS")
        (service,) = services
        if service is Service.ACTION:
            return (yield from self._call(asked))
        if service is Service.SET:
            return (yield from self._write(asked))
        return (yield from self._read(asked))

    def _read(self, asked: tuple[Operation, ...]) -> Steps[tuple[Outcome, ...]]:
        objects = _objects(asked)
        elements = self._elements(binding(objects[0]))
        parameters = elements_value(elements)
        plain = yield from self._answered(_GET, (objects, parameters), elements)
        values = _parts(plain)
        if len(values) != len(asked):
            raise ProtocolViolation(f"{len(values)} values for {len(asked)} attributes")
        return tuple(Outcome(0, value) for value in values)

    def _write(self, asked: tuple[Operation, ...]) -> Steps[tuple[Outcome, ...]]:
        values = [b"" if one.data is None else one.data.raw for one in asked]
        if not all(values):
            raise Misuse("a write without a value")
        plain = _structure(values)
        objects = _objects(asked)
        elements, octets = yield from self._protected(plain, binding(objects[0]))
        parts = (objects, elements_value(elements), (octets, Tag.OCTET_STRING))
        yield from self._act(_SET, parts)
        return tuple(Outcome(0) for _ in asked)

    def _call(self, asked: tuple[Operation, ...]) -> Steps[tuple[Outcome, ...]]:
        """One method as the class has it; of several a list, with structures of parameters and returns."""
        names = [(one.class_id, one.instance, one.member) for one in asked]
        given = [_NULL if one.data is None else one.data.raw for one in asked]
        several = len(asked) > 1
        named: tuple[Any, Type] = (names, Array(_ATTRIBUTE)) if several else (names[0], _ATTRIBUTE)
        plain = _structure(given) if several else given[0]
        elements, octets = yield from self._protected(plain, binding(names))
        parts = (named, elements_value(elements), (octets, Tag.OCTET_STRING))
        plain = yield from self._answered(_INVOKE, parts, elements)
        if not several:
            Data.decode(plain)
        returned = _parts(plain) if several else [plain]
        if len(returned) != len(asked):
            raise ProtocolViolation(f"{len(returned)} returns for {len(asked)} methods")
        return tuple(Outcome(0, None if one == _NULL else one) for one in returned)

    def around(self, class_id: int, instance: bytes, method: int, data: bytes) -> Steps[bytes | None]:
        """Somebody else's call of the object, with this party's layers around its own; its answer without.

        Raises Misuse for what is no such call, and as `ask`.
        """
        if (class_id, instance) != self.names:
            raise Misuse("the layers go around calls of the same data protection object")
        try:
            value, type_ = codec.decode_typed(data)
            named, parameters, *value = value
            inner = read_elements(parameters)
            names = list(named) if isinstance(named, list) else [named]
            first: tuple[Any, Type] = named, type_.fields[0]  # type: ignore[union-attr]
            if not inner or len(value) != (method != _GET):
                raise ValueError
        except (DecodeError, UnknownKey, AttributeError, TypeError, ValueError):
            raise Misuse("no call of a data protection object, with layers to go around") from None
        bound = binding(names)
        parts: list[tuple[Any, Type]] = [first]
        if method == _GET:
            own = self._elements(bound)
            parts.append(elements_value((*inner, *own)))
        else:
            own, octets = yield from self._protected(value[0], bound)
            parts += [elements_value((*inner, *own)), (octets, Tag.OCTET_STRING)]
        if method == _SET:
            return (yield from self._act(method, parts))
        plain, left = yield from self._opened(method, parts, (*inner, *own), len(inner))
        told, octets_type = elements_value(left), Tag.OCTET_STRING
        return codec.encode((told[0], plain), Structure((told[1], octets_type)))

    # --- layers ---------------------------------------------------------------------------------

    def _elements(self, bound: bytes) -> tuple[Element, ...]:
        """The layers of one exchange; `bound` says to the meter which objects it is about."""
        own, meter = self.setup.own_title, self.setup.peer_title or b""
        form, transaction = self.third.layers, self.transaction()
        layer = Layer(CIPHERING, own, meter, transaction, form, other_information=bound)
        cipher = Element(self.applied & ~SIGNED, layer)
        signature = Element(SIGNED, layer._replace(kind=SIGNING, form=""))
        return (signature, cipher) if self.applied & SIGNED else (cipher,)

    def _protected(self, plain: bytes, bound: bytes) -> Steps[tuple[tuple[Element, ...], bytes]]:
        yield from self.counting.ensure(1)
        made: tuple[tuple[Element, ...], bytes] = yield from through_jobs(
            protecting_data(between(self.context), self._elements(bound), plain)
        )
        return made

    def _answered(self, method: int, parts: Any, elements: tuple[Element, ...]) -> Steps[bytes]:
        """What a method returns, opened: in the layers of the request, the other way, same exchange."""
        return (yield from self._opened(method, parts, elements, 0))[0]

    def _opened(
        self, method: int, parts: Any, elements: tuple[Element, ...], inner: int
    ) -> Steps[tuple[bytes, tuple[Element, ...]]]:
        """What a method returns without the layers but `inner`, and those: they are others'."""
        raw = yield from self._act(method, parts)
        try:
            value = codec.decode(raw or b"")
            parameters, octets = value
            found = read_elements(parameters)
            bare = tuple(one._replace(key_data=b"") for one in found)
            if bare != answered(elements) or not isinstance(octets, bytes):
                raise Altered(
                    "the answer is protected in another way, or for another exchange, than was asked"
                )
            mine = unprotecting_data(between(self.context), found[inner:], octets)
            opened = yield from through_jobs(mine)
            opened.commit()
        except (Altered, Replayed, TooWeak):
            raise
        except (ProtectionError, DecodeError, TypeError, ValueError) as error:
            raise Altered(f"the answer is not as the meter protected it: {error}") from error
        yield from self.counting.note()
        return opened.plain, found[:inner]

    def _act(self, method: int, parts: Sequence[tuple[Any, Type]]) -> Steps[bytes | None]:
        value = tuple(part for part, _ in parts)
        data = codec.encode(value, Structure(tuple(type_ for _, type_ in parts)))
        try:
            raw: bytes | None = yield Acting(CLASS, self._obis, method, data, self.timeout)
        except Refused as error:
            reason = ACTION_RESULT.get(error.code, error.reason)
            raise Refused(
                f"the carrier says that the meter answers {reason}",
                reason=reason, code=error.code, source=error.source, authenticated=False,
            ) from error  # fmt: skip
        except TimedOut as error:
            raise Withheld(f"no answer in {self.timeout:g} s") from error
        return raw


def _structure(values: Sequence[bytes]) -> bytes:
    return b"\x02" + length_octets(len(values)) + b"".join(values)


def _objects(asked: tuple[Operation, ...]) -> tuple[list[Any], Type]:
    """An object list with its type."""
    made = [_object(operation) for operation in asked]
    types = tuple(type_ for _, type_ in made)
    alike = len(set(types)) == 1
    return [value for value, _ in made], Array(types[0]) if alike else MixedArray(types)


def _object(asked: Operation) -> tuple[Any, Type]:
    selection: Any = asked.selection
    if isinstance(selection, SelectiveAccess):
        given = selection.access_parameters.value
        selection = parse_selection(asked.class_id, asked.member, selection.access_selector, given)
    restriction, type_ = restriction_of(selection)
    value = (asked.class_id, asked.instance, asked.member, 0, restriction)
    return value, Structure((*_MEMBER, Tag.LONG_UNSIGNED, type_))


def _parts(plain: bytes) -> list[bytes]:
    """The elements of a structure or an array, each as A-XDR.  Raises DecodeError."""
    Data.decode(plain)
    if plain[:1] not in _LISTS:
        raise ProtocolViolation("the protected values are no structure")
    count, at = read_length(plain, 1, len(plain))
    found = []
    for _ in range(count):
        start = at
        _, at = Data.read(plain, at, len(plain))
        found.append(plain[start:at])
    return found
