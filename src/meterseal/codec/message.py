"""Messages: a class with annotated fields is the standard's table; its codec is compiled on first use.

    class GetRequestNext(Message, tag=b"\\xC0\\x02"):
        invoke_id_and_priority: U8
        block_number: U32

A message is an immutable tuple with names; `decode(octets)` takes exactly the whole input,
`encode()` gives the octets, tag included.  A message without `tag` is a part of others.
ACSE messages declare their fields with `Ber` and pass `ber=True` (acse-xdlms 1.1, 2).
"""

from __future__ import annotations

import inspect
import struct
import types
import typing
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from meterseal.codec import ber as ber_codec
from meterseal.codec.ber import Ber
from meterseal.codec.data import Data
from meterseal.codec.moulds import Mould
from meterseal.codec.parts import (
    Carried,
    Choice,
    DecodeAt,
    Default,
    Hidden,
    Nested,
    Optional,
    Part,
    SequenceOf,
    Source,
    write_sequence_decode,
    write_sequence_encode,
)
from meterseal.errors import Malformed, Misuse, Truncated


@dataclass_transform(frozen_default=True)
class MessageType(type):
    """Makes named-tuple classes of declarations; their functions are compiled when first asked for."""

    def __new__(
        mcs, word: str, bases: tuple[type, ...], space: dict[str, Any], /, **options: Any
    ) -> MessageType:
        """Take the annotations for the fields; `options` are `tag`, `name` and `ber`."""
        if not any(isinstance(base, MessageType) for base in bases):
            return super().__new__(mcs, word, bases, space)
        if bases != (Message,):
            raise TypeError(f"{word}: a declaration is no base of another")
        return super().__new__(mcs, word, bases, space | _declared(word, space, **options))

    def __init__(cls, word: str, bases: tuple[type, ...], space: dict[str, Any], /, **options: Any) -> None:
        super().__init__(word, bases, space)

    if not TYPE_CHECKING:  # checkers go by the annotations of Message

        def __getattr__(cls, name: str) -> Any:
            """What `_LATE` makes of the declaration.  Threads that come at once make it twice, and alike."""
            if name not in _LATE:
                raise AttributeError(f"{cls.__name__} has no {name!r}", name=name, obj=cls)
            setattr(cls, name, _LATE[name](cls))
            return getattr(cls, name)


class Message(tuple[Any, ...], metaclass=MessageType):
    """Root of all declarations."""

    __slots__ = ()

    tag: ClassVar[bytes]
    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]
    defaults: ClassVar[dict[str, Any]]
    ber: ClassVar[bool]
    hints: ClassVar[dict[str, Any]]
    parts: ClassVar[tuple[tuple[str, Part], ...]]
    minimum: ClassVar[int]
    hidden: ClassVar[frozenset[str]]
    read: ClassVar[DecodeAt]
    if not TYPE_CHECKING:  # checkers know it from the annotations of the declaration

        def __new__(cls, *values: Any, **named: Any) -> Self:
            """The first of its class; the compiled constructor takes this one's place."""
            cls.__new__ = _constructor(cls)
            return cls.__new__(cls, *values, **named)

    def encode(self) -> bytes:
        """The octets of the message, tag included.  Raises Misuse when a value does not fit."""
        cls: Any = type(self)
        cls.encode = _writer(cls)  # takes this one's place
        octets: bytes = cls.encode(self)
        return octets

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """The message that `octets` are, all of them.  Raises DecodeError."""
        if not octets.startswith(cls.tag):
            raise Malformed(f"{cls.name}: does not start with {cls.tag.hex().upper()}")
        decoded: Self = decode_body(cls, octets)
        return decoded

    @classmethod
    def mould(cls, octets: bytes, last: int) -> Mould | None:
        """Of a BER message with two fresh fields, all around the first and the `last` octets of the second.

        None where they are not both there, or the second is shorter.  Raises DecodeError.
        """
        return ber_codec.mould(cls, _rows(cls), octets, last)

    def replace(self, **changes: Any) -> Self:
        """The same message with some fields changed."""
        return type(self)(**dict(zip(self.fields, self, strict=True)) | changes)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, typing.cast(Any, other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), tuple.__hash__(self)))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        hidden = type(self).hidden
        fields = ", ".join(
            f"{n}=<{len(v)} octets>" if n in hidden else f"{n}={v!r}"
            for n, v in zip(self.fields, self, strict=True)
            if v is not None
        )
        return f"{type(self).__name__}({fields})"


def decode_body(cls: type[Message], octets: bytes) -> Any:
    """A message of `cls`, whose tag has been looked at: all of `octets`, every one must be used."""
    end = len(octets)
    try:
        value, at = cls.read(octets, len(cls.tag), end)
    except (struct.error, IndexError):
        raise Truncated(f"{cls.name}: the octets end within the message") from None
    if at != end:
        raise Malformed(f"{cls.name}: {end - at} octets left over")
    return value


