"""P1: the text telegram of customer ports, and the length of ciphered ones (DSMR 5, IEC 62056-21; more 4.2).

`/identification CR LF CR LF lines !CRC CR LF`; a line is `A-B:C.D.E(value)(value*unit)`. A ciphered
telegram is a general-glo APDU without anything around it, whose plaintext is this text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from meterseal.errors import DecodeError, Malformed, TooLarge, Truncated

from .bounds import Octets
from .incoming import Incoming

MAX_TELEGRAM = 16384
"""Octets of one telegram, text or ciphered."""

_START = b"/"
_LINE = re.compile(r"([^()]*)((?:\([^()]*\))*)\Z")
_VALUE = re.compile(r"\(([^()]*)\)")
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\r\n"
_CHECK = re.compile(rb"[0-9A-Fa-f]{4}")
_SHORTEST_IDENTIFICATION = 4  # three letters of the maker, one digit of the speed
_LINE_ENDS = (b"\r\n", b"\n", b"")

_TITLE_LENGTH = 8
_GENERAL_GLO = b"\xdb\x08"
_FORM_AT = 2 + _TITLE_LENGTH
_MAX_LENGTH_OCTETS = 4
_HEAD = _FORM_AT + 1 + _MAX_LENGTH_OCTETS + 1  # of the longest form, with the security control
_PROTECTED, _SUITE, _LAST_SUITE = 0x30, 0x0F, 2
_LEAST_CIPHERED = 5 + 12
_LOOKS = 5  # octets of a head that decide


def _table() -> tuple[int, ...]:
    rows = []
    for octet in range(256):
        for _ in range(8):
            octet = octet >> 1 ^ 0xA001 if octet & 1 else octet >> 1
        rows.append(octet)
    return tuple(rows)


_CRC = _table()


def crc(octets: Octets) -> int:
    """CRC-16 (polynomial 8005 mirrored, initial value 0) over `/` up to and with `!`."""
    state = 0
    for octet in octets:
        state = state >> 8 ^ _CRC[(state ^ octet) & 0xFF]
    return state


@dataclass(frozen=True, slots=True)
class Telegram:
    """`lines` are (reference, values) in order: `("1-0:1.8.1", ("000051.775*kWh",))`.

    `checked` is True when the telegram has a CRC and it is right, False when it has none (before DSMR 4).
    """

    identification: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    checked: bool


def decode(octets: Octets) -> Telegram:
    """The one telegram that `octets` are, whole. Truncated, Malformed, TooLarge."""
    telegram, end = decode_at(octets, 0)
    if end != len(octets):
        raise Malformed(f"{len(octets) - end} octets after the P1 telegram")
    return telegram


def decode_at(octets: Octets, pos: int) -> tuple[Telegram, int]:
    """The telegram that begins at `pos`, and the position after it."""
    octets = bytes(octets)
    if pos >= len(octets):
        raise Truncated("no octet of a P1 telegram")
    if octets[pos : pos + 1] != _START:
        raise Malformed("a P1 telegram begins with /")
    mark = octets.find(b"!", pos, pos + MAX_TELEGRAM)
    if mark < 0:
        if len(octets) - pos >= MAX_TELEGRAM:
            raise TooLarge(f"P1 telegram above {MAX_TELEGRAM} octets")
        raise Truncated("P1 telegram without ! at its end")
    body = octets[pos : mark + 1]
    if body.translate(None, _PRINTABLE):
        raise Malformed("P1 telegram with octets that are not printable ASCII")
    check = _CHECK.match(octets, mark + 1)
    if check is not None and int(check[0], 16) != crc(body):
        raise Malformed("CRC of the P1 telegram is wrong")
    end = mark + 1 if check is None else check.end()
    end += next(len(mark) for mark in _LINE_ENDS if octets.startswith(mark, end))
    identification, *rows = body[1:-1].decode("ascii").splitlines() or [""]
    if len(identification) < _SHORTEST_IDENTIFICATION or body[1 + len(identification) :] == b"!":
        raise Malformed("P1 telegram without an identification line")
    return Telegram(identification, tuple(_lines(rows)), check is not None), end


def _lines(rows: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """References and values; a row that begins with `(` goes on with the values of the one before."""
    reference, values = "", list[str]()
    for row in filter(None, rows):
        match = _LINE.match(row)
        if match is None:
            raise Malformed("P1 line that is not reference(value)...")
        if match[1]:
            if reference:
                yield reference, tuple(values)
            reference, values = match[1], []
        elif not reference:
            raise Malformed("P1 line without a reference")
        values += _VALUE.findall(match[2])
    if reference:
        yield reference, tuple(values)


def ciphered_length(octets: Octets, pos: int = 0) -> int:
    """Octets of the ciphered telegram that begins at `pos`, from its head: `DB 08 title length control`.

    The length is written in any of its forms (00..7F, 81..84). Nothing but the head tells a start from other
    octets, so the security control has to be one: authenticated or encrypted, of a suite that there is.
    Malformed: another head. Truncated: the head is not all there. TooLarge: above 16384 octets.
    """
    head = bytes(octets[pos : pos + _HEAD])
    if head[:2] != _GENERAL_GLO[: len(head)]:
        raise Malformed("a ciphered P1 telegram begins with DB 08")
    length, at = _length(head)
    if length < _LEAST_CIPHERED:
        raise Malformed(f"ciphered P1 telegram with {length} octets of security header and text")
    if length > MAX_TELEGRAM:
        raise TooLarge(f"ciphered P1 telegram of {length} octets")
    if len(head) <= at:
        raise _short()
    if not head[at] & _PROTECTED or head[at] & _SUITE > _LAST_SUITE:
        raise Malformed(f"ciphered P1 telegram with a security control of {head[at]:02X}")
    return at + length


def _length(head: bytes) -> tuple[int, int]:
    """The length behind the title, and where its octets end."""
    if len(head) <= _FORM_AT:
        raise _short()
    form, at = head[_FORM_AT], _FORM_AT + 1
    if form < 0x80:
        return form, at
    end = at + (form & 0x7F)
    if not at < end <= at + _MAX_LENGTH_OCTETS:
        raise Malformed(f"ciphered P1 telegram with a length octet of {form:02X}")
    if len(head) < end:
        raise _short()
    return int.from_bytes(head[at:end], "big"), end


def _short() -> Truncated:
    return Truncated("ciphered P1 telegram ends inside its head")


class CipheredReader(Incoming):
    """Ciphered telegrams out of a stream; noise is skipped and counted. Bad input raises nothing.

    There is no check sum in front of the cipher: a wrong start is found out by whoever opens the telegram.
    """

    __slots__ = ("_wanted",)

    def __init__(self) -> None:
        super().__init__()
        self._wanted = _HEAD

    def reset(self) -> None:
        """Forget what is held, and how much more of it was to come."""
        super().reset()
        self._wanted = _HEAD

    def feed(self, octets: Octets) -> list[bytes]:
        """Take in all of `octets`; the telegrams (general-glo APDUs) that are complete."""
        self._take(octets)
        buffer = self._buffer
        found: list[bytes] = []
        pos = 0
        while len(buffer) - pos >= self._wanted and self.budget.affords(_LOOKS):
            try:
                end = pos + ciphered_length(buffer, pos)
            except DecodeError:
                pos = self._sync(pos)
                continue
            self._wanted = end - pos
            if end <= len(buffer):
                found.append(bytes(buffer[pos:end]))
                pos, self._wanted = end, _HEAD
        del buffer[:pos]
        return found

    def _sync(self, pos: int) -> int:
        """Where the next telegram may begin, after `pos`."""
        at = self._buffer.find(_GENERAL_GLO, pos + 1)
        if at < 0:
            at = len(self._buffer) - self._buffer.endswith(_GENERAL_GLO[:1])
        at = max(at, pos + 1)
        self.noise += at - pos
        return at


class TextReader(Incoming):
    """Telegrams in clear out of a stream, as they stand there; noise is skipped and counted.

    Bad input raises nothing.  Between calls at most one telegram is kept.
    """

    __slots__ = ()

    def feed(self, octets: Octets) -> list[tuple[Telegram, bytes]]:
        """Take in all of `octets`; the telegrams that are complete, with their octets.

        A telegram ends with the line of its `!`, so that a CRC behind it has come as well.
        """
        self._take(octets)
        found: list[tuple[Telegram, bytes]] = []
        while (end := self._ended()) is not None:
            text = bytes(self._buffer[:end])
            try:
                found.append((decode(text), text))
            except DecodeError:
                self.noise += len(text)
            del self._buffer[:end]
        return found

    def _ended(self) -> int | None:
        """Where the telegram at the beginning of the buffer ends; what stands in front of it goes."""
        start = self._buffer.find(_START)
        self._skip(len(self._buffer) if start < 0 else start)
        mark = self._buffer.find(b"!")
        end = -1 if mark < 0 else self._buffer.find(b"\n", mark)
        if end < 0 and len(self._buffer) > MAX_TELEGRAM:
            self._skip(len(self._buffer))
        if end < 0 or not self.budget.affords(end):
            return None
        # A start of its own in the middle: the beginning was a piece of another one.
        begun = self._buffer.rfind(b"\n" + _START, 0, mark) + 1
        self._skip(begun)
        return end + 1 - begun

    def _skip(self, count: int) -> None:
        self.noise += count
        del self._buffer[:count]
