"""What a suite costs: processor time at either end and octets on the line, by suite, protection, compression.

Both state machines in one process, octets handed over in memory, curve work inline.  The time of the ends is
measured apart, with all checks on; what lies behind a meter's association (objects, disks) is left out.
Octets are those of the TCP wrapper's frames.  The figures go into the package, for `meterseal suites`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from bench.case import Figures
from bench.cases_curves import CLIENT, METER, Keys
from meterseal.association import (
    Associated,
    ClientAssociation,
    ClientProfile,
    Compute,
    Confirmed,
    Effect,
    Indication,
    Operation,
    Outcome,
    Reply,
    ServerAssociation,
    ServerProfile,
    Service,
)
from meterseal.client.typed import to_selection
from meterseal.cosem.obis import Obis
from meterseal.cosem.selection import ByEntry
from meterseal.crypto import SigningKey, suite
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.framing.wrapper import HEADER_LENGTH
from meterseal.keys.trust import Trust
from meterseal.security import SIGNED
from meterseal.security.packing import COMPRESSION
from tests.meter.world import read, world

FIGURES: Final = Path(__file__).parents[1] / "src" / "meterseal" / "cli" / "suites.json"
ROUNDS: Final = 9
ROOM: Final = 65_535
REGISTER, PROFILE = Obis("1.0.1.8.0.255"), Obis("1.0.99.1.0.255")
ENERGY: Final = bytes.fromhex("06000F4240")
"""A register's value, double-long-unsigned."""

DAY: Final = 96
SIGN_ONS: Final = (
    (0, "gmac", ""), (1, "gmac", ""), (1, "ecdsa", "known"), (1, "ecdsa", "sent"),
    (2, "gmac", ""), (2, "ecdsa", "known"), (2, "ecdsa", "sent"),
)  # fmt: skip
FORMS: Final = (
    ("", 0),
    ("", SIGNED),
    ("identified", 0),
    ("static", 0),
    ("one-pass", 0),
    ("one-pass", SIGNED),
)
"""Key of general-ciphering (none: general-glo), and what is added to authenticated and encrypted."""

MECHANISMS: Final = {"gmac": 5, "ecdsa": 7}


class Ends:
    """A client and a meter, and what a conversation between them has cost."""

    def __init__(self, suite_id: int, mechanism: str, certificates: str = "", **client: Any) -> None:
        keys = Keys(suite_id) if suite_id else Keys(1)
        if not suite_id:
            for setup in (keys.client, keys.meter):
                setup.suite = suite(0)
                setup.signing = setup.agreement = None
        if certificates == "sent":
            _certify(keys)
        common: dict[str, Any] = {
            "client_sap": 1, "server_sap": 1, "mechanism": MECHANISMS[mechanism], "ciphered": True,
            "max_pdu": ROOM, "compression": client.pop("compression", None),
        }  # fmt: skip
        self.client = ClientAssociation(ClientProfile(setup=keys.client, **common, **client))
        self.meter = ServerAssociation(ServerProfile(setup=keys.meter, view=_View(), **common), os.urandom)
        self.answer = Outcome(0, ENERGY)
        self.spent = [0.0, 0.0]
        self.octets = 0

    def clear(self) -> None:
        """Count anew."""
        self.spent, self.octets = [0.0, 0.0], 0

    def sign_on(self) -> None:
        """From the AARQ to pass 4."""
        challenge = os.urandom(self.client.profile.scheme.drawn)
        self._talk(lambda: self.client.associate(challenge, os.urandom(8)), Associated)

    def get(self, operation: Operation, added: int) -> bytes:
        """One read; its Data."""
        found = self._talk(lambda: self.client.request((operation,), added=added), Confirmed)
        data: bytes | None = found.outcomes[0].data
        if data is None:
            raise AssertionError("refused")
        return data

    def _talk(self, begin: Callable[[], list[Effect]], until: type) -> Any:
        ends, at = (self.client, self.meter), 0
        effects = self._timed(0, begin)
        while True:
            effect, *others = effects
            if at == 0 and isinstance(effect, until):
                return effect
            if isinstance(effect, Reply):
                self.octets += HEADER_LENGTH + len(effect.octets)
                at = 1 - at
                octets, end = effect.octets, ends[at]
                effects = self._timed(at, lambda end=end, octets=octets: end.receive(octets))  # type: ignore[misc]
            elif isinstance(effect, Compute):
                token, job, end = effect.token, effect.job, ends[at]
                effects = self._timed(at, lambda end=end, t=token, job=job: end.resume(t, job()))  # type: ignore[misc]
            elif isinstance(effect, Indication):
                token = effect.token
                effects = self._timed(1, lambda token=token: self.meter.respond(token, [self.answer]))  # type: ignore[misc]
            else:
                effects = others

    def _timed(self, at: int, work: Callable[[], list[Effect]]) -> list[Effect]:
        start = time.thread_time()
        effects = work()
        self.spent[at] += time.thread_time() - start
        return effects


class _View:
    """Everything may be read."""

    def right(self, operation: Operation, user: int | None) -> int | None:
        """Read."""
        return 1


