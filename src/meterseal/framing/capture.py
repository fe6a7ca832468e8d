"""Walking through captured octets, from link frames in to APDUs; `detect.unframe` is the door to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from meterseal.errors import DecodeError, Malformed, TooLarge, Truncated

from . import gateway, gbt, hdlc, mbus, p1, wrapper
from .bounds import Budget
from .items import APDU, DATA, LINK, P1_TELEGRAM, IsApdu, Item, Layer

MAX_ITEMS = 65536
"""Frames that one capture may hold."""

MAX_OPEN = 16
"""Parties whose APDUs may be incomplete at the same time."""

Party: TypeAlias = tuple[object, ...]
"""Who sent a frame to whom, on which kind of line."""

_ASSURED_TAGS = frozenset(
    (0xDB, 0xDC, 0xDD, 0xDF, gbt.TAG, *range(0x60, 0x64), *range(0xC0, 0xDB), *range(0x21, 0x59))
)
_MAYBE_DATA_TAGS = frozenset((0x0F, 0x10, 0x05, 0x06, 0x0C, 0x0D, 0x16, 0x18, 0x0E, 0x01, 0x08))
_DATA_TAGS = frozenset((*range(0x07), 0x09, 0x0A, 0x0C, 0x0D, *range(0x0F, 0x22), 0xFF))
_PREFIXES = frozenset((gateway.REQUEST, gateway.RESPONSE))
_BEHIND_LLC = _ASSURED_TAGS | _MAYBE_DATA_TAGS | _PREFIXES
_DIRECTIONS = {True: "request", False: "response"}


@dataclass(slots=True)
class _Transfer:
    """Blocks of one party: how many link frames brought them, and the layers of the first."""

    blocks: gbt.Reassembly
    frames: int = 0
    layers: tuple[Layer, ...] = ()


class Capture:
    """One reading of a capture: what was found so far, and what is being joined."""

    def __init__(self, budget: Budget, is_apdu: IsApdu | None, length_modulo_256: bool, limit: int) -> None:
        self.items: list[Item] = []
        self.length_modulo_256 = length_modulo_256
        self.hdlc = hdlc.Segments(limit, MAX_OPEN)
        self.mbus = mbus.Segments(MAX_OPEN)
        self._budget = budget
        self._is_apdu = is_apdu
        self._limit = limit
        self._transfers: dict[Party, _Transfer] = {}
        self._begun: dict[Party, tuple[int, Layer]] = {}  # frames so far, and the first one's layer
        self._layers: tuple[Layer, ...] = ()  # that held, should the next step fail

    # --- the two readings -----------------------------------------------------------------

    def read_frames(self, octets: bytes) -> None:
        """Link frames to the end; no items at all when the octets do not begin like one."""
        pos = 0
        take = _link_at(octets, pos)
        try:
            while take is not None:
                self._layers = ()
                after = take(self, octets, pos)
                self._budget.spend(after - pos)
                pos = after
                take = _link_at(octets, pos)
            if 0 < pos < len(octets):
                raise Malformed(f"{len(octets) - pos} octets after the last frame")
            self._check_ends()
        except DecodeError as error:
            self._fail(error)

    def read_bare(self, octets: bytes) -> None:
        """LLC octets, a gateway prefix, blocks, one APDU or Data, with nothing around them."""
        try:
            if not octets:
                raise Truncated("there is nothing to read")
            if hdlc.llc(octets) and octets[3:4] and octets[3] in _BEHIND_LLC:
                self._layers = (Layer("llc", {"direction": str(hdlc.llc(octets))}),)
                octets = octets[3:]
            telegrams = self._ciphered_telegrams(octets)
            for telegram in telegrams:
                self.add(Item(self._layers, telegram))
            if not telegrams:
                self.inside(octets)
            self._check_ends()
        except DecodeError as error:
            self._fail(error)

    def _ciphered_telegrams(self, octets: bytes) -> list[bytes]:
        """Several ciphered P1 telegrams end to end, or none of them."""
        found = []
        pos = 0
        try:
            while pos < len(octets):
                after = pos + p1.ciphered_length(octets, pos)
                found.append(octets[pos:after])
                pos = after
        except DecodeError:
            return []
        return found if pos == len(octets) and len(found) > 1 else []

    def _check_ends(self) -> None:
        """An APDU that has begun has to end."""
        for _, layer in self._begun.values():
            self._layers = (layer,)
            raise Truncated("the last segment of the APDU is missing")
        for transfer in self._transfers.values():
            if transfer.blocks.holds_data:
                self._layers = transfer.layers
                raise Truncated(f"general block transfer: block {transfer.blocks.missing} is missing")

    def take_items(self) -> list[Item]:
        """What was found since the last call."""
        items, self.items = self.items, []
        return items

    def lose(self, error: DecodeError) -> None:
        """On a line that goes on: what `error` is about is lost; when it was too much, all that is open."""
        self.items.append(Item(self._layers, b"", APDU if self._layers else LINK, error))
        if isinstance(error, TooLarge):
            self.hdlc = hdlc.Segments(self._limit, MAX_OPEN)
            self.mbus = mbus.Segments(MAX_OPEN)
            self._transfers.clear()
        self._begun.clear()
        self._layers = ()

    def _fail(self, error: DecodeError) -> None:
        # Beyond the cap only this item is added, so the list stays bounded.
        self.items.append(Item(self._layers, b"", APDU if self._layers else LINK, error))

    def add(self, item: Item) -> None:
        """One more item. TooLarge when there are too many."""
        if len(self.items) >= MAX_ITEMS:
            raise TooLarge(f"more than {MAX_ITEMS} frames")
        self.items.append(item)

    # --- called by the link tables ------------------------------------------------------------

    def without_apdu(self, layer: Layer, payload: bytes = b"", kind: str = LINK) -> None:
        """A frame that carries no APDU."""
        self.add(Item((layer,), payload, kind))

    def begin(self, party: Party, layer: Layer) -> None:
        """A frame of an APDU, or of a segment of one: `inside` follows when it ends there."""
        if party not in self._begun and len(self._begun) >= MAX_OPEN:
            raise TooLarge(f"more than {MAX_OPEN} APDUs that have not ended")
        frames, first = self._begun.get(party, (0, layer))
        self._begun[party] = (frames + 1, first)
        self._layers = (first,)

    def inside(self, octets: bytes, party: Party = ()) -> None:
        """What a link frame (or its joined segments) carries."""
        frames, _ = self._begun.pop(party, (1, None))
        if octets[:1] and octets[0] in _PREFIXES:
            prefix, octets = gateway.decode(octets)
            party = (*party, prefix)
            fields: dict[str, int | str | bool] = {
                "direction": _DIRECTIONS[prefix.request],
                "network": prefix.network,
                "address": prefix.address.hex().upper(),
            }
            self._layers += (Layer("gateway", fields),)
        if octets[:1] and octets[0] == gbt.TAG:
            self._blocks(octets, party, frames)
        else:
            self._finish(octets, frames)

    def _blocks(self, octets: bytes, party: Party, frames: int) -> None:
        """One or several blocks, end to end."""
        transfer = self._transfer(party)
        transfer.frames += frames
        self._budget.spend(len(octets))
        pos = 0
        while pos < len(octets):
            block, pos = gbt.decode_at(octets, pos)
            whole = transfer.blocks.add(block)
            outside = self._layers
            if whole is not None:
                self._layers = (*transfer.layers, Layer("general-block-transfer", {"blocks": block.number}))
                self._finish(whole, transfer.frames)
            elif block.acknowledges_only:
                layer = Layer("general-block-transfer", {"acknowledged": block.acknowledged})
                self.add(Item((*outside, layer), b"", LINK))
            self._layers = outside
        if not transfer.blocks.holds_data:
            transfer.frames = 0

    def _transfer(self, party: Party) -> _Transfer:
        """The blocks that have come from `party`, with the layers around the first one."""
        transfer = self._transfers.get(party)
        if transfer is None:
            if len(self._transfers) >= MAX_OPEN:
                raise TooLarge(f"block transfers of more than {MAX_OPEN} parties")
            transfer = self._transfers[party] = _Transfer(gbt.Reassembly(self._limit))
        if not transfer.frames:
            transfer.layers = self._layers
        return transfer

    def _finish(self, octets: bytes, frames: int) -> None:
        """An APDU is whole."""
        layers = self._layers
        if frames > 1:
            layers = (Layer(layers[0].kind, {**layers[0].fields, "frames": frames}), *layers[1:])
        self.add(Item(layers, octets, self._kind(octets)))

    def _kind(self, octets: bytes) -> str:
        """By the tag; where that leaves a choice, or nothing, by whether it parses."""
        if not octets:
            raise Truncated("frame without an APDU")
        tag = octets[0]
        if tag in _ASSURED_TAGS:
            return APDU
        if tag in _MAYBE_DATA_TAGS:
            if self._is_apdu is None:
                return APDU
            self._budget.spend(len(octets))
            return APDU if self._is_apdu(octets) else DATA
        if tag in _DATA_TAGS:
            return DATA
        raise Malformed(f"no APDU or Data begins with {tag:02X}")


# --- link frames ------------------------------------------------------------------------------


def _hdlc_at(capture: Capture, octets: bytes, pos: int) -> int:
    """A frame between flags; its closing flag may open the next frame."""
    frame, after = hdlc.decode_at(octets, pos)
    hdlc_frame(capture, frame)
    while octets[after : after + 1] == b"\x7e":
        after += 1
    return after - 1 if _is_hdlc_format(octets, after) else after


def _hdlc_without_flags_at(capture: Capture, octets: bytes, pos: int) -> int:
    """A frame whose flags were lost on the way into the capture."""
    after = pos + hdlc.length_at(octets, pos)
    hdlc_frame(capture, hdlc.decode(octets[pos:after]))
    return after


def hdlc_frame(capture: Capture, frame: hdlc.Frame) -> None:
    """Take one HDLC frame."""
    meaning = frame.meaning
    fields: dict[str, int | str | bool] = {
        "source": frame.source.upper,
        "destination": frame.destination.upper,
    }
    for name, address in (("source_lower", frame.source), ("destination_lower", frame.destination)):
        if address.lower is not None:
            fields[name] = address.lower
    fields["control"] = meaning.kind.value if meaning else f"{frame.control:02X}"
    marked = hdlc.llc(frame.information)
    if marked:
        fields["llc"] = marked
    layer = Layer("hdlc", fields)
    if meaning is None or meaning.kind not in (hdlc.Kind.I, hdlc.Kind.UI) or not frame.information:
        capture.hdlc.add(frame)
        capture.without_apdu(layer, frame.information)
        return
    party = ("hdlc", frame.source, frame.destination)
    capture.begin(party, layer)
    whole = capture.hdlc.add(frame)
    if whole is not None:
        capture.inside(hdlc.strip_llc(whole), party)


_SINGLE = Item((Layer("m-bus"),), b"", LINK)  # one octet on the line, so one object for all of them


def _mbus_at(capture: Capture, octets: bytes, pos: int) -> int:
    frame, after = mbus.decode_at(octets, pos, capture.length_modulo_256)
    mbus_frame(capture, frame)
    return after


def mbus_frame(capture: Capture, frame: mbus.Frame) -> None:
    """Take one M-Bus frame."""
    if frame.control is None:
        capture.add(_SINGLE)
        return
    fields: dict[str, int | str | bool] = {}
    for name in ("source", "destination", "address"):
        value = getattr(frame, name)
        if value is not None:
            fields[name] = value
    layer = Layer("m-bus", fields)
    if frame.segment is None:
        capture.without_apdu(layer, frame.data)
        return
    party = ("m-bus", frame.address, frame.source, frame.destination)
    capture.begin(party, layer)
    whole = capture.mbus.add(frame)
    if whole is not None:
        capture.inside(whole, party)


def _wrapper_at(capture: Capture, octets: bytes, pos: int) -> int:
    frame, after = wrapper.decode_at(octets, pos)
    wrapper_frame(capture, frame)
    return after


def wrapper_frame(capture: Capture, frame: wrapper.Frame) -> None:
    """Take one wrapper frame."""
    source, destination, apdu = frame
    carried(capture, (Layer("wrapper", {"source": source, "destination": destination}), apdu))


def carried(capture: Capture, found: tuple[Layer, bytes]) -> None:
    """Take what came as a whole, and the layer it came in."""
    layer, apdu = found
    party = (layer.kind, *layer.fields.items())
    capture.begin(party, layer)
    capture.inside(apdu, party)


def _p1_at(capture: Capture, octets: bytes, pos: int) -> int:
    telegram, after = p1.decode_at(octets, pos)
    p1_telegram(capture, telegram, octets[pos:after])
    while octets[after : after + 1] in (b"\r", b"\n"):
        after += 1
    return after


def p1_telegram(capture: Capture, telegram: p1.Telegram, octets: bytes) -> None:
    """Take one telegram in clear."""
    layer = Layer("p1", {"identification": telegram.identification, "checked": telegram.checked})
    capture.without_apdu(layer, octets, P1_TELEGRAM)


def _is_hdlc_format(octets: bytes, pos: int) -> bool:
    return pos < len(octets) and octets[pos] & 0xF0 == 0xA0


Take: TypeAlias = Callable[[Capture, bytes, int], int]

_LINKS: dict[int, Take] = {
    hdlc.FLAG: _hdlc_at,
    mbus.LONG: _mbus_at,
    mbus.SHORT: _mbus_at,
    mbus.SINGLE: _mbus_at,
    wrapper.VERSION >> 8: _wrapper_at,
    ord("/"): _p1_at,
    **dict.fromkeys(range(0xA0, 0xB0), _hdlc_without_flags_at),
}
"""What the first octet of a frame says about its kind."""


def _link_at(octets: bytes, pos: int) -> Take | None:
    return _LINKS.get(octets[pos]) if pos < len(octets) else None
