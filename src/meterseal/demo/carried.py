"""Scenes of a street: what a head-end carries and cannot know, and what a hostile one cannot do unnoticed."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

from meterseal import client
from meterseal.credentials import Credentials
from meterseal.demo import memory
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed
from meterseal.demo.street import ROLE, UTILITY, House, Street
from meterseal.errors import Altered, Moved, Refused, Replayed, TimedOut, Withheld
from meterseal.security.sealed import Sealed
from meterseal.state import FileCounters
from meterseal.utility import SealedMeter
from meterseal.utility.over_https import Via

PROFILE: Final = "1.0.99.1.0.255"
ENERGY: Final = "3/1.0.1.8.0.255:2"
SWITCH: Final = "70/0.0.96.3.10.255:1"
STATE: Final = "70/0.0.96.3.10.255:2"
ROWS: Final = 96
_EVERY: Final = 8  # rows that are looked for: each of these

_SHORT: Final = 1.0
"""Seconds that the utility waits for an answer that is withheld."""

Carry = Callable[[Sealed], Awaitable[Sealed]]


class _End:
    """The utility's end toward one meter, by way of the head-end; `between` may do something on the way."""

    def __init__(self, street: Street, house: House) -> None:
        self.credentials = Credentials.load(house.files[UTILITY])
        self.via = Via(street.via, self.credentials)
        self.passed: list[Sealed] = []
        self.between: Carry = self.plain
        self.meter = SealedMeter(self.credentials, self._carry)

    async def _carry(self, sealed: Sealed) -> Sealed:
        return await self.between(sealed)

    async def plain(self, sealed: Sealed) -> Sealed:
        """As it is carried."""
        answer = await self.via.carry(sealed)
        self.passed += [sealed, answer]
        return answer

    async def __aenter__(self) -> _End:
        return self

    async def __aexit__(self, *causes: object) -> None:
        await self.via.close()


