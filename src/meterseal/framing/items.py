"""What is found in captured octets: layers that were taken off, and the payload inside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from meterseal.errors import DecodeError

IsApdu: TypeAlias = Callable[[bytes], bool]
"""Do these octets parse as one APDU, to the last one? Has to answer and never to raise."""

APDU = "apdu"
DATA = "data"
LINK = "link"
P1_TELEGRAM = "p1-telegram"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its kind as in machine-readable output, and what its header said.

    `hdlc`: `source`, `destination`, `source_lower`, `destination_lower` (where there are any), `control`,
    `llc` (`command`, `response`). `m-bus`: `source`, `destination`, `address`. `wrapper`: `source`,
    `destination`. `llc`: `direction`. `gateway`: `direction`, `network`, `address` (hex).
    `general-block-transfer`: `blocks`. `p1`: `identification`, `checked`. A layer joined from several
    frames has their number in `frames`.
    """

    kind: str
    fields: Mapping[str, int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Item:
    """`layers` from the outside in, and the `payload` inside them.

    `kind` is `apdu`, `data` (no APDU tag, or one that does not parse: try it as A-XDR Data), `p1-telegram`,
    or `link` (a frame without an APDU, such as SNRM or an acknowledgement). `error` is set where reading
    ended: then the payload is empty and `layers` are those that held.
    """

    layers: tuple[Layer, ...]
    payload: bytes
    kind: str = APDU
    error: DecodeError | None = None
