"""A street: meters, a concentrator, a head-end and a utility, each with a folder and keys of its own.

| folder | holds |
| --- | --- |
| `meters/meter-N` | configuration, state, and the credentials of all its roles, which stay there |
| `concentrator` | its file, its state, the credentials of its own management: no key of a meter |
| `headend` | its file, database, counters; of each meter the one role that it signs on as; its TLS key |
| `utility` | of each meter what the third party holds; its TLS key; `pushes.jsonl`, what meters have pushed |
| `authority` | the root of the TLS certificates; its key is gone once they are made |

All of them but the authority are processes.  That of the utility opens pushes as they come; requests are
commands of their own (`meterseal utility read`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from meterseal import client
from meterseal.credentials import Credentials
from meterseal.credentials.files import is_there, write_private, write_public
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import write_key
from meterseal.demo.street_meters import PUSH, meter_text
from meterseal.errors import ConfigurationError, ConnectionLost, StateUnavailable

SUITES: Final = 3
START: Final = 60.0
"""Seconds that a process has until it listens."""

END: Final = 10.0
"""Seconds that a process has to end."""

_LOOK: Final = 0.05
DAYS: Final = 30
UTILITY: Final = "utility"
UTILITY_TITLE: Final = bytes.fromhex("4D534C5554494C31")
HEADEND_TITLE: Final = bytes.fromhex("4D534C4845530004")
ROLE: Final = "headend"

_COMMAND: Final = "from meterseal.cli import main; main()"
_SAYS: Final = "listening on "
_PUSHES: Final = "pushes on "


@dataclass(slots=True)
class Process:
    """One party that runs: its name, folder, and URL once it listens; `pushes` is where meters push to."""

    name: str
    folder: Path
    process: asyncio.subprocess.Process
    url: str = ""
    pushes: str = ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def log(self) -> Path:
        """What it has said on stderr."""
        return self.folder / "process.log"


@dataclass(slots=True)
class House:
    """One meter of the street: its suite, its credentials by holder, whether the concentrator is in front."""

    name: str
    suite: int
    behind: bool
    folder: Path
    title: bytes = b""
    url: str = ""
    files: dict[str, Path] = field(default_factory=dict)


class Street:
    """A street of `count` meters in `folder`.  Used with `async with`: at the end no process is left.

    Every third meter is behind the concentrator; suites 0, 1, 2 take turns.  Raises ConfigurationError for a
    folder with something in it, ConnectionLost when a process does not start.
    """

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.folder = folder.absolute()
        self.houses = [
            House(
                f"meter-{at + 1}", at % SUITES, at % SUITES == 2, self.folder / "meters" / f"meter-{at + 1}"
            )
            for at in range(count)
        ]
        self.processes: list[Process] = []

    async def open(self) -> None:
        """Build it and start everybody; whoever opens it closes it."""
        try:
            await self._build()
        except BaseException:
            await self.close()
            raise

    async def __aenter__(self) -> Street:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- for who uses it --------------------------------------------------------------------------

    def process(self, name: str) -> Process:
        """A party that runs."""
        return next(one for one in self.processes if one.name == name)

    @property
    def via(self) -> str:
        """Where the head-end is."""
        return self.process("headend").url

    def told(self) -> dict[str, Any]:
        """`{"processes", "credentials", "meters", "via"}` for programs."""
        held: dict[str, str] = {house.name: str(house.files["meter"]) for house in self.houses}
        held |= {party: str(self.folder / party) for party in ("utility", "headend")}
        return {
            "processes": [
                {"name": one.name, "pid": one.pid, "url": one.url, "dir": str(one.folder)}
                for one in self.processes
            ],
            "credentials": held,
            "meters": [
                {"name": house.name, "suite": house.suite, "system_title": house.title.hex().upper(),
                 "behind": "concentrator" if house.behind else None, "utility": str(house.files["utility"])}
                for house in self.houses
            ],
            "via": self.via,
        }  # fmt: skip

    async def died(self) -> Process:
        """Wait until a process ends of itself; which."""
        waiting = {asyncio.create_task(one.process.wait()): one for one in self.processes}
        done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        return waiting[done.pop()]

    async def close(self) -> None:
        """End all processes, those in front first."""
        running = [one for one in reversed(self.processes) if one.process.returncode is None]
        for one in running:
            with suppress(ProcessLookupError):
                one.process.terminate()
        for one in running:
            try:
                async with asyncio.timeout(END):
                    await one.process.wait()
            except TimeoutError:
                one.process.kill()
                await one.process.wait()

    # --- building ---------------------------------------------------------------------------------

    async def _build(self) -> None:
        try:
            if is_there(self.folder, "street") and any(self.folder.iterdir()):
                raise ConfigurationError(
                    f"{self.folder} has something in it: a street is built in a new folder"
                )
            for name in ("authority", "concentrator", "headend", "utility"):
                (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateUnavailable(f"street {self.folder}: {error.strerror or error}") from None
        self._certificates()
        await asyncio.gather(*map(self._meter, self.houses))
        if any(house.behind for house in self.houses):
            await self._concentrator()
        for house in self.houses:
            self._hand_out(house)
        await self._headend()
        await asyncio.gather(self._utility(), self._say_where())

    def _certificates(self) -> None:
        """TLS certificates of head-end and utility, each other's where the other looks for them."""
        now = datetime.now(UTC)
        validity = Validity(now - timedelta(hours=1), now + timedelta(days=DAYS))
        root = Authority.root(SigningKey.generate(curve("P-256")), "Street TLS root", validity)
        write_public(self.folder / "authority" / "root.pem", root.certificate.to_pem(), "certificate")
        write_public(self.folder / "headend" / "root.pem", root.certificate.to_pem(), "certificate")
        for party, other, title in (
            ("headend", "utility", HEADEND_TITLE),
            ("utility", "headend", UTILITY_TITLE),
        ):
            key = TlsKey.generate(curve("P-256"))
            made = root.issue(key.public, title, Purpose.TLS, validity)
            write_private(self.folder / party / "tls.key", write_key(key), "private key")
            for holder in (party, other):
                write_public(self.folder / holder / f"{party}-tls.pem", made.to_pem(), "certificate")

    async def _start(self, name: str, folder: Path, *words: str, pushes: bool = False) -> Process:
        with (folder / "process.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-c", _COMMAND, *words,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=folder,
            )  # fmt: skip
        one = Process(name, folder, process)
        self.processes.append(one)
        one.url = await self._said(one, _SAYS)
        if pushes:
            one.pushes = await self._said(one, _PUSHES)
        return one

    async def _said(self, one: Process, begin: str) -> str:
        """What is behind these words in the next line that it says."""
        line = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(START):
                if one.process.stdout is not None:
                    line = (await one.process.stdout.readline()).decode()
        if not line.startswith(begin):
            said = one.log.read_text("utf-8", "replace").splitlines()[-1:] or ["it says nothing"]
            raise ConnectionLost(f"{one.name} did not start: {said[0]}")
        return line.removeprefix(begin).strip()

    async def _meter(self, house: House) -> None:
        house.folder.mkdir(mode=0o700, parents=True)
        (house.folder / "config.toml").write_text(meter_text(house.suite), encoding="utf-8")
        out = house.files["meter"] = house.folder / "meter.toml"
        one = await self._start(
            house.name, house.folder, "meter", "run", "--preset", f"suite{house.suite}",
            "--config", "config.toml", "--state", "state", "--credentials-out", out.name,
        )  # fmt: skip
        house.url = one.url
        house.title = Credentials.load(out).meter.system_title or b""

    async def _concentrator(self) -> None:
        folder = self.folder / "concentrator"
        lines = [
            "# The concentrator of the street: no key of a meter is here.",
            "[concentrator]", 'pushes = ["tcp://127.0.0.1:0"]',
        ]  # fmt: skip
        behind = [house for house in self.houses if house.behind]
        for at, house in enumerate(behind, 1):
            lines += [
                f"[meters.{house.name}]", "network = 1", f'address = "{at:04X}"', f'url = "{house.url}"',
                f'system_title = "{house.title.hex().upper()}"',
            ]  # fmt: skip
        (folder / "concentrator.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        one = await self._start(
            "concentrator", folder, "concentrator", "run", "--config", "concentrator.toml",
            "--state", "state", "--credentials-out", "own.toml", pushes=True,
        )  # fmt: skip
        for at, house in enumerate(behind, 1):
            house.url = f"{one.url}?gateway=1/{at:04X}"

    def _hand_out(self, house: House) -> None:
        """To the head-end its role, to the utility what the third party holds, with copies of the files."""
        whole = Credentials.load(house.files["meter"]).at(house.url)
        for holder, cut in ((ROLE, whole.cut(ROLE)), (UTILITY, whole.cut_third_party(UTILITY))):
            path = house.files[holder] = self.folder / holder / f"{house.name}.toml"
            cut.with_copies(path).save(path)
        path = house.files[UTILITY]
        held = Credentials.load(path)
        third = replace(
            held.third_party(UTILITY),
            tls_key="tls.key", tls_certificate="utility-tls.pem", head_end="headend-tls.pem",
        )  # fmt: skip
        replace(held, third_parties={UTILITY: third}).save(path)

    async def _headend(self) -> None:
        folder = self.folder / "headend"
        names = ", ".join(f'"{house.name}"' for house in self.houses)
        lines = [
            "# The head-end of the street: it carries, and of each meter it holds one role.",
            "[headend]", 'listen = "https://127.0.0.1:0"', 'certificate = "headend-tls.pem"',
            'key = "tls.key"', 'clients = ["root.pem"]', 'pushes = ["tcp://127.0.0.1:0"]',
            "[utilities.utility]", 'certificates = ["utility-tls.pem"]',
            f'titles = ["{UTILITY_TITLE.hex().upper()}"]', f"meters = [{names}]",
        ]  # fmt: skip
        for house in self.houses:
            lines += [
                f"[meters.{house.name}]", f'credentials = "{house.name}.toml"', f'role = "{ROLE}"',
                'collect = ["8/0.0.1.0.0.255:2"]', "every = 900",
            ]  # fmt: skip
        write_private(folder / "headend.toml", ("\n".join(lines) + "\n").encode())
        await self._start(
            "headend", folder, "headend", "serve", "--config", "headend.toml", "--state", "state", pushes=True
        )

    async def _utility(self) -> None:
        await self._start(
            UTILITY, self.folder / UTILITY, "utility", "pushes", "--via", self.via, "--credentials", ".",
            "--follow", "--out", "pushes.jsonl",
        )  # fmt: skip

    async def _say_where(self) -> None:
        """Tell meters and concentrator where pushes go to: nobody knew before all of them were there."""
        there = self.process("headend").pushes
        for house in self.houses:
            where = self.process("concentrator").pushes if house.behind else there
            host = where.removeprefix("tcp://").encode()
            async with self._manager(house.files["meter"]) as meter:
                await meter.write(f"40/{PUSH}:3", [0, host, 0])
        if any(house.behind for house in self.houses):
            async with self._manager(self.process("concentrator").folder / "own.toml") as own:
                await own.write("1/0.0.96.50.2.255:2", there, "utf8")

    @staticmethod
    def _manager(path: Path) -> AbstractAsyncContextManager[client.Meter]:
        return client.connect(credentials=path, role="manager")

    async def pushed(self, house: House) -> dict[str, Any]:
        """Let a meter push, and wait until the utility has opened it: its line of `pushes.jsonl`."""
        path, title = self.folder / UTILITY / "pushes.jsonl", house.title.hex().upper()
        before = _lines_of(path, title)
        async with self._manager(house.files["meter"]) as meter:
            await meter.call(f"40/{PUSH}:1")
        async with asyncio.timeout(START):
            while len(found := _lines_of(path, title)) == len(before):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
        return found[-1]


def _lines_of(path: Path, title: str) -> list[dict[str, Any]]:
    """The whole lines of a meter in the utility's file."""
    lines = [] if not path.exists() else path.read_text("utf-8").split("\n")[:-1]
    return [one for one in map(json.loads, lines) if one["meter"] == title]


async def stay(folder: Path, count: int, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Build a street, say one line of JSON about it, and keep it until `stop`.

    Raises ConnectionLost when a process ends of itself.
    """
    async with Street(folder, count) as street:
        say(json.dumps(street.told()))
        ended, stopped = asyncio.create_task(street.died()), asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not stop.is_set():
            one = ended.result()
            raise ConnectionLost(f"{one.name} has ended: see {one.log}")
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
