"""V.44 (LZJH), packet method: what the compression bit of the security control octet stands for.

Each call is one packet with a dictionary of its own; nothing is kept from one to the next.  Written
from public implementations and from octets that a modem chip sent, not from the text of the
Recommendation; the sheet says how far each rule is proved (v44).

A packet is a row of codes, least significant bit first:

| code             | bits on the line, then a field             | may come                       |
|------------------|--------------------------------------------|--------------------------------|
| ordinal          | `0`, octet (C5); after a codeword `0 0`    | always                         |
| extension length | `0 1`, length field                        | directly after a codeword      |
| codeword         | `1`, value from 4 on (C2)                  | always                         |
| control          | `1`, value 0 to 3 (C2)                     | always                         |

Both ends number new strings alike, from 4 on: an ordinal or codeword makes the previous code's
string longer by its first octet, an extension makes its codeword's string longer by its whole length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated

FIRST: Final = 4
"""The first codeword; the values below are the control codes."""

ETM, FLUSH, STEPUP, REINIT = range(FIRST)
"""To transparent mode (not in packets), end and padding, one bit more, dictionary anew."""

LIMIT: Final = 0xFFFF
"""Octets that `decompress` gives out unless told otherwise: the largest APDU there is."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What both ends agree on (v44 2): nothing of it travels.

    `n2`: codewords, control codes included, 256 to 65535; `n7`: octets of the longest string, 32 to
    255; `c2`, `c5`: bits that a codeword and an ordinal have at first.  `when_full` is the encoder's
    choice: go on with the strings there are (freeze), or begin anew (reinit), which it then also does
    after `n8` octets of history, None for no end; a decoder follows either.  Raises Misuse.
    """

    n2: int = 1525
    n7: int = 255
    c2: int = 6
    c5: int = 7
    when_full: Literal["freeze", "reinit"] = "freeze"
    n8: int | None = None

    def __post_init__(self) -> None:
        bounds = {"n2": (256, 65535), "n7": (32, 255), "c2": (3, 16), "c5": (7, 8)}
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise Misuse(f"V.44 {name} is {least} to {most}, not {value}")
        if self.c2 > self.n1:
            raise Misuse(f"V.44 c2 is {self.n1} bits at most where there are {self.n2} codewords")
        if self.n8 is not None and self.n8 < 512:
            raise Misuse(f"V.44 n8 is 512 or more, not {self.n8}")
        if self.when_full not in ("freeze", "reinit"):
            raise Misuse(f"V.44 when_full is freeze or reinit, not {self.when_full!r}")
        if self.n8 is not None and self.when_full == "freeze":
            raise Misuse("V.44 n8 is for an encoder that begins anew (reinit)")

    @property
    def n1(self) -> int:
        """Bits of the largest codeword."""
        return (self.n2 - 1).bit_length()


PACKET: Final = Parameters()
"""The packet method as the implementations seen have it."""

STREAM: Final = Parameters(n2=1024, when_full="reinit", n8=3072)
"""The defaults of the stream method, for peers that use them packet by packet."""


def _tail_bits(n7: int) -> int:
    """Bits of a length from 13 on (v44 3)."""
    return 5 if n7 <= 46 else 6 if n7 <= 78 else 7 if n7 <= 142 else 8


@cache
def _length_codes(n7: int) -> tuple[tuple[int, int], ...]:
    """(bits, width) of every extension length from 0 (unused) to n7 - 2, the `0 1` in front included."""
    fields = [(0, 0), (1, 1)]
    fields += [((n - 1) << 1, 3) for n in range(2, 5)]
    fields += [((n - 5) << 4, 7) for n in range(5, 13)]
    fields += [(8 | (n - 13) << 4, 4 + _tail_bits(n7)) for n in range(13, n7 - 1)]
    return tuple((0b10 | bits << 2, width + 2) for bits, width in fields)


# --- the encoder ---------------------------------------------------------------------------------


class _Writer:
    """Codes to octets, with the sizes that STEPUP moves."""

    __slots__ = ("_bits", "_c2", "_c5", "_count", "_first", "_out", "after_codeword")

    def __init__(self, parameters: Parameters) -> None:
        self._out = bytearray()
        self._bits = self._count = 0
        self._first = parameters
        self.restart()

    def restart(self) -> None:
        self._c2, self._c5 = self._first.c2, self._first.c5
        self.after_codeword = False

    def put(self, bits: int, width: int) -> None:
        self._bits |= bits << self._count
        self._count += width
        if self._count >= 64:
            self._out += (self._bits & (1 << 64) - 1).to_bytes(8, "little")
            self._bits >>= 64
            self._count -= 64

    def control(self, code: int) -> None:
        self.put(1 | code << 1, self._c2 + 1)
        self.after_codeword = False

    def ordinal(self, octet: int) -> None:
        if octet >> self._c5:
            self.control(STEPUP)
            self._c5 += 1
        prefix = 2 if self.after_codeword else 1
        self.put(octet << prefix, self._c5 + prefix)
        self.after_codeword = False

    def codeword(self, value: int) -> None:
        while value >> self._c2:
            self.control(STEPUP)
            self._c2 += 1
        self.put(1 | value << 1, self._c2 + 1)
        self.after_codeword = True

    def extension(self, code: tuple[int, int]) -> None:
        self.put(*code)
        self.after_codeword = False

    def end(self) -> bytes:
        self.control(FLUSH)
        self._out += self._bits.to_bytes((self._count + 7) // 8, "little")
        return bytes(self._out)


Children = dict[int, list[int]]
"""Children of a node by the first octet of their segment, in the order of their making."""


class _Tree:
    """The node-tree: node k continues its parent by `size[k]` octets of history from `start[k]` on.

    Lists are indexed by codeword; the control codes' places are unused.
    """

    __slots__ = ("_children", "_roots", "size", "start")

    def __init__(self) -> None:
        self._roots: dict[int, Children] = {}
        self.start = [0] * FIRST
        self.size = [0] * FIRST
        self._children: list[Children | None] = [None] * FIRST

    @property
    def next(self) -> int:
        """The codeword of the next node."""
        return len(self.start)

    def match(self, data: bytes, pos: int, end: int) -> tuple[int, int]:
        """The last node on the longest way from `pos` to `end`, and its string's octets; (0, 1): none."""
        start, size, children = self.start, self.size, self._children
        node, at = 0, pos + 1
        here = self._roots.get(data[pos])
        while here is not None and at < end:
            for k in here.get(data[at], ()):
                length = size[k]
                # The first of the siblings that fits, not the longest: the decoder's numbers ask for it.
                if length == 1 or data.startswith(data[start[k] : start[k] + length], at, end):
                    node, at, here = k, at + length, children[k]
                    break
            else:
                break
        return node, at - pos

    def add(self, parent: int, root: int, octet: int, start: int, size: int) -> None:
        """A node under `parent` (0: under the root of octet `root`) whose segment begins with `octet`."""
        number = len(self.start)
        self.start.append(start)
        self.size.append(size)
        self._children.append(None)
        if parent:
            children = self._children[parent]
            if children is None:
                children = self._children[parent] = {}
        else:
            children = self._roots.setdefault(root, {})
        children.setdefault(octet, []).append(number)


