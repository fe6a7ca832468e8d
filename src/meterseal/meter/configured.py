"""Objects that are their attributes: set up in the configuration, written by clients, kept.

By itself `Configured` is every class that only says how something is set up (HDLC setup, TCP-UDP setup, IPv4
setup); calendar, schedule, scripts and limiter are built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.cosem.obis import Obis
from meterseal.cosem.shapes import Leaf
from meterseal.meter.objects import OTHER_REASON, TYPE_UNMATCHED, Asker, CosemObject, Denied, Value
from meterseal.meter.store import MeterStore

LARGEST: Final = 8_192
"""Octets of one attribute."""


class Setup(NamedTuple):
    """What such an object begins with: values by index, those of them that clients may write, and where
    they are kept once they are written, under `place`/INDEX."""

    obis: Obis
    values: Mapping[int, Value]
    store: MeterStore
    place: str
    writable: tuple[int, ...] = ()
    version: int = 0


class Configured(CosemObject):
    """An object whose attributes are values.  `changed` is called after every change."""

    @property
    def wakes(self) -> bool:
        """What the clock asks of it, nobody outside sees."""
        return False

    def __init__(self, class_id: int, setup: Setup) -> None:
        super().__init__(class_id, setup.obis, setup.version)
        self._store, self._place = setup.store, setup.place
        self.values: dict[int, Value] = dict(setup.values)
        self.changed: Callable[[], None] = lambda: None
        for index in setup.values:
            kept = self._store.get(f"{self._place}/{index}")
            if kept is not None:
                self.values[index] = codec.decode_typed(bytes.fromhex(kept))
            self.readers[index] = self._reader(index)
        for index in setup.writable:
            self.writers[index] = self._writer(index)

    def _reader(self, index: int) -> Callable[[Asker], Value]:
        return lambda asker: self.values[index]

    def _writer(self, index: int) -> Callable[[Asker, Any], None]:
        def write(asker: Asker, value: Value) -> None:
            self.check(index, value)
            self.set({index: value})

        return write

    def taken(self, index: int, given: Data) -> Any:
        """The value with its type: what the class leaves open keeps the type that it has."""
        shape = self.table.attributes[index].shape
        held = self.values.get(index)
        if isinstance(shape, Leaf) and shape.tag is None and held is not None and given.type != held[1]:
            raise Denied(TYPE_UNMATCHED, f"attribute {index} of {self.obis} holds a value of another type")
        return given.value, given.type

    def check(self, index: int, value: Value) -> None:
        """Look at what somebody writes.  Raises Denied for what the object cannot work with."""
        if len(codec.encode(*value)) > LARGEST:
            raise Denied(OTHER_REASON, f"attribute {index} has at most {LARGEST} octets")

    def set(self, values: Mapping[int, Value], **beside: Any) -> None:
        """Change attributes, durably, all at once; `beside` is kept with them, by name below the place."""
        records = {f"{self._place}/{at}": codec.encode(*value).hex().upper() for at, value in values.items()}
        self._store.keep(records | {f"{self._place}/{name}": value for name, value in beside.items()})
        self.values.update(values)
        self.changed()
