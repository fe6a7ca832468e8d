"""Text going out: JSON with exact decimals, moments, strings from meters made safe for a terminal (F18)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from meterseal.cosem.units import decimal_text
from meterseal.errors import Misuse

_LIMIT: Final = 1000
_SHORT_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that steer a terminal or hide text: control, format (bidi, zero width), surrogate,
private use, unassigned, line and paragraph separators."""


def safe_text(text: str, limit: int = _LIMIT) -> str:
    """One line without control, bidi, zero-width or undefined characters, at most `limit` long.

    What would steer a terminal is written as an escape (`\\x1b`, `\\u202e`), the backslash doubled so
    that an escape cannot be faked; what is longer is cut and the number of characters left out said.
    """
    kept = text[:limit]
    if not kept.isascii() or not kept.isprintable() or "\\" in kept:
        kept = "".join(map(_escaped, kept))
    left_out = len(text) - limit
    return kept if left_out <= 0 else f"{kept}... ({left_out} more characters)"


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def moment_text(moment: datetime, timespec: str = "seconds") -> str:
    """ISO 8601 in UTC with `Z`; what is finer than `timespec` (as of `isoformat`) is left away."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON of a presented value, ASCII only, `Decimal` as a number literal with every digit.

    Keys are str; NaN and infinities are not JSON and raise `Misuse`, as does any other type. `indent`
    spreads objects and lists over lines, lists of scalars stay on one.
    """
    return "".join(_written(value, indent, 0))


def _written(value: Any, indent: int | None, level: int) -> Iterator[str]:
    """Pieces of the text. Recursion goes as deep as the value, which the decoder has bounded."""
    if isinstance(value, dict):
        pieces = [
            json.dumps(_key(key)) + ": " + "".join(_written(item, indent, level + 1))
            for key, item in value.items()
        ]
        yield from _enclosed("{", pieces, "}", indent, level)
    elif isinstance(value, list | tuple):
        pieces = ["".join(_written(item, indent, level + 1)) for item in value]
        flat = indent is None or not any(isinstance(item, dict | list | tuple) for item in value)
        yield from _enclosed("[", pieces, "]", None if flat else indent, level)
    elif isinstance(value, Decimal):
        if not value.is_finite():
            raise Misuse(f"{value} is no JSON number")
        yield decimal_text(value)
    elif value is None or isinstance(value, bool | int | float | str):
        yield _scalar(value)
    else:
        raise Misuse(f"{type(value).__name__} is no JSON value")


def _enclosed(opening: str, pieces: list[str], closing: str, indent: int | None, level: int) -> Iterator[str]:
    if not pieces:
        yield opening + closing
    elif indent is None:
        yield opening + ", ".join(pieces) + closing
    else:
        inner, outer = "\n" + " " * indent * (level + 1), "\n" + " " * indent * level
        yield opening + inner + ("," + inner).join(pieces) + outer + closing


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise Misuse(f"a JSON key is text, not {type(key).__name__}")
    return key


def _scalar(value: float | str | None) -> str:
    try:
        # int() takes an IntEnum down to its number.
        return json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise Misuse(f"{value!r} is no JSON number") from error
