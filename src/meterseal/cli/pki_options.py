"""Options of `meterseal pki`, the reading of what stands in them, and files in PEM or DER form."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from meterseal.cli import options
from meterseal.cli.output import understanding
from meterseal.credentials import password_option
from meterseal.credentials.files import read_public, write_public
from meterseal.errors import ConfigurationError, Misuse

if TYPE_CHECKING:
    from meterseal.crypto.certificates import Certificate, Purpose
    from meterseal.crypto.issuing import Request
    from meterseal.crypto.revocation import Reason, RevocationList

PURPOSES: Final = ("signature", "agreement", "tls")

LARGEST: Final = 1 << 20
"""Octets of a file of certificates."""

Dir = Annotated[Path, typer.Option("--dir", help="Folder of the authority.", metavar="DIR")]
MaybeDir = Annotated[Path | None, typer.Option("--dir", help="Folder of the authority.", metavar="DIR")]
Name = Annotated[str, typer.Option("--name", help="Its common name, 1 to 64 characters.", metavar="NAME")]
Curve = Annotated[str, typer.Option("--curve", help="P-256 or P-384.", metavar="CURVE")]
Title = Annotated[str, typer.Option("--title", help="System title, 16 hex digits.", metavar="HEX")]
MaybeTitle = Annotated[
    str | None, typer.Option("--title", help="Only this system title, 16 hex digits.", metavar="HEX")
]
PurposeText = Annotated[
    str, typer.Option("--purpose", help="What the key is for: signature, agreement or tls.", metavar="P")
]
MaybePurpose = Annotated[
    str | None, typer.Option("--purpose", help="Only this: signature, agreement or tls.", metavar="P")
]
Days = Annotated[
    int | None, typer.Option("--days", help="Days that it is valid.", min=1, max=36_500, metavar="N")
]
NoExpiry = Annotated[bool, typer.Option("--no-expiry", help="Valid without a planned end.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write it there. Default: print it as PEM.", metavar="FILE")
]
Der = Annotated[bool, typer.Option("--der", help="DER in place of PEM; needs --out.")]
Password = Annotated[
    str | None,
    typer.Option("--password", help="Password of the private key: @FILE or env:NAME.", metavar="K"),
]


Hsm = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Make its private key in an HSM, as pkcs11:token=...;object=... says, never to leave it.",
        metavar="URI",
        callback=options.understood("--key", options.hsm_uri),
    ),
]
Token = Annotated[
    str | None,
    typer.Option("--token", help="One-time token of `pki token`: @FILE or env:NAME.", metavar="K"),
]
Tokens = Annotated[
    bool, typer.Option("--tokens", help="Certify end entities against one-time tokens only (pki token).")
]
By = Annotated[
    str | None, typer.Option("--by", help="Who acts, for the index. Default: the user.", metavar="WHO")
]
Why = Annotated[str, typer.Option("--why", help="Reason, for the index.", metavar="TEXT")]
Serial = Annotated[str, typer.Argument(metavar="SERIAL", help="Serial number, hex; colons allowed.")]


# --- reading ------------------------------------------------------------------------------------


def title(text: str) -> bytes:
    """The 8 octets of a title that has to be there."""
    return options.system_title(text, "--title") or b""


def purpose(text: str) -> Purpose:
    """What a certificate is for; a usage error for another word."""
    from meterseal.crypto.certificates import Purpose

    with understanding("--purpose"):
        if text not in PURPOSES:
            raise Misuse(f"one of {', '.join(PURPOSES)} is wanted")
    return Purpose[text.upper()]


def curve(text: str) -> str:
    """The name of a curve; a usage error for another one."""
    from meterseal.crypto import curve

    with understanding("--curve"):
        return curve(text).name


def reason(text: str) -> Reason:
    """A reason to revoke for good; a usage error for another word."""
    from meterseal.crypto.revocation import FOR_GOOD, Reason

    with understanding("--reason"):
        if text not in {one.value for one in FOR_GOOD}:
            raise Misuse(f"one of {', '.join(one.value for one in FOR_GOOD)} is wanted")
    return Reason(text)


def serial(text: str) -> bytes:
    """The octets of a serial number without leading zeros; a usage error for what is none."""
    with understanding("SERIAL"):
        try:
            octets = bytes.fromhex(text.replace(":", "")).lstrip(b"\x00")
        except ValueError:
            octets = b""
        if not 1 <= len(octets) <= 20:
            raise Misuse("a serial number is written as up to 40 hex digits")
    return octets


def password(text: str | None, option: str = "--password") -> bytes | None:
    """A password from a file or the environment; a usage error for one on the command line."""
    if text is None:
        return None
    with understanding(option):
        return password_option(text)


def token(text: str | None) -> str | None:
    """A one-time token, from where a password comes from."""
    octets = password(text, "--token")
    return None if octets is None else octets.decode("utf-8", "replace")


def days(number: int | None, no_expiry: bool, otherwise: int) -> int | None:
    """How long something is valid; None without a planned end."""
    if no_expiry and number is not None:
        raise typer.BadParameter("--no-expiry says so already", param_hint="--days")
    return None if no_expiry else otherwise if number is None else number


def moment(text: str | None, option: str) -> datetime:
    """A date, or a date and time, in UTC unless it says otherwise; now when there is none."""
    if text is None:
        return datetime.now(UTC)
    with understanding(option):
        try:
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Misuse("a date is wanted, 2026-11-25 or 2026-11-25T12:00:00Z") from None


def actor(by: str | None) -> str:
    """Who acts: as said, else the user of this process."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def check_form(out: Path | None, der: bool) -> None:
    """A usage error for DER to a terminal."""
    if der and out is None:
        raise typer.BadParameter("octets are not printed: name a file with --out", param_hint="--der")


# --- files --------------------------------------------------------------------------------------


def certificates(path: Path) -> list[Certificate]:
    """All certificates of a file.  Raises CertificateRefused, ConfigurationError."""
    from meterseal.crypto.formats import certificates_in

    return certificates_in(read_public(path, "certificate", LARGEST))


def request(path: Path) -> Request:
    """The request of a file, signed by its own key.  Raises CertificateRefused, ConfigurationError."""
    from meterseal.crypto.formats import request_in

    return request_in(read_public(path, "request", LARGEST))


def revocation_list(path: Path) -> RevocationList:
    """The revocation list of a file.  Raises CertificateRefused, ConfigurationError."""
    from meterseal.crypto.formats import list_in
    from meterseal.crypto.revocation import LARGEST_LIST

    return list_in(read_public(path, "revocation list", 2 * LARGEST_LIST))


def write(path: Path, what: Certificate | Request | RevocationList, der: bool, name: str) -> None:
    """Put it in a file.  Raises StateUnavailable."""
    if path.is_dir():
        raise ConfigurationError(f"{name} {path} is a folder")
    write_public(path, what.der if der else what.to_pem(), name)
