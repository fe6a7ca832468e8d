"""Orders of pushes: what goes out, and what a push setup has around it to make one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meterseal.association import Operation, ServerProfile
from meterseal.codec.data import Data
from meterseal.cosem.obis import Obis
from meterseal.meter.keyring import KeyRing
from meterseal.meter.plant import Plant
from meterseal.meter.store import MeterStore
from meterseal.meter.view import View
from meterseal.security.steps import Steps

TCP, UDP, HDLC = 0, 1, 5
"""Transports that this meter has.  HDLC needs no destination: whoever is on the meter's own line is it."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A push to be sent: `seal` gives its APDU, under a new invocation counter each time.

    What it tells is of the moment it was ordered at; where that is much, each step of `making` makes a part,
    and `seal` what is left.

    `source` and `client` are the SAPs it goes between, `start` the seconds before the first attempt, `delays`
    those before each further one.  Longer than `blocks` octets it goes out in blocks that nobody acknowledges
    (0: never).  `confirms` says of an APDU that comes back whether it is the confirmation
    that is waited for; None: none is.
    """

    name: Obis
    transport: int
    destination: str
    source: int
    client: int
    seal: Callable[[], bytes]
    making: Iterable[None] = ()
    start: float = 0.0
    delays: tuple[float, ...] = ()
    blocks: int = 0
    confirms: Callable[[bytes], bool] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a push setup has around it: where values come from, whose keys seal, who sends.

    `view` is that of the role, `profile` that of its association; `read` does an operation as the meter
    itself, what is much in steps, `draw` gives random octets, `send` takes orders and `drop` takes them back.
    """

    plant: Plant
    store: MeterStore
    ring: KeyRing
    client: int
    device: int
    view: Callable[[], View | None]
    profile: Callable[[], ServerProfile | None]
    read: Callable[[Operation], Data | Steps[Data | None] | None]
    draw: Callable[[int], bytes]
    send: Callable[[Order], None]
    drop: Callable[[Obis], None]
    note: Callable[[str], None]
