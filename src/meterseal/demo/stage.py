"""The stage: a meter process with a folder of its own, its credentials, wires to it, and evidence of them."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Unpack

from meterseal import client
from meterseal.client import Wishes
from meterseal.credentials import Credentials
from meterseal.credentials.files import write_private
from meterseal.demo.street import Street
from meterseal.demo.wire import Middle, Passed, Wire, untouched
from meterseal.errors import ConnectionLost, Misuse
from meterseal.probe import Dissector, Keyring

METER: Final = "meterseal.demo.meter"
COMPRESSED: Final = '[roles.operator]\ncompression = "packet-default"\n'
"""Over the preset: answers to the operator are compressed where the form can say so, and it pays."""

START: Final = 60.0
"""Seconds that the meter has until it listens."""

KEYS: Final = ("guek", "gak", "kek")
NOTE: Final = "keys of a meter that was made for this demonstration and is gone"
_SAYS: Final = "listening on "


class Stage:
    """A meter that runs; use with `async with`. At the end neither a process nor a folder is left.

    `preset`, `config` (TOML) and `trust` (a PEM file) are those of `meterseal meter run`.
    """

    def __init__(self, preset: str = "suite0", config: str = "", trust: str = "") -> None:
        self._folder = TemporaryDirectory(prefix="meterseal-demo-")
        self._preset, self._config, self._trust = preset, config, trust
        self._others: dict[str, Stage] = {}
        self._street: Street | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._read = 0
        self.url = ""
        self.credentials = Credentials()

    async def __aenter__(self) -> Stage:
        try:
            await self.start()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        try:
            for other in self._others.values():
                await other._leave()
            if self._street is not None:
                await self._street.close()
            await self.kill()
        finally:
            self._folder.cleanup()

    async def suite1(self) -> Stage:
        """The stage beside this one, with a meter of suite 1: made when the first scene asks for it."""
        return await self._beside("suite1", COMPRESSED)

    async def keyed(self) -> Stage:
        """The same with a meter of suite 0 whose keys a store has: none of its clients counts elsewhere."""
        return await self._beside("suite0")

    async def _beside(self, preset: str, config: str = "") -> Stage:
        if preset not in self._others:
            self._others[preset] = Stage(preset, config)
            await self._others[preset].start()
        return self._others[preset]

    async def street(self) -> Street:
        """The street beside the stage: made when the first scene asks for it."""
        if self._street is None:
            self._street = Street(Path(self.at("street")))
            await self._street.open()
        return self._street

    # --- the meter ----------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The meter's process."""
        return self._running.pid

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise Misuse("the meter does not run")
        return self._process

    async def start(self) -> None:
        """Start the meter on its state folder, and take its credentials. ConnectionLost when it does not."""
        config = self.at("config.toml") if self._config else ""
        if config:
            write_private(Path(config), self._config.encode(), "configuration")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", METER, self.at("meter"), self.at("meter.toml"),
                self._preset, config, self._trust,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        line = await self._first_line(self._process)
        if not line.startswith(_SAYS):
            last = self.journal()[-1:] or ["it says nothing"]
            raise ConnectionLost(f"the meter process did not start: {last[0]}")
        self.url = line.removeprefix(_SAYS).strip()
        self.credentials = Credentials.load(self.at("meter.toml"))

    async def _first_line(self, process: asyncio.subprocess.Process) -> str:
        if process.stdout is None:
            return ""
        try:
            async with asyncio.timeout(START):
                return (await process.stdout.readline()).decode()
        except TimeoutError:
            return ""

    async def kill(self) -> int:
        """End the meter as a power cut would (SIGKILL); its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.kill()
        code = await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return code

    @property
    def _log(self) -> Path:
        return Path(self.at("meter.log"))

    def at(self, name: str) -> str:
        """The path of something in the stage's folder, which is gone at the end."""
        return str(Path(self._folder.name, name))

    def journal(self) -> list[str]:
        """What the meter has put down, for its owner only, since this was asked for the last time."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            octets = log.read()
        self._read += len(octets)
        return octets.decode("utf-8", "replace").splitlines()

    # --- clients --------------------------------------------------------------------------------------

    def wire(self, middle: Middle = untouched) -> Wire:
        """A wire to the meter, with somebody in the middle of it."""
        return Wire(self.url, middle)

    def sign_on(
        self, role: str, wire: Wire, credentials: Credentials | None = None, **wishes: Unpack[Wishes]
    ) -> AbstractAsyncContextManager[client.Meter]:
        """A client that signs on over a wire, by itself on its connection."""
        return client.connect(wire.url, credentials or self.credentials, role, state=self.clients, **wishes)

    async def visit(self, role: str, wire: Wire, credentials: Credentials | None = None) -> None:
        """Sign on and leave again; raises what the sign-on ends with."""
        async with self.sign_on(role, wire, credentials):
            pass

    def link(self, wire: Wire) -> client.Link:
        """A connection over a wire, for several associations."""
        return client.link(wire.url, self.credentials, state=self.clients)

    @property
    def clients(self) -> str:
        """The folder where all clients of the stage keep their counters."""
        return self.at("clients")

    # --- evidence ---------------------------------------------------------------------------------------

    def keys(self, *roles: str) -> dict[str, Any]:
        """Titles and keys of some roles, for the evidence."""
        title = self.credentials.meter.system_title or b""
        return {
            "note": NOTE,
            "meter_system_title": hexed(title),
            "roles": {role: self._keys_of(role) for role in roles},
        }

    def _keys_of(self, name: str) -> dict[str, Any]:
        role = self.credentials.role(name)
        held = {key: octets for key in KEYS if (octets := role.octets(key)) is not None}
        return {
            "client": role.client,
            "client_system_title": hexed(role.client_system_title or b""),
            **{key: hexed(octets) for key, octets in held.items()},
        }

    def opened(self, passed: list[Passed], credentials: Credentials | None = None) -> list[dict[str, Any]]:
        """What arrived over a wire, frame by frame, opened with the keys of all roles of some credentials."""
        return opened(passed, Keyring.of_credentials(credentials or self.credentials))


def opened(passed: list[Passed], keyring: Keyring) -> list[dict[str, Any]]:
    """Frames as `{"direction", "hex", "layers", "apdu", "plain"}`; `sent` where something else arrived."""
    dissector, frames = Dissector(keyring), []
    for one in passed:
        changed = {"sent": hexed(one.sent)} if one.sent != one.arrived else {}
        for found in dissector.feed(one.arrived):
            shown = found.to_json()
            del shown["value"]
            frames.append({"direction": one.direction, **changed, "hex": hexed(one.arrived), **shown})
    return frames


def hexed(octets: bytes) -> str:
    """Octets as upper-case hex."""
    return octets.hex().upper()