async def sealed(stage: Stage, account: Account) -> None:
    """A profile, a signed command and pushes past concentrator and head-end; then these are searched."""
    street = await stage.street()
    far, near = street.houses[2], street.houses[0]
    async with _End(street, far) as end, _End(street, near) as other:
        rows = await end.meter.profile(PROFILE, entries=(1, ROWS))
        account.fact("rows of the load profile at the utility", len(rows), len(rows) == ROWS)
        kinds = [layer["kind"] for layer in end.meter.layers]
        account.fact(
            "what protected them", ", ".join(kinds), kinds == ["general-ciphering", "general-signing"]
        )
        await end.meter.call(SWITCH)
        account.fact("the switch, after the signed call", *_off((await end.meter.read(STATE)).value))
        energy = await other.meter.read(ENERGY)
        account.done(f"energy of {near.name}, suite 0", energy.value)
    pushed = [bytes.fromhex((await street.pushed(house))["plain"]) for house in (far, near)]
    account.fact("pushes that the utility's process has opened, octets", *_sizes(pushed))
    refusal = await raised(_by_itself(street, near))
    account.refusal("the head-end reads the profile for itself", refusal, Refused)
    secrets = {
        **{f"row {at + 1}": one for at, one in enumerate(_rows(rows.raw, rows.cells[::_EVERY]))},
        "energy as text": str(rows.cells[-1][2]).encode(),
        **{f"push {at + 1}": plain for at, plain in enumerate(pushed)},
        **{f"energies of push {at + 1}": plain[-10:] for at, plain in enumerate(pushed)},
        **_keys(end.credentials),
        **_keys(other.credentials),
    }
    account.fact("octets to look for", len(secrets), len(secrets) >= ROWS // _EVERY + 4)
    _search_files(street, secrets, account)
    _search_memory(street, secrets, far, account)
    account.evidence |= {
        "note": "keys of meters that were made for this demonstration and are gone",
        "looked_for": {name: hexed(octets) for name, octets in secrets.items()},
        "kek": hexed(other.credentials.third_party().octets("kek") or b""),
        "request": hexed(other.passed[0].octets),
        "answer": hexed(other.passed[1].octets),
        "raw": hexed(energy.raw),
    }


def _off(state: Any) -> tuple[str, bool]:
    return f"output {'on' if state else 'off'}", state is False


def _sizes(pushed: list[bytes]) -> tuple[str, bool]:
    return ", ".join(str(len(one)) for one in pushed), all(one[-10] == one[-5] == 6 for one in pushed)


def _rows(raw: bytes, cells: list[tuple[Any, ...]]) -> list[bytes]:
    """Of each row the two energies as they stand in the buffer: ten octets that are nobody else's."""
    forms = [b"\x06%b\x06%b" % (row[2].to_bytes(4, "big"), row[3].to_bytes(4, "big")) for row in cells]
    return [form for form in forms if form in raw]


def _keys(held: Credentials) -> dict[str, bytes]:
    """The private keys of a third party, bare: the numbers themselves, or the KEK."""
    third, folder = held.third_party(), (held.path or Path()).parent
    named = {"signing key": third.signing_key, "agreement key": third.agreement_key}
    found = {name: _number((folder / file).read_bytes()) for name, file in named.items() if file is not None}
    kek = third.octets("kek")
    return found if kek is None else {**found, "KEK": kek}


def _number(pem: bytes) -> bytes:
    """The private number in a PKCS#8 file of a curve key."""
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-"))
    inside = re.search(rb"\x02\x01\x01\x04([\x20\x30])(.*)", base64.b64decode(body), re.DOTALL)
    return b"" if inside is None else inside[2][: inside[1][0]]


async def _by_itself(street: Street, house: House) -> None:
    """What the head-end gets with all that it holds, counters included, when it asks for itself."""
    counters = FileCounters(street.folder / ROLE / "state" / "counters" / house.title.hex().upper())
    held = Credentials.load(house.files[ROLE])
    async with client.connect(credentials=held, role=ROLE, counters=counters) as meter:
        await meter.profile(PROFILE, entries=(1, 1))


def _search_files(street: Street, secrets: dict[str, bytes], account: Account) -> None:
    """Database, counters, journal, files: everything in the folders of those who carry."""
    for party in ("headend", "concentrator"):
        files = [path for path in (street.folder / party).rglob("*") if path.is_file()]
        held = b"\0".join(path.read_bytes() for path in files)
        hits = sum(held.count(form) for octets in secrets.values() for form in _forms(octets))
        account.fact(f"hits in {len(files)} files of the {party}, {len(held)} octets", hits, hits == 0)


def _forms(octets: bytes) -> Iterable[bytes]:
    """As they are, and written in hex."""
    return octets, octets.hex().encode(), octets.hex().upper().encode()


def _search_memory(street: Street, secrets: dict[str, bytes], house: House, account: Account) -> None:
    """The memory of both processes; that the search finds what is there, a key of the head-end shows."""
    if not memory.readable():
        account.done("memory of the processes", "not shown by this system")
        return
    own = Credentials.load(house.files[ROLE]).role().octets("guek") or b""
    for party, holds in (("headend", True), ("concentrator", False)):
        counted = memory.found(street.process(party).pid, {own, *secrets.values()})
        hits = sum(count for octets, count in counted.items() if octets != own)
        account.fact(f"hits in the memory of the {party}", hits, hits == 0)
        there = counted[own]
        what = f"the {party} has the key of the role that the head-end signs on as"
        account.fact(what, "yes" if there else "no", bool(there) is holds)


# --- hostile -------------------------------------------------------------------------------------------


async def hostile(stage: Stage, account: Account) -> None:
    """A head-end that has the octets in its hands, and does with them what it likes."""
    street = await stage.street()
    async with _End(street, street.houses[1]) as end, _End(street, street.houses[2]) as other:
        energy = (await end.meter.read(ENERGY)).value
        account.done("energy, carried as it should be", energy)
        await other.meter.read(ENERGY)
        old, foreign = end.passed[1], other.passed[1]

        async def alters(sealed: Sealed) -> Sealed:
            octets = (await end.plain(sealed)).octets
            return Sealed.of(octets[:-1] + bytes((octets[-1] ^ 1,)))

        async def alters_request(sealed: Sealed) -> Sealed:
            octets = sealed.octets
            return await end.plain(Sealed.of(octets[:-1] + bytes((octets[-1] ^ 1,))))

        async def replays(sealed: Sealed) -> Sealed:
            await end.plain(sealed)
            return old

        async def swaps(sealed: Sealed) -> Sealed:
            await end.plain(sealed)
            return foreign

        async def withholds(sealed: Sealed) -> Sealed:
            await end.plain(sealed)
            await asyncio.sleep(2 * _SHORT)
            raise Withheld("it was given up before")

        tricks = (
            ("it alters an answer by one bit", alters, (Altered,)),
            ("it alters a request by one bit", alters_request, (Withheld,)),
            ("it brings an answer of before", replays, (Replayed,)),
            ("it brings the answer of another meter", swaps, (Moved,)),
            ("it withholds an answer", withholds, (Withheld,)),
        )
        longest = end.meter._session.timeout
        for what, trick, kinds in tricks:
            end.between = trick
            end.meter._session.timeout = _SHORT if trick is withholds else longest
            account.refusal(what, await raised(end.meter.read(ENERGY)), *kinds)
        end.between, end.meter._session.timeout = end.plain, longest
        again = await raised(end.via.carry(end.passed[0]))
        account.refusal("it sends a request of before to the meter once more", again, Refused, TimedOut)
        found = await end.meter.read(ENERGY)
        account.done("energy, when it carries again as it should", found.value)
        account.fact(
            "answers that the meter sealed and nobody brought", end.meter.missed, end.meter.missed >= 2
        )
    account.evidence |= {"old": hexed(old.octets), "of_another_meter": hexed(foreign.octets)}
