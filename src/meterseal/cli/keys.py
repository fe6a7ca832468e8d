"""`meterseal keys`: the keys of a fleet over the years, from a store that remembers all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterseal.cli import (
    keys_campaign,
    keys_end,
    keys_files,
    keys_look,
    keys_pairs,
    keys_people,
    keys_revoke,
    options,
    output,
)
from meterseal.cli import keys_options as given
from meterseal.cli.output import answering
from meterseal.cli.pki_options import actor
from meterseal.cosem.obis import parse_object
from meterseal.errors import Misuse, StateLocked

if TYPE_CHECKING:
    from meterseal.authority.certifying import Certifier
    from meterseal.authority.rotator import Report
    from meterseal.authority.store import Store

app = typer.Typer(help="Keys of a fleet over the years.", no_args_is_help=True)


@app.callback()
def family(
    person: given.PersonKey = None,
    password: given.PersonPassword = None,
    request: given.Approved = None,
) -> None:
    """Keys of a fleet over the years.

    Where people are on the roll of a store (`keys person`), who changes something says so by --as.
    """
    given.acting(given.Who(person, password, request))


@app.command("init")
def init(
    store: given.Where,
    kek: given.Kek = None,
    make_kek: given.MakeKek = False,
    by: given.By = None,
    json: options.Json = False,
) -> None:
    """Make a new store, and a storage KEK in a file where there is none. Keep the two in different places."""
    with answering():
        given.from_server()
        from meterseal.authority.store import create_store

        with create_store(store, given.place(kek), by=actor(by), make_kek=make_kek) as made:
            where, check = made.core.where, made.core.vault.kcv
    if json:
        output.emit_json({"store": where, "kek": check})
    else:
        output.emit(f"store {where}, storage KEK {check}")


@app.command("adopt")
@given.takes_two
def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Credentials file of a meter (TOML).")],
    store: given.Where,
    serial: Annotated[
        str | None, typer.Option("--serial", help="Serial number of the device.", metavar="TEXT")
    ] = None,
    place: Annotated[
        str | None,
        typer.Option("--place", help="Concentrator or base station that it shares.", metavar="TEXT"),
    ] = None,
    broadcast: Annotated[
        str | None,
        typer.Option(
            "--broadcast",
            help="An octet string that may be written under the broadcast key: it proves a new one.",
            metavar="OBJECT",
            callback=options.understood("--broadcast", parse_object),
        ),
    ] = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Take a meter's credentials file into the store: its keys as active, its counters as they stand.

    The file is spent then: two that count under one key would count the same. With people on the roll a
    trust anchor that the store does not know takes two.
    """
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.adoption import adopt, strange_anchors
        from meterseal.credentials import Credentials

        credentials = Credentials.load(file)
        title = (credentials.meter.system_title or b"").hex().upper()
        found = strange_anchors(opened, credentials)
        anchors = {"devices": [title], "anchors": found}
        given.act(opened, *(("trust-anchor", anchors, why) if found else ("adopt",)))
        device = adopt(opened, credentials, serial=serial, place=place, broadcast=broadcast, why=why)
        slots = opened.keys.slots(device.title)
    shown = {"device": device.title.hex().upper(), "keys": len(slots)}
    if json:
        output.emit_json(shown)
    else:
        output.emit(f"device {shown['device']}, {shown['keys']} keys")


