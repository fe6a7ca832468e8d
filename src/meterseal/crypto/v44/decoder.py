"""The decoder of V.44: strings by their ends in what has come out, each code held to what may come now."""

from __future__ import annotations

from typing import Final

from meterseal.crypto.v44.codes import FIRST, FLUSH, PACKET, REINIT, STEPUP, Parameters, tail_bits
from meterseal.errors import Malformed, TooLarge, Truncated

LIMIT: Final = 0xFFFF
"""Octets that `decompress` gives out unless told otherwise: the largest APDU there is."""


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
        tail = tail_bits(p.n7)
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
