"""`meterseal keys status`, `due`, `history`, `journal`: what changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import options, output
from meterseal.cli.output import answering
from meterseal.errors import Misuse

journal_app = typer.Typer(help="The journal of a store: who did what to which key, when and why.")


@journal_app.callback()
def journal_family() -> None:
    """The journal of a store: who did what to which key, when and why."""


def status(
    store: given.Where,
    device: given.MaybeDevice = None,
    kind: given.Kinds = None,
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Show how many keys are in which state, what is weak, shared, due or stuck; or one device's keys.

    --kind is for those of a device.
    """
    wanted = given.maybe_title(device)
    if kind and wanted is None:
        raise typer.BadParameter("it is for the keys of a --device", param_hint="--kind")
    with given.opened(store, kek, None) as found:
        from meterseal.authority.adoption import loans
        from meterseal.authority.overview import overview
        from meterseal.cli import keys_pages

        if wanted is None:
            keys_pages.overview(overview(found, datetime.now(UTC)), json)
            return
        slots = found.keys.stored(wanted).items()
        keys = [one for slot, kept in slots if not kind or slot.kind in kind for one in kept]
        shown = [one for one in keys if one.record.standing.held or one.record.state.value != "destroyed"]
        keys_pages.device(shown, found.rotations.open(wanted), loans(found, wanted), json)


def due(
    store: given.Where,
    limit: Annotated[
        int, typer.Option("--limit", help="At most so many.", min=1, max=1_000_000, metavar="N")
    ] = 100,
    every: Annotated[
        list[str] | None,
        typer.Option(
            "--every",
            help="Set the period of a kind for good, as guek=365 (days; 0: never due); certificate=60: days "
            "ahead of its end.",
            metavar="KIND=DAYS",
            callback=given.understood("--every", lambda text: _period(text)),
        ),
    ] = None,
    device: given.MaybeDevice = None,
    kind: given.Kinds = None,
    kek: given.Kek = None,
    by: given.By = None,
    json: options.Json = False,
) -> None:
    """List keys that are due to be changed, the most overdue first. Exits 3 when there are any."""
    title = given.maybe_title(device)
    with given.opened(store, kek, by) as found:
        from meterseal.authority import overview
        from meterseal.cli import keys_pages
        from meterseal.keys.kinds import KINDS

        if every:
            given.act(found, "periods")
            overview.set_every(found, dict(map(_period, every)))
        late = overview.due(found, datetime.now(UTC), limit, kind or KINDS, title)
        if json:
            output.emit_json({"count": late.count, "keys": [keys_pages.key(one) for one in late.keys]})
        elif late.keys:
            keys_pages.listed(late.keys)
    if late.count:
        raise typer.Exit(given.AGAIN)


def _period(text: str) -> tuple[str, int]:
    from meterseal.authority.overview import check_period

    kind, _, days = text.partition("=")
    if not days.isdecimal():
        raise Misuse("a kind and days are wanted, as guek=365")
    check_period(kind, int(days))
    return kind, int(days)


def history(
    store: given.Where,
    device: given.Device,
    kind: given.Kinds = None,
    role: given.Roles = None,
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Show all keys that a device has had, and what the journal says of them."""
    wanted = given.title(device)
    with given.opened(store, kek, None) as found:
        from meterseal.cli import keys_pages

        slots = found.keys.stored(wanted)
        keys = [
            one
            for slot, kept in slots.items()
            for one in kept
            if (not kind or slot.kind in kind) and (not role or slot.role in role)
        ]
        entries = [one for one in found.core.entries(wanted) if _about(one.said, kind, role)]
    if json:
        shown = [keys_pages.key(one) for one in keys]
        output.emit_json({"keys": shown, "journal": [keys_pages.entry(one) for one in entries]})
        return
    keys_pages.listed(keys)
    keys_pages.journal(entries, False)


def strays(store: given.Where, kek: given.Kek = None, json: options.Json = False) -> None:
    """List the key pairs in the store's HSMs that were made for a store and that no key of this one has.

    A process that was killed while it took a pair away leaves one. A pair that is being made looks like it,
    and so does one of another store in the same HSM: look twice before you take it out there, with the tools
    of the HSM.
    """
    with given.opened(store, kek, None) as found:
        uris = found.pairs.strays()
    if json:
        output.emit_json({"strays": uris})
    else:
        for uri in uris:
            output.emit(uri)


def _about(said: Mapping[str, Any], kinds: Sequence[str] | None, roles: Sequence[str] | None) -> bool:
    """Whether an entry is about one of these kinds and roles; that of a device names its keys in a list."""
    slots = [str(one).split() for one in said.get("keys", ())]
    named = [(slot[0] if len(slot) == 3 else None, slot[-2]) for slot in slots if len(slot) > 1]
    return any(
        (not kinds or kind in kinds) and (not roles or role in roles)
        for role, kind in [*named, (said.get("role"), said.get("kind"))]
    )


@journal_app.command("show")
def journal_show(
    store: given.Where,
    last: Annotated[
        int, typer.Option("--last", help="Only the last so many entries.", min=1, metavar="N")
    ] = 50,
    device: given.MaybeDevice = None,
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Show the last entries, a line of JSON each with --json."""
    wanted = given.maybe_title(device)
    with given.opened(store, kek, None) as found:
        from meterseal.cli import keys_pages

        keys_pages.journal(found.core.entries(wanted, last), json)


@journal_app.command("verify")
def journal_verify(store: given.Where, kek: given.Kek = None, json: options.Json = False) -> None:
    """Go through the whole journal; exits 1 and names the first entry that is changed, missing or added."""
    with answering(), given.opened(store, kek, None) as found:
        number = found.core.verify_journal()
    if json:
        output.emit_json({"entries": number, "verified": True})
    else:
        output.emit(f"{number} entries, as they were written")
