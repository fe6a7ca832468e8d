"""Power cuts around key_agreement and import_certificate: all of the old or all of the new, no mixture."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meterseal.codec.types import Tag
from meterseal.keys.kinds import NAMES
from meterseal.meter.pairs import SIGNATURE
from tests.meter.killed import POINTS
from tests.meter.killed_pairs import SETUP
from tests.meter.world import world

NOTHING_WRITTEN = ("before-write", "torn-write")
EITHER = ("before-sync",)
"""The octets may or may not have reached the disk."""


def killed(folder: Path, what: str, point: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.meter.killed_pairs", str(folder), what, point],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout == "started\n", done.stderr
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_agreed_keys_work_only_once_the_answer_is_out(point: str, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    here = world(folder=folder, preset="suite1")
    old = {i: here.meter.rings[2].reveal(i) for i in NAMES}
    here.meter.close()
    killed(folder, "agree", point)
    here = world(folder=folder, preset="suite1")
    now = {i: here.meter.rings[2].reveal(i) for i in NAMES}
    changed = {NAMES[i] for i in NAMES if now[i] != old[i]}
    assert changed in (set(), {"guek", "gak"})
    if point not in EITHER:
        new = point in ("after-commit", "active")  # the keys are written when the answer is out
        assert bool(changed) is new
    for role in ("operator", "manager"):
        assert here.signed_on(role).get(8, "0.0.1.0.0.255")


@pytest.mark.parametrize("point", POINTS)
def test_an_imported_certificate_comes_with_its_pair(point: str, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    here = world(folder=folder, preset="suite1")
    assert here.signed_on("manager").call(64, SETUP, 4, 0, Tag.ENUM) == 0
    assert here.meter.pairs is not None
    own = here.meter.pairs.own(SIGNATURE)
    old, certificate, waiting = own.key, own.certificate, own.waiting
    assert old is not None and waiting is not None
    here.meter.close()
    killed(folder, "import", point)
    here = world(folder=folder, preset="suite1")
    own = here.meter.pairs.own(SIGNATURE)  # type: ignore[union-attr]
    assert own.key is not None and own.certificate is not None
    assert own.certificate.key.octets == own.key.public.octets
    new = own.key.public == waiting.public
    assert (own.waiting is None) is new and (own.certificate == certificate) is not new
    assert new or own.key.public == old.public
    if point not in EITHER:
        assert new is (point not in NOTHING_WRITTEN)
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")
