"""Published test vectors as data: `load`, `vector`, `v44`, `wycheproof`; README.md has their origins."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@cache
def _vectors() -> list[dict[str, Any]]:
    with (HERE / "vectors.json").open(encoding="utf-8") as file:
        return list(json.load(file)["vectors"])


@cache
def _by_id() -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in _vectors()}


def load(kind: str | None = None) -> list[dict[str, Any]]:
    """All vectors, or those of one kind, in file order; an unknown kind is a KeyError, not an empty list."""
    rows = [row for row in _vectors() if kind is None or row["kind"] == kind]
    if not rows:
        raise KeyError(f"no vector of kind {kind!r}")
    return rows


def vector(id: str) -> dict[str, Any]:
    """The vector of this id (KeyError when there is none)."""
    return _by_id()[id]


def v44(part: str) -> list[dict[str, Any]]:
    """The V.44 packets: part `valid` or `invalid`."""
    with (HERE / "v44-vectors.json").open(encoding="utf-8") as file:
        return list(json.load(file)[part])


def wycheproof(name: str) -> list[dict[str, Any]]:
    """The cases of one Wycheproof file (`aes_gcm`, ...), each with its group's fields."""
    with (HERE / "wycheproof" / f"{name}_test.json").open(encoding="utf-8") as file:
        groups = json.load(file)["testGroups"]
    return [
        {key: value for key, value in group.items() if key != "tests"} | case
        for group in groups
        for case in group["tests"]
    ]
