"""H14: which releases of `cryptography` are allowed, and that the oldest and the newest are tested."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import cryptography
import pytest

from tools.oldest import ROOT, oldest, wanted


def bounds(need: str) -> tuple[int, int]:
    """Lower and upper bound of a requirement `NAME>=X,<Y`."""
    found = re.search(r">=(\d+)[\d.]*,<(\d+)", need)
    assert found is not None, need
    return int(found[1]), int(found[2])


def test_H14_the_range_is_closed_and_the_lock_is_its_newest_end() -> None:
    low, high = bounds(wanted())
    assert low >= 45, "older ones are many times slower for a small message"
    locked = re.search(r"^cryptography==(\d+)\.", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert locked is not None and int(locked[1]) == high - 1
    assert int(cryptography.__version__.split(".")[0]) in range(low, high)
    assert oldest(wanted()).split(".")[0] == str(low)


def test_H14_the_vectors_have_the_range_of_the_package() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    (vectors,) = [need for need in groups if need.startswith("cryptography-vectors")]
    assert bounds(vectors) == bounds(wanted())


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_H14_the_oldest_release_passes_the_same_tests() -> None:
    done = subprocess.run([sys.executable, "tools/oldest.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
