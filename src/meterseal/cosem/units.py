"""Units of registers, and values scaled exactly.

scaler_unit is structure { scaler integer, unit enum }; the quantity is value x 10^scaler (Blue Book,
class 3; fact sheet more 5.1). Scaling is decimal, so 1234 with scaler -3 is exactly 1.234.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from meterseal.errors import Malformed, Misuse

NO_UNIT: Final = 255

UNITS: Final[dict[int, str]] = {
    1: "a", 2: "mo", 3: "wk", 4: "d", 5: "h", 6: "min", 7: "s",
    8: "deg", 9: "deg C", 10: "currency",
    11: "m", 12: "m/s", 13: "m3", 14: "m3", 15: "m3/h", 16: "m3/h", 17: "m3/d", 18: "m3/d", 19: "l",
    20: "kg", 21: "N", 22: "Nm", 23: "Pa", 24: "bar", 25: "J", 26: "J/h",
    27: "W", 28: "VA", 29: "var", 30: "Wh", 31: "VAh", 32: "varh",
    33: "A", 34: "C", 35: "V", 36: "V/m", 37: "F", 38: "ohm", 39: "ohm m", 40: "Wb", 41: "T",
    42: "A/m", 43: "H", 44: "Hz", 45: "1/Wh", 46: "1/varh", 47: "1/VAh", 48: "V2h", 49: "A2h",
    50: "kg/s", 51: "S", 52: "K", 53: "1/(V2h)", 54: "1/(A2h)", 55: "1/m3", 56: "%", 57: "Ah",
    60: "Wh/m3", 61: "J/m3", 62: "Mol %", 63: "g/m3", 64: "Pa s", 65: "J/kg", 66: "g/cm2", 67: "atm",
    70: "dBm", 71: "dBuV", 72: "dB",
}  # fmt: skip
"""Unit number -> symbol. 14, 16, 18 are the corrected volumes; they share the symbols of 13, 15, 17."""


def unit_symbol(number: int) -> str | None:
    """The symbol of a unit number; None for 255 (no unit); "unit 130" for one the table has not."""
    if number == NO_UNIT:
        return None
    return UNITS.get(number) or f"unit {number}"


def unit_number(symbol: str) -> int:
    """The lowest number with this symbol ("" is 255); `Misuse` when there is none."""
    if not symbol:
        return NO_UNIT
    number = _NUMBERS.get(symbol)
    if number is None:
        raise Misuse(f"{symbol!r} is no unit symbol of the table")
    return number


_NUMBERS: Final = {symbol: number for number, symbol in reversed(UNITS.items())}


def scaler_unit(value: object) -> tuple[int, int]:
    """(scaler, unit) of a decoded scaler_unit; `Malformed` when it has another shape."""
    if isinstance(value, tuple | list) and len(value) == 2:
        scaler, unit = value
        if type(scaler) is int and type(unit) is int and -128 <= scaler <= 127 and 0 <= unit <= 255:
            return scaler, unit
    raise Malformed("scaler_unit is no structure of an integer and an enum")


def scaled(value: object, scaler: int) -> object:
    """`value` x 10^scaler: exact `Decimal` for integers, for finite floats by their shortest decimal.

    Digits are kept ("123.40", not "123.4"): they say how fine the register counts. Anything that is
    no number (None, octets, NaN) comes back as it is.
    """
    if type(value) is int:
        return Decimal(value) if scaler == 0 else Decimal(f"{value}E{scaler}")
    if type(value) is float and scaler != 0:
        number = Decimal(repr(value))
        if number.is_finite():
            sign, digits, exponent = number.as_tuple()
            return Decimal((sign, digits, int(exponent) + scaler))
    return value


def decimal_text(number: Decimal) -> str:
    """The number without an exponent: 1E+3 is "1000"; every digit kept."""
    return format(number, "f")