def _certify(keys: Keys) -> None:
    """Certificates of one root for both signature keys; neither end knows the other's beforehand."""
    now = datetime.now(UTC)
    validity = Validity(now - timedelta(days=1), now + timedelta(days=365))
    root = Authority.root(SigningKey.generate(keys.curve), "Root", validity)
    for setup, key, title in zip((keys.client, keys.meter), keys.signing, (CLIENT, METER), strict=True):
        setup.certificate = root.issue(key.public, title, Purpose.SIGNATURE, validity).der
    for setup in (keys.client, keys.meter):
        setup.directory = Trust([Certificate(root.certificate.der)], lambda: datetime.now(UTC))


class Row(NamedTuple):
    """One row of a table: its words, who speaks, one turn of it, and how often in a round."""

    words: dict[str, Any]
    ends: Ends
    turn: Callable[[], object]
    turns: int


def _least(rows: Sequence[Row], rounds: int) -> list[dict[str, Any]]:
    """The least of rounds that take all rows in turn: microseconds at either end and octets of one turn.

    The least, and not the median: these are figures and no ratios, and what else runs on a machine only adds.
    """
    for row in rows:
        for _ in range(row.turns):
            row.turn()  # the first ones have something to set up
    spent: list[list[list[float]]] = [[] for _ in rows]
    for _ in range(rounds):
        for row, found in zip(rows, spent, strict=True):
            row.ends.clear()
            for _ in range(row.turns):
                row.turn()
            found.append([side / row.turns for side in (*row.ends.spent, row.ends.octets)])
    return [{**row.words, **_figures(found)} for row, found in zip(rows, spent, strict=True)]


def _figures(found: list[list[float]]) -> dict[str, float]:
    client, meter, octets = zip(*found, strict=True)
    return {
        "client_us": round(min(client) * 1e6, 1),
        "meter_us": round(min(meter) * 1e6, 1),
        "octets": round(statistics.median(octets)),  # certificates differ by an octet or two
    }


def a_day() -> bytes:
    """A day of a household's load profile: 96 rows of time, status and two energies, as Data."""
    with TemporaryDirectory(prefix="meterseal-bench-") as folder:
        here = world("[meter]\nseed = 1\n", tmp=Path(folder))
        whole = read(7, str(PROFILE), 2, to_selection(ByEntry(1, DAY)))
        outcome = here.signed_on("operator").one(whole)
        here.meter.close()
    if outcome.data is None:
        raise AssertionError("no profile")
    return outcome.data


def protection(layers: str, added: int) -> str:
    """The row's name: how a message is protected."""
    return "general-glo" * (not layers) + layers + ", signed" * bool(added)


def _sign_ons() -> Iterator[Row]:
    for suite_id, mechanism, certificates in SIGN_ONS:
        ends = Ends(suite_id, mechanism, certificates)
        words = {"suite": suite_id, "mechanism": mechanism, "certificates": certificates}
        yield Row(words, ends, partial(_once, ends), 10)


def _once(ends: Ends) -> None:
    ends.sign_on()
    ends.client.end()


def _reads(operation: Operation, data: bytes, packed: bool, count: int) -> Iterator[Row]:
    """Reads of one value in every form, where `packed` with compression and without."""
    for suite_id in range(3):
        for layers, added in FORMS if suite_id else FORMS[:1]:
            for compression in (None, "packet-default") if packed and suite_id else (None,):
                parameters = None if compression is None else COMPRESSION[compression]
                ends = Ends(suite_id, "gmac", layers=layers, general=True, compression=parameters)
                ends.sign_on()
                ends.answer = Outcome(0, data)
                if ends.get(operation, added) != data:
                    raise AssertionError("another value than was read")
                words = {"suite": suite_id, "protection": protection(layers, added)}
                words |= {"compression": compression or ""} if packed else {}
                yield Row(words, ends, partial(ends.get, operation, added), count)


def measure(rounds: int) -> dict[str, Any]:
    """All three tables, as `suites.json` has them."""
    register = Operation(Service.GET, 3, REGISTER, 2)
    profile, rows = Operation(Service.GET, 7, PROFILE, 2), a_day()
    tables = [
        list(_sign_ons()),
        list(_reads(register, ENERGY, False, 20)),
        list(_reads(profile, rows, True, 5)),
    ]
    sign_on, reading, day = (_least(table, rounds) for table in tables)
    return {
        "measured": {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(),
            "python": platform.python_version(),
            "cryptography": version("cryptography"),
        },
        "plain": {"read": 13 + 4 + len(ENERGY), "day": len(rows)},
        "sign_on": sign_on,
        "read": reading,
        "day": day,
    }


def machine() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write(rounds: int) -> dict[str, dict[str, Any]]:
    """Measure, put the figures where `meterseal suites` finds them, and give a line for each suite."""
    found = measure(rounds)
    FIGURES.write_text(json.dumps(found, indent=1) + "\n")
    return {f"suite_{suite_id}": _line(found, suite_id) for suite_id in range(3)}


def _line(found: dict[str, Any], suite_id: int) -> dict[str, Any]:
    def of(rows: Sequence[dict[str, Any]], at: int) -> dict[str, Any]:
        return [row for row in rows if row["suite"] == suite_id][at]

    sign_on, reading = of(found["sign_on"], -1), of(found["read"], 0)
    return {
        "sign_on_us": round(sign_on["client_us"] + sign_on["meter_us"]), "sign_on_octets": sign_on["octets"],
        "read_us": round(reading["client_us"] + reading["meter_us"]), "read_octets": reading["octets"],
    }  # fmt: skip


CASES: Final = (Figures(("suites",), write, ROUNDS),)
