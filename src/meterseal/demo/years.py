"""Scenes of keys over the years: an answer that is lost in a change of keys, and an old backup of a meter."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from meterseal import client
from meterseal.credentials import Credentials
from meterseal.crypto import kcv
from meterseal.demo.attacks import EXCEPTION, asked
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed, opened
from meterseal.demo.views import CLOCK, ENERGY, ROLES
from meterseal.demo.wire import Direction, Middle, Passed, Wire
from meterseal.errors import AuthenticationFailed, ConnectionLost, Refused
from meterseal.framing import wrapper
from meterseal.keys.kinds import Slot
from meterseal.probe import Keyring

if TYPE_CHECKING:
    from meterseal.authority.rotator import Report, Rotator
    from meterseal.authority.store import Store

_BY: Final = "the demonstration"
_NO: Final = (Refused, AuthenticationFailed)
"""How a sign-on ends for whom the meter does not know."""

_GLO_GET, _GLO_SET, _GLO_ACTION = 0xC8, 0xC9, 0xCB
_REQUESTS: Final = (_GLO_GET, _GLO_SET, _GLO_ACTION)

_WRAPPED: Final = re.compile("C301..0040[0-9A-F]{12}02010101020216000918(?P<wrapped>[0-9A-F]{48})")
"""action-request-normal of key_transfer with a GUEK."""


class _Office:
    """A store of keys with one meter in it, and what is done with the two."""

    def __init__(self, store: Store, title: bytes) -> None:
        self.store, self.title = store, title

    def _rotator(self, wire: Wire) -> Rotator:
        from meterseal.authority.probing import Line
        from meterseal.authority.rotator import Rotator

        return Rotator(self.store, Line(url=wire.url))

    async def rotate(self, wire: Wire, *kinds: str, roles: Iterable[str] = ()) -> Report:
        """New keys of these kinds for some roles, or for all."""
        return await self._rotator(wire).rotate(self.title, kinds, roles, "yearly")

    async def recover(self, wire: Wire) -> Report:
        """End what was begun; else ask the meter which keys it has."""
        return await self._rotator(wire).recover(self.title)

    def sign_on(self, wire: Wire, role: str = "operator") -> AbstractAsyncContextManager[client.Meter]:
        """A client with the keys that are active in the store, and counters out of it."""
        from meterseal.authority.adoption import credentials_of

        given = credentials_of(self.store, self.title)
        return client.connect(wire.url, given, role, counters=self.store.counters)

    def kept(self, role: str, kind: str) -> list[dict[str, str]]:
        """The keys of a slot, oldest first: state, key, check value."""
        found = []
        for one in self.store.keys.slot(Slot(self.title, role, kind)):
            octets = self.store.keys.reveal(one).reveal()
            found.append({"state": one.state.value, "key": hexed(octets), "kcv": kcv(octets)})
        return found

    def opened(self, given: Credentials, passed: list[Passed]) -> list[dict[str, Any]]:
        """Frames opened by whichever GUEK of the store, old or new, opens them; `kcv` names it.

        Each is looked at by itself: a counter that comes twice is for who reads the evidence to find.
        """
        rings = [(one, Keyring.of_credentials(one)) for one in self._generations(given)]
        return [_opened(rings, one) for one in passed]

    def _generations(self, given: Credentials) -> Iterator[Credentials]:
        """Credentials with the first GUEK of each role, the second and so on; the last one lasts."""
        held = self.gueks()
        for at in range(max(map(len, held.values()))):
            found = given
            for role, kept in held.items():
                found = found.with_keys(role, {"guek": bytes.fromhex(kept[min(at, len(kept) - 1)]["key"])})
            yield found

    def gueks(self) -> dict[str, list[dict[str, str]]]:
        """Every GUEK that the meter may have had, by role, oldest first."""
        return {role: self.kept(role, "guek") for role in ROLES}


def _opened(rings: list[tuple[Credentials, Keyring]], passed: Passed) -> dict[str, Any]:
    found = {}
    for given, ring in rings:
        (found,) = opened([passed], ring)
        if "error" not in found:
            ports = int(found["hex"][4:8], 16), int(found["hex"][8:12], 16)
            client_sap = ports[found["direction"] == "in"]
            guek = next(one.octets("guek") for one in given.roles.values() if one.client == client_sap)
            return {**found, "kcv": kcv(guek or b"")}
    return found


def _used(frames: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Key, title and counter of each protected message that opens."""
    return [
        (one["kcv"], layer["system_title"], layer["invocation_counter"])
        for one in frames
        for layer in one["layers"]
        if "kcv" in one and layer.get("invocation_counter") is not None
    ]


@contextmanager
def _office(own: Stage) -> Iterator[_Office]:
    """The store that has taken in the keys of a stage's meter; made when the first scene asks for it."""
    from meterseal.authority.adoption import adopt
    from meterseal.authority.store import create_store, open_store

    where, title = own.at("keys.db"), own.credentials.meter.system_title or b""
    there = Path(where).exists()
    with open_store(where, by=_BY) if there else create_store(where, by=_BY) as store:
        if not there:
            adopt(store, own.credentials)
        yield _Office(store, title)


def _states(kept: list[dict[str, str]]) -> str:
    return ", ".join(f"{one['kcv']} {one['state']}" for one in kept)


# --- an answer that is lost ---------------------------------------------------------------------


async def answer_lost(stage: Stage, account: Account) -> None:
    """A new GUEK on its way; the meter takes it, and the line dies before the answer; then a second run."""
    own = await stage.keyed()
    with _office(own) as office:
        await _lost(own, office, account)


