"""A meter with a third party, the client that carries for it, and the utility, all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meterseal import sync
from meterseal.client.blocking import Meter as Carrier
from meterseal.credentials import Credentials
from meterseal.meter import Meter, Party, load_plan, write_credentials
from meterseal.net.memory import blocking_loopback
from meterseal.net.wirelog import Direction
from meterseal.security.sealed import Sealed
from meterseal.state import MemoryCounters
from meterseal.utility.blocking import SealedMeter
from tests.meter.world import NOON, Timer

UTILITY = bytes.fromhex("4D534C5554494C31")
MORE = """
[third_parties.utility]
system_title = "4D534C5554494C31"
max_age = 600
{peer}
[[third_parties.utility.rights]]
objects = ["0.0.1.0.0.255", "1.0.1.8.0.255", "1.0.99.1.0.255", "0.0.96.1.10.255", "0.0.40.0.0.255"]
attributes = "read write"
methods = "access"
[[third_parties.utility.rights]]
objects = ["0.0.96.3.10.255"]
attributes = "read"
methods = "access{signed}"

[[roles.operator.rights]]   # nobody throws the switch through it but the utility
objects = ["0.0.96.3.10.255"]
methods = "access{signed}"
for = ["utility"]
"""
WRAPPED = "[third_parties.utility.peer]\nthird_party_wrapped_key = true"


def configuration(suite: int, more: str = "") -> str:
    """The TOML of a third party for a preset of this suite."""
    peer, signed = ("", " sign-request sign-response") if suite else (WRAPPED, "")
    return MORE.format(peer=peer, signed=signed) + more


@dataclass
class Street:
    """One meter on a line of its own; `carrier` carries for the `utility`."""

    meter: Meter
    carrier: Carrier
    utility: SealedMeter
    credentials: Credentials
    seconds: list[float]
    carry: Callable[[Sealed], Sealed]
    passed: list[Sealed]
    came: list[bytes]
    """APDUs that the meter has sent to the client."""

    def other(self, **more: Any) -> SealedMeter:
        """Another process of the same utility, whose counters go on from what is kept."""
        credentials = self.credentials.cut_third_party("utility")
        return SealedMeter(credentials, self._through, counters=MemoryCounters(), **more)

    def _through(self, sealed: Sealed) -> Sealed:
        self.passed.append(sealed)
        answer = self.carry(sealed)
        self.passed.append(answer)
        return answer


@contextmanager
def street(
    folder: Path,
    suite: int = 1,
    *,
    role: str = "operator",
    more: str = "",
    state: Path | None = None,
    **wishes: Any,
) -> Iterator[Street]:
    """A street, signed on."""
    config = folder / "meter-config.toml"
    config.write_text("# Configuration of a test\n" + configuration(suite, more))
    seconds = [float(NOON)]
    meter = Meter(load_plan(f"suite{suite}", config), state, wall=lambda: seconds[0])
    write_credentials(meter, folder / "meter.toml", "tcp://127.0.0.1:1")
    credentials = Credentials.load(folder / "meter.toml")
    came: list[bytes] = []

    def seen(direction: Direction, frame: bytes) -> bytes:
        if direction == "in":
            came.append(frame[8:])
        return frame

    line = blocking_loopback(Party(meter, Timer()).session, tamper=seen)
    own = credentials.cut(role)
    with (
        sync.link(credentials=own, counters=MemoryCounters(), line=line) as link,
        link.associate(role, **wishes) as carrier,
    ):
        made = Street(meter, carrier, None, credentials, seconds, carrier.forward, [], came)  # type: ignore[arg-type]
        made.utility = made.other(timeout=30.0)
        made.utility._session._now = lambda: _moment(seconds[0])
        yield made
    meter.close()


def _moment(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)
