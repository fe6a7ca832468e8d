"""`meterseal listen`: pushes from meters and customer ports, until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from meterseal.cli import options, output, pages
from meterseal.cli.output import answering, understanding
from meterseal.client.plan import STATE_VARIABLE
from meterseal.cosem.texts import moment_text
from meterseal.credentials.files import companion
from meterseal.listener import (
    PRESETS,
    WEAK,
    Book,
    Floors,
    Listener,
    Preset,
    Quarantine,
    Received,
    Receiver,
    is_weak,
    preset,
)
from meterseal.net import SCHEMES, WireLog
from meterseal.net import parse as parse_url
from meterseal.probe import Dissection, show
from meterseal.security.protection import from_text
from meterseal.state.folder import refusing


def listen(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            callback=options.understood("URL", options.line),
            help="tcp://HOST:PORT or udp://HOST:PORT to be called by meters; for a customer port "
            "serial:///dev/NAME?baud=N&form=8E1, or han+tcp://HOST:PORT (a bridge); hdlc+tcp://HOST:PORT, or "
            "serial:// with --collect, to ask meters for pushes that wait.",
        ),
    ],
    credentials: Annotated[
        Path,
        typer.Option(
            "--credentials", help="Credentials file, or a folder of them (*.toml).", metavar="FILE|FOLDER"
        ),
    ],
    port_preset: Annotated[
        str | None,
        typer.Option("--preset", help=f"Kind of customer port: {', '.join(PRESETS)}.", metavar="NAME"),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            help="Least protection of a push: authenticated+encrypted (default; +signed), authenticated; "
            "encrypted and none are weak.",
            metavar="WORDS",
        ),
    ] = None,
    json: options.Json = False,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Folder of received counters and of what was put aside. "
            "Default: $METERSEAL_STATE/listener, else FILE.state/listener beside the credentials.",
            metavar="DIR",
        ),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Confirm pushes that ask for it, under the key of the push.")
    ] = False,
    collect: Annotated[
        bool,
        typer.Option("--collect", help="On a serial line: ask the meters there, as its HDLC primary."),
    ] = False,
    count: Annotated[
        int | None, typer.Option("--count", help="End after so many pushes.", min=1, metavar="N")
    ] = None,
    wire_log: options.WireLogFile = None,
) -> None:
    """Print every push whose protection holds, until SIGINT or SIGTERM.

    Keys are found by system title. Each invocation counter is taken once, also after a restart. Pushes of
    unknown meters are put aside in STATE/unknown, a file for each title, within bounds. Refusals are lines on
    stderr (with --json also objects on stdout with an `error`), at most 20 a second.
    """
    if collect and not SCHEMES[parse_url(url).scheme].hdlc:
        raise typer.BadParameter(
            "meters are asked for pushes on a line with HDLC only", param_hint="--collect"
        )
    with understanding("--preset"):
        kind = preset(port_preset)
    with understanding("--accept"):
        least = kind.accept if accept is None else from_text(accept)
    if is_weak(least):
        output.note(f"warning: {WEAK}")
    with answering():
        folder = state or _state_folder(credentials)
        asyncio.run(_listen(url, credentials, folder, kind, least, json, confirm, collect, count, wire_log))


def _state_folder(credentials: Path) -> Path:
    here = credentials if credentials.name not in ("", "..") else credentials.resolve()  # `.`, too
    base = _given_state() or companion(here, "state")
    return base / "listener"


def _given_state() -> Path | None:
    given = os.environ.get(STATE_VARIABLE)
    return Path(given) if given else None


async def _listen(
    url: str,
    credentials: Path,
    folder: Path,
    kind: Preset,
    least: int,
    json: bool,
    confirm: bool,
    collect: bool,
    count: int | None,
    wire_log: Path | None,
) -> None:
    where = parse_url(url)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    with ExitStack() as stack:
        with refusing(f"state folder {folder}"):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = stack.enter_context(Floors(folder))
        receiver = Receiver(
            Book(credentials, store, _given_state()),
            store,
            accept=least,
            quarantine=Quarantine(folder / "unknown"),
            tagged_time=kind.tagged_time,
        )
        wires = None if wire_log is None else stack.enter_context(WireLog(wire_log))
        left = count
        unwritten: OSError | None = None

        def deliver(received: Received) -> bool:
            nonlocal left, unwritten
            if left == 0 or unwritten is not None:
                return False
            try:
                _show(received, json)
            except OSError as error:  # nobody reads along any more, or the disk is full
                unwritten = error
                stop.set()
                return False
            if received.error is None and left is not None:
                left -= 1
                if not left:
                    stop.set()
            return True

        async with Listener(receiver, deliver, preset=kind, confirm=confirm, wire_log=wires) as listener:
            output.note(f"listening on {await listener.open(where, collect=collect)}")
            await stop.wait()
        if unwritten is not None:
            raise unwritten


def _show(received: Received, json: bool) -> None:
    now = moment_text(datetime.now(UTC), "milliseconds")
    one = _dissection(received)
    if json:
        who = {"time": now, "source": received.source, "meter": received.meter, "role": received.role}
        output.emit_json({**who, **one.to_json(), **({"aside": received.aside} if received.aside else {})})
    elif received.error is None:
        output.emit(f"{now}  {received.meter or 'a meter'} from {received.source}")
        pages.dissection(one)
        output.emit("")
    output.flush()


def _dissection(received: Received) -> Dissection:
    value: Any = None
    if received.sealed is not None:
        value = {"sealed": received.sealed.octets.hex().upper()}
    elif received.telegram is not None:
        value = show.telegram(received.telegram)
    elif received.message is not None:
        value = show.show(received.message)
    return Dissection(
        received.layers,
        received.apdu,
        received.plain,
        value,
        error=received.error,
        message=received.message,
    )
