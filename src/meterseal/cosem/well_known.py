"""Well-known objects: the class and name of common OBIS codes, to find a class without the object list.

Source: fact sheet more 5.2 (IEC 62056-6-1 names as public drafts and device profiles give them). A
meter may still have the object under another class: its object list, once read, goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meterseal.cosem.obis import Obis


@dataclass(frozen=True, slots=True)
class Known:
    """What usually stands behind a code; `unit` is the usual unit number of its quantity."""

    class_id: int
    name: str
    unit: int | None = None


_W, _VA, _VAR, _WH, _VAH, _VARH, _A, _V, _HZ = 27, 28, 29, 30, 31, 32, 33, 35, 44
_NO_UNIT: Final = 255

# A.B.C.D.E.F with "*" for any number and "a-b" for a range; the first line that fits counts.
_TABLE: Final[tuple[tuple[str, int, str, int | None], ...]] = (
    ("0.*.1.0.0.255", 8, "clock", None),
    ("0.0.42.0.0.255", 1, "COSEM logical device name", None),
    ("0.*.96.1.*.255", 1, "device identification", None),
    ("1.0.0.0.0.255", 1, "electricity identification", None),
    ("0.*.0.2.0.255", 1, "active firmware identifier", None),
    ("0.*.0.2.1.255", 1, "active firmware version", None),
    ("0.*.0.2.8.255", 1, "active firmware signature", None),
    ("1.*.0.2.0.255", 1, "active firmware identifier", None),
    ("1.*.0.2.8.255", 1, "active firmware signature", None),
    ("0.0.96.2.12.255", 1, "date of last clock setting", None),
    ("0.0.96.2.13.255", 1, "date of last firmware activation", None),
    ("1.*.1.8.*.255", 3, "active energy import (+A)", _WH),
    ("1.*.2.8.*.255", 3, "active energy export (-A)", _WH),
    ("1.*.3-8.8.*.255", 3, "reactive energy", _VARH),
    ("1.*.9-10.8.*.255", 3, "apparent energy", _VAH),
    ("1.*.1.7.0.255", 3, "active power import (+P)", _W),
    ("1.*.2.7.0.255", 3, "active power export (-P)", _W),
    ("1.*.3-8.7.0.255", 3, "reactive power", _VAR),
    ("1.*.9-10.7.0.255", 3, "apparent power", _VA),
    ("1.*.21.7.0.255", 3, "active power import L1", _W),
    ("1.*.41.7.0.255", 3, "active power import L2", _W),
    ("1.*.61.7.0.255", 3, "active power import L3", _W),
    ("1.*.22.7.0.255", 3, "active power export L1", _W),
    ("1.*.42.7.0.255", 3, "active power export L2", _W),
    ("1.*.62.7.0.255", 3, "active power export L3", _W),
    ("1.*.32.7.0.255", 3, "voltage L1", _V),
    ("1.*.52.7.0.255", 3, "voltage L2", _V),
    ("1.*.72.7.0.255", 3, "voltage L3", _V),
    ("1.*.31.7.0.255", 3, "current L1", _A),
    ("1.*.51.7.0.255", 3, "current L2", _A),
    ("1.*.71.7.0.255", 3, "current L3", _A),
    ("1.*.13.7.0.255", 3, "power factor", _NO_UNIT),
    ("1.*.14.7.0.255", 3, "frequency", _HZ),
    ("1.*.32.24.0.255", 3, "average voltage L1", _V),
    ("1.*.31.24.0.255", 3, "average current L1", _A),
    ("1.*.21.4.0.255", 3, "average active power L1", _W),
    ("1.*.1.6.*.255", 4, "maximum demand +A", _W),
    ("1.*.2.6.*.255", 4, "maximum demand -A", _W),
    ("1.*.1.4.0.255", 5, "demand +A", _W),
    ("1.*.2.4.0.255", 5, "demand -A", _W),
    ("1.*.99.1.0.255", 7, "load profile 1", None),
    ("1.*.99.2.0.255", 7, "load profile 2 (daily values)", None),
    ("0.*.99.2.0.255", 7, "daily values", None),
    ("0.*.98.1.0.255", 7, "billing period values", None),
    ("0.0.96.10.*.255", 1, "status register", None),
    ("0.0.96.14.0.255", 1, "active tariff", None),
    ("0.0.96.7.21.255", 1, "number of power failures", _NO_UNIT),
    ("0.0.96.7.9.255", 1, "number of long power failures", _NO_UNIT),
    ("1.0.32.32.0.255", 1, "number of voltage sags L1", _NO_UNIT),
    ("1.0.32.36.0.255", 1, "number of voltage swells L1", _NO_UNIT),
    ("0.0.97.97.0.255", 1, "error register", None),
    ("0.0.97.98.0.255", 1, "alarm register", None),
    ("0.0.97.98.10.255", 1, "alarm filter", None),
    ("0.0.97.98.20.255", 1, "alarm descriptor", None),
    ("0.0.99.98.*.255", 7, "event log", None),
    ("0.0.96.11.*.255", 1, "event code", None),
    ("0.0.96.15.*.255", 1, "event counter", None),
    ("0.0.96.20.*.255", 1, "tamper counter", None),
    ("0.0.96.3.10.255", 70, "disconnect control", None),
    ("0.0.17.0.*.255", 71, "limiter", None),
    ("0.0.13.0.0.255", 20, "activity calendar", None),
    ("0.0.11.0.0.255", 11, "special days table", None),
    ("0.0.10.0.*.255", 9, "script table", None),
    ("0.0.15.0.*.255", 22, "single action schedule", None),
    ("0.*.25.9.0.255", 40, "push setup", None),
    ("0.*.25.0.0.255", 41, "TCP-UDP setup", None),
    ("0.*.25.1.0.255", 42, "IPv4 setup", None),
    ("0.*.22.0.0.255", 23, "HDLC setup", None),
    ("0.0.40.0.*.255", 15, "association", None),
    ("0.0.41.0.0.255", 17, "SAP assignment", None),
    ("0.0.43.0.*.255", 64, "security setup", None),
    ("0.0.43.1.*.255", 1, "invocation counter", _NO_UNIT),
    ("0.*.43.2.*.255", 30, "data protection", None),
    ("0.*.44.0.0.255", 18, "image transfer", None),
    ("0.*.44.1.*.255", 122, "function control", None),
    ("0.*.18.0.*.255", 123, "array manager", None),
    ("0.*.96.3.20-29.255", 68, "arbitrator", None),
)


def _bounds(group: str) -> range:
    if group == "*":
        return range(256)
    low, _, high = group.partition("-")
    return range(int(low), int(high or low) + 1)


_ROWS: Final = tuple(
    (tuple(_bounds(group) for group in pattern.split(".")), Known(class_id, name, unit))
    for pattern, class_id, name, unit in _TABLE
)


def well_known(obis: Obis) -> Known | None:
    """The class and name that usually stand behind a code; None for one the table has not."""
    for bounds, known in _ROWS:
        if all(group in bound for group, bound in zip(obis, bounds, strict=True)):
            return known
    return None
