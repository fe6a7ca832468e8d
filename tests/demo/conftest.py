"""One play of the demonstration for all of its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.shell import Ran, run

Evidence = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def ran() -> Ran:
    return run("demo", "--json")


@pytest.fixture(scope="session")
def evidence(ran: Ran) -> Evidence:
    """The evidence of a scene by its name."""
    (line,) = ran.lines()
    by_name = {scene["name"]: scene["evidence"] for scene in line["scenes"]}
    return lambda name: dict(by_name[name])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The play is part of the first test that looks at it, and all its processes share a busy machine."""
    for item in items:
        if "ran" in getattr(item, "fixturenames", ()) and "demo" in item.path.parts:
            item.add_marker(pytest.mark.timeout(1200))
