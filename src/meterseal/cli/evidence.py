"""`meterseal evidence`: a signed APDU kept, stamped with a time by somebody else, and verified offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from meterseal.cli import captured, options, output
from meterseal.cli import pki_options as given
from meterseal.cli.output import answering
from meterseal.cosem.texts import safe_text
from meterseal.errors import ConfigurationError, MetersealError, UnknownKey

if TYPE_CHECKING:
    from meterseal.authority.evidence import Evidence
    from meterseal.credentials import Credentials
    from meterseal.crypto.certificates import Certificate

_LARGEST_STAMP_FILE: Final = 1 << 16

app = typer.Typer(
    help="Keep a signed APDU with its certificates, and show it to a third person.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A file of evidence.")]
Keeper = Annotated[str | None, typer.Option("--by", help="Who keeps it. Default: the user.", metavar="WHO")]


@app.command("save")
def save(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX|FILE|-...",
            help="The signed APDU, or frames that it is in: hex, a file, a wire log, or - for stdin.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Write the evidence there. A new file.", metavar="FILE")],
    credentials: Annotated[
        Path | None,
        typer.Option(
            "--credentials", help="Credentials: keys that open the frames, certificates.", metavar="FILE"
        ),
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate", help="The signer's certificate, or one above it; PEM or DER.", metavar="FILE"
        ),
    ] = None,
    crl: Annotated[
        list[Path] | None,
        typer.Option("--crl", help="Revocation list to keep along.", metavar="FILE"),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--number", help="Which one, where several are signed; from 1.", min=1, metavar="N"),
    ] = None,
    by: Keeper = None,
    note: Annotated[
        str, typer.Option("--note", help="What it is about, in your words.", metavar="TEXT")
    ] = "",
    json: options.Json = False,
) -> None:
    """Keep one signed APDU with the certificates of its signer, after its signature was verified.

    The certificates come from --certificate, from the credentials and from a sign-on in the same frames.
    The time kept is your own statement: `evidence query` and `evidence stamp` get somebody else's.
    """
    from meterseal.authority.evidence import Kept, as_utc, keep
    from meterseal.authority.evidence_file import write_evidence
    from meterseal.credentials import Credentials
    from meterseal.credentials.files import write_private
    from meterseal.security.options import PEER_OPTIONS

    with answering():
        octets = captured.read(source)
        kept = Kept(as_utc(datetime.now(UTC)), given.actor(by), note)
        file = None if credentials is None else Credentials.load(credentials)
        apdu, sent = _signed(octets, file, number)
        known = [one for path in certificate or () for one in given.certificates(path)]
        if file is not None:
            from meterseal.credentials.identity import certificates_of

            known += certificates_of(file)
        roles = () if file is None else file.roles.values()
        deviations = frozenset().union(*(role.peer for role in roles)) & PEER_OPTIONS.keys()
        lists = [given.revocation_list(path) for path in crl or ()]
        evidence = keep(apdu, (*known, *sent), kept, lists=lists, options=frozenset(deviations))
        write_private(out, write_evidence(evidence), "evidence", new=True)
        _say("kept", evidence, json)


def _signed(
    octets: bytes, file: Credentials | None, number: int | None
) -> tuple[bytes, tuple[Certificate, ...]]:
    """The signed APDU that is meant, and the certificates that came with it."""
    from meterseal.probe import Keyring, pieces
    from meterseal.probe.signed import signed

    keyring = Keyring() if file is None else Keyring.of_credentials(file)
    found = signed(pieces(octets), keyring)
    if not found.apdus:
        raise found.causes[0] if found.causes else UnknownKey("nothing in there is signed")
    if number is None and len(found.apdus) > 1:
        from meterseal.cli.evidence_pages import several

        raise ConfigurationError(f"say which one with --number: {several(found.apdus)}")
    if number is not None and number > len(found.apdus):
        raise ConfigurationError(f"--number {number}: only {len(found.apdus)} are signed")
    return found.apdus[(number or 1) - 1], found.certificates


@app.command("query")
def query(
    file: File,
    out: Annotated[Path, typer.Option("--out", help="Write the request there.", metavar="FILE")],
) -> None:
    """Make a time-stamp request (RFC 3161) for the APDU: send it to an authority by whatever way it takes."""
    from meterseal.credentials.files import write_public
    from meterseal.crypto.timestamps import stamp_request

    with answering():
        evidence = _read(file)
        write_public(out, stamp_request(evidence.apdu), "time-stamp request")
        output.emit(f"request for {len(evidence.apdu)} octets, as SHA-512")


@app.command("stamp")
def stamp(
    file: File,
    response: Annotated[
        Path, typer.Argument(metavar="RESPONSE", help="What the authority answered, or a bare token; DER.")
    ],
    tsa_trust: Annotated[
        list[Path],
        typer.Option("--tsa-trust", help="Root of the time-stamping authority.", metavar="FILE"),
    ],
    json: options.Json = False,
) -> None:
    """Verify a time stamp of the APDU and put it into the file of evidence."""
    from meterseal.authority.evidence_file import write_evidence
    from meterseal.credentials.files import read_public, write_private
    from meterseal.crypto.timestamps import TimeStamp

    with answering():
        evidence = _read(file)
        found = TimeStamp(read_public(response, "time stamp", _LARGEST_STAMP_FILE))
        stamped = evidence.stamped(found, _stamp_anchors(tsa_trust))
        write_private(file, write_evidence(stamped), "evidence")
        _say("stamped", stamped, json)


@app.command("verify")
def verify(
    file: File,
    trust: Annotated[
        list[Path],
        typer.Option("--trust", help="Trust anchor of the signer; may come several times.", metavar="FILE"),
    ],
    tsa_trust: Annotated[
        list[Path] | None,
        typer.Option("--tsa-trust", help="Root of the time-stamping authority.", metavar="FILE"),
    ] = None,
    crl: Annotated[
        list[Path] | None,
        typer.Option("--crl", help="Revocation list, beside those that were kept.", metavar="FILE"),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As of then, ISO 8601. Default: now.", metavar="DATE")
    ] = None,
    json: options.Json = False,
) -> None:
    """Verify evidence offline, and say who signed what for whom. Exit code 1 when it does not hold.

    The certificates have to be in order at the moment that a verified time stamp states, else at the one that
    the keeper states. What expired or was revoked after that is told with its date.
    """
    now = given.moment(at, "--at")
    from meterseal.authority import evidence as rules
    from meterseal.cli import evidence_pages

    with answering():
        try:
            kept = _read(file)
            finding = rules.verify(
                kept,
                [one for path in trust for one in given.certificates(path)],
                now,
                lists=[given.revocation_list(path) for path in crl or ()],
                stamp_anchors=_stamp_anchors(tsa_trust or ()),
            )
        except MetersealError as error:
            if json:
                output.emit_json({"holds": False, "error": {"type": error.kind, "message": str(error)}})
            raise
        if json:
            output.emit_json(evidence_pages.finding(finding))
        else:
            evidence_pages.report(finding)
    for warning in finding.warnings:
        output.note(f"warning: {warning}")


def _say(verb: str, evidence: Evidence, json: bool) -> None:
    from meterseal.cli import evidence_pages

    if json:
        output.emit_json(evidence_pages.kept(evidence))
    else:
        output.emit(safe_text(f"{verb} {evidence_pages.in_a_line(evidence)}"))


def _read(path: Path) -> Evidence:
    from meterseal.authority.evidence_file import LARGEST_EVIDENCE, read_evidence
    from meterseal.credentials.files import read_public

    return read_evidence(read_public(path, "evidence", LARGEST_EVIDENCE))


def _stamp_anchors(paths: list[Path] | tuple[Path, ...]) -> list[bytes]:
    from meterseal.credentials.files import read_public
    from meterseal.crypto.timestamps import stamp_anchors

    return [one for path in paths for one in stamp_anchors(read_public(path, "certificate", given.LARGEST))]
