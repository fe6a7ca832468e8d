"""Parts: the vocabulary of message declarations; each part writes its own decode and encode code.

A declaration annotates fields with the types at the end of this file (`U8`, `OctetString`, ...).
The compiler turns every annotation into a `Part`; neighbouring parts of fixed size melt into one
`struct` call.  Rules: A-XDR as in IEC 61334-6 (acse-xdlms 1.2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

from meterseal.codec.octets import SHORT, length_octets, read_length
from meterseal.errors import Malformed, Truncated

DecodeAt = Callable[[bytes, int, int], tuple[Any, int]]
Encode = Callable[[Any], bytes]


class Source:
    """Lines of the function being written, and the objects its names stand for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"tnew": tuple.__new__, "Truncated": Truncated, "Malformed": Malformed}
        self._count = 0

    def add(self, line: str) -> None:
        """Append a line of the function's body."""
        self.lines.append("    " + line)

    def name(self, stem: str, value: Any = None) -> str:
        """A fresh name; bound to `value` in the function's globals when one is given."""
        self._count += 1
        fresh = f"{stem}{self._count}"
        if value is not None:
            self.names[fresh] = value
        return fresh


class Part:
    """One field of a declaration; `fmt` is its struct format when its size is fixed."""

    fmt: str | None = None
    minimum = 0

    def build(self, source: Source, values: Iterable[str]) -> str:
        """The expression that makes the field from the unpacked values (fixed parts)."""
        return next(iter(values))

    def spread(self, value: str) -> list[str]:
        """The expressions that `struct.pack` takes for the field (fixed parts)."""
        return [value]

    def count(self) -> int:
        """How many values the field takes in the struct format (fixed parts)."""
        return 1

    def write_decode(self, source: Source, target: str) -> None:
        """Write lines that read the field at `p` into `target` and move `p`."""
        raise NotImplementedError

    def write_encode(self, source: Source, value: str) -> str:
        """Return the expression for the octets of `value`."""
        raise NotImplementedError


class Fixed(Part):
    """An integer or octets of fixed size, by struct format."""

    def __init__(self, fmt: str) -> None:
        self.fmt = fmt
        self.minimum = struct.calcsize(">" + fmt)


class Call(Part):
    """A field with functions of its own: `decode(b, p, e) -> (value, p)` and `encode(value)`."""

    def __init__(self, decode: DecodeAt, encode: Encode, minimum: int) -> None:
        self.decode, self.encode, self.minimum = decode, encode, minimum

    def write_decode(self, source: Source, target: str) -> None:
        """One call of the field's own reader."""
        source.add(f"{target}, p = {source.name('read', self.decode)}(b, p, e)")

    def write_encode(self, source: Source, value: str) -> str:
        """One call of the field's own writer."""
        return f"{source.name('write', self.encode)}({value})"


class Carried(Call):
    """A field that has been encoded before: `octets` is the attribute of its value that holds them."""

    def __init__(self, decode: DecodeAt, octets: str, minimum: int) -> None:
        super().__init__(decode, attrgetter(octets), minimum)
        self.octets = octets

    def write_encode(self, source: Source, value: str) -> str:
        """The octets, as they are."""
        return f"{value}.{self.octets}"


class Optional(Part):
    """OPTIONAL: 00 absent, 01 present; any other octet is malformed."""

    minimum = 1

    def __init__(self, part: Part, absent: Any = None) -> None:
        self.part, self.absent = part, absent

    def write_decode(self, source: Source, target: str) -> None:
        """The presence octet, then perhaps the value."""
        read = source.name("read", decoder_of(self.part))
        source.add(f"{target} = b[p]; p += 1")
        source.add(f"if {target} == 1: {target}, p = {read}(b, p, e)")
        source.add(f"elif {target} == 0: {target} = {self.absent!r}")
        source.add("else: raise Malformed(f'presence octet {b[p - 1]:02X} is neither 00 nor 01')")

    def write_encode(self, source: Source, value: str) -> str:
        """00 for the absent value, else 01 and the value."""
        (octets,) = write_sequence_encode(source, [(value, self.part)])
        return f"(b'\\x00' if {value} is {self.absent!r} else b'\\x01' + {octets})"


