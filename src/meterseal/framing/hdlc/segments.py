"""Joining segmented HDLC frames (S bit) to APDUs, for traffic that was captured or is only listened to."""

from __future__ import annotations

from dataclasses import dataclass, field

from meterseal.errors import Malformed, TooLarge

from .address import Address
from .control import Kind
from .frame import Frame

_WITH_INFORMATION = (Kind.I, Kind.UI)
_RESTART = (Kind.SNRM, Kind.DISC)


@dataclass(slots=True)
class _Open:
    """A segmented APDU that has begun: the octets so far, and N(S) of the next I frame."""

    octets: bytearray = field(default_factory=bytearray)
    expected: int | None = None
    repeated: int | None = None


class Segments:
    """`add` frames in the order they came, of any number of links; out come the joined information fields.

    LLC octets stay in front. I frames have to come in the order of N(S): a repetition is dropped, a gap ends
    the APDU that had begun. `limit` bounds one APDU in octets, `links` how many of them may be open at once;
    the oldest one goes first.
    """

    __slots__ = ("_links", "_open", "limit")

    def __init__(self, limit: int = 0xFFFF, links: int = 16) -> None:
        self.limit = limit
        self._links = links
        self._open: dict[tuple[Address, Address], _Open] = {}

    def add(self, frame: Frame) -> bytes | None:
        """The whole information field that ends with this frame, or None.

        Malformed: a frame is missing in between. TooLarge: above `limit`. Both forget the APDU that had
        begun.
        """
        meaning = frame.meaning
        pair = (frame.destination, frame.source)
        if meaning is None or meaning.kind not in _WITH_INFORMATION:
            if meaning is not None and meaning.kind in _RESTART:
                self._open.pop(pair, None)
                self._open.pop(pair[::-1], None)
            return None
        begun = self._open.get(pair)
        if begun is None:
            if not frame.segmented:
                return frame.information
            begun = self._begin(pair)
        if meaning.send is not None and not self._in_order(pair, begun, meaning.send):
            return None
        if len(begun.octets) + len(frame.information) > self.limit:
            del self._open[pair]
            raise TooLarge(f"segmented HDLC information above {self.limit} octets")
        begun.octets += frame.information
        if frame.segmented:
            return None
        del self._open[pair]
        return bytes(begun.octets)

    def _begin(self, pair: tuple[Address, Address]) -> _Open:
        if len(self._open) >= self._links:
            del self._open[next(iter(self._open))]
        begun = self._open[pair] = _Open()
        return begun

    def _in_order(self, pair: tuple[Address, Address], begun: _Open, number: int) -> bool:
        """False for the last frame once more. Malformed for a gap."""
        if begun.expected is not None and number != begun.expected:
            if number == begun.repeated:
                return False
            del self._open[pair]
            raise Malformed(f"HDLC segment N(S) {begun.expected} is missing, {number} came")
        begun.expected, begun.repeated = (number + 1) % 8, number
        return True
