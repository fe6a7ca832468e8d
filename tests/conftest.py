"""Settings shared by all tests: property tests without timed assertions, more examples on request."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from meterseal.errors import MetersealError

# Machines differ: no test measures time.  The normal run draws the same examples on every machine, so that
# what it says is about the change at hand; the thorough one draws new ones each time (`make soak`).
_TIMED = (HealthCheck.too_slow,)
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=_TIMED)
settings.register_profile("thorough", deadline=None, max_examples=5_000, suppress_health_check=_TIMED)
# For mutation testing, where a test runs a thousand times and need not tell why it fails.
_FEW = (Phase.explicit, Phase.generate)
settings.register_profile(
    "few", deadline=None, max_examples=10, derandomize=True, phases=_FEW, database=None,
    suppress_health_check=_TIMED,
)  # fmt: skip
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_MEMORY, _ROOM = Path("/dev/shm"), 2 << 30


def _in_memory() -> bool:
    """Is there a file system in memory, with room, on which commands may stand?"""
    if sys.platform != "linux" or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return False
    about = os.statvfs(_MEMORY)
    return about.f_bavail * about.f_frsize >= _ROOM and not about.f_flag & os.ST_NOEXEC


# What meters and stores write is synced at every step, and a disk takes milliseconds for each.  No test sees
# that (power cuts are played: tests/state/conftest.py), so temporary folders are in memory where they can be.
if _in_memory():
    os.environ.setdefault("TMPDIR", str(_MEMORY))

# A shell without job control starts what is in the background deaf to SIGINT, and processes pass that on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_TOGETHER = (
    "tests/demo/",
    "tests/cli/test_keys.py",
    "tests/cli/test_keys_pairs.py",
    "tests/crypto/test_static_rules.py",
)
"""Tests that share what is dear to make: a play of the demo, a store with its meter, the parsed source."""


class OnePlay(LoadScopeScheduling):  # type: ignore[misc]
    """Spreads single tests over the workers; those that belong together go to one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return next((one for one in _TOGETHER if nodeid.startswith(one)), nodeid)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """And forget what is done: otherwise all that was ever given out is counted at each event."""
        super().mark_test_complete(node, item_index, duration)
        given = self.assigned_work[node]
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(given[scope].values()):
            del given[scope]


@pytest.hookimpl(optionalhook=True)  # mutation testing runs without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OnePlay:
    return OnePlay(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of a GBCS vector is a release gate (`make gates`)."""
    for item in items:
        if "gbcs" in item.name.lower():
            item.add_marker(pytest.mark.gate)


def _says_its_cause(self: MetersealError, *what: object) -> None:
    """Every error that any test provokes has a text: it is all that people get to see of a cause."""
    assert what and isinstance(what[0], str) and what[0], f"{type(self).__name__} without a text"
    Exception.__init__(self, *what)


MetersealError.__init__ = _says_its_cause  # type: ignore[assignment]

_COUNTED = ("apdu", "association", "codec", "framing", "security", "vectors")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Under --cov, branches are counted in the quick tests of the core alone: counting slows what it sees."""
    plugin = item.config.pluginmanager.getplugin("_cov")
    control = None if plugin is None else plugin.cov_controller
    if control is None:
        return
    area = item.path.relative_to(Path(__file__).parent).parts[0]
    wanted = area in _COUNTED and item.get_closest_marker("slow") is None
    if wanted != control.started:
        (control.resume if wanted else control.pause)()
    if not wanted:
        # A worker's plugin has a second collector below, which goes on when the first one stops.
        sys.settrace(None)
        threading.settrace(None)