def standard_name(name: str) -> str:
    """`GetRequestNormal` -> `get-request-normal`."""
    return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")


def _declared(
    word: str, space: dict[str, Any], tag: bytes = b"", name: str = "", ber: bool = False
) -> dict[str, Any]:
    """What a class has from its declaration at once."""
    fields = tuple(space.get("__annotations__", ()))
    return {
        "__slots__": (),
        **{field: property(itemgetter(index)) for index, field in enumerate(fields)},
        "tag": tag,
        "name": name or standard_name(word),
        "fields": fields,
        "defaults": {field: space[field] for field in fields if field in space},
        "ber": ber,
    }


def _constructor(cls: Any) -> Any:
    defaults = cls.defaults
    names: dict[str, Any] = {"tnew": tuple.__new__, **{f"default_{f}": d for f, d in defaults.items()}}
    arguments = "".join(f", {f}=default_{f}" if f in defaults else f", {f}" for f in cls.fields)
    values = "".join(f"{f}, " for f in cls.fields)
    exec(f"def __new__(cls{arguments}):\n    return tnew(cls, ({values}))", names)
    return names["__new__"]


def _hints(cls: Any) -> dict[str, Any]:
    return inspect.get_annotations(cls, eval_str=True)


def _hidden(cls: Any) -> frozenset[str]:
    return frozenset(f for f, hint in cls.hints.items() if Hidden() in getattr(hint, "__metadata__", ()))


def _parts(cls: Any) -> tuple[tuple[str, Part], ...]:
    return tuple((field, part_of(hint)) for field, hint in cls.hints.items())


def _minimum(cls: Any) -> int:
    # Of ACSE every field may be absent.
    return 0 if cls.ber else sum(part.minimum for _, part in cls.parts)


def _rows(cls: Any) -> list[Ber]:
    return [_ber_row(hint) for hint in cls.hints.values()]


def _reader(cls: Any) -> staticmethod[[bytes, int, int], tuple[Any, int]]:
    if cls.ber:
        return staticmethod(ber_codec.reader(cls, _rows(cls)))
    source = Source()
    source.names["cls"] = cls
    values = write_sequence_decode(source, cls.parts)
    source.add(f"return tnew(cls, ({''.join(v + ', ' for v in values)})), p")
    exec("\n".join(["def read(b, p, e):", *source.lines]), source.names)
    return staticmethod(source.names["read"])


def _writer(cls: Any) -> Any:
    if cls.ber:
        return ber_codec.writer(cls, _rows(cls))
    source = Source()
    source.names |= {"tag": cls.tag, "Misuse": Misuse, "StructError": struct.error}
    names = [f"{n}_" for n in cls.fields]
    if names:
        source.add(f"{', '.join(names)}, = self")
    chunks = write_sequence_encode(source, list(zip(names, (part for _, part in cls.parts), strict=True)))
    source.add("try:")
    source.add(f"    return {' + '.join((['tag'] if cls.tag else []) + chunks) or 'tag'}")
    source.add("except StructError as error:")
    source.add(f"    raise Misuse(f'{cls.name}: {{error}}') from None")
    exec("\n".join(["def encode(self):", *source.lines]), source.names)
    return source.names["encode"]


_LATE: dict[str, Callable[[Any], Any]] = {
    "hints": _hints,
    "hidden": _hidden,
    "parts": _parts,
    "minimum": _minimum,
    "read": _reader,
}
"""What a declaration gets when it is first asked for: a process that knows all messages uses few of them."""


def part_of(hint: Any) -> Part:
    """The part that an annotation stands for."""
    marks = getattr(hint, "__metadata__", ())
    if marks:
        inner = next((m for m in marks if isinstance(m, Part)), None) or part_of(hint.__origin__)
        default = next((m for m in marks if isinstance(m, Default)), None)
        return Optional(inner, default.value) if default else inner
    if hint is Data:
        return Carried(Data.read, "raw", 1)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        present = [a for a in arguments if a is not types.NoneType]
        inner = part_of(present[0]) if len(present) == 1 else Choice(present)
        return Optional(inner) if len(present) < len(arguments) else inner
    if origin is tuple and arguments[1:] == (...,):
        return SequenceOf(part_of(arguments[0]))
    if isinstance(hint, MessageType):
        return Choice([hint]) if hint.tag else Nested(hint)  # type: ignore[attr-defined]
    raise TypeError(f"no part for the annotation {hint!r}")


def _ber_row(hint: Any) -> Ber:
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, Ber):
            return mark
    raise TypeError(f"no BER row in the annotation {hint!r}")