class SequenceOf(Part):
    """SEQUENCE OF: a count, then the elements; the count is held against the octets left."""

    minimum = 1

    def __init__(self, part: Part) -> None:
        self.part = part

    def write_decode(self, source: Source, target: str) -> None:
        """The count, held against the octets left before anything is made, then a loop."""
        read, length = source.name("read", decoder_of(self.part)), source.name("length", read_length)
        count = source.name("n")
        source.add(f"{count}, p = {length}(b, p, e)")
        source.add(
            f"if {count} * {max(self.part.minimum, 1)} > e - p: "
            f"raise Truncated(f'{{{count}}} elements do not fit the octets left')"
        )
        source.add(f"{target} = []")
        source.add(f"for _ in range({count}):")
        source.add(f"    x, p = {read}(b, p, e); {target}.append(x)")
        source.add(f"{target} = tuple({target})")

    def write_encode(self, source: Source, value: str) -> str:
        """The count and the elements."""
        write, length = source.name("write", encoder_of(self.part)), source.name("length", length_octets)
        return f"{length}(len({value})) + b''.join([{write}(x) for x in {value}])"


class Choice(Part):
    """CHOICE: one octet names the alternative; alternatives are tagged messages."""

    def __init__(self, alternatives: Iterable[Any]) -> None:
        self.alternatives = tuple(alternatives)
        self.minimum = 1 + min(a.minimum for a in self.alternatives)

    def write_decode(self, source: Source, target: str) -> None:
        """A table from the octet to the alternative's reader."""
        table = source.name("choices", {a.tag[0]: a.read for a in self.alternatives})
        source.add(f"{target} = {table}.get(b[p])")
        source.add(f"if {target} is None: raise Malformed(f'unknown choice {{b[p]:02X}}')")
        source.add(f"{target}, p = {target}(b, p + 1, e)")

    def write_encode(self, source: Source, value: str) -> str:
        """The alternative's own octets, its tag included."""
        return f"{value}.encode()"


class Nested(Part):
    """Another declaration without a tag, in place; melts into the struct call when it is fixed."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.minimum = message.minimum
        parts = message.parts
        if all(part.fmt is not None for _, part in parts):
            self.fmt = "".join(part.fmt for _, part in parts)

    def build(self, source: Source, values: Iterable[str]) -> str:
        """The inner message from its share of the unpacked values."""
        made = source.name("made", self.message)
        return f"tnew({made}, ({', '.join(_built(source, self.message.parts, values))},))"

    def spread(self, value: str) -> list[str]:
        """The fields of the inner message, and of those inside it."""
        return [x for name, part in self.message.parts for x in part.spread(f"{value}.{name}")]

    def count(self) -> int:
        """The values of all its fields."""
        return sum(part.count() for _, part in self.message.parts)

    def write_decode(self, source: Source, target: str) -> None:
        """One call of the inner message's reader."""
        source.add(f"{target}, p = {source.name('read', self.message.read)}(b, p, e)")

    def write_encode(self, source: Source, value: str) -> str:
        """The inner message's own octets; it has no tag."""
        return f"{value}.encode()"


def write_sequence_decode(source: Source, parts: Sequence[tuple[str, Part]]) -> list[str]:
    """Write the decoding of parts in order; return the expressions of their values."""
    values: list[str] = []
    at = 0
    while at < len(parts):
        run = _fixed_run(parts, at)
        if run:
            values += _decode_run(source, run)
            at += len(run)
        else:
            target = source.name("v")
            parts[at][1].write_decode(source, target)
            values.append(target)
            at += 1
    return values


