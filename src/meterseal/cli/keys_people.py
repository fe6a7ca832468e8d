"""`meterseal keys person`, `request`, `approve`, `refuse`, `requests`: who may do what; and `upgrade`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import options, output
from meterseal.cli import pki_options as pki
from meterseal.cli.output import answering
from meterseal.cosem.texts import safe_text
from meterseal.credentials.files import in_hsm, is_there, read_public, write_private, write_public
from meterseal.errors import Misuse

if TYPE_CHECKING:
    from meterseal.authority.store.people import Request
    from meterseal.authority.store.roll import Person

app = typer.Typer(help="The roll of a store: who may do what.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="N", help="Number of the request.", min=1)]
Scope = Annotated[
    list[str] | None,
    typer.Option("--scope", help="Only keys of this role; may be given several times.", metavar="ROLE"),
]


@app.callback()
def family() -> None:
    """The roll of a store: who may do what. With nobody on it the store is one operator's."""


@app.command("card")
def card(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the person is called.")],
    key: Annotated[
        str,
        typer.Option(
            "--key",
            help="Private key, PEM (drawn where there is none) or pkcs11:...",
            metavar="FILE",
            callback=options.understood("--key", options.hsm_key),
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The card to write, for everybody.", metavar="FILE")],
    password: Annotated[
        str | None, typer.Option("--password", help="Password of the key: @FILE or env:NAME.", metavar="K")
    ] = None,
) -> None:
    """Make somebody's card: name and public key. The private key stays with the person."""
    with answering():
        given.from_server()
        from meterseal.authority.store.roll import check_name, make_card
        from meterseal.crypto import SigningKey, curve
        from meterseal.crypto.keyfiles import write_key

        with output.understanding("NAME"):
            check_name(name)
        if not in_hsm(key) and not is_there(Path(key), "private key"):
            drawn = write_key(SigningKey.generate(curve("P-256")), pki.password(password))
            write_private(Path(key), drawn, "private key", new=True)
        write_public(out, make_card(name, given.person_key(key, password)), "card")


def _duty(text: str) -> None:
    from meterseal.keys.people import Duty

    known = [one.value for one in Duty]
    if text not in known:
        raise Misuse(f"a duty is one of {', '.join(known)}")


@app.command("add")
@given.takes_two
def add(
    file: Annotated[Path, typer.Argument(metavar="CARD", help="Card of the person.")],
    store: given.Where,
    duty: Annotated[
        list[str],
        typer.Option(
            "--duty",
            help="officer, approver, operator, engineer, auditor or service; may be given several times.",
            metavar="DUTY",
            callback=options.understood("--duty", _duty),
        ),
    ],
    scope: Scope = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Put somebody on the roll. The first one is an officer; from then on the rules bind.

    Once there are two who can ask and approve, it takes two.
    """
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.store.roll import LARGEST_CARD, read_card
        from meterseal.keys.people import Duty

        found = read_card(read_public(file, "card", LARGEST_CARD))
        key = found.key.octets.hex().upper()
        about = {"person": found.name, "key": key, "duties": sorted(duty), "scope": sorted(scope or ())}
        given.act(opened, "person", about, why)
        opened.people.enrol(found, frozenset(map(Duty, duty)), frozenset(scope or ()), why)
        _roll(opened.people.enrolled(), json)


@app.command("remove")
@given.takes_two
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person.")],
    store: given.Where,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Take somebody off the roll; what was signed before stays signed. It takes two."""
    with given.opened(store, kek, by) as opened:
        given.act(opened, "person", {"person": name, "remove": True}, why)
        opened.people.remove(name, why)
        _roll(opened.people.enrolled(), json)


@app.command("list")
def listed(store: given.Where, kek: given.Kek = None, json: options.Json = False) -> None:
    """Show who is on the roll, and for what."""
    with given.opened(store, kek, None) as opened:
        _roll(opened.people.enrolled(), json)


def request(ctx: typer.Context, command: given.Whole) -> None:
    """Ask for what takes two: `keys request destroy --device ...`. Nothing is done yet.

    Another person approves it within a week (`keys approve N`); then `keys --request N` with the same command
    does it, once, within a day.
    """
    given.ask_for(ctx, command)


def approve(
    number: Number,
    store: given.Where,
    why: given.Why = "",
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Approve what another person has asked for. Say why (--why)."""
    with given.opened(store, kek, None) as opened:
        _requests([opened.people.approve(given.who().signing_key(), number, why)], json)


def refuse(
    number: Number,
    store: given.Where,
    why: given.Why = "",
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Refuse what was asked for, or take it back. Say why (--why)."""
    with given.opened(store, kek, None) as opened:
        _requests([opened.people.refuse(given.who().signing_key(), number, why)], json)


def requests(
    store: given.Where,
    every: Annotated[bool, typer.Option("--all", help="Those that are done or refused, too.")] = False,
    kek: given.Kek = None,
    json: options.Json = False,
) -> None:
    """Show what was asked for, by whom and why, and where it stands."""
    with given.opened(store, kek, None) as opened:
        _requests(opened.people.requests(not every), json)


def upgrade(
    store: given.Where, kek: given.Kek = None, by: given.By = None, json: options.Json = False
) -> None:
    """Bring a store of an earlier version to this one. Copy it before."""
    with answering():
        given.from_server()
        from meterseal.authority.store import open_store
        from meterseal.authority.store.database import Database
        from meterseal.authority.store.migrations import bring_here

        before, after = bring_here(Database(store))
        with open_store(store, given.place(kek), by=pki.actor(by)) as opened:
            if before != after:
                given.act(opened, "upgrade")
                with opened.core.acting() as act:
                    act.note("upgrade", before=before, after=after)
    if json:
        output.emit_json({"before": before, "after": after})
    else:
        output.emit(f"version {after}" if before == after else f"version {before}, now {after}")


def join(keys: typer.Typer) -> None:
    """Make them commands of `keys`."""
    keys.add_typer(app, name="person")
    keys.command("request", context_settings=given.WHOLE)(request)
    keys.command("approve")(approve)
    keys.command("refuse")(refuse)
    keys.command("requests")(requests)
    keys.command("upgrade")(upgrade)


def _roll(people: list[Person], json: bool) -> None:
    if json:
        shown = [
            {
                "name": one.name,
                "duties": _words(one),
                "scope": sorted(one.scope),
                "key": one.key.octets.hex().upper(),
            }
            for one in people
        ]
        output.emit_json({"people": shown})
    elif people:
        rows = [[one.name, ", ".join(_words(one)), ", ".join(sorted(one.scope)) or "all"] for one in people]
        output.table(["name", "duties", "roles"], rows)
    else:
        output.emit("nobody: the store is one operator's")


def _words(one: Person) -> list[str]:
    return sorted(duty.value for duty in one.duties)


def _requests(found: list[Request], json: bool) -> None:
    from meterseal.cli.keys_pages import iso

    if json:
        for one in found:
            output.emit_json(
                {
                    "request": one.number, "deed": one.deed, "about": one.about, "state": one.state.value,
                    "by": one.by, "why": one.why, "made": iso(one.made), "until": iso(one.until),
                    "approved_by": one.approved_by, "approved_why": one.approved_why,
                }
            )  # fmt: skip
        return
    for one in found:
        output.heading(
            f"request {one.number}: {one.deed}, {one.state.value}, until {one.until:%Y-%m-%d %H:%M}Z"
        )
        output.emit(safe_text(f"  {one.about}", 2000))
        output.emit(safe_text(f"  asked for by {one.by}: {one.why}"))
        if one.approved_by:
            output.emit(safe_text(f"  approved by {one.approved_by}: {one.approved_why}"))