async def _lost(own: Stage, office: _Office, account: Account) -> None:
    slot = Slot(office.title, "operator", "guek")
    kept: list[bytes] = []
    async with own.wire(_dead_after_transfer(kept)) as wire:
        first = await office.rotate(wire, "guek", roles=["operator"])
    states = office.kept("operator", "guek")
    account.fact(
        "the meter takes the new key, and its answer is lost", hexed(kept[0]) if kept else "none", bool(kept)
    )
    account.fact("the first run", f"run again: {first.waiting.get(slot)}", list(first.waiting) == [slot])
    account.fact("both keys stay", _states(states), [one["state"] for one in states] == ["active", "staged"])
    async with own.wire() as again:
        second = await office.recover(again)
        account.fact("the second run asks the meter", f"done: {slot in second.done}", slot in second.done)
        async with office.sign_on(again) as operator:
            account.done("the operator reads under the new key", (await operator.read(ENERGY)).value)
    after = office.kept("operator", "guek")
    account.fact(
        "one key is active, the one that was on its way",
        _states(after),
        [one["state"] for one in after] == ["deactivated", "active"] and after[1]["key"] == states[1]["key"],
    )
    before, healed = (office.opened(own.credentials, one.passed) for one in (wire, again))
    calls = [match["wrapped"] for one in before if (match := _WRAPPED.fullmatch(one["plain"] or ""))]
    used = _used([*before, *healed])
    account.fact("counters", f"{len(used)} messages, {len({*used})} nonces", len(used) == len({*used}))
    account.evidence |= {
        "keys": own.keys(*ROLES),
        "guek_of_the_operator": after,
        "wrapped": calls[0] if calls else None,
        "lost_answer": hexed(kept[0]) if kept else None,
        "frames_before": before,
        "frames_after": healed,
    }


def _dead_after_transfer(lost: list[bytes]) -> Middle:
    """A middle that lets the key through and keeps the answer; nothing passes any more then."""
    calls = 0

    async def middle(direction: Direction, frame: bytes) -> bytes:
        nonlocal calls
        if lost:
            raise ConnectionLost("the line is dead")
        calls += direction == "out" and frame[wrapper.HEADER_LENGTH] == _GLO_ACTION
        if calls == 2 and direction == "in":  # the first call is the proof of the sign-on
            lost.append(frame)
            raise ConnectionLost("cut")
        return frame

    return middle


# --- an old backup ------------------------------------------------------------------------------


async def old_backup(stage: Stage, account: Account) -> None:
    """A copy of a meter's memory is put back after its keys were changed; the store heals it."""
    own = await stage.keyed()
    with _office(own) as office:
        await _put_back(own, office, account)


async def _put_back(own: Stage, office: _Office, account: Account) -> None:
    original = own.credentials
    async with own.wire() as wire:
        for role in ROLES:
            async with office.sign_on(wire, role) as one:
                account.done(f"the {role} reads the clock", (await one.read(CLOCK)).value)
        shutil.copytree(own.at("meter"), own.at("backup"))
        changed = await office.rotate(wire, "guek", roles=["operator"])
        account.fact("a copy is made, then a new key", f"done: {len(changed.done)}", len(changed.done) == 1)
        async with office.sign_on(wire) as operator:
            account.done("the operator reads under it", (await operator.read(ENERGY)).value)
        passed = list(wire.passed)
    await own.kill()
    shutil.rmtree(own.at("meter"))
    shutil.move(own.at("backup"), own.at("meter"))
    await own.start()
    account.done("the meter runs on the copy", f"process {own.pid}")
    async with own.wire() as wire:
        error = await raised(_visited(office, wire))
        account.refusal("the operator under the keys that are active", error, *_NO)
        with _heard() as warnings:
            found = await office.recover(wire)
        for warning in warnings:
            account.done("the store warns", warning)
        earlier, later = office.kept("operator", "guek")[-2:]
        account.fact(
            "the store asks the meter which keys it has",
            _states([earlier, later]),
            not found.again and (earlier["state"], later["state"]) == ("active", "deactivated"),
        )
        again = await office.rotate(wire, "guek")
        account.fact("new keys for all roles", f"done: {len(again.done)}", len(again.done) == len(ROLES))
        async with office.sign_on(wire) as operator:
            account.done("the operator reads under them", (await operator.read(ENERGY)).value)
            healed = list(wire.passed)
            old = [one.arrived for one in passed if one.arrived[wrapper.HEADER_LENGTH] in _REQUESTS]
            answers = [await wire.ask(frame) for frame in old]
            operator.drop()
        account.fact(
            "every request that clients had sent before comes again",
            f"{len(answers)} requests, none is taken",
            bool(old) and all(answer[wrapper.HEADER_LENGTH] == EXCEPTION for answer in answers),
        )
    frames = office.opened(original, [*passed, *healed])
    used = _used(frames)
    account.fact("counters", f"{len(used)} messages, {len({*used})} nonces", len(used) == len({*used}))
    account.evidence |= {
        "keys": _keys(own, original),
        "gueks": office.gueks(),
        "frames": frames,
        "again": asked(old, answers),
    }


def _keys(own: Stage, given: Credentials) -> dict[str, Any]:
    """Titles, clients and GAKs, which stayed; the GUEKs are told apart."""
    found = own.keys(*ROLES)
    gaks = {name: hexed(given.role(name).octets("gak") or b"") for name in ROLES}
    roles = {name: {**found["roles"][name], "gak": gaks[name]} for name in ROLES}
    return {
        **found,
        "roles": {name: {k: v for k, v in one.items() if k != "guek"} for name, one in roles.items()},
    }


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What the authority warns of meanwhile, in the place of stderr."""
    said: list[str] = []
    logger = logging.getLogger("meterseal.authority")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


async def _visited(office: _Office, wire: Wire) -> None:
    async with office.sign_on(wire):
        pass
