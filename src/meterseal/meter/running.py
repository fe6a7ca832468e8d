"""Running a meter as a process: state folder, credentials file, the line that says it listens, signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from meterseal.cosem.obis import Member, Obis
from meterseal.cosem.rights import SIGN_REQUEST
from meterseal.credentials import (
    Credentials,
    MeterCredentials,
    RoleCredentials,
    ThirdPartyCredentials,
)
from meterseal.credentials.files import companion
from meterseal.errors import ConfigurationError
from meterseal.keys.kinds import GAK, GBEK, GUEK, KEK
from meterseal.meter.association_object import Association
from meterseal.meter.config import load_plan
from meterseal.meter.events import log
from meterseal.meter.model import Meter
from meterseal.meter.plan import MeterPlan, RolePlan, ThirdPartyPlan
from meterseal.meter.server import MeterServer
from meterseal.meter.third_parties import kek_name
from meterseal.net import WireLog
from meterseal.net.url import on_hdlc
from meterseal.security.protection import of_request, of_response

PathLike = str | os.PathLike[str]
MANAGER_METHOD = 2
"""key_transfer of class 64: who may call it gets the KEK."""


def credentials_of(
    meter: Meter, url: str | None = None, files: str = "files", logical_device: int = 1
) -> Credentials:
    """What clients need to speak to a meter: every role with its keys, the KEK for who may transfer keys.

    `counter_start` is the lowest value that the meter takes, at least 1; `logical_device` the server wPort.
    Private keys and certificates of suites 1 and 2 are named as PEM files in the folder `files`;
    `write_credentials` writes them.
    """
    plan, named = meter.plan, {}
    if meter.pairs is not None:
        from meterseal.meter import client_files  # as `Meter` does: not in suite 0

        named = client_files.of_meter(meter.pairs, files)
    described = MeterCredentials(
        url=url,
        system_title=meter.system_title,
        suite=plan.suite,
        logical_device=logical_device,
        server_address=(1, plan.physical_address) if on_hdlc(url) else None,
        address_size=min(plan.address_sizes) if on_hdlc(url) and plan.address_sizes else None,
        **named,
    )
    roles = {role.name: _role(meter, role, files) for role in plan.roles}
    thirds = {third.name: _third(meter, third, files) for third in plan.third_parties}
    return Credentials(described, roles, third_parties=thirds)


def _third(meter: Meter, third: ThirdPartyPlan, files: str) -> ThirdPartyCredentials:
    named: dict[str, Any] = {}
    if meter.pairs is not None:
        from meterseal.meter import client_files

        named = client_files.of_one(third.name, files)
    kek = meter.store.get(kek_name(third.name))
    return ThirdPartyCredentials(
        system_title=third.system_title,
        layers="one-pass" if meter.pairs is not None else "wrapped",
        kek=None if kek is None else bytes.fromhex(kek),
        counter_start=max(1, meter.thirds[third.name].fresh.rx.lowest),
        peer=third.options,
        **named,
    )


def _role(meter: Meter, role: RolePlan, files: str) -> RoleCredentials:
    ring = meter.rings.get(role.client)
    association = meter.association(role.client, role.logical_devices[0])
    secret = association.profile.secret() if association is not None else b""
    users = association.view.users if association is not None else {}
    plain = RoleCredentials(
        client=role.client,
        mechanism=role.scheme.name,
        policy=0,
        client_system_title=role.client_system_title,
        secret=secret or None,
        user=min(users, default=None),
        allow_weak=role.scheme.weak,
        peer=role.options,
    )
    if ring is None or ring.setup.unicast is None:
        return plain
    named = {}
    if meter.pairs is not None:
        from meterseal.meter import client_files

        named = client_files.of_role(role, files) | {"signed": _signed(association)}
    return RoleCredentials(
        client=role.client,
        mechanism=role.scheme.name,
        policy=of_request(ring.setup.policy) | of_response(ring.setup.policy),
        client_system_title=role.client_system_title,
        guek=ring.reveal(GUEK),
        gak=ring.reveal(GAK),
        gbek=ring.reveal(GBEK),
        broadcast=_broadcast(role),
        kek=ring.reveal(KEK) if _transfers_keys(meter, role) else None,
        secret=secret or None,
        ciphered=role.ciphered,
        compression=role.compression,
        user=min(users, default=None),
        counter_start=max(1, ring.setup.unicast.rx.lowest, ring.setup.fresh.rx.lowest),
        counter_object=f"0.0.43.1.{role.client}.255",
        allow_weak=role.scheme.weak,
        peer=role.options,
        **named,
    )


def _broadcast(role: RolePlan) -> str | None:
    """The text that the role may write under its broadcast key, if any: class 1, attribute 2."""
    texts = sorted(text for text in role.broadcast if (text[0], *text[2:]) == (1, 2, False))
    return str(Member(texts[0][0], Obis(texts[0][1]), 2)) if texts else None


def _signed(association: Association | None) -> tuple[str, ...]:
    """The members that the role may use and whose right asks for a signature."""
    entries = [] if association is None else association.view.entries()
    return tuple(
        str(Member(entry.class_id, entry.obis, index, method))
        for entry in entries
        for method, rights in ((False, entry.attributes), (True, entry.methods))
        for index, bits in rights.items()
        if bits & SIGN_REQUEST
    )


def _transfers_keys(meter: Meter, role: RolePlan) -> bool:
    association = meter.association(role.client, role.logical_devices[0])
    if association is None:
        return False
    return any(
        entry.class_id == 64 and entry.method_right(MANAGER_METHOD) for entry in association.view.entries()
    )


def write_credentials(
    meter: Meter,
    path: PathLike,
    url: str | None = None,
    logical_device: int = 1,
    *,
    durable: bool = True,
) -> None:
    """Write the credentials file of a meter, mode 0600, whole or not at all.  Raises StateUnavailable.

    What it names comes first: private keys and certificates, each a file in the folder `PATH.files`.
    """
    path = Path(path)
    files = companion(path, "files")
    if meter.pairs is not None:
        from meterseal.meter import client_files

        client_files.write(meter, meter.pairs, files)
    credentials_of(meter, url, files.name, logical_device).save(path, durable=durable)


def open_meter(plan: MeterPlan, state: PathLike | None, stack: ExitStack) -> Meter:
    """A meter on its state folder; without one on a folder that lasts as long as `stack`.

    Raises ConfigurationError for keys of a configuration without a state folder: their counters would
    start anew with every start.
    """
    if state is None:
        if plan.fixed_keys:
            raise ConfigurationError(
                "a configuration with a guek needs a state folder (--state DIR): without one the counters of "
                "the key would start anew, and no counter is used twice"
            )
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="meterseal-")))
    else:
        folder = Path(state)
    meter = Meter(plan, folder)
    stack.callback(meter.close)
    return meter


async def serve_meter(
    *,
    preset: str = "suite0",
    host: str = "127.0.0.1",
    port: int = 0,
    url: str | None = None,
    config: PathLike | None = None,
    state: PathLike | None = None,
    credentials_out: PathLike | None = None,
    trust: PathLike | None = None,
    wire_log: PathLike | None = None,
    announce: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run a meter until `stop` is set.

    `url` is where it listens, in place of `host` and `port`.  `announce` gets the line
    `listening on tcp://HOST:PORT` when the port is open and the credentials file
    complete.  Raises what `load_plan`, `Meter` and `MeterServer.start` raise.
    """
    with ExitStack() as stack:
        meter = open_meter(load_plan(preset, config, trust), state, stack)
        wires = None if wire_log is None else stack.enter_context(WireLog(wire_log))
        async with AsyncExitStack() as running:
            server = await running.enter_async_context(
                MeterServer(meter, host=host, port=port, url=url, wire_log=wires)
            )
            if credentials_out is not None:
                write_credentials(meter, credentials_out, server.url)
            (announce or say)(f"listening on {server.url}")
            await (stop or asyncio.Event()).wait()


def run_meter(
    *,
    preset: str = "suite0",
    host: str = "127.0.0.1",
    port: int = 0,
    url: str | None = None,
    config: PathLike | None = None,
    state: PathLike | None = None,
    credentials_out: PathLike | None = None,
    trust: PathLike | None = None,
    wire_log: PathLike | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Run a meter until SIGTERM or SIGINT; the arguments are those of `serve_meter`.

    What it refuses, and why, is a line each on stderr (the logger `meterseal.meter`, unless somebody has
    set its level).
    """
    serve = partial(
        serve_meter, preset=preset, host=host, port=port, url=url, config=config, state=state,
        credentials_out=credentials_out, trust=trust, wire_log=wire_log, announce=announce,
    )  # fmt: skip
    run_until_signal(lambda stop: serve(stop=stop))


def run_until_signal(serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run what ends with an event, which SIGTERM and SIGINT set; the journal goes to stderr."""
    _journal_to_stderr()

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        await serve(stop)

    asyncio.run(run())


def _journal_to_stderr() -> None:
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    if not log.hasHandlers():
        log.addHandler(logging.StreamHandler())


def say(line: str) -> None:
    """Say a line on stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
