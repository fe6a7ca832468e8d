"""`meterseal pki`: authorities, and what they do: issue, renew, revoke, list what is revoked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterseal.cli import keys_options as keys
from meterseal.cli import options, output, pki_enrol, pki_look
from meterseal.cli import pki_options as given
from meterseal.cli import pki_people as people
from meterseal.cli.output import answering
from meterseal.cosem.texts import safe_text
from meterseal.errors import MetersealError

if TYPE_CHECKING:
    from meterseal.authority import CertificateAuthority, Entry

app = typer.Typer(help="A certification authority of your own.", no_args_is_help=True)


@app.callback()
def family(
    person: keys.PersonKey = None,
    password: keys.PersonPassword = None,
    request: keys.Approved = None,
) -> None:
    """A certification authority of your own.

    One that was made for people on the roll of a store (`pki init --store`) acts for those: who acts says so
    by --as and --store. To make one takes two (`pki ask`).
    """
    keys.acting(keys.Who(person, password, request, family="pki"))


@app.command("init")
@keys.takes_two
def init(
    folder: given.Dir,
    name: given.Name,
    curve: given.Curve = "P-256",
    days: given.Days = None,
    no_expiry: given.NoExpiry = False,
    password: given.Password = None,
    key: given.Hsm = None,
    tokens: given.Tokens = False,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Make a root authority in a new folder: key, certificate, index. 7300 days unless --days says otherwise.

    With --password the private key is encrypted, and every command that signs needs the password.
    """
    on, secret = given.curve(curve), given.password(password)
    from meterseal.authority import CertificateAuthority
    from meterseal.authority.terms import ROOT_DAYS

    valid = given.days(days, no_expiry, ROOT_DAYS)
    about = {"authority": name, "folder": folder.name, "curve": on, "days": valid, "hsm": key}
    with (
        people.acting(store, kek, by, "authority", why, about, whole=True) as acts,
        answering(),
        CertificateAuthority.root(
            folder,
            name,
            on=on,
            days=valid,
            password=secret,
            by=acts.by,
            why=why,
            tokens=tokens,
            hsm=key,
            roll=acts.roll,
        ) as made,
    ):
        _founded(made, json)


