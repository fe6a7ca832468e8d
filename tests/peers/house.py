"""A meter as a process of its own, and what anybody needs to speak to it as a role of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from meterseal import Credentials, MemoryCounters, sync
from meterseal.credentials import RoleCredentials
from tests.cli.conftest import meter

SLOT = 1_000
"""Counters that one client may use; every client of a role gets its own, above those before."""


@dataclass
class House:
    """The running meter.  `slots` sees to it that no two clients use a counter of a key twice."""

    credentials: Credentials
    slots: Iterator[int] = field(default_factory=lambda: itertools.count(SLOT, SLOT))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.credentials.meter.url or "")
        assert parts.hostname is not None and parts.port is not None
        return parts.hostname, parts.port

    def role(self, name: str) -> RoleCredentials:
        """Keys and names of a role, with counters that nobody has used."""
        return replace(self.credentials.role(name), counter_start=next(self.slots))

    @contextmanager
    def ours(self, name: str, **wishes: Any) -> Iterator[sync.Meter]:
        """Our own client in a role, in an association of its own."""
        alone = Credentials(self.credentials.meter, {name: self.role(name)})
        with sync.connect(credentials=alone, counters=MemoryCounters(), **wishes) as client:
            yield client


@contextmanager
def house(folder: Path, config: str = "", *words: str) -> Iterator[House]:
    """`meterseal meter run` on a free port, with a configuration over the preset, and more options."""
    if config:
        (folder / "config.toml").write_text(config)
        words = ("--config", str(folder / "config.toml"), *words)
    with meter(folder, *words) as one:
        yield House(Credentials.load(one.credentials))


def keys(role: RoleCredentials) -> tuple[bytes, bytes]:
    """GUEK and GAK."""
    guek, gak = role.octets("guek"), role.octets("gak")
    assert guek is not None and gak is not None
    return guek, gak
