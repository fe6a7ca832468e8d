"""A meter and a store that knows it, on lines that are cut where a test says; runs until nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meterseal import net
from meterseal.authority.adoption import adopt
from meterseal.authority.probing import Line
from meterseal.authority.rotator import Report, Rotator
from meterseal.authority.store import Store, create_store, open_store
from meterseal.authority.store.keystore import KeyStore
from meterseal.credentials import Credentials
from meterseal.keys.kinds import NAMES, Slot
from meterseal.keys.lifecycle import State
from meterseal.meter import Meter, Party, credentials_of, load_plan
from meterseal.meter.plan import MeterPlan

CONFIG = """# A meter with secrets of all kinds, and something that may be broadcast.
[[objects]]
class = 1
obis = "0.0.96.13.0.255"
type = "os"
value = "00"
writable = true

[roles.manager]
broadcast = ["1/0.0.96.13.0.255:2"]

[roles.operator]
broadcast = ["1/0.0.96.13.0.255:2"]
[[roles.operator.rights]]
objects = ["0.0.96.13.0.255"]
attributes = { 2 = "read write" }

[roles.weak]
broadcast = ["1/0.0.96.13.0.255:2"]
client = 20
logical_devices = [1]
mechanism = "lls"
policy = "authenticated+encrypted"
allow_weak = true
secret = "text:12345678-abcdefgh"
client_system_title = "4D534C4845530020"
[[roles.weak.rights]]
objects = ["0.0.40.0.0.255", "0.0.42.0.0.255", "0.0.96.13.0.255"]
attributes = "read write"

