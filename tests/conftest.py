"""Settings shared by all tests: property tests without timed assertions, more examples on request."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Machines differ: no test measures time.  The normal run draws the same examples on every machine, so that
# what it says is about the change at hand; the thorough one draws new ones each time (`make soak`).
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of a GBCS vector is a release gate (`make gates`)."""
    for item in items:
        if "gbcs" in item.name.lower():
            item.add_marker(pytest.mark.gate)
