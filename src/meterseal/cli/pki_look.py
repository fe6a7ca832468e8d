"""`meterseal pki request`, `list`, `show`, `verify`, `expiring`: what needs no authority's key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meterseal.cli import options, output
from meterseal.cli import pki_options as given
from meterseal.cli.output import answering
from meterseal.cosem.texts import safe_text
from meterseal.credentials.files import in_hsm
from meterseal.errors import ConfigurationError, MetersealError

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate


def request(
    title: given.Title,
    purpose: given.PurposeText,
    key_out: Annotated[
        Path,
        typer.Option("--key-out", help="Write the private key there, mode 0600. A new file.", metavar="FILE"),
    ],
    curve: given.Curve = "P-256",
    out: given.Out = None,
    der: given.Der = False,
    password: given.Password = None,
    json: options.Json = False,
) -> None:
    """Make a key pair and a certificate request for a client: what a meter does by itself.

    The request is signed with the new key. Give the authority the request, and nobody the key.
    """
    given.check_form(out, der)
    if in_hsm(str(key_out)):
        raise typer.BadParameter("a file is wanted: no pair is made in an HSM here", param_hint="--key-out")
    whose, what, secret = given.title(title), given.purpose(purpose), given.password(password)
    on = given.curve(curve)
    from meterseal.authority.requests import new_request
    from meterseal.cli import pki_pages

    with answering():
        made = new_request(key_out, whose, what, on, secret)
        if out is not None:
            given.write(out, made, der, "request")
        if json:
            shown = {**pki_pages.request(made), "purpose": what.name.lower()}
            output.emit_json({"request": shown, "pem": made.to_pem().decode("ascii")})
        elif out is None:
            output.emit(made.to_pem().decode("ascii").rstrip("\n"))
        else:
            output.emit(f"request for {pki_pages.hexed(made.title)} {what.name.lower()}, {on}")


def listing(folder: given.Dir, title: given.MaybeTitle = None, json: options.Json = False) -> None:
    """List what an authority has issued, in order, each with its state."""
    wanted = options.system_title(title, "--title")
    from meterseal.authority import look
    from meterseal.cli import pki_pages

    with answering():
        found = [one for one in look(folder) if wanted is None or one.title == wanted]
    if json:
        output.emit_json({"certificates": [pki_pages.entry(one) for one in found]})
    else:
        pki_pages.entries(found, given.moment(None, ""))


def expiring(
    folder: given.Dir,
    days: Annotated[
        int,
        typer.Option("--days", help="Look so many days ahead.", min=0, max=36_500, metavar="N"),
    ] = 60,
    json: options.Json = False,
) -> None:
    """List what ends within N days, or has ended, and is neither replaced nor revoked: soonest first."""
    from meterseal.authority import look
    from meterseal.cli import pki_pages

    now = given.moment(None, "")
    with answering():
        found = look(folder).ending(now + timedelta(days=days))
    if json:
        output.emit_json({"certificates": [pki_pages.entry(one) for one in found]})
    else:
        pki_pages.entries(found, now)


def show(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|SERIAL",
            help="A certificate, request or list, PEM or DER; or a serial number of --dir.",
            show_default=False,
        ),
    ] = None,
    folder: given.MaybeDir = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the certificate there as well.", metavar="FILE")
    ] = None,
    der: given.Der = False,
    json: options.Json = False,
) -> None:
    """Show what is in a file, or what an authority knows of a serial number; with --dir alone, its own.

    A file is shown, not verified: `pki verify` holds it against an anchor.
    """
    given.check_form(out, der)
    if what is None and folder is None:
        raise typer.BadParameter("name a file, or --dir", param_hint="FILE|SERIAL")
    with answering():
        if folder is not None:
            found = [_from_index(folder, what)]
        else:
            found = _from_file(Path(what or ""))
        if out is not None:
            given.write(out, _certificate(found), der, "certificate")
        for kind, shown, _ in found:
            if json:
                output.emit_json({kind: shown})
            else:
                from meterseal.cli import pki_pages

                pki_pages.lines(shown)


_Shown = tuple[str, dict[str, Any], Any]
"""What it is, as JSON, and itself."""


def _certificate(found: list[_Shown]) -> Certificate:
    if len(found) != 1 or found[0][0] != "certificate":
        raise ConfigurationError("--out is for one certificate")
    one: Certificate = found[0][2]
    return one


def _from_index(folder: Path, what: str | None) -> _Shown:
    from meterseal.authority import look
    from meterseal.cli import pki_pages

    register = look(folder)
    if what is not None:
        entry = register.find(given.serial(what))
        certificate = entry.certificate
        return "certificate", {**pki_pages.certificate(certificate), **pki_pages.entry(entry)}, certificate
    own = register.certificate
    return "certificate", pki_pages.certificate(own), own


def _from_file(path: Path) -> list[_Shown]:
    """What it says it is.  Raises CertificateRefused, ConfigurationError."""
    from meterseal.cli import pki_pages
    from meterseal.credentials.files import read_public
    from meterseal.crypto.formats import Form, certificates_in, form_of, list_in, request_in
    from meterseal.crypto.revocation import LARGEST_LIST

    octets = read_public(path, "file", 2 * LARGEST_LIST)
    form = form_of(octets)
    if form is Form.REQUEST:
        asked = request_in(octets)
        return [("request", pki_pages.request(asked), asked)]
    if form is Form.LIST:
        revoked = list_in(octets)
        return [("list", pki_pages.revocation_list(revoked), revoked)]
    return [("certificate", pki_pages.certificate(one), one) for one in certificates_in(octets)]


def verify(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The certificate, PEM or DER; others may stand behind it."),
    ],
    trust: Annotated[
        list[Path], typer.Option("--trust", help="Trust anchor; may come several times.", metavar="FILE")
    ],
    between: Annotated[
        list[Path] | None,
        typer.Option("--between", help="Certificates between it and an anchor.", metavar="FILE"),
    ] = None,
    crl: Annotated[
        list[Path] | None,
        typer.Option(
            "--crl", help="Revocation list. Then each authority on the way needs one.", metavar="FILE"
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As of then, ISO 8601. Default: now.", metavar="DATE")
    ] = None,
    title: given.MaybeTitle = None,
    purpose: given.MaybePurpose = None,
    json: options.Json = False,
) -> None:
    """Hold a certificate against trust anchors: profile, dates, signatures, chain, revocation.

    Exit code 1 when it does not hold; the cause is named.
    """
    now, wanted = given.moment(at, "--at"), options.system_title(title, "--title")
    for_what = None if purpose is None else given.purpose(purpose)
    from meterseal.authority.relying import Relying
    from meterseal.cli import pki_pages

    with answering():
        try:
            leaf, *behind = given.certificates(file)
            party = Relying(
                anchors=[one for path in trust for one in given.certificates(path)],
                between=[*behind, *(one for path in between or () for one in given.certificates(path))],
                lists=[given.revocation_list(path) for path in crl] if crl else None,
                now=now,
            )
            way = party.verify(leaf, wanted, for_what)
        except MetersealError as error:
            if json:
                output.emit_json({"holds": False, "error": {"type": error.kind, "message": str(error)}})
            raise
    if json:
        output.emit_json({"holds": True, "way": [pki_pages.certificate(one) for one in way]})
    else:
        names = " - ".join(one.subject_text for one in way)
        first = min(way, key=lambda one: one.not_after)
        output.emit(safe_text(f"holds: {names}, {pki_pages.until(first)}"))
