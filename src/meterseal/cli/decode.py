"""`meterseal decode`: captured frames, opened as far as the keys go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meterseal.cli import captured, options, output, pages
from meterseal.cli.output import answering, understanding
from meterseal.credentials import Credentials
from meterseal.errors import MetersealError
from meterseal.probe import Dissection, Dissector, Keyring, pieces
from meterseal.probe.dissect import with_apdu


def decode(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX|FILE|-...",
            help="Hex text (spaces, colons allowed), a file of hex or octets, a wire log, or - for stdin.",
        ),
    ],
    credentials: Annotated[
        Path | None,
        typer.Option("--credentials", help="Credentials file with keys and titles.", metavar="FILE"),
    ] = None,
    guek: Annotated[
        str | None, typer.Option(help=f"Global unicast encryption key (EK); {options.KEY}.", metavar="K")
    ] = None,
    gak: Annotated[
        str | None,
        typer.Option("--gak", help="Authentication key (AK), which is then in use.", metavar="K"),
    ] = None,
    no_gak: Annotated[bool, typer.Option("--no-gak", help="No authentication key is in use.")] = False,
    gbek: Annotated[str | None, typer.Option(help="Global broadcast encryption key.", metavar="K")] = None,
    dek: Annotated[str | None, typer.Option(help="Dedicated key.", metavar="K")] = None,
    title: Annotated[
        str | None,
        typer.Option(help="System title of the sender, for frames that carry none.", metavar="HEX"),
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Open frames whose tag nobody can verify for want of a GAK.")
    ] = False,
    port_preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Kind of customer port, where it has ways of its own: as of listen.",
            metavar="NAME",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Open any frame or APDU: HDLC, M-Bus, wrapper, P1 or bare; one answer per APDU.

    Without --gak or --no-gak a frame with a tag is refused: say which it is, or ask for --unverified.
    Titles and dedicated keys that the frames themselves tell are used for those that follow.
    """
    if gak is not None and no_gak:
        raise typer.BadParameter("--gak and --no-gak exclude each other", param_hint="--no-gak")
    by_hand = any(given is not None for given in (guek, gak, gbek)) or no_gak
    if credentials is not None and by_hand:
        raise typer.BadParameter(
            "keys come from the file or from options, not both", param_hint="--credentials"
        )
    dedicated = options.key(dek, "--dek")
    sender = options.system_title(title, "--title")
    keyring = Keyring.of(
        guek=options.key(guek, "--guek"),
        gak=b"" if no_gak else options.key(gak, "--gak"),
        gbek=options.key(gbek, "--gbek"),
        dedicated=dedicated,
        title=sender,
    )
    with answering():
        if credentials is not None:
            file = Credentials.load(credentials)
            keyring = Keyring.of_credentials(file, dedicated=dedicated, title=sender)
        found = _dissected(source, _dissector(keyring, unverified, port_preset))
    for number, one in enumerate(found):
        if number and not json:
            output.emit("")
        _show(one, json)
    if any(one.error is not None for one in found):
        raise typer.Exit(output.REFUSED)


def _show(one: Dissection, json: bool) -> None:
    if json:
        output.emit_json(one.to_json())
    else:
        pages.dissection(one)
    for warning in one.warnings:
        output.note(f"warning: {warning}")
    if one.error is not None:
        output.note(f"{one.error.kind}: {one.error}")


def _dissector(keyring: Keyring, unverified: bool, port_preset: str | None) -> Dissector:
    """What opens; a usage error for a kind of port that there is not."""
    if port_preset is None:
        return Dissector(keyring, unverified=unverified)
    from meterseal.listener.presets import preset  # who names none does without the listener

    with understanding("--preset"):
        kind = preset(port_preset)
    return Dissector(
        keyring,
        unverified=unverified,
        length_modulo_256=kind.length_modulo_256,
        tagged_time=kind.tagged_time,
    )


def _dissected(source: list[str], dissector: Dissector) -> list[Dissection]:
    """Everything in the input; what is no input at all is an answer too."""
    octets = captured.read(source)
    try:
        parts = pieces(octets)
    except MetersealError as error:
        return [Dissection((), error=error)]
    return with_apdu([one for part in parts for one in dissector.feed(part)])
