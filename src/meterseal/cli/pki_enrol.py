"""`meterseal pki enrol` and `token`: from a bare meter to a signed sign-on, and who may ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meterseal.cli import keys_options as keys
from meterseal.cli import options, output
from meterseal.cli import pki_options as given
from meterseal.cli import pki_people as people
from meterseal.cli.output import answering
from meterseal.cosem.texts import safe_text

if TYPE_CHECKING:
    from meterseal.authority.enrolment import Done, Enrolment

_WORDS = {
    "there": "there already",
    "imported": "imported",
    "issued": "issued and imported",
    "renewed": "renewed and imported",
}


def enrol(
    url: options.Url,
    folder: given.Dir,
    credentials: options.CredentialsFile,
    role: Annotated[
        str | None,
        typer.Option(
            "--role",
            help="Role that brings certificates in; by default the only one with keys that does not sign.",
            metavar="ROLE",
        ),
    ] = None,
    title: given.MaybeTitle = None,
    token: given.Token = None,
    clients: Annotated[
        Path | None,
        typer.Option(
            "--clients",
            help="Credentials of another meter: the private keys of the same clients serve for this one too.",
            metavar="FILE",
        ),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="New key pairs for the meter, also where its certificates hold.")
    ] = False,
    days: given.Days = None,
    no_expiry: given.NoExpiry = False,
    password: given.Password = None,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Certify a meter and its clients, and prove it: from key pairs to a sign-on by signature.

    The meter generates each pair and requests its certificate; title and possession are checked, the
    certificate is issued and imported, the credentials file written. A run that was cut is run again.
    --title is what you know the meter by; the credentials have to name the same.
    """
    whose, secret = options.system_title(title, "--title"), given.password(password)
    promise = given.token(token)
    from meterseal.authority import CertificateAuthority
    from meterseal.authority.enrolment import enrol
    from meterseal.authority.terms import DEVICE_DAYS
    from meterseal.credentials import Credentials
    from meterseal.net.wirelog import WireLog

    valid = given.days(days, no_expiry, DEVICE_DAYS)
    about = {"authority": folder.name, "enrol": url}
    with people.acting(store, kek, by, "certify", "", about) as acts, answering():
        log = None if wire_log is None else WireLog(wire_log)
        try:
            with CertificateAuthority(folder, password=secret, by=acts.by, roll=acts.roll) as authority:
                found = enrol(
                    Credentials.load(credentials),
                    authority,
                    url,
                    role=role,
                    title=whose,
                    token=promise,
                    clients=None if clients is None else Credentials.load(clients),
                    renew=renew,
                    days=valid,
                    state=state,
                    wire_log=log,
                    told=None if json else _tell,
                )
        finally:
            if log is not None:
                log.close()
        _show(found, credentials, json)


def _tell(done: Done) -> None:
    output.emit(safe_text(f"{done.who:<12}{done.purpose:<12}{_WORDS[done.what]}, {_name(done)}"))


def _name(done: Done) -> str:
    one = done.certificate
    return one.subject_text if one.title is None else f"serial {one.serial.hex().upper()}"


def _show(found: Enrolment, file: Path, json: bool) -> None:
    if json:
        output.emit_json(
            {
                "meter": found.title.hex().upper(),
                "certificates": [_described(done) for done in found.done],
                "proved": found.proved,
            }
        )
        return
    output.emit(safe_text(f"{file} written"))
    if found.proved is None:
        output.note("no role of the file signs on by signature: nothing was proved")
    else:
        title, role = found.title.hex().upper(), found.proved["role"]
        output.emit(safe_text(f"{title} signed on by signature as {role}"))


def _described(done: Done) -> dict[str, Any]:
    one = done.certificate
    return {
        "who": done.who,
        "title": None if one.title is None else one.title.hex().upper(),
        "purpose": done.purpose,
        "serial": one.serial.hex().upper(),
        "done": done.what,
    }


def token(
    folder: given.Dir,
    title: given.Title,
    days: Annotated[
        int, typer.Option("--days", help="Days that it may be redeemed.", min=1, max=36_500, metavar="N")
    ] = 14,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Make a one-time token: whoever has it may have one certificate of each purpose for this title.

    An authority that was made with --tokens certifies against tokens only. The index keeps a digest.
    """
    whose = given.title(title)
    from meterseal.authority import CertificateAuthority

    about = {"authority": folder.name, "token": whose.hex().upper(), "days": days}
    with people.acting(store, kek, by, "certify", why, about) as acts, answering():
        with CertificateAuthority(folder, by=acts.by, roll=acts.roll) as authority:
            made = authority.token(whose, days, why=why)
        if json:
            output.emit_json({"token": made, "title": whose.hex().upper(), "days": days})
        else:
            output.emit(made)