def _common(data: bytes, source: int, at: int, most: int) -> int:
    """How many octets from `source` on equal those from `at` on, `most` at the most; they may overlap."""
    n = 0
    while n < most and data[source + n] == data[at + n]:
        n += 1
    return n


def compress(data: bytes, parameters: Parameters = PACKET) -> bytes:
    """One packet.  It may be longer than `data`: short or random octets grow."""
    n2, n7, codes = parameters.n2, parameters.n7, _length_codes(parameters.n7)
    anew, life = parameters.when_full == "reinit", parameters.n8 or len(data)
    writer, tree = _Writer(parameters), _Tree()
    pos, end = 0, min(life, len(data))
    while pos < len(data):
        if anew and (tree.next >= n2 or pos == end):
            writer.control(REINIT)
            writer.restart()
            tree, end = _Tree(), min(pos + life, len(data))
        room = tree.next < n2
        node, total = tree.match(data, pos, end)
        root, pos = data[pos], pos + total
        if not node:
            writer.ordinal(root)
        else:
            writer.codeword(node)
            n = _common(data, tree.start[node] + tree.size[node], pos, min(n7 - total, end - pos))
            if n:
                writer.extension(codes[n])
                if room:
                    tree.add(node, root, data[pos], pos, n)
                pos += n
                continue
        if room and pos < end and total < n7:
            tree.add(node, root, data[pos], pos, 1)
    return writer.end()


# --- the decoder ---------------------------------------------------------------------------------


