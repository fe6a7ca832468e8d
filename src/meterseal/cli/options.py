"""Options that several commands share, and the reading of what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from meterseal.cli.output import understanding
from meterseal.credentials import key_option
from meterseal.credentials.files import in_hsm
from meterseal.errors import ConfigurationError


def understood(option: str, read: Callable[[str], object]) -> Callable[[Any], Any]:
    """The callback of an option whose words can be wrong by themselves: those are a usage error, exit code 2.

    One that comes several times is looked at each time.

    What only a file, a meter or another machine can tell is refused later, with exit code 1.
    """

    def looked_at(said: Any) -> Any:
        for text in (said,) if isinstance(said, str) else said or ():
            with understanding(option):
                read(text)
        return said

    return looked_at


def line(text: str) -> object:
    """The URL of a line.  Raises ConfigurationError."""
    from meterseal.net.url import parse

    return parse(text)


def hsm_key(text: str) -> None:
    """What names a key: a file, or an HSM by a URI, which is looked at.  Raises ConfigurationError."""
    if in_hsm(text):
        hsm_uri(text)


def hsm_uri(text: str) -> None:
    """The URI of a key in an HSM, and the file of its PIN.  Raises ConfigurationError."""
    from meterseal.crypto.token_uri import TokenUri

    _ = TokenUri.parse(text).pin_file


def _policy(text: str) -> object:
    from meterseal.security.protection import from_text

    return from_text(text)


def _layers(text: str) -> None:
    from meterseal.credentials.fields import LAYERS

    if text not in LAYERS:
        raise ConfigurationError(f"a form of key is one of {', '.join(LAYERS)}")


def _preset(text: str) -> None:
    from meterseal.meter import check_preset  # builds a meter: the other commands do without

    check_preset(text)


Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        callback=understood("URL", line),
        help="Where the meter listens: tcp://, udp:// or hdlc+tcp://HOST:PORT (4059), or serial:///dev/PORT.",
    ),
]
CredentialsFile = Annotated[
    Path, typer.Option("--credentials", help="Credentials file (TOML, mode 0600).", metavar="FILE")
]
Role = Annotated[
    str | None, typer.Option("--role", help="Role of the file; by default the only one.", metavar="ROLE")
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help="Protection of each direction in place of the role's, as authenticated+encrypted+signed.",
        metavar="WORDS",
        callback=understood("--policy", _policy),
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="Use general-ciphering with this key: identified, wrapped, one-pass, static.",
        metavar="KEY",
        callback=understood("--layers", _layers),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
WireLogFile = Annotated[
    Path | None,
    typer.Option("--wire-log", help="Append every frame to FILE, a line of JSON each.", metavar="FILE"),
]
StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Folder of the client's counters. Default: $METERSEAL_STATE, else FILE.state beside the file.",
        metavar="DIR",
    ),
]
FIRST_PRESET = "suite0"
Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        help="Which meter: suite0, suite1, suite2.",
        metavar="NAME",
        callback=understood("--preset", _preset),
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Objects, roles and quirks (TOML) over the preset.", metavar="FILE"),
]
KEY = "K is hex, @FILE or env:NAME"

_TITLE = 8
_BETWEEN = str.maketrans(":-", "  ")


def key(text: str | None, option: str) -> bytes | None:
    """The octets of a key option; a usage error for what is none. Any length: the frame has a say in that."""
    if text is None:
        return None
    with understanding(option):
        return key_option(text)


def system_title(text: str | None, option: str) -> bytes | None:
    """The 8 octets of a system title; a usage error for anything else."""
    if text is None:
        return None
    with understanding(option):
        try:
            octets = bytes.fromhex(text.translate(_BETWEEN))
        except ValueError:
            raise ConfigurationError("a system title is written as 16 hex digits") from None
        if len(octets) != _TITLE:
            raise ConfigurationError(f"a system title has {_TITLE} octets, not {len(octets)}")
        return octets
