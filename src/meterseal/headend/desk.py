"""What the parts of a head-end share: its file, its store, its journal, what it counts."""

from __future__ import annotations

from typing import Protocol

from meterseal.headend.config import Config
from meterseal.headend.journal import Journal
from meterseal.headend.metrics import Metrics
from meterseal.headend.store import Store
from meterseal.net import WireLog


class Desk(Protocol):
    """A head-end as its parts see it."""

    config: Config
    store: Store
    journal: Journal
    metrics: Metrics
    wire_log: WireLog | None

    def broken(self, error: BaseException | None) -> None:
        """Something went wrong that no retry mends."""
