"""`meterseal access show`: who may do what, and under which protection."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from meterseal.cli import options, output
from meterseal.cli.output import answering

if TYPE_CHECKING:
    from meterseal.meter import AccessRow

app = typer.Typer(help="Rights: who may do what on a meter.", no_args_is_help=True)


@app.callback()
def family() -> None:
    """Rights: who may do what on a meter."""


@app.command("show")
def show(
    role: Annotated[
        str | None,
        typer.Option("--role", help="This role, or third party, only. Default: all.", metavar="ROLE"),
    ] = None,
    preset: options.Preset = options.FIRST_PRESET,
    config: options.ConfigFile = None,
    json: options.Json = False,
) -> None:
    """Show what each role may read, write and call, and the protection that each way must carry.

    The rights are those of the meter that `meter run` makes of the same preset and configuration.
    Protection is policy and right taken together.
    """
    from meterseal.meter import access_table  # builds a meter: the other commands do without

    with answering():
        rows = access_table(preset, config, role)
    if json:
        output.emit_json({"access": [_described(row) for row in rows]})
        return
    output.table(
        ("role", "device", "object", "members", "right", "request", "response"),
        [line for _, group in groupby(rows, key=_alike) for line in _line(group)],
    )


def _described(row: AccessRow) -> dict[str, object]:
    kind, index = row.member.split()
    return {
        "role": row.role,
        "logical_device": row.logical_device,
        "class": row.class_id,
        "obis": row.obis,
        kind: int(index),
        "name": row.name,
        "right": row.right,
        "request": row.request,
        "response": row.response,
    }


def _alike(row: AccessRow) -> tuple[object, ...]:
    """Neighbours that differ in nothing but the member make one line."""
    kind = row.member.split()[0]
    return (row.role, row.logical_device, row.class_id, row.obis, kind, row.right, row.request, row.response)


def _line(group: Iterable[AccessRow]) -> Iterable[tuple[str, ...]]:
    first, *others = group
    members = ", ".join(_members([int(row.member.split()[1]) for row in (first, *others)]))
    kind = first.member.split()[0] + ("s" if others else "")
    bare = " ".join(word for word in first.right.split() if "-" not in word)
    yield (
        first.role,
        str(first.logical_device),
        f"{first.class_id}/{first.obis}",
        f"{kind} {members}",
        bare,
        first.request,
        first.response,
    )


def _members(indices: list[int]) -> Iterable[str]:
    """1, 2, 3, 5 as "1-3", "5"."""
    for _, run in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
        numbers = [index for _, index in run]
        yield str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
