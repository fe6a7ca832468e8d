"""A line that is listened to: what kind of frames it carries is found out, APDUs come out whole as they end.

All readers look at the octets until one of them finds a frame whose check holds; from then on the line is
taken for one of that kind.  A ciphered P1 telegram has no check sum, so it counts only when no frame of
another kind has ended around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from meterseal.errors import DecodeError, Misuse

from . import capture as doors
from . import hdlc, mbus, p1, wrapper
from .bounds import Budget, Octets
from .capture import Capture
from .items import IsApdu, Item, Layer

BLIND: Final = 1 << 16
"""Octets without any frame after which the kind of the line is looked for anew."""

_AROUND: Final = 8
"""Octets that the end of a frame may have behind a telegram inside it."""

_WORK: Final = 4096
"""Octets of work a frame may always cost, however short: heads of blocks are looked at again."""

Take: TypeAlias = Callable[[Capture, Any], None]


class _Reader(NamedTuple):
    """One kind of line: a reader of its frames, where they go, and which of them tell the kind."""

    kind: str
    reader: Any
    take: Take
    counts: Callable[[Any], bool]


def _always(frame: Any) -> bool:
    return True


def _is_long(frame: mbus.Frame) -> bool:
    """Short and single frames have next to no check: any octet E5 is one."""
    return frame.information is not None


def _ciphered(capture: Capture, telegram: bytes) -> None:
    capture.inside(telegram)


def _text(capture: Capture, found: tuple[p1.Telegram, bytes]) -> None:
    doors.p1_telegram(capture, *found)


_HDLC, _MBUS, _P1, _CIPHERED = KINDS = ("hdlc", "m-bus", "p1", "p1-ciphered")
"""Kinds of lines, the surest first."""


def _readers(kinds: Sequence[str], length_modulo_256: bool) -> list[_Reader]:
    known = (
        _Reader(_HDLC, hdlc.FrameReader(), doors.hdlc_frame, _always),
        _Reader(_MBUS, mbus.FrameReader(length_modulo_256), doors.mbus_frame, _is_long),
        _Reader(_P1, p1.TextReader(), _text, _always),
        _Reader(_CIPHERED, p1.CipheredReader(), _ciphered, _always),
    )
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise Misuse(f"no kind of line {unknown[0]!r}; there are {', '.join(KINDS)}")
    return [reader for reader in known if reader.kind in kinds]


class LineReader:
    """Items out of one line: feed octets as they come, or whole wrapper frames.

    `kinds` restricts what the line may be.  `limit` is in octets of one joined APDU.  Bad input raises
    nothing: what is lost comes out as an item with an error where that says something, as of a missing
    segment, and damaged frames and noise are skipped.
    """

    def __init__(
        self,
        kinds: Sequence[str] = KINDS,
        is_apdu: IsApdu | None = None,
        *,
        length_modulo_256: bool = False,
        limit: int = 0xFFFF,
    ) -> None:
        self._kinds, self._modulo = tuple(kinds), length_modulo_256
        self._readers = _readers(self._kinds, self._modulo)
        self._budget = Budget()
        self._capture = Capture(self._budget, is_apdu, length_modulo_256, limit)
        self._weak: list[bytes] = []
        self._since = 0
        self.kind: str | None = None
        """What the line was found to be."""

    def frame(self, frame: wrapper.Frame) -> list[Item]:
        """One wrapper frame, from a connection or a datagram."""
        self._budget.grant(len(frame[2]) + _WORK)
        self._take(doors.wrapper_frame, frame)
        return self._capture.take_items()

    def carried(self, layer: Layer, apdu: bytes) -> list[Item]:
        """One APDU, or a block of one, that somebody else has taken out of its frames."""
        self._budget.grant(len(apdu) + _WORK)
        self._take(doors.carried, (layer, apdu))
        return self._capture.take_items()

    def feed(self, octets: Octets) -> list[Item]:
        """Take in octets; what has ended with them."""
        self._budget.grant(len(octets) + _WORK)
        found = [(reader, list(reader.reader.feed(octets))) for reader in self._readers]
        self._since += len(octets)
        for reader, frames in found:
            if self.kind is None and reader.kind == _CIPHERED:
                self._weigh(reader, frames)
                continue
            frames = frames if self.kind else [frame for frame in frames if reader.counts(frame)]
            if frames:
                self._is_of(reader)
                for frame in frames:
                    self._take(reader.take, frame)
                break
        if self._since > BLIND:
            self._begin_anew()
        return self._capture.take_items()

    def pause(self) -> list[Item]:
        """Nothing has come for a while: what has not ended will not; a telegram that waited counts."""
        self._settle()
        for reader in self._readers:
            reader.reader.reset()
        return self._capture.take_items()

    def _weigh(self, reader: _Reader, telegrams: list[bytes]) -> None:
        """Ciphered telegrams count once some octets behind them have not ended another frame."""
        if self._weak and (telegrams or self._since > _AROUND):
            self._weak += telegrams
            self._settle()
        elif telegrams:
            self._weak, self._since = telegrams, reader.reader.held

    def _settle(self) -> None:
        weak, self._weak = self._weak, []
        reader = next((reader for reader in self._readers if reader.kind == _CIPHERED), None)
        if weak and reader is not None:
            self._is_of(reader)
            for telegram in weak:
                self._take(reader.take, telegram)

    def _is_of(self, reader: _Reader) -> None:
        self.kind, self._since, self._weak = reader.kind, 0, []
        self._readers = [reader]

    def _begin_anew(self) -> None:
        self.kind, self._since = None, 0
        self._readers = _readers(self._kinds, self._modulo)

    def _take(self, take: Take, frame: Any) -> None:
        try:
            take(self._capture, frame)
        except DecodeError as error:
            self._capture.lose(error)
