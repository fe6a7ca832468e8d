"""HDLC frames out of a stream of octets: noise is skipped, frames with right check sums come out."""

from __future__ import annotations

from meterseal.errors import DecodeError, Malformed, Truncated
from meterseal.framing.incoming import Frames

from .frame import CHECK, FLAG, Frame, addresses_at, check_holds, decode_at, length_at


class FrameReader(Frames[Frame]):
    """Feed octets as they come; take the frames that are complete.

    A receiver stays silent about damaged frames (more 8), so they are skipped and counted in `noise`, in
    octets. Once the HCS of a frame is right its length is believed, and a damaged rest is skipped as a whole
    if a flag stands at its end. Where none does the frame was cut or spoilt on the way, and its length may
    reach into the next ones: the search goes on behind its opening flag, as before the HCS. Between calls at
    most one frame (2049 octets) is kept, as long as all frames are taken. Bad input raises nothing.
    """

    __slots__ = ("_wanted",)

    def __init__(self) -> None:
        super().__init__()
        self._wanted = 1  # octets from `_at` without which there is nothing new to decide

    @property
    def waiting(self) -> bool:
        """Are there octets that no frame was made of yet?"""
        return self._at < len(self._buffer)

    @property
    def held(self) -> int:
        """Octets of a frame that has begun and not ended; flags alone begin nothing."""
        return len(bytes(self._buffer[self._at :]).lstrip(b"\x7e"))

    def reset(self) -> None:
        """Forget a frame that did not end (inter-octet time-out)."""
        self.noise += self.held
        self._drop(len(self._buffer))

    def next_frame(self) -> Frame | None:
        """The next complete frame, or None when more octets are needed."""
        while len(self._buffer) - self._at >= self._wanted:
            begin = self._find_format()
            if begin is None:
                break
            try:
                after = self._candidate(begin)
            except Truncated:
                break
            except Malformed:
                self._skip(begin)
                continue
            try:
                frame, _ = decode_at(self._buffer, begin - 1)
            except DecodeError:
                # Where a flag shuts it the frame is damaged and whole, else others may lie in its length.
                self._skip(after if self._buffer[after] == FLAG else begin)
                continue
            self._drop(after)  # its closing flag may open the next frame
            return frame
        return None

    def _find_format(self) -> int | None:
        """Go to the next flag; where the octets behind it begin, if they have arrived."""
        buffer = self._buffer
        flag = buffer.find(FLAG, self._at)
        if flag < 0:
            self._skip(len(buffer))
            return None
        begin = flag + 1
        while begin < len(buffer) and buffer[begin] == FLAG:
            begin += 1
        self._skip(flag)
        self._drop(begin - 1)
        self._wanted = 3
        return begin if begin + 2 <= len(buffer) else None

    def _candidate(self, begin: int) -> int:
        """Where the closing flag of the frame at `begin` is. Malformed: no frame. Truncated: not all here."""
        buffer = self._buffer
        have = len(buffer)
        length = length_at(buffer, begin)
        after = begin + length
        _, control = self._addresses(begin, min(have, after - CHECK), have < after)
        body = control + 1 + CHECK
        if body > have:
            raise Truncated("HDLC header without its HCS")
        cost = body - begin if after >= have else length
        if not self.budget.affords(cost):
            self._skip(have)
            raise Truncated("too much noise")
        if not check_holds(buffer[begin:body]):
            raise Malformed("HCS of the HDLC frame is wrong")
        if after >= have:
            self._wanted = length + 2
            raise Truncated("HDLC frame goes on")
        return after

    def _addresses(self, begin: int, end: int, more: bool) -> tuple[int, int]:
        try:
            return addresses_at(self._buffer, begin, end)
        except Truncated:
            if more:
                raise
            raise Malformed("HDLC frame too short for its addresses") from None

    def _skip(self, pos: int) -> None:
        """Go to `pos`; what lies before it was noise."""
        self.noise += pos - self._at
        self._drop(pos)

    def _drop(self, pos: int) -> None:
        self._at = pos
        self._wanted = 1
