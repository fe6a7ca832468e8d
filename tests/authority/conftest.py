"""What tests of an authority and its store have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.authority.vaulted import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A store and its vault, where nothing is in them yet."""
    return House(tmp_path)
