"""Units and exact scaling."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.cosem.units import (
    UNITS,
    decimal_text,
    scaled,
    scaler_unit,
    unit_number,
    unit_symbol,
)
from meterseal.errors import Malformed, Misuse


def test_symbols_of_captured_units() -> None:
    # 1B 1E 20 21 23 stand behind power, energy, reactive energy, current and voltage in field captures.
    assert [unit_symbol(n) for n in (0x1B, 0x1E, 0x20, 0x21, 0x23)] == ["W", "Wh", "varh", "A", "V"]
    assert unit_symbol(255) is None
    assert unit_symbol(130) == "unit 130"
    assert unit_symbol(58) == "unit 58"


def test_every_symbol_leads_back() -> None:
    for number, symbol in UNITS.items():
        assert UNITS[unit_number(symbol)] == symbol
        assert unit_number(symbol) <= number
    assert unit_number("") == 255
    with pytest.raises(Misuse):
        unit_number("furlong")


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-128, 127))
def test_scaling_is_exact(value: int, scaler: int) -> None:
    quantity = scaled(value, scaler)
    assert isinstance(quantity, Decimal)
    numerator, denominator = quantity.as_integer_ratio()
    assert numerator * 10 ** max(-scaler, 0) == value * 10 ** max(scaler, 0) * denominator
    assert "E" not in decimal_text(quantity)


@pytest.mark.parametrize(
    ("value", "scaler", "text"),
    [(123456, -3, "123.456"), (12340, -2, "123.40"), (5, 3, "5000"), (0, -2, "0.00"), (-7, -1, "-0.7")],
)
def test_digits_are_kept(value: int, scaler: int, text: str) -> None:
    quantity = scaled(value, scaler)
    assert isinstance(quantity, Decimal)
    assert decimal_text(quantity) == text


def test_floats_scale_by_their_shortest_decimal() -> None:
    assert scaled(0.1, 1) == Decimal("1")
    assert scaled(1.5e300, -3) == Decimal("1.5E+297")
    assert scaled(2.5, 0) == 2.5
    for odd in (float("inf"), float("nan"), None, b"\x01", "text", True):
        assert scaled(odd, -1) is odd


def test_scaler_unit_has_one_shape() -> None:
    assert scaler_unit((-3, 30)) == (-3, 30)
    for value in (None, (), (1,), (1, 2, 3), (200, 30), (0, 256), (True, 30), ("0", 30)):
        with pytest.raises(Malformed):
            scaler_unit(value)
