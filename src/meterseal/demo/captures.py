"""A scene of recorded frames: captures of several makers and grids, with their published keys, opened."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from meterseal.demo.scene import Account
from meterseal.demo.stage import Stage
from meterseal.errors import ConfigurationError
from meterseal.probe import Dissection, Keyring, dissect, readings


async def field_frames(stage: Stage, account: Account) -> None:
    """Each capture must open, as protected as it is known to be, to the readings that were published."""
    shown = []
    for capture in captures():
        found = opened(capture)
        layers = [layer["kind"] for layer in found.layers]
        account.fact(
            capture["name"],
            f"{found.error.kind}: {found.error}"
            if found.error is not None
            else f"{', '.join(layers)}: {_told(capture, found)}",
            found.error is None and _verified(found) is capture["verified"] and _reads(capture, found),
        )
        shown.append({**capture, **found.to_json()})
    account.evidence["captures"] = shown


def captures() -> list[dict[str, Any]]:
    """The captures that come with the package, as its data file has them."""
    text = (resources.files(__package__) / "captures.json").read_text("utf-8")
    found = json.loads(text)["captures"]
    if not isinstance(found, list):
        raise ConfigurationError("captures.json holds no list of captures")
    return found


def opened(capture: dict[str, Any]) -> Dissection:
    """The one APDU of a capture."""
    keys = {name: bytes.fromhex(key) for name, key in capture["keys"].items()}
    found = dissect(b"".join(map(bytes.fromhex, capture["frames"])), Keyring.of(**keys))
    if len(found) != 1:
        raise ConfigurationError(f"{capture['name']}: {len(found)} APDUs, not one")
    return found[0]


def _verified(found: Dissection) -> bool | None:
    return next((layer["verified"] for layer in found.layers if "verified" in layer), None)


def _values(found: Dissection) -> dict[str, tuple[str, str]]:
    body = getattr(found.message, "notification_body", None)
    quantities = [] if body is None else readings(body.value)
    return {str(one.obis): (str(one.value), one.unit or "") for one in quantities if one.obis}


def _reads(capture: dict[str, Any], found: Dissection) -> bool:
    values = _values(found)
    return all(values.get(obis, ("",))[0] == value for obis, value in capture["readings"].items())


def _told(capture: dict[str, Any], found: Dissection) -> str:
    values = _values(found)
    quantities = [f"{obis} = {' '.join(values.get(obis, ('?', ''))).strip()}" for obis in capture["readings"]]
    return f"{', '.join(quantities)} ({_proof(found)})"


def _proof(found: Dissection) -> str:
    if not any("verified" in layer for layer in found.layers):
        return "not ciphered"
    return "tag verified" if _verified(found) else "encrypted only, no tag"
