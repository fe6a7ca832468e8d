"""One HDLC link, of one pair of addresses, at either end: sequence numbers, window, segments (acse-xdlms 9).

No clock and no line: frames go in, frames are asked for by whoever has the turn (`primary`, `secondary`).
A lost frame shows itself by N(R): who gets the turn sends again what is not acknowledged.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final, NamedTuple, TypeAlias

from meterseal.errors import ConnectionLost, DecodeError, ProtocolViolation, TooLarge

from . import parameters as negotiation
from .address import Address
from .control import Control, Kind
from .frame import COMMAND, RESPONSE, Frame
from .parameters import Parameters
from .states import TABLE, Role, State

MODULUS: Final = 8
BACKLOG: Final = {Role.PRIMARY: sys.maxsize, Role.SECONDARY: 16}
"""With so many APDUs waiting for a peer that does not fetch them nothing more is taken from it."""

_W, _X, _Y, _Z = 0x01, 0x03, 0x04, 0x08  # causes in FRMR; information that may not be there (X) sets W too
_LLC: Final = {Role.PRIMARY: COMMAND, Role.SECONDARY: RESPONSE}
_OTHER: Final = {Role.PRIMARY: Role.SECONDARY, Role.SECONDARY: Role.PRIMARY}


class Received(NamedTuple):
    """An APDU has come; `numbered` by I frames of a link, otherwise by UI frames."""

    client: int
    server: int
    apdu: bytes
    numbered: bool = True


class Up(NamedTuple):
    """A link stands."""

    client: int
    server: int


class Down(NamedTuple):
    """A link has ended, or was not to be had, and not because this end wished it; what waited is lost."""

    client: int
    server: int
    cause: Exception


Event: TypeAlias = Received | Up | Down


def strip(role: Role, information: bytes) -> bytes:
    """The APDU behind the LLC octets that the peer of `role` puts in front; empty when they are not there."""
    return information[3:] if information[:3] == _LLC[_OTHER[role]] else b""


def pieces(role: Role, apdu: bytes, size: int) -> list[tuple[bytes, bool]]:
    """The information fields of an APDU with its LLC octets, and whether each goes on in the next one."""
    whole = _LLC[role] + apdu
    return [(whole[at : at + size], at + size < len(whole)) for at in range(0, len(whole), size)]


class Link:
    """One link. `own` and `peer` are addresses; `limit` is the largest APDU taken, in octets."""

    def __init__(
        self, role: Role, own: Address, peer: Address, wanted: Parameters, limit: int, events: deque[Event]
    ) -> None:
        self.role, self.own, self.peer = role, own, peer
        client, server = (own, peer) if role is Role.PRIMARY else (peer, own)
        self.client, self.server = client.upper, server.upper
        self.state = State.DISCONNECTED
        self.reply: Frame | None = None
        """What the secondary owes at once: UA, DM or FRMR."""
        self.progress = self.delivered = False
        """Was something new acknowledged, or taken in, since they were last cleared?"""
        self.peer_busy = self.busy = False
        """Does the peer, or the user at this end, take nothing more for the moment?"""
        self._wanted, self._limit, self._events = wanted, limit, events
        self._known = False  # does the user count on this link?
        self._reset(Parameters())

    def _reset(self, agreed: Parameters) -> None:
        """Numbers from 0, nothing on its way, sizes as agreed."""
        self.agreed = agreed
        self._acknowledged = self._expected = 0  # V(A), V(R)
        self._flight: deque[tuple[bytes, bool]] = deque()  # cut and not acknowledged, from V(A) on
        self._sent = self._highest = 0  # of them: sent since the last checkpoint, ever sent
        self._waiting: deque[bytes] = deque()  # whole APDUs
        self._joined = bytearray()
        self.peer_busy = self.busy = False
        self.reply = None

    # --- for the user ---------------------------------------------------------------------------

    def send(self, apdu: bytes) -> None:
        """Queue an APDU."""
        self._known = True
        self._waiting.append(apdu)

    @property
    def unsent(self) -> bool:
        """Is there something that was not sent even once?"""
        return bool(self._waiting) or len(self._flight) > self._highest

    @property
    def has_frames(self) -> bool:
        """Is there something that the peer has not acknowledged?"""
        return bool(self._flight or self._waiting)

    @property
    def full(self) -> bool:
        """Is nothing taken from the peer for now? It is told so by RNR."""
        return self.busy or len(self._waiting) >= BACKLOG[self.role]

    @property
    def joining(self) -> bool:
        """Has an APDU begun that goes on in the next frame?"""
        return bool(self._joined)

    # --- frames out -----------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """The turn changes: what was sent and is not acknowledged has to be sent again."""
        self._sent = 0

    def numbered(self) -> list[Frame]:
        """The I frames that the window lets out now, then RNR of who is full; RR where there are none.

        The last frame gives the turn.
        """
        window = self.agreed.window_transmit
        while len(self._flight) < window and self._waiting:
            self._flight.extend(pieces(self.role, self._waiting.popleft(), self.agreed.max_transmit))
        last = 0 if self.peer_busy else min(window, len(self._flight))
        frames, full = [], self.full
        for index in range(self._sent, last):
            piece, more = self._flight[index]
            number = (self._acknowledged + index) % MODULUS
            control = Control(Kind.I, index == last - 1 and not full, number, self._expected)
            frames.append(Frame(self.peer, self.own, control.encode(), piece, more))
        self._sent = max(self._sent, last)
        self._highest = max(self._highest, self._sent)
        if full or not frames:
            frames.append(self.ready())
        return frames

    def ready(self) -> Frame:
        """RR, or RNR of who is full; it gives the turn."""
        return self.command(Control(Kind.RNR if self.full else Kind.RR, True, None, self._expected))

    def connect(self) -> Frame:
        """SNRM with the parameters wished for."""
        return self.command(Control(Kind.SNRM, True), self._wanted.encode())

    def command(self, control: Control, information: bytes = b"") -> Frame:
        """Any frame of this link."""
        return Frame(self.peer, self.own, control.encode(), information)

    # --- frames in ------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """What a frame of this link does; False when it has no row in the table."""
        meaning = frame.meaning
        step = TABLE.get((self.role, self.state, None if meaning is None else meaning.kind))
        if step is None:
            return False
        outcome: str = getattr(self, f"_{step.action}")(frame, meaning)
        self.state = step.outcomes[outcome]
        return True

    def _open(self, frame: Frame, meaning: Control) -> str:
        """SNRM at the secondary. What cannot be read is refused with DM."""
        try:
            proposed = negotiation.decode(frame.information)
        except DecodeError as error:
            self.end(error)
            return self._deny(frame, meaning, "refused")
        self.end(ConnectionLost("the peer started the link anew"))
        agreed = proposed.answer(self._wanted)
        self._reset(agreed)
        self.reply = self.command(Control(Kind.UA, True), agreed.encode())
        self._up()
        return "opened"

    def _agree(self, frame: Frame, meaning: Control) -> str:
        """UA at the primary: the smaller one of what it says and what was wished for holds."""
        try:
            answer = negotiation.decode(frame.information)
        except DecodeError as error:
            self.end(error)
            return "rejected"
        waiting = self._waiting
        self._reset(answer.answer(self._wanted))
        self._waiting = waiting
        self.progress = True
        self._up()
        return "agreed"

    def _up(self) -> None:
        self._known = True
        self._events.append(Up(self.client, self.server))

    def _leave(self, frame: Frame, meaning: Control) -> str:
        """DISC at the secondary."""
        self.end(ConnectionLost("the peer ended the link"))
        self.reply = self.command(Control(Kind.UA, True))
        return "left"

    def _part(self, frame: Frame, meaning: Control) -> str:
        """The answer to DISC; what was on the link went when it was sent."""
        return "parted"

    def _deny(self, frame: Frame, meaning: Control, outcome: str = "denied") -> str:
        self.reply = self.command(Control(Kind.DM, True))
        return outcome

    def _give_up(self, frame: Frame, meaning: Control) -> str:
        """DM or FRMR at the primary."""
        what = "refused the link" if self.state is State.CONNECTING else "ended the link"
        why = f" ({frame.information.hex().upper()})" if frame.information else ""
        self.end(ConnectionLost(f"the peer {what} with {meaning.kind.value}{why}"))
        return "ended"

    def _take(self, frame: Frame, meaning: Control) -> str:
        """An I frame: one out of order, or for which there is no room, changes nothing but N(R)."""
        if len(frame.information) > self.agreed.max_receive:
            return self._reject(frame, _Y, f"information of {len(frame.information)} octets")
        if not self._acknowledge_to(meaning):
            return self._reject(frame, _Z, f"N(R) {meaning.receive}")
        if meaning.send != self._expected or self.full:
            return "taken"
        if len(self._joined) + len(frame.information) > self._limit + len(COMMAND):
            return self._reject(frame, _Y, f"an APDU of more than {self._limit} octets", TooLarge)
        self._expected = (self._expected + 1) % MODULUS
        self.delivered = True
        self._joined += frame.information
        if not frame.segmented:
            apdu = strip(self.role, bytes(self._joined))
            self._joined.clear()
            if apdu:
                self._events.append(Received(self.client, self.server, apdu))
        return "taken"

    def _acknowledge(self, frame: Frame, meaning: Control) -> str:
        """RR or RNR."""
        if frame.information:
            return self._reject(frame, _X, f"{meaning.kind.value} with information")
        if not self._acknowledge_to(meaning):
            return self._reject(frame, _Z, f"N(R) {meaning.receive}")
        self.peer_busy = meaning.kind is Kind.RNR
        return "taken"

    def _acknowledge_to(self, meaning: Control) -> bool:
        """Let go of what N(R) acknowledges; False for a number that was not sent."""
        count = ((meaning.receive or 0) - self._acknowledged) % MODULUS
        if count > self._highest:
            return False
        for _ in range(count):
            self._flight.popleft()
        self._acknowledged = (self._acknowledged + count) % MODULUS
        self._sent = max(0, self._sent - count)
        self._highest -= count
        self.progress = self.progress or count > 0
        return True

    def _reject_unknown(self, frame: Frame, meaning: Control | None) -> str:
        return self._reject(frame, _W, f"control octet {frame.control:02X}")

    def _reject(
        self,
        frame: Frame,
        cause: int,
        text: str,
        kind: type[DecodeError | ProtocolViolation] = ProtocolViolation,
    ) -> str:
        """FRMR: the control octet, V(S) and V(R), the cause. The link is of no use from now on."""
        sending = (self._acknowledged + self._sent) % MODULUS
        numbers = sending << 1 | (self.role is Role.PRIMARY) << 4 | self._expected << 5
        self._rejection = bytes((frame.control, numbers, cause))
        self.end(kind(f"on an HDLC link: {text}"))
        return self._reject_again(frame, None)

    def _reject_again(self, frame: Frame, meaning: Control | None) -> str:
        self.reply = self.command(Control(Kind.FRMR, True), self._rejection)
        return "rejected"

    def end(self, cause: Exception | None) -> None:
        """Nothing more goes over this link; the user is told, unless `cause` is None: its own wish."""
        known, self._known = self._known, False
        self._reset(Parameters())
        if known and cause is not None:
            self._events.append(Down(self.client, self.server, cause))
