"""Scenes of who may see what: views of roles, refusals, a protected reading, keys in the wrong place."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from meterseal.client import Meter
from meterseal.credentials import Credentials
from meterseal.demo.scene import Account, raised
from meterseal.demo.stage import Stage, hexed, opened
from meterseal.errors import AuthenticationFailed, MetersealError, Refused
from meterseal.probe import Keyring

ROLES: Final = ("operator", "installer", "manager")
ENERGY: Final = "3/1.0.1.8.0.255:2"
CLOCK: Final = "8/0.0.1.0.0.255:2"
METERING_POINT: Final = "1/0.0.96.1.10.255:2"
VIEWS: Final = (
    ("energy +A, Wh", ENERGY, {"operator", "manager"}),
    ("rows in the load profile", "7/1.0.99.1.0.255:7", {"operator", "manager"}),
    ("error register", "1/0.0.97.97.0.255:2", {"installer", "manager"}),
    ("policy of the operator's keys", "64/0.0.43.0.2.255:2", {"manager"}),
    ("clock", CLOCK, set(ROLES)),
)
"""What, where, and who is to see it."""


async def three_roles(stage: Stage, account: Account) -> None:
    """Three associations on one connection, read in turn."""
    seen: dict[str, dict[str, Any]] = {}
    async with stage.wire() as wire, stage.link(wire) as link, AsyncExitStack() as open_ones:
        meters = {role: await open_ones.enter_async_context(link.associate(role)) for role in ROLES}
        for what, name, whose in VIEWS:
            seen[name] = {role: await _seen(meter, name) for role, meter in meters.items()}
            shown = ", ".join(f"{role} {_short(found)}" for role, found in seen[name].items())
            readable = {role for role, found in seen[name].items() if "value" in found}
            account.fact(what, shown, readable == whose)
        still = [role for role, meter in meters.items() if meter.is_open]
        account.fact(
            "open at the same time",
            f"{', '.join(still)}; connections: {wire.connections}",
            len(still) == len(ROLES) and wire.connections == 1,
        )
    account.evidence |= {"seen": seen, "keys": stage.keys(*ROLES), "frames": stage.opened(wire.passed)}


async def _seen(meter: Meter, name: str) -> dict[str, Any]:
    try:
        found = await meter.read(name)
    except Refused as error:
        return {"refused": error.reason}
    return {"value": found.as_json()["value"], "raw": hexed(found.raw)}


def _short(found: dict[str, Any]) -> str:
    return str(found.get("value", found.get("refused")))


_REFUSALS: Final = re.compile("C401..0104|C501..03")
"""get-response-normal with object-undefined, set-response-normal with read-write-denied, any invoke-id."""


async def refused(stage: Stage, account: Account) -> None:
    """A read outside the view, a write without the right, and a read afterwards."""
    async with stage.wire() as wire:
        async with stage.sign_on("installer", wire) as installer:
            error = await raised(installer.read(ENERGY))
            account.fact(
                "the installer reads energy +A", _reason(error), _reason(error) == "object-undefined"
            )
            clock = await installer.read(CLOCK)
            account.fact("the same association reads the clock", clock.value, installer.is_open)
        async with stage.sign_on("operator", wire) as operator:
            reason = _reason(await raised(operator.write(METERING_POINT, b"moved", "os")))
            account.fact("the operator writes the metering point", reason, reason == "read-write-denied")
    frames = stage.opened(wire.passed)
    refusals = [one for one in frames if _REFUSALS.fullmatch(one["plain"] or "")]
    account.fact(
        "the two refusals on the wire",
        ", ".join(f"{one['apdu']} in {one['layers'][-1]['kind']}" for one in refusals),
        len(refusals) == 2 and all(one["layers"][-1].get("verified") for one in refusals),
    )
    account.evidence |= {"keys": stage.keys("installer", "operator"), "frames": frames}


def _reason(error: MetersealError | None) -> str:
    return error.reason if isinstance(error, Refused) else str(error)


async def protected(stage: Stage, account: Account) -> None:
    """One reading, looked at from the wire, with the right keys and with others."""
    async with stage.wire() as wire, stage.sign_on("operator", wire) as operator:
        found = await operator.read(ENERGY)
    account.done("the operator reads energy +A", f"{found.value} (A-XDR {hexed(found.raw)})")
    frames = stage.opened(wire.passed)
    answer = next(one for one in frames if one["apdu"] == "get-response-normal")
    on_wire = bytes.fromhex(answer["hex"])
    account.fact("on the wire", f"{hexed(on_wire)}", found.raw not in on_wire)
    account.fact(
        "opened with the operator's keys", answer["plain"], answer["plain"].endswith(hexed(found.raw))
    )
    strangers = opened(wire.passed, Keyring.of_credentials(stage.credentials.cut("installer")))
    named = [one for one in strangers if one.get("error") and one["hex"] == answer["hex"]]
    account.fact(
        "opened with the installer's keys",
        "; ".join(one["error"]["type"] for one in named) or "opened",
        [one["error"]["type"] for one in named] == ["forged"],
    )
    used = nonces(frames)
    different = len(set(used))
    account.fact(
        "system titles and counters",
        f"{len(used)} used, {different} different",
        different == len(used) and used == sorted(used),
    )
    account.evidence |= {"keys": stage.keys("operator"), "raw": hexed(found.raw), "frames": frames}


def nonces(frames: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """System title and counter of each protected frame, by title, in the order of the wire."""
    every = (layer for one in frames for layer in one["layers"])
    layers = [layer for layer in every if layer.get("invocation_counter") is not None]
    used = [(layer["system_title"], layer["invocation_counter"]) for layer in layers]
    return sorted(used, key=lambda pair: pair[0])


_HIGH: Final = 1_000_000
"""A counter that nobody has reached: the refusal must come of the key."""


async def other_keys(stage: Stage, account: Account) -> None:
    """Sign on as installer with the operator's keys, under either title; then as it is meant to be."""
    operator, installer = (stage.credentials.role(name) for name in ("operator", "installer"))
    thieves = {
        "the operator's keys and title": replace(operator, client=installer.client),
        "the operator's keys, the installer's title": replace(
            operator,
            client=installer.client,
            client_system_title=installer.client_system_title,
            counter_start=_HIGH,
        ),
    }
    file = Credentials(
        stage.credentials.meter, {f"thief-{n}": role for n, role in enumerate(thieves.values())}
    )
    answers = []
    async with stage.wire() as wire:
        for what, name in zip(thieves, file.roles, strict=True):
            error = await raised(stage.visit(name, wire, file))
            account.refusal(f"client SAP {installer.client}, {what}", error, Refused, AuthenticationFailed)
            answers.append(hexed(wire.passed[-1].arrived))
        account.fact("both answers are the same octets", answers[-1][16:], len(set(answers)) == 1)
        causes = [line.partition(" to logical device 1: ")[2] for line in stage.journal()]
        account.fact(
            "the causes, in the meter's journal alone",
            "; ".join(causes),
            [cause.partition(":")[0] for cause in causes] == ["authentication-failed", "forged"],
        )
        async with stage.sign_on("installer", wire) as genuine:
            clock = await genuine.read(CLOCK)
            account.fact("the installer's own keys", clock.value, genuine.is_open)
    account.evidence |= {
        "keys": stage.keys("operator", "installer"),
        "answers": answers,
        "frames": stage.opened(wire.passed),
    }
