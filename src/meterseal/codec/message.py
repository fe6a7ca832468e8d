"""Messages: a class with annotated fields is the standard's table; making it compiles its codec.

    class GetRequestNext(Message, tag=b"\\xC0\\x02"):
        invoke_id_and_priority: U8
        block_number: U32

A message is an immutable tuple with names; `decode(octets)` takes exactly the whole input,
`encode()` gives the octets, tag included.  A message without `tag` is a part of others.
ACSE messages declare their fields with `Ber` and pass `ber=True` (acse-xdlms 1.1, 2).
"""

from __future__ import annotations

import struct
import types
import typing
from operator import itemgetter
from typing import Any, ClassVar, Self, dataclass_transform

from meterseal.codec import ber as ber_codec
from meterseal.codec.ber import Ber
from meterseal.codec.data import Data
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
    """Makes named-tuple classes of declarations and compiles their decode and encode functions."""

    def __new__(
        mcs, word: str, bases: tuple[type, ...], space: dict[str, Any], /, **options: Any
    ) -> MessageType:
        """Take the annotations for the fields; `options` are `tag`, `name` and `ber`."""
        annotations = list(space.get("__annotations__", {}))
        defaults = {n: space.pop(n) for n in annotations if n in space}
        space.setdefault("__slots__", ())
        cls = super().__new__(mcs, word, bases, space)
        if any(isinstance(base, MessageType) for base in bases):
            _declare(cls, annotations, defaults, **options)
        return cls

    def __init__(cls, word: str, bases: tuple[type, ...], space: dict[str, Any], /, **options: Any) -> None:
        super().__init__(word, bases, space)


class Message(tuple[Any, ...], metaclass=MessageType):
    """Root of all declarations."""

    tag: ClassVar[bytes]
    name: ClassVar[str]
    parts: ClassVar[tuple[tuple[str, Part], ...]]
    minimum: ClassVar[int]
    hidden: ClassVar[frozenset[str]]
    read: ClassVar[DecodeAt]

    def encode(self) -> bytes:
        """The octets of the message, tag included.  Raises Misuse when a value does not fit."""
        raise NotImplementedError

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """The message that `octets` are, all of them.  Raises DecodeError."""
        if not octets.startswith(cls.tag):
            raise Malformed(f"{cls.name}: does not start with {cls.tag.hex().upper()}")
        decoded: Self = decode_body(cls, octets)
        return decoded

    def replace(self, **changes: Any) -> Self:
        """The same message with some fields changed."""
        fields = dict(zip((n for n, _ in self.parts), self, strict=True)) | changes
        return type(self)(**fields)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, typing.cast(Any, other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self), tuple.__hash__(self)))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{n}=<{len(v)} octets>" if n in self.hidden else f"{n}={v!r}"
            for (n, _), v in zip(self.parts, self, strict=True)
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


def _declare(
    cls: Any, fields: list[str], defaults: dict[str, Any], tag: bytes = b"", name: str = "", ber: bool = False
) -> None:
    hints = typing.get_type_hints(cls, include_extras=True)
    cls.tag, cls.name = tag, name or standard_name(cls.__name__)
    cls.hidden = frozenset(f for f in fields if Hidden() in getattr(hints[f], "__metadata__", ()))
    for index, field in enumerate(fields):
        setattr(cls, field, property(itemgetter(index)))
    if ber:
        rows = [(field, _ber_row(hints[field])) for field in fields]
        cls.parts = tuple((field, Part()) for field in fields)
        cls.read, cls.encode = ber_codec.functions(cls, rows)
        cls.minimum = 0
    else:
        parts = [(field, part_of(hints[field])) for field in fields]
        cls.parts = tuple(parts)
        cls.minimum = sum(part.minimum for _, part in parts)
        cls.read, cls.encode = staticmethod(_reader(cls, parts)), _writer(cls, parts)
    cls.__new__ = _constructor(cls, fields, defaults)


def _constructor(cls: Any, fields: list[str], defaults: dict[str, Any]) -> Any:
    names: dict[str, Any] = {"tnew": tuple.__new__, **{f"default_{f}": d for f, d in defaults.items()}}
    arguments = "".join(f", {f}=default_{f}" if f in defaults else f", {f}" for f in fields)
    values = "".join(f"{f}, " for f in fields)
    exec(f"def __new__(cls{arguments}):\n    return tnew(cls, ({values}))", names)
    return names["__new__"]


def _reader(cls: Any, parts: list[tuple[str, Part]]) -> DecodeAt:
    source = Source()
    source.names["cls"] = cls
    values = write_sequence_decode(source, parts)
    source.add(f"return tnew(cls, ({''.join(v + ', ' for v in values)})), p")
    exec("\n".join(["def read(b, p, e):", *source.lines]), source.names)
    return typing.cast(DecodeAt, source.names["read"])


def _writer(cls: Any, parts: list[tuple[str, Part]]) -> Any:
    source = Source()
    source.names |= {"tag": cls.tag, "Misuse": Misuse, "StructError": struct.error}
    names = [f"{n}_" for n, _ in parts]
    if names:
        source.add(f"{', '.join(names)}, = self")
    chunks = write_sequence_encode(source, list(zip(names, (part for _, part in parts), strict=True)))
    source.add("try:")
    source.add(f"    return {' + '.join((['tag'] if cls.tag else []) + chunks) or 'tag'}")
    source.add("except StructError as error:")
    source.add(f"    raise Misuse(f'{cls.name}: {{error}}') from None")
    exec("\n".join(["def encode(self):", *source.lines]), source.names)
    return source.names["encode"]


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