@app.command("sub")
@keys.takes_two
def sub(
    folder: given.Dir,
    name: given.Name,
    under: Annotated[
        Path, typer.Option("--under", help="Folder of the authority above, which signs.", metavar="DIR")
    ],
    curve: given.Curve = "P-256",
    days: given.Days = None,
    no_expiry: given.NoExpiry = False,
    password: given.Password = None,
    under_password: Annotated[
        str | None,
        typer.Option("--under-password", help="Password of the key above: @FILE or env:NAME.", metavar="K"),
    ] = None,
    key: given.Hsm = None,
    tokens: given.Tokens = False,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Make an authority for end entities below another one. 3650 days unless --days says otherwise.

    A P-256 authority can certify P-256 keys only, a P-384 authority both.
    """
    if folder.resolve() == under.resolve():
        raise typer.BadParameter("that is the folder of the authority above", param_hint="--dir")
    on, secret = given.curve(curve), given.password(password)
    above = given.password(under_password, "--under-password")
    from meterseal.authority import CertificateAuthority
    from meterseal.authority.terms import SUB_DAYS

    valid = given.days(days, no_expiry, SUB_DAYS)
    about = {
        "authority": name,
        "under": under.name,
        "folder": folder.name,
        "curve": on,
        "days": valid,
        "hsm": key,
    }
    with (
        people.acting(store, kek, by, "authority", why, about, whole=True) as acts,
        answering(),
        CertificateAuthority(under, password=above, by=acts.by, roll=acts.roll) as top,
        CertificateAuthority.sub(
            folder, name, top, on=on, days=valid, password=secret, why=why, tokens=tokens, hsm=key
        ) as made,
    ):
        _founded(made, json)


def _founded(made: CertificateAuthority, json: bool) -> None:
    from meterseal.cli import pki_pages

    certificate = made.certificate
    if json:
        output.emit_json({"certificate": pki_pages.certificate(certificate)})
    else:
        until = pki_pages.until(certificate)
        name = safe_text(certificate.subject_text)
        output.emit(f"authority {name}, {certificate.key.curve.name}, {until}")


@app.command("issue")
def issue(
    folder: given.Dir,
    csr: Annotated[Path, typer.Option("--csr", help="Certificate request, PEM or DER.", metavar="FILE")],
    title: given.Title,
    purpose: given.PurposeText,
    days: given.Days = None,
    no_expiry: given.NoExpiry = False,
    out: given.Out = None,
    der: given.Der = False,
    password: given.Password = None,
    token: given.Token = None,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Certify the key of a request. 1825 days unless --days or --no-expiry says otherwise.

    --title is what you know the device by: a request for another title is refused, and so is a key that
    was certified before, for whatever purpose, and a device that has a certificate for this purpose.
    """
    given.check_form(out, der)
    whose, what, secret = given.title(title), given.purpose(purpose), given.password(password)
    promise = given.token(token)
    from meterseal.authority import CertificateAuthority
    from meterseal.authority.terms import DEVICE_DAYS

    valid = given.days(days, no_expiry, DEVICE_DAYS)
    about = {"authority": folder.name, "title": whose.hex().upper(), "purpose": purpose}
    with people.acting(store, kek, by, "certify", why, about) as acts, answering():
        request = given.request(csr)
        with CertificateAuthority(folder, password=secret, by=acts.by, roll=acts.roll) as authority:
            entry = authority.issue(request, whose, what, days=valid, token=promise, why=why)
        _hand_out("issued", entry, out, der, json)


@app.command("renew")
def renew(
    serial: given.Serial,
    folder: given.Dir,
    csr: Annotated[
        Path | None, typer.Option("--csr", help="Request with the new key, PEM or DER.", metavar="FILE")
    ] = None,
    same_key: Annotated[
        bool, typer.Option("--same-key", help="Certify the same key once more; --csr may be left out.")
    ] = False,
    days: given.Days = None,
    no_expiry: given.NoExpiry = False,
    out: given.Out = None,
    der: given.Der = False,
    password: given.Password = None,
    token: given.Token = None,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Issue a certificate in the place of another: same title, same purpose, a new key.

    The old one stays valid until it ends, so that a device can change over; revoke it when it has.
    """
    given.check_form(out, der)
    number, secret, promise = given.serial(serial), given.password(password), given.token(token)
    if csr is None and not same_key:
        raise typer.BadParameter("name the request with the new key, or say --same-key", param_hint="--csr")
    from meterseal.authority import CertificateAuthority
    from meterseal.authority.terms import DEVICE_DAYS

    valid = given.days(days, no_expiry, DEVICE_DAYS)
    about = {"authority": folder.name, "renews": number.hex().upper()}
    with people.acting(store, kek, by, "certify", why, about) as acts, answering():
        request = None if csr is None else given.request(csr)
        with CertificateAuthority(folder, password=secret, by=acts.by, roll=acts.roll) as authority:
            entry = authority.renew(number, request, same_key=same_key, days=valid, token=promise, why=why)
        _hand_out("renewed", entry, out, der, json)


def _hand_out(verb: str, entry: Entry, out: Path | None, der: bool, json: bool) -> None:
    from meterseal.cli import pki_pages

    certificate = entry.certificate
    if out is not None:
        try:
            given.write(out, certificate, der, "certificate")
        except MetersealError:
            output.note(f"it is in the index: pki show {pki_pages.hexed(entry.serial)} --out FILE")
            raise
    if json:
        described = {**pki_pages.entry(entry), **pki_pages.certificate(certificate)}
        output.emit_json({"certificate": described, "pem": certificate.to_pem().decode("ascii")})
    elif out is not None:
        output.emit(safe_text(f"{verb} {entry.name}, {pki_pages.until(entry)}"))
    else:
        output.emit(certificate.to_pem().decode("ascii").rstrip("\n"))


@app.command("revoke")
def revoke(
    serial: given.Serial,
    folder: given.Dir,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            help="unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, "
            "cessation-of-operation or privilege-withdrawn.",
            metavar="R",
        ),
    ],
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Revoke a certificate, for good. Needs no password: the next `pki crl` says it to others.

    Meters look at no list: take the certificate off each one that holds it (remove_certificate).
    """
    number, for_what = given.serial(serial), given.reason(reason)
    from meterseal.authority import CertificateAuthority
    from meterseal.cli import pki_pages

    about = {"authority": folder.name, "serial": number.hex().upper(), "reason": for_what.value}
    with people.acting(store, kek, by, "revoke", why, about) as acts, answering():
        with CertificateAuthority(folder, by=acts.by, roll=acts.roll) as authority:
            entry = authority.revoke(number, for_what, why=why)
        if json:
            output.emit_json({"certificate": pki_pages.entry(entry)})
        else:
            output.emit(safe_text(f"revoked {entry.name}"))


@app.command("crl")
def crl(
    folder: given.Dir,
    days: Annotated[
        int, typer.Option("--days", help="Days until the next list is due.", min=1, max=36_500, metavar="N")
    ] = 30,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write it there as well as to crl.pem and crl.der.", metavar="FILE"),
    ] = None,
    der: given.Der = False,
    password: given.Password = None,
    store: people.Store = None,
    kek: keys.Kek = None,
    by: given.By = None,
    json: options.Json = False,
) -> None:
    """Make a new revocation list with the next number: crl.pem and crl.der in the folder."""
    given.check_form(out, der)
    secret = given.password(password)
    from meterseal.authority import CertificateAuthority
    from meterseal.cli import pki_pages

    about = {"authority": folder.name, "list": days}
    with people.acting(store, kek, by, "certify", "", about) as acts, answering():
        with CertificateAuthority(folder, password=secret, by=acts.by, roll=acts.roll) as authority:
            made = authority.revocation_list(days)
        if out is not None:
            given.write(out, made, der, "revocation list")
        if json:
            output.emit_json({"list": pki_pages.revocation_list(made)})
        else:
            name, due = safe_text(made.issuer_text), f"{made.next_update:%Y-%m-%d}"
            output.emit(f"list {made.number} of {name}: {len(made)} revoked, next due {due}")


app.command("ask", context_settings=keys.WHOLE)(people.ask)
app.command("enrol")(pki_enrol.enrol)
app.command("token")(pki_enrol.token)
app.command("request")(pki_look.request)
app.command("list")(pki_look.listing)
app.command("show")(pki_look.show)
app.command("verify")(pki_look.verify)
app.command("expiring")(pki_look.expiring)
