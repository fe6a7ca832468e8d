"""Values read from a meter as text for a person."""

from __future__ import annotations

from typing import Any, Final

from meterseal.cli.output import emit, table
from meterseal.client.values import Answer, NotRead, Value
from meterseal.cosem.obis import ObjectAddress
from meterseal.cosem.texts import json_text, safe_text

_LONGEST: Final = 2000


def attribute(asked: ObjectAddress, found: Value | NotRead) -> None:
    """One line, or for the rows of a profile a table; a refused one says so."""
    if found.error is not None:
        emit(f"{asked}  not read")
        return
    shown = found.as_json()
    if "columns" in shown:
        _rows(asked, shown)
        return
    unit = f" {shown['unit']}" if shown["unit"] else ""
    emit(f"{asked}  {text(shown['value'])}{unit}")


def answer(asked: ObjectAddress, returned: Answer) -> None:
    """What a method returned, if it did."""
    shown = returned.as_json()
    emit(f"{asked}  done" if returned.raw is None else f"{asked}  {text(shown['value'])}")


def text(value: Any) -> str:
    """A presented value on one line, safe for a terminal: strings bare, everything else as JSON."""
    return safe_text(value, _LONGEST) if isinstance(value, str) else safe_text(json_text(value), _LONGEST)


def _rows(asked: ObjectAddress, shown: dict[str, Any]) -> None:
    names = [_heading(column) for column in shown["columns"]]
    table(names, [[text(cell) for cell in row] for row in shown["value"]], title=f"{asked}")


def _heading(column: dict[str, Any]) -> str:
    name = f"{column['class']}/{column['obis']}:{column['attribute']}"
    return f"{name} ({column['unit']})" if column["unit"] else name
