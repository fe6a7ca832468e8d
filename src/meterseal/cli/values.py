"""The objects that commands name, and what came of them: for a person, or as JSON for a program."""

from __future__ import annotations

from typing import Any, Final

import typer

from meterseal.cli.output import REFUSED, emit, emit_json, note, table, understanding
from meterseal.client.values import Answer, NotRead, Value
from meterseal.cosem.obis import ObjectAddress, parse_object
from meterseal.cosem.present import error_object
from meterseal.cosem.texts import json_text, safe_text
from meterseal.errors import MetersealError

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


def read(asked: list[ObjectAddress], found: list[Value | NotRead], json: bool, **beside: Any) -> None:
    """What `read` found; exit code 1 when any of it was refused.  `beside`: what stands beside the values."""
    if json:
        emit_json({"values": [one.as_json() for one in found], **beside})
    else:
        for name, one in zip(asked, found, strict=True):
            attribute(name, one)
    errors = [one.error for one in found if one.error is not None]
    for error in errors:
        note(f"{error.kind}: {error}")
    if errors:
        raise typer.Exit(REFUSED)


def written(asked: ObjectAddress, value: str, json: bool, **beside: Any) -> None:
    """That `write` has written."""
    if json:
        done = {"obis": str(asked.obis), "class": asked.class_id, "attribute": asked.member, "value": value}
        emit_json({"values": [done], **beside})
    else:
        emit(f"{asked}  written")


def called(asked: ObjectAddress, returned: Answer, json: bool, **beside: Any) -> None:
    """What `call` brought."""
    if json:
        emit_json({"values": [returned.as_json()], **beside})
    else:
        answer(asked, returned)


def refused(
    asked: ObjectAddress, error: MetersealError, json: bool, *, method: bool = False, **beside: Any
) -> None:
    """A refusal is an answer too, where a program wants to read it; of a `method`, or of an attribute."""
    if json:
        shown = error_object(asked.class_id, asked.obis, asked.member, error, method=method)
        emit_json({"values": [shown], **beside})


def object_of(words: str) -> ObjectAddress:
    """The object that an argument names; a usage error for what names none."""
    with understanding("OBJECT"):
        return parse_object(words)


def method_of(words: str) -> ObjectAddress:
    """The same of a method, which has to be said."""
    asked = object_of(words)
    if not asked.explicit_member:
        raise typer.BadParameter("say which method, as in OBIS:1", param_hint="OBJECT")
    return asked


def text(value: Any) -> str:
    """A presented value on one line, safe for a terminal: strings bare, everything else as JSON."""
    return safe_text(value, _LONGEST) if isinstance(value, str) else safe_text(json_text(value), _LONGEST)


def _rows(asked: ObjectAddress, shown: dict[str, Any]) -> None:
    names = [_heading(column) for column in shown["columns"]]
    table(names, [[text(cell) for cell in row] for row in shown["value"]], title=f"{asked}")


def _heading(column: dict[str, Any]) -> str:
    name = f"{column['class']}/{column['obis']}:{column['attribute']}"
    return f"{name} ({column['unit']})" if column["unit"] else name
