"""Objects that hold or measure a value: data, registers, the clock, the disconnect control, the SAP list.

Classes 1, 3, 4, 8, 17 and 70 (fact sheets classes 4, 10, more 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from meterseal.association.repeating import Again
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Array, Structure, Tag, Type
from meterseal.cosem.obis import Obis
from meterseal.cosem.times import LAST_DAY, DateTime
from meterseal.meter.events import BY_HAND, LOCAL, READY_AGAIN, REMOTE_OFF, REMOTE_ON, Event, Events
from meterseal.meter.objects import (
    OTHER_REASON,
    TYPE_UNMATCHED,
    Asker,
    CosemObject,
    Denied,
    Value,
)
from meterseal.meter.plant import Moment, Plant, sourced
from meterseal.meter.store import MeterStore

At: TypeAlias = Callable[[Moment], Value]
"""A value as a function of the moment."""

_SCALER_UNIT: Final = Structure((Tag.INTEGER, Tag.ENUM))


def of_source(plant: Plant, name: str) -> At:
    """The value of a named source (`plant.SOURCES`)."""
    return lambda moment: sourced(plant, name, moment)


class Measured(CosemObject):
    """Data (class 1), Register (3), Extended register (4): attribute 2 is a function of the moment."""

    def __init__(
        self,
        class_id: int,
        obis: Obis,
        plant: Plant,
        at: At,
        scaler: int | None = None,
        unit: int | None = None,
    ) -> None:
        super().__init__(class_id, obis)
        self._at = at
        self.readers[2] = lambda asker: at(plant.now())
        if class_id != 1:
            value = (scaler or 0, 255 if unit is None else unit)
            self.readers[3] = lambda asker: (value, _SCALER_UNIT)
            self.scaler, self.unit = value
        if class_id == 4:
            self.readers[4] = lambda asker: (0, Tag.UNSIGNED)
            self.readers[5] = lambda asker: (plant.clock(plant.now()).to_octets(), Tag.OCTET_STRING)

    scaler: int | None = None
    unit: int | None = None

    def at(self, index: int, moment: Any) -> Value | None:
        """Attribute 2 at a moment."""
        return self._at(moment) if index == 2 else None


class Held(CosemObject):
    """Data (class 1), Register (3), Extended register (4) with a value that stays until it is written.

    `place` is the name under which a written value is kept.  A Register's reset sets it back to `value`.
    """

    def __init__(
        self,
        class_id: int,
        obis: Obis,
        value: Value,
        store: MeterStore,
        *,
        place: str,
        scaler: int | None = None,
        unit: int | None = None,
        writable: bool = False,
    ) -> None:
        super().__init__(class_id, obis)
        self._store, self._place, self._first = store, place, value
        kept = store.get(place)
        self._value: Value = value if kept is None else codec.decode_typed(bytes.fromhex(kept))
        self._data: bytes | None = None  # of it, made when it is read once more
        self.readers[2] = lambda asker: self._value
        if class_id != 1:
            self.scaler, self.unit = scaler or 0, 255 if unit is None else unit
            self.readers[3] = lambda asker: ((self.scaler, self.unit), _SCALER_UNIT)
        if class_id == 4:
            self.readers[4] = lambda asker: (0, Tag.UNSIGNED)
            self.readers[5] = lambda asker: (DateTime().to_octets(), Tag.OCTET_STRING)
        if writable:
            self.writers[2] = lambda asker, value: self._set(value)
            if class_id != 1:
                self.callers[1] = lambda asker, parameter: self._set(self._first[0])

    scaler: int | None = None
    unit: int | None = None

    @property
    def value(self) -> Any:
        """The value as it stands."""
        return self._value[0]

    def at(self, index: int, moment: Any) -> Value | None:
        """Attribute 2 for a profile, where nobody writes it: then it was the same at any moment."""
        return self._value if index == 2 and 2 not in self.writers else None

    def taken(self, index: int, given: Data) -> Any:
        """A value of the type that the object has."""
        if index == 2 and given.type != self._value[1]:
            raise Denied(TYPE_UNMATCHED, f"{self.obis} holds a value of another type")
        return given.value

    def _set(self, value: Any) -> None:
        new = value, self._value[1]
        if new == self._value:
            return
        octets = codec.encode(*new)
        self._store.keep({self._place: octets.hex().upper()})
        self._value, self._data = new, octets

    def again(self, asker: Asker, index: int) -> Again | None:
        """The value is the same for all, and changes by `_set` alone: its Data is kept beside it."""
        return self._same if index == 2 else super().again(asker, index)

    def _same(self) -> bytes:
        if self._data is None:
            self._data = codec.encode(*self._value)
        return self._data


# --- clock --------------------------------------------------------------------------------------

_QUARTER, _MINUTE = 900, 60
_ACCURACY: Final = 1
"""clock_base: internal crystal."""


class Clock(CosemObject):
    """Clock (class 8): shows real time in the plant's zone, moved by what was set.

    adjust_to_measuring_period goes to the quarter of an hour, as adjust_to_quarter does.
    """

    def __init__(self, obis: Obis, plant: Plant) -> None:
        super().__init__(8, obis)
        self._plant = plant
        self._preset: tuple[int, int, int] | None = None
        zone = plant.home.zone
        begin = DateTime(None, 3, LAST_DAY, 7, 2, 0, 0, 0, -zone.offset, 0)
        end = DateTime(None, 10, LAST_DAY, 7, 3, 0, 0, 0, -zone.offset - 60, 0x80)
        self.readers |= {
            2: lambda asker: sourced(plant, "clock"),
            3: lambda asker: (-zone.offset, Tag.LONG),
            4: lambda asker: (plant.clock(plant.now()).status or 0, Tag.UNSIGNED),
            5: lambda asker: (begin.to_octets(), Tag.OCTET_STRING),
            6: lambda asker: (end.to_octets(), Tag.OCTET_STRING),
            7: lambda asker: (60, Tag.INTEGER),
            8: lambda asker: (zone.daylight_saving, Tag.BOOLEAN),
            9: lambda asker: (_ACCURACY, Tag.ENUM),
        }
        self.writers[2] = lambda asker, octets: plant.set_clock(plant.moment_of(octets))
        self.callers |= {
            1: lambda asker, parameter: self._to_nearest(_QUARTER),
            2: lambda asker, parameter: self._to_nearest(_QUARTER),
            3: lambda asker, parameter: self._to_nearest(_MINUTE),
            4: self._to_preset,
            5: self._set_preset,
            6: self._shift,
        }

    def at(self, index: int, moment: Any) -> Value | None:
        """The time, for the clock column of a profile."""
        return sourced(self._plant, "clock", moment) if index == 2 else None

    def _to_nearest(self, seconds: int) -> None:
        shown = self._plant.now().shown
        self._plant.set_clock((shown + seconds // 2) // seconds * seconds)

    def _shift(self, asker: Asker, seconds: int) -> None:
        if not -_QUARTER <= seconds <= _QUARTER:
            raise Denied(OTHER_REASON, f"the clock is shifted by at most {_QUARTER} s at once")
        self._plant.set_clock(self._plant.now().shown + seconds)

    def _set_preset(self, asker: Asker, given: tuple[bytes, bytes, bytes]) -> None:
        preset, start, end = (self._plant.moment_of(octets) for octets in given)
        self._preset = preset, start, end

    def _to_preset(self, asker: Asker, parameter: int) -> None:
        if self._preset is None:
            raise Denied(OTHER_REASON, "no time has been preset")
        preset, start, end = self._preset
        if not start <= self._plant.now().shown <= end:
            raise Denied(OTHER_REASON, "the preset time is not valid now")
        self._plant.set_clock(preset)
        self._preset = None


# --- disconnect control -------------------------------------------------------------------------

DISCONNECTED, CONNECTED, READY = 0, 1, 2
RECONNECT_READY: Final = frozenset({1, 3, 5, 6})
"""Control modes in which remote_reconnect leads to ready (fact sheet more 6)."""


class Disconnect(CosemObject):
    """Disconnect control (class 70): the states of the supply switch as far as a remote client reaches them.

    control_mode 0 is always connected.  In modes 2 and 4 remote_reconnect connects, in 1, 3, 5 and 6 it
    makes ready and somebody at the meter has to connect (`reconnect_by_hand`).
    """

    def __init__(
        self, obis: Obis, plant: Plant, store: MeterStore, events: Events, *, place: str, mode: int
    ) -> None:
        super().__init__(70, obis)
        self._plant, self._store, self._place, self._mode = plant, store, place, mode
        self._events = events
        self._state: int = store.get(place, CONNECTED)
        self.readers |= {
            2: lambda asker: (self._state == CONNECTED, Tag.BOOLEAN),
            3: lambda asker: (self._state, Tag.ENUM),
            4: lambda asker: (mode, Tag.ENUM),
        }
        self.callers |= {1: self._remote_disconnect, 2: self._remote_reconnect}

    @property
    def state(self) -> int:
        """control_state: 0 disconnected, 1 connected, 2 ready for reconnection."""
        return self._state

    def _remote_disconnect(self, asker: Asker, parameter: int) -> None:
        if self._mode == 0:
            raise Denied(OTHER_REASON, "control mode 0: always connected")
        self._go(DISCONNECTED, LOCAL if asker.own else REMOTE_OFF)

    def _remote_reconnect(self, asker: Asker, parameter: int) -> None:
        if self._state == DISCONNECTED:
            ready = self._mode in RECONNECT_READY
            self._go(*((READY, READY_AGAIN) if ready else (CONNECTED, LOCAL if asker.own else REMOTE_ON)))

    def reconnect_by_hand(self) -> None:
        """Somebody presses the button at the meter.  Raises Denied unless it is ready for reconnection."""
        if self._state != READY:
            raise Denied(OTHER_REASON, "not ready for reconnection")
        self._go(CONNECTED, BY_HAND)

    def _go(self, state: int, event: Event) -> None:
        if state == self._state:
            return
        supply = self._plant.supply_record(state == CONNECTED)
        self._store.keep({self._place: state, **supply})
        self._plant.take_supply(supply)
        self._state = state
        self._events.happened(event)


# --- SAP assignment -----------------------------------------------------------------------------


def sap_assignment(obis: Obis, devices: Iterable[tuple[int, str]]) -> CosemObject:
    """SAP assignment (class 17): the logical devices by SAP and name.

    Method 1, connect_logical_device, is not offered: the list of a simulated meter is its configuration.
    """
    held = CosemObject(17, obis)
    value = [(sap, name.encode("ascii")) for sap, name in devices]
    type_: Type = Array(Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING)))
    held.readers[2] = lambda asker: (value, type_)
    return held