[roles.strong]
broadcast = ["1/0.0.96.13.0.255:2"]
client = 21
logical_devices = [1]
mechanism = "sha256"
secret = "text:0123456789-abcdefgh"
policy = "authenticated+encrypted"
client_system_title = "4D534C4845530021"
[[roles.strong.rights]]
objects = ["0.0.40.0.0.255", "0.0.42.0.0.255", "0.0.96.13.0.255"]
attributes = "read write"
methods = "access"
"""
TARGET = "1/0.0.96.13.0.255:2"


class Killed(BaseException):
    """The process of the executor ends here."""


class Scene:
    """One meter, one store; `cut` sees every frame and may lose it, or end the executor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "meter.toml").write_text(CONFIG)
        self._plan = self.plan()
        self.meter = Meter(self._plan, folder / "meter")
        self.party: Party | None = None
        self.frames = 0
        self.cut: Callable[[str, int], bool] = lambda direction, number: False
        found = self.credentials()
        with create_store(str(folder / "keys.db"), by="test") as store:
            self.title = adopt(store, found, broadcast=TARGET).title
            settings = store.keys.device(self.title).settings
            settings["roles"].get("installer", {}).pop("broadcast", None)
            store.keys.set_settings(self.title, settings)

    def plan(self) -> MeterPlan:
        return load_plan("suite0", self.folder / "meter.toml")

    def credentials(self) -> Credentials:
        return credentials_of(self.meter)

    def rotator(self, store: Store) -> Rotator:
        return Rotator(store, Line(line=self.line, timeout=60))

    def open(self) -> Store:
        return open_store(str(self.folder / "keys.db"), by="test")

    def restart(self) -> None:
        """The meter after a power cut."""
        self.meter.close()
        self.meter, self.party = Meter(self._plan, self.folder / "meter"), None

    def copy(self) -> dict[str, bytes]:
        """The meter's state, as it is now."""
        return {path.name: path.read_bytes() for path in (self.folder / "meter").iterdir()}

    def put_back(self, files: dict[str, bytes]) -> None:
        """The meter goes on from a copy of its state."""
        self.meter.close()
        for name, octets in files.items():
            (self.folder / "meter" / name).write_bytes(octets)
        self.meter, self.party = Meter(self._plan, self.folder / "meter"), None

    def close(self) -> None:
        self.meter.close()

    # --- lines ------------------------------------------------------------------------------------

    def line(self) -> net.Line:
        if self.party is None:
            self.party = Party(self.meter, asyncio.get_running_loop())
        made = net.loopback(self.party.session, tamper=self._tamper)
        self._open = made
        return made

    def _tamper(self, direction: str, octets: bytes) -> bytes:
        self.frames += 1
        if not self.cut(direction, self.frames):
            return octets
        link = self._open.link
        asyncio.get_running_loop().call_soon(link.abort)
        return b""

    # --- runs -------------------------------------------------------------------------------------

    def run(self, act: Callable[[Rotator], Any]) -> Any:
        """One run of the executor, in a loop of its own."""
        self.party, self.frames = None, 0

        async def go() -> Any:
            with self.open() as store:
                return await act(self.rotator(store))

        return asyncio.run(go())

    def rotate(self, kind: str, role: str) -> Report | None:
        """Rotate one slot; None when the executor was killed in it."""
        try:
            report: Report = self.run(lambda rotator: rotator.rotate(self.title, [kind], [role]))
            return report
        except Killed:
            return None

    def heal(self) -> Report:
        """Run again, on a good line, until nothing waits."""
        self.cut = lambda direction, number: False
        report = Report(self.title)
        for _ in range(4):
            report = self.run(lambda rotator: rotator.recover(self.title))
            if not report.again:
                break
        assert not report.again, report.waiting
        return report

    # --- what must hold ---------------------------------------------------------------------------

    def opens(self, *but: Slot) -> None:
        """Every key of the meter is one that is stored and may be tried."""
        with self.open() as store:
            for slot, octets in self.held():
                if slot in but:
                    continue
                stored = [
                    store.keys.reveal(one).reveal() for one in store.keys.slot(slot) if one.standing.tried
                ]
                assert octets in stored, f"{slot.text}: no stored key is that of the meter"

    def settled(self, *but: Slot) -> None:
        """In every slot exactly one key is active, and it is that of the meter."""
        with self.open() as store:
            assert store.rotations.open() == []
            for slot, octets in self.held():
                active = [one for one in store.keys.slot(slot) if one.state is State.ACTIVE]
                assert len(active) == 1, slot.text
                if slot not in but:
                    assert store.keys.reveal(active[0]).reveal() == octets, slot.text

    def held(self) -> list[tuple[Slot, bytes]]:
        """What the meter has, by slot."""
        found = []
        for role in self._plan.roles:
            ring = self.meter.rings.get(role.client)
            if ring is not None and ring.setup.unicast is not None:
                for key_id, name in NAMES.items():
                    if name != "kek":
                        found.append((Slot(self.title, role.name, name), ring.reveal(key_id)))
            association = self.meter.association(role.client, 1)
            if association is not None and association.profile.scheme.needs_secret:
                kind = "lls" if role.scheme.name == "lls" else "hls"
                found.append((Slot(self.title, role.name, kind), association.profile.secret()))
        found.append((Slot(self.title, "", "kek"), self.meter.rings[1].reveal(3)))
        return found


def killing(point: int, *, before: bool) -> Callable[[], None]:
    """Let the executor end at its transaction number `point`, before or after it is durable; undoes it."""
    real, count = KeyStore.acting, 0
    from contextlib import contextmanager

    @contextmanager
    def acting(self: KeyStore, why: str = "") -> Any:
        nonlocal count
        count += 1
        if count == point and before:
            raise Killed
        with real(self, why) as act:
            yield act
        if count == point:
            raise Killed

    KeyStore.acting = acting  # type: ignore[method-assign]

    def undo() -> None:
        KeyStore.acting = real  # type: ignore[method-assign]

    return undo


def cut_line(scene: Scene, kind: str, role: str, point: int) -> bool:
    """Lose frame number `point` and the line with it; False when the run had fewer."""
    scene.cut = lambda direction, number: number == point
    scene.rotate(kind, role)
    return scene.frames >= point


def cut_process(scene: Scene, kind: str, role: str, point: int, before: bool) -> bool:
    """End the executor at its transaction `point`; False when the run had fewer."""
    scene.cut = lambda direction, number: False
    undo = killing(point, before=before)
    try:
        return scene.rotate(kind, role) is None
    finally:
        undo()