@app.command("stage")
@given.takes_two
def stage(
    store: given.Where,
    device: given.Device,
    kind: given.Kind,
    role: given.OneRole = "",
    key: Annotated[
        str | None, typer.Option("--with", help=f"The new key. {options.KEY}. Default: drawn.", metavar="K")
    ] = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Keep a new key in the store, before its device has it; `keys rotate` brings it there."""
    wanted, octets = given.title(device), options.key(key, "--with")
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.probing import drawn
        from meterseal.authority.store.keeping import slot_of
        from meterseal.keys.kinds import KINDS

        slot = slot_of(wanted, role, kind)
        known = opened.keys.device(wanted)
        if KINDS[kind].certified:
            raise Misuse(f"{kind}: a key pair is not staged by hand: `keys rotate --authority` draws one")
        if slot.role not in known.roles and not KINDS[kind].shared:
            raise Misuse(f"{device} has no role {role[:32]!r}; say --role, one of {', '.join(known.roles)}")
        master = {"devices": [wanted.hex().upper()], "kinds": [kind], "what": "stage"}
        given.act(opened, *(("master-key", master, why) if kind == "kek" else ("stage",)))
        record = opened.keys.stage(
            slot, drawn(opened, known, slot) if octets is None else octets,
            "drawn" if octets is None else "given", why,
        )  # fmt: skip
        keys_end.shown(opened, record, json)


@app.command("rotate")
@given.takes_two
def rotate(
    store: given.Where,
    device: given.MaybeDevice = None,
    kind: given.Kinds = None,
    role: given.Roles = None,
    due: Annotated[
        bool, typer.Option("--due", help="All keys whose time has come, in place of one device.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", help="At most so many devices with --due.", min=1, metavar="N")
    ] = 1000,
    url: given.DeviceUrl = None,
    timeout: given.Timeout = 10.0,
    authority: keys_pairs.Authority = None,
    password: keys_pairs.Password = None,
    days: keys_pairs.Days = None,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    wire_log: options.WireLogFile = None,
    json: options.Json = False,
) -> None:
    """Bring new keys to a meter, prove them, and only then use them. Exits 3 when it must be run again.

    What was begun earlier is ended first. Without --kind all keys of the device are changed, key pairs too
    where an --authority certifies them.
    """
    certifier = keys_pairs.certifier(authority, password, days, by)
    wanted = given.maybe_title(device)
    if due is (wanted is not None):
        raise typer.BadParameter("name a device, or say --due", param_hint="--device")
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.campaign import due_devices
        from meterseal.keys.rotation import chosen

        kinds, roles = list(kind or ()), list(role or ())
        tasks = (
            [(wanted, kinds, roles)]
            if wanted is not None
            else due_devices(opened, limit, set(kinds), pairs=certifier is not None)
        )
        if wanted is None and certifier is None and keys_pairs.due(opened):
            output.note("key pairs are due as well, and left out: say which --authority certifies new ones")
        if wanted is None and opened.core.people:
            tasks = _without_master(tasks)
        if not tasks:
            output.note("nothing is due")
        held = [] if wanted is None else opened.keys.slots(wanted)
        if wanted is not None and any(slot.kind == "kek" and chosen(slot, kinds, roles) for slot in held):
            about = {"devices": [wanted.hex().upper()], "kinds": kinds, "roles": roles, "what": "rotate"}
            given.act(opened, "master-key", about, why)
        else:
            given.act(opened, "rotate")
        _run(opened, tasks, url, timeout, why, wire_log, json, certifier, recover=False)


@app.command("recover")
def recover(
    store: given.Where,
    device: given.MaybeDevice = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="Ask for this kind of key too, by its proof; several times.",
            metavar="KIND",
            callback=options.understood("--kind", given.kind),
        ),
    ] = None,
    url: given.DeviceUrl = None,
    timeout: given.Timeout = 10.0,
    authority: keys_pairs.Authority = None,
    password: keys_pairs.Password = None,
    kek: given.Kek = None,
    by: given.By = None,
    wire_log: options.WireLogFile = None,
    json: options.Json = False,
) -> None:
    """End what was begun and cut off; find out which of the stored keys a device has. Exits 3 as `rotate`.

    Without --device: every device at which a change is open. Each role is asked for its GUEK; other kinds
    with --kind, and by themselves where one is in doubt or the device has gone back to an earlier key. To
    find out about a KEK a new GBEK is brought under it.
    """
    wanted, certifier = given.maybe_title(device), keys_pairs.certifier(authority, password, by=by)
    with given.opened(store, kek, by) as opened:
        given.act(opened, "recover")
        titles = [wanted] if wanted is not None else list({r.slot.device: 0 for r in opened.rotations.open()})
        tasks: list[_Task] = [(title, list(kind or ()), []) for title in titles]
        if not tasks:
            output.note("no change of keys is open; `--device` asks a device which keys it has")
        _run(opened, tasks, url, timeout, "", wire_log, json, certifier, recover=True)


_Task = tuple[bytes, list[str], list[str]]


def _without_master(tasks: list[_Task]) -> list[_Task]:
    """What one person may do of what is due: the KEK of a device takes two."""
    left = [(title, [kind for kind in kinds if kind != "kek"], roles) for title, kinds, roles in tasks]
    due = sum("kek" in kinds for _, kinds, _ in tasks)
    if due:
        output.note(f"{due} devices have a KEK that is due: it takes two, `keys request rotate --kind kek`")
    return [one for one in left if one[1]]


def _run(
    store: Store,
    tasks: list[_Task],
    url: str | None,
    timeout: float,
    why: str,
    wire_log: Path | None,
    json: bool,
    certifier: Certifier | None,
    *,
    recover: bool,
) -> None:
    """Rotate or recover at each device; what became of it, and the exit code."""
    import asyncio

    from meterseal.authority.probing import Line
    from meterseal.authority.rotator import Rotator
    from meterseal.cli import keys_pages
    from meterseal.net import WireLog

    async def all_of_them(line: Line) -> list[Report]:
        rotator, found = Rotator(store, line, keys_pairs.of_roll(certifier, store)), []
        for title, kinds, roles in tasks:
            try:
                report = await (
                    rotator.recover(title, kinds) if recover else rotator.rotate(title, kinds, roles, why)
                )
            except StateLocked as error:
                output.note(str(error))
                busy.append(title)
                continue
            keys_pages.report(report, json)
            found.append(report)
        return found

    busy: list[bytes] = []
    log = None if wire_log is None else WireLog(wire_log)
    try:
        reports = asyncio.run(all_of_them(Line(url, timeout, log)))
    finally:
        if log is not None:
            log.close()
    if busy or any(one.again for one in reports):
        raise typer.Exit(given.AGAIN)
    if any(one.failed for one in reports):
        raise typer.Exit(output.REFUSED)


@app.command("rewrap")
@given.takes_two
def rewrap(
    store: given.Where,
    new: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="The new storage KEK: a file, made where there is none.",
            metavar="FILE",
            callback=options.understood("--to", options.hsm_key),
        ),
    ] = None,
    make_kek: given.MakeKek = False,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Wrap every secret anew under another storage KEK; cut off, it is gone on with when it is run again.

    With --to the KEK is changed first. From then on the store is opened with the new one.
    """
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.store.opening import kek_to_be
        from meterseal.authority.store.rewrapping import change_kek, rewrap

        if new is None:
            given.act(opened, "rewrap")
        else:
            given.act(opened, "master-key", {"storage-kek": new}, why)
            change_kek(opened.core, kek_to_be(given.place(new) or Path(new), make_kek), why)
        *_, done = 0, *rewrap(opened.core)
        check = opened.core.vault.kcv
    if json:
        output.emit_json({"rewrapped": done, "kek": check})
    else:
        output.emit(f"{done} keys wrapped under storage KEK {check}")
    if new is not None:
        output.note(f"from now on the store is opened with that: --kek {new}, or METERSEAL_STORAGE_KEK")


@app.command("restored")
def restored(
    store: given.Where, why: given.Why, kek: given.Kek = None, by: given.By = None, json: options.Json = False
) -> None:
    """Take a store into use that was put back from an older copy: every counter jumps over what may be used.

    Say why (--why). Then run `keys recover` for the devices whose keys were changed since the copy.
    """
    with given.opened(store, kek, by, restored=True) as opened:
        from meterseal.authority.store.counters import take_restored

        given.act(opened, "restored")
        jump = take_restored(opened.core, why)
    if json:
        output.emit_json({"jump": jump})
    else:
        output.emit(f"every counter has jumped by {jump}" if jump else "the store is no older copy")


app.command("revoke")(keys_revoke.revoke)
app.command("destroy")(keys_end.destroy)
app.command("retire")(keys_end.retire)
app.command("generate")(keys_files.generate)
app.command("import")(keys_files.import_)
app.command("export")(keys_files.export)
app.command("export-credentials")(keys_files.export_credentials)
app.command("way")(keys_pairs.way)
app.command("status")(keys_look.status)
app.command("due")(keys_look.due)
app.command("history")(keys_look.history)
app.command("strays")(keys_look.strays)
app.add_typer(keys_campaign.app, name="campaign")
app.add_typer(keys_look.journal_app, name="journal")
keys_people.join(app)