def write_sequence_encode(source: Source, parts: Sequence[tuple[str, Part]]) -> list[str]:
    """Return the expressions of the octets of parts in order, fixed neighbours in one call."""
    chunks: list[str] = []
    at = 0
    while at < len(parts):
        run = _fixed_run(parts, at)
        if run:
            form = struct.Struct(">" + "".join(str(part.fmt) for _, part in run))
            arguments = [x for name, part in run for x in part.spread(name)]
            chunks.append(f"{source.name('pack', form.pack)}({', '.join(arguments)})")
            at += len(run)
        else:
            chunks.append(parts[at][1].write_encode(source, parts[at][0]))
            at += 1
    return chunks


def _fixed_run(parts: Sequence[tuple[str, Part]], at: int) -> Sequence[tuple[str, Part]]:
    end = at
    while end < len(parts) and parts[end][1].fmt is not None:
        end += 1
    return parts[at:end]


def _decode_run(source: Source, run: Sequence[tuple[str, Part]]) -> list[str]:
    form = struct.Struct(">" + "".join(str(part.fmt) for _, part in run))
    unpack = source.name("unpack", form.unpack_from)
    names = [source.name("f") for _, part in run for _ in range(part.count())]
    source.add(f"{', '.join(names)}, = {unpack}(b, p)")
    source.add(f"p += {form.size}")
    return _built(source, run, names)


def _built(source: Source, parts: Iterable[tuple[str, Part]], values: Iterable[str]) -> list[str]:
    """The expressions of fixed parts, each made from as many of the unpacked values as it takes."""
    rest = iter(values)
    return [part.build(source, [next(rest) for _ in range(part.count())]) for _, part in parts]


def decoder_of(part: Part) -> DecodeAt:
    """The function `(b, p, e) -> (value, p)` of one part on its own."""
    if isinstance(part, Call):
        return part.decode
    source = Source()
    (value,) = write_sequence_decode(source, [("value", part)])
    source.add(f"return {value}, p")
    read: DecodeAt = _compile(source, "def read(b, p, e):", "read")
    return read


def encoder_of(part: Part) -> Encode:
    """The function `value -> octets` of one part on its own."""
    if isinstance(part, Call):
        return part.encode
    source = Source()
    (expression,) = write_sequence_encode(source, [("value", part)])
    source.add(f"return {expression}")
    write: Encode = _compile(source, "def write(value):", "write")
    return write


def _compile(source: Source, head: str, name: str) -> Any:
    exec("\n".join([head, *source.lines]), source.names)
    return source.names[name]


# --- functions behind the variable parts -----------------------------------------------------


def read_octets(b: bytes, p: int, e: int) -> tuple[bytes, int]:
    """OCTET STRING: length and octets."""
    if p < e and (size := b[p]) < 0x80:  # nearly all
        p += 1
    else:
        size, p = read_length(b, p, e)
    q = p + size
    if q > e:
        raise Truncated(f"an octet string of {size} octets, {e - p} left")
    return b[p:q], q


def write_octets(value: bytes) -> bytes:
    """OCTET STRING: length and octets."""
    size = len(value)
    return (SHORT[size] if size < 0x80 else length_octets(size)) + value


def read_boolean(b: bytes, p: int, e: int) -> tuple[bool, int]:
    """BOOLEAN: 00 false, any other true."""
    return b[p] != 0, p + 1


def write_boolean(value: bool) -> bytes:
    """BOOLEAN: 01 for true."""
    return b"\x01" if value else b"\x00"


@dataclass(frozen=True, slots=True)
class Default:
    """Marks a field as DEFAULT: 00 stands for the value, 01 precedes another."""

    value: Any


@dataclass(frozen=True, slots=True)
class Hidden:
    """Marks a field that may hold key or password octets: a repr tells its length only."""


U8 = Annotated[int, Fixed("B")]
U16 = Annotated[int, Fixed("H")]
U32 = Annotated[int, Fixed("I")]
I8 = Annotated[int, Fixed("b")]
I16 = Annotated[int, Fixed("h")]
Octets6 = Annotated[bytes, Fixed("6s")]
OctetString = Annotated[bytes, Call(read_octets, write_octets, 1)]
Boolean = Annotated[bool, Call(read_boolean, write_boolean, 1)]
