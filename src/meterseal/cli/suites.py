"""`meterseal suites`: what each suite has, and what it costs in processor time and on the line."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Annotated, Any, Final

import typer

from meterseal.cli import options, output
from meterseal.crypto import SUITES

BITS: Final = 10
"""Bits on a line for an octet: one to start, eight, one to stop."""

TABLES: Final = {
    "sign_on": ("One sign-on", ("suite", "mechanism", "certificates")),
    "read": ("One read of a register", ("suite", "protection")),
    "day": ("A day of a load profile, 96 rows", ("suite", "protection", "compression")),
}
"""The tables of the figures: heading, and the words of a row."""

_HEADINGS: Final = {"certificates": "certificates are", "protection": "authenticated and encrypted by"}
_FIGURES: Final = ("meter, us", "client, us", "octets")


def suites(
    baud: Annotated[
        int | None,
        typer.Option(
            "--baud", help="Speed of the line, bits a second: seconds are shown.", min=1, metavar="N"
        ),
    ] = None,
    slower: Annotated[
        float,
        typer.Option(
            "--slower",
            help="How many times slower the meter is than the machine measured.",
            min=0.001,
            metavar="F",
        ),
    ] = 1.0,
    json: options.Json = False,
) -> None:
    """Show what each security suite is made of, and what a sign-on, a read and a profile cost in it.

    The figures come from `make bench`, on the machine that is named: processor time at either end, octets of
    both directions in the TCP wrapper. With --baud each row says how long it takes on such a line, with
    --slower at such a meter.
    """
    found = figures()
    if json:
        rows = {table: [_timed(row, baud, slower) for row in found[table]] for table in TABLES}
        output.emit_json({"suites": [_described(one) for one in SUITES], **found, **rows})
        return
    output.table(("suite", "name", "key", "curve", "hash", "signature"), list(made_of()))
    for table, (heading, _) in TABLES.items():
        output.emit("")
        output.table(*rows_of(found, table, baud, slower), title=f"{heading}:")
    output.emit("")
    output.emit(measured(found))


def figures() -> dict[str, Any]:
    """What was measured, as `make bench` wrote it."""
    text = (resources.files(__package__) / "suites.json").read_text("utf-8")
    found: dict[str, Any] = json_format.loads(text)
    return found


def measured(found: dict[str, Any]) -> str:
    """When and where the figures were measured."""
    at = found["measured"]
    versions = f"Python {at['python']}, cryptography {at['cryptography']}"
    return f"measured {at['date']} on {at['machine']}, one core; {versions}"


def made_of() -> Iterable[tuple[str, ...]]:
    """A row for each suite: identifier, name, octets of keys, curve, hash, octets of a signature."""
    for one in SUITES.values():
        signature = str(one.signature_length) if one.signature_length else "-"
        yield (str(one.id), one.name, str(one.key_length), one.curve or "-", one.hash or "-", signature)


def rows_of(
    found: dict[str, Any], table: str, baud: int | None = None, slower: float = 1.0
) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """The headings and rows of one table; with seconds where there is a line."""
    words = TABLES[table][1]
    columns = [*(_HEADINGS.get(word, word) for word in words), *_FIGURES]
    rows = [_timed(row, baud, slower) for row in found[table]]
    cells = [
        (
            *(str(row[word]) if row[word] != "" else "-" for word in words),
            f"{row['meter_us']:.0f}", f"{row['client_us']:.0f}", str(row["octets"]),
            *((f"{row['seconds']:.2f}",) if baud is not None else ()),
        )
        for row in rows
    ]  # fmt: skip
    return ([*columns, "seconds"] if baud is not None else columns), cells


def _timed(row: dict[str, Any], baud: int | None, slower: float) -> dict[str, Any]:
    scaled = {**row, "meter_us": round(row["meter_us"] * slower, 1)}
    if baud is None:
        return scaled
    computing = (scaled["meter_us"] + row["client_us"]) / 1e6
    return {**scaled, "seconds": round(computing + row["octets"] * BITS / baud, 4)}


def _described(suite_id: int) -> dict[str, Any]:
    one = SUITES[suite_id]
    return {
        "id": one.id, "name": one.name, "key_octets": one.key_length, "curve": one.curve, "hash": one.hash,
        "signature_octets": one.signature_length,
    }  # fmt: skip