class _Reader:
    """Octets to fields of bits."""

    __slots__ = ("_bits", "_count", "_data", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = self._bits = self._count = 0

    def take(self, width: int) -> int:
        """The next `width` bits, at most 64.  Raises Truncated."""
        if self._count < width:
            chunk = self._data[self._pos : self._pos + 8]
            self._pos += len(chunk)
            self._bits |= int.from_bytes(chunk, "little") << self._count
            self._count += 8 * len(chunk)
            if self._count < width:
                raise Truncated("V.44: the packet ends before its FLUSH")
        value = self._bits & (1 << width) - 1
        self._bits >>= width
        self._count -= width
        return value

    def finish(self) -> None:
        """After FLUSH: zero bits to the end of the octet, then nothing.  Raises Malformed."""
        if self._count >= 8 or self._pos < len(self._data):
            raise Malformed("V.44: octets after FLUSH")
        if self._bits:
            raise Malformed("V.44: padding after FLUSH that is not zero")


def _length(reader: _Reader, tail: int) -> int:
    """An extension's length field."""
    if reader.take(1):
        return 1
    if two := reader.take(2):
        return two + 1
    if reader.take(1):
        return reader.take(tail) + 13
    return reader.take(3) + 5


class _Decoder:
    """One packet being decoded: the output, the strings made so far, and what the next code may be.

    String k ends at `ends[k]` of the output and has `sizes[k]` octets.  `previous` is the codeword of
    the code before, 0 for an ordinal, None where the next code makes no string.
    """

    __slots__ = ("_limit", "_parameters", "_reader", "ends", "out", "previous", "sizes")

    def __init__(self, data: bytes, parameters: Parameters, limit: int) -> None:
        self._reader = _Reader(data)
        self._parameters = parameters
        self._limit = limit
        self.out = bytearray()
        self._forget()

    def _forget(self) -> None:
        self.ends, self.sizes = [0] * FIRST, [1] + [0] * (FIRST - 1)  # place 0 is the ordinal's
        self.previous: int | None = None

    def run(self) -> bytes:
        """All codes up to FLUSH."""
        p, reader = self._parameters, self._reader
        tail = _tail_bits(p.n7)
        c2, c5, step, after_codeword = p.c2, p.c5, False, False
        while True:
            if reader.take(1):
                c2 += step
                if c2 > p.n1:
                    raise Malformed("V.44: a codeword of more bits than the parameters have")
                value, step, after_codeword = reader.take(c2), False, False
                if value >= FIRST:
                    self._codeword(value)
                    after_codeword = True
                elif value == STEPUP:
                    step = True
                elif value == REINIT:
                    self._forget()
                    c2, c5 = p.c2, p.c5
                elif value == FLUSH:
                    reader.finish()
                    return bytes(self.out)
                else:
                    raise Malformed("V.44: transparent mode in a packet")
                continue
            if after_codeword and reader.take(1):
                self._extension(_length(reader, tail))
            else:
                c5 += step
                if c5 > 8:
                    raise Malformed("V.44: an ordinal of more than 8 bits")
                self._ordinal(reader.take(c5))
            step = after_codeword = False

    def _room(self, count: int) -> None:
        if len(self.out) + count > self._limit:
            raise TooLarge(f"V.44: more than {self._limit} octets come out")

    def _grow(self) -> None:
        """The previous code's string, longer by the octet that is about to be written."""
        previous = self.previous
        if previous is not None:
            self._make(len(self.out), self.sizes[previous] + 1)

    def _make(self, end: int, size: int) -> None:
        if len(self.ends) < self._parameters.n2 and size <= self._parameters.n7:
            self.ends.append(end)
            self.sizes.append(size)

    def _ordinal(self, octet: int) -> None:
        self._room(1)
        self._grow()
        self.out.append(octet)
        self.previous = 0

    def _codeword(self, value: int) -> None:
        """A string there is, or the very one that this code makes: then its last octet is its first."""
        out = self.out
        at, known = len(out), len(self.ends)
        self._grow()
        if value >= len(self.ends):
            raise Malformed(f"V.44: codeword {value} where {known} strings have been made")
        size = self.sizes[value]
        self._room(size)
        begin = self.ends[value] + 1 - size
        out += out[begin : begin + size]
        if value >= known:
            out.append(out[at])
        self.previous = value

    def _extension(self, count: int) -> None:
        """Go on from where the codeword's string ended; the copy may run into itself."""
        self._room(count)
        k, out = self.previous, self.out
        if not k:
            raise Malformed("V.44: an extension without a codeword")
        source = self.ends[k] + 1
        period = len(out) - source
        if period < 1:
            raise Malformed("V.44: an extension of what is not there yet")
        piece = out[source : source + count]
        out += piece if len(piece) == count else (piece * (count // period + 1))[:count]
        self._make(len(out) - 1, self.sizes[k] + count)
        self.previous = None


def decompress(data: bytes, parameters: Parameters = PACKET, limit: int = LIMIT) -> bytes:
    """The octets of one packet, at most `limit`; time and memory go with input and output, no further.

    Parameters need only reach as far as the encoder's: more codewords do no harm.  Raises Truncated
    without a FLUSH, Malformed for a code that cannot be there, padding that is not zero and octets
    after FLUSH, TooLarge above `limit`; nothing of the text is told then.
    """
    return _Decoder(data, parameters, limit).run()
