"""What a stream has taught so far: titles, dedicated keys and counters, per line.

A line is one pair of addresses on one kind of carrier. Titles are what AARQ and AARE claim: they go into an
IV, where a false one opens nothing. Counters move only with a verified tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from meterseal.apdu import acse, ciphered
from meterseal.codec.message import Message
from meterseal.errors import Replayed
from meterseal.framing.items import Layer
from meterseal.probe.keyring import DEDICATED, Keys

MAX_LINES: Final = 1024
"""Lines remembered at a time; the oldest goes first."""

LineName: TypeAlias = tuple[object, ...]

_CARRIERS: Final = frozenset({"wrapper", "hdlc", "m-bus"})
_FROM_METER: Final = frozenset({0x08, 0x0C, 0x0D, 0x0E, 0x18, 0xC2, 0xC4, 0xC5, 0xC7})
"""Plain tags of what a server sends."""


@dataclass(slots=True)
class Line:
    """One pair of parties: the client's address once an AARQ has shown it, both titles, a dedicated key."""

    client: object = None
    client_title: bytes | None = None
    meter_title: bytes | None = None
    dedicated: Keys | None = None


class Stream:
    """The memory of one input stream."""

    def __init__(self) -> None:
        self._lines: dict[LineName, Line] = {}
        self._lowest: dict[tuple[str, bytes], int] = {}

    def line(self, layers: Sequence[Layer]) -> Line:
        """The line that these layers belong to."""
        name = _line_name(layers)
        known = self._lines.get(name)
        if known is None:
            if len(self._lines) >= MAX_LINES:
                del self._lines[next(iter(self._lines))]
            known = self._lines[name] = Line()
        return known

    # --- counters -----------------------------------------------------------------------------

    def check(self, kcv: str, title: bytes, counter: int) -> None:
        """Raises Replayed for a counter below what was verified before under this key and title."""
        lowest = self._lowest.get((kcv, title), 0)
        if counter < lowest:
            raise Replayed(
                f"invocation counter {counter} of system title {title.hex().upper()} went back: "
                f"{lowest} or above is acceptable after what came before",
                lowest,
            )

    def commit(self, kcv: str, title: bytes, counter: int) -> None:
        """A message with this counter has been verified."""
        self._lowest[kcv, title] = max(self._lowest.get((kcv, title), 0), counter + 1)

    # --- associations ---------------------------------------------------------------------------

    def learn(self, line: Line, message: Message, layers: Sequence[Layer]) -> None:
        """What AARQ and AARE say of titles and sides; AARQ and RLRE end a dedicated key."""
        if isinstance(message, acse.Aarq):
            line.client = _source(layers)
            line.client_title = _title(message.calling_ap_title)
            line.meter_title = None
            self._drop_dedicated(line)
        elif isinstance(message, acse.Aare):
            line.meter_title = _title(message.responding_ap_title)
        elif isinstance(message, acse.Rlre):
            self._drop_dedicated(line)

    def learn_dedicated(self, line: Line, octets: bytes, beside: Keys) -> None:
        """A dedicated key out of an opened InitiateRequest; the GAK is that of the set which opened it."""
        line.dedicated = beside.with_dedicated(octets)

    def _drop_dedicated(self, line: Line) -> None:
        if line.dedicated is not None:
            # The next association may bring the same key and count from 0 again.
            kcv = line.dedicated.kcv(DEDICATED)
            self._lowest = {name: lowest for name, lowest in self._lowest.items() if name[0] != kcv}
        line.dedicated = None


def from_client(form: ciphered.Form, line: Line, layers: Sequence[Layer]) -> bool | None:
    """Did the client send it (True), or the meter (False)? None when nothing tells."""
    if form.plain_tag:
        return form.plain_tag not in _FROM_METER
    for layer in reversed(layers):
        mark = layer.fields.get("llc") or layer.fields.get("direction")
        if mark in _MARKS:
            return _MARKS[mark]
    source = _source(layers)
    return None if line.client is None or source is None else source == line.client


_MARKS: Final = {"command": True, "request": True, "response": False}


def client_address(layers: Sequence[Layer], by_client: bool | None) -> int | None:
    """The client's SAP on the carrier, once it is known which side sent."""
    carrier = _carrier(layers)
    if carrier is None or by_client is None:
        return None
    address = carrier.fields.get("source" if by_client else "destination")
    return address if isinstance(address, int) else None


def _carrier(layers: Sequence[Layer]) -> Layer | None:
    return next((layer for layer in layers if layer.kind in _CARRIERS), None)


def _source(layers: Sequence[Layer]) -> object:
    carrier = _carrier(layers)
    return None if carrier is None else _end(carrier, "source")


def _end(carrier: Layer, side: str) -> tuple[object, ...]:
    return carrier.fields.get(side), carrier.fields.get(f"{side}_lower")


def _line_name(layers: Sequence[Layer]) -> LineName:
    """The same for both directions."""
    name: LineName = ()
    for layer in layers:
        if layer.kind in _CARRIERS:
            name += (layer.kind, frozenset({_end(layer, "source"), _end(layer, "destination")}))
        elif layer.kind == "gateway":
            name += (layer.fields.get("network"), layer.fields.get("address"))
    return name


def _title(octets: bytes | None) -> bytes | None:
    return octets if octets is not None and len(octets) == 8 else None
