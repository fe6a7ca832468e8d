"""`meterseal keys campaign`: new keys for many devices, in waves, paused, gone on with, reported."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import keys_pairs, options, output
from meterseal.cosem.texts import safe_text

if TYPE_CHECKING:
    from meterseal.authority.campaign import Campaign, Task

app = typer.Typer(help="New keys for many devices.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the campaign.")]


@app.callback()
def family() -> None:
    """New keys for many devices."""


def _span(text: str) -> object:
    from meterseal.authority.campaign import span

    return span(text)


@app.command("new")
@given.takes_two
def new(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the campaign.",
            callback=given.understood("NAME", given.campaign),
        ),
    ],
    store: given.Where,
    kind: given.Kinds = None,
    role: given.Roles = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            help="Only this device; may be given several times.",
            metavar="TITLE",
            callback=options.understood("--device", given.title),
        ),
    ] = None,
    place: Annotated[
        str | None, typer.Option("--place", help="Only devices of this concentrator.", metavar="TEXT")
    ] = None,
    permits: Annotated[
        int, typer.Option("--permits", help="Devices of one place at a time; 0: any.", min=0, metavar="N")
    ] = 0,
    wave: Annotated[
        int,
        typer.Option(
            "--wave",
            help="Devices that are ended before the next ones are begun; 0: all.",
            min=0,
            metavar="N",
        ),
    ] = 0,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            help="Work only then, UTC: 22:00-05:00.",
            metavar="SPAN",
            callback=given.understood("--window", _span),
        ),
    ] = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Write the list of what is to be done. Nothing is done yet."""
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.campaign import Campaign, Plan, span
        from meterseal.keys.kinds import Slot
        from meterseal.keys.rotation import chosen

        kinds, roles = tuple(kind or ()), tuple(role or ())
        plan = Plan(kinds, roles, permits, wave, None if window is None else span(window), why)
        titles = None if device is None else [given.title(text) for text in device]
        # By the words alone: a device may have got a KEK by the time its turn comes.
        if chosen(Slot(b"", "", "kek"), kinds, roles):
            about = {"campaign": name, "kinds": list(kinds), "place": place, "roles": list(roles)}
            devices = {} if titles is None else {"devices": [title.hex().upper() for title in titles]}
            given.act(opened, "master-key", about | devices, why)
        else:
            given.act(opened, "campaign")
        made = Campaign.new(opened, name, plan, titles, place)
        _counted(made, json)


@app.command("run")
def run(
    name: Name,
    store: given.Where,
    workers: Annotated[
        int, typer.Option("--workers", help="Devices at a time.", min=1, max=256, metavar="N")
    ] = 8,
    timeout: given.Timeout = 10.0,
    authority: keys_pairs.Authority = None,
    password: keys_pairs.Password = None,
    days: keys_pairs.Days = None,
    kek: given.Kek = None,
    by: given.By = None,
    wire_log: options.WireLogFile = None,
    json: options.Json = False,
) -> None:
    """Work at a campaign until there is nothing to do now. Exits 3 while devices are left: run it again.

    Any number of processes may work at the same one, and each may be killed at any moment.
    """
    import asyncio

    certifier = keys_pairs.certifier(authority, password, days, by)
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.campaign import Campaign
        from meterseal.authority.probing import Line
        from meterseal.authority.rotator import Rotator
        from meterseal.net import WireLog

        given.act(opened, "campaign")
        found = Campaign(opened, name)
        log = None if wire_log is None else WireLog(wire_log)
        rotator = Rotator(opened, Line(timeout=timeout, wire_log=log), keys_pairs.of_roll(certifier, opened))

        async def work() -> None:
            with _progress(found, json) as tell:
                async for task in found.run(rotator, workers):
                    tell(task)

        try:
            asyncio.run(work())
        finally:
            if log is not None:
                log.close()
        left = _counted(found, json)
    if left["waiting"] + left["working"]:
        raise typer.Exit(given.AGAIN)
    if left["failed"] + left["stuck"]:
        raise typer.Exit(output.REFUSED)


@app.command("pause")
def pause(
    name: Name, store: given.Where, kek: given.Kek = None, by: given.By = None, why: given.Why = ""
) -> None:
    """Begin no further device; what is under way ends."""
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.campaign import Campaign

        given.act(opened, "campaign")
        Campaign(opened, name).pause(why)


@app.command("resume")
def resume(
    name: Name, store: given.Where, kek: given.Kek = None, by: given.By = None, why: given.Why = ""
) -> None:
    """Go on with a campaign; devices that were stuck are tried again."""
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.campaign import Campaign

        given.act(opened, "campaign")
        Campaign(opened, name).resume(why)


@app.command("report")
def report(
    name: Name,
    store: given.Where,
    stuck: Annotated[
        bool, typer.Option("--stuck", help="Only devices that are stuck or keep their old key.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Show what became of each device, and how many are done."""
    with given.opened(store, kek, None) as opened:
        from meterseal.authority.campaign import Campaign

        found = Campaign(opened, name)
        listed = found.tasks(("failed", "stuck") if stuck else ())
        counts, paused = found.counts(), found.paused
    rows = [[t.device.hex().upper(), t.place, t.state, str(t.tries), t.note] for t in listed]
    columns = ["device", "place", "state", "tries", "note"]
    if json:
        shown = [{**dict(zip(columns, row, strict=True)), "tries": int(row[3])} for row in rows]
        output.emit_json({"name": name, "paused": paused, **counts, "devices": shown})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([columns, *([safe_text(cell) for cell in row] for row in rows)])
    else:
        output.table(columns, rows)
        output.emit(_text(counts) + (", paused" if paused else ""))


class _progress:
    """A bar on a terminal, a line of JSON each with --json, else nothing until the end."""

    def __init__(self, campaign: Campaign, json: bool) -> None:
        self._campaign, self._json = campaign, json
        self._bar: Any = None

    def __enter__(self) -> _progress:
        if output.on_terminal() and not self._json:
            from rich.progress import Progress

            counts = self._campaign.counts()
            self._bar = Progress(transient=True)
            self._bar.start()
            self._task = self._bar.add_task("devices", total=sum(counts.values()), completed=counts["done"])
        return self

    def __call__(self, task: Task) -> None:
        if self._json:
            shown = {"device": task.device.hex().upper(), "state": task.state, "note": task.note}
            output.emit_json(shown)
        elif self._bar is not None and task.state == "done":
            self._bar.advance(self._task)

    def __exit__(self, *causes: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _counted(campaign: Campaign, json: bool) -> dict[str, int]:
    counts = campaign.counts()
    if json:
        output.emit_json(counts)
    else:
        output.emit(_text(counts))
    return counts


def _text(counts: dict[str, int]) -> str:
    words: Sequence[str] = [f"{number} {state}" for state, number in counts.items() if number]
    return ", ".join(words)
