"""What a head-end counts, in the text form of Prometheus.  No meter, customer or title is a label."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from meterseal.credentials.files import read_public
from meterseal.crypto.certificates import Certificate
from meterseal.errors import MetersealError, Replayed
from meterseal.keys.counters import REKEY_FROM

_LARGEST: Final = 1 << 16
_SPACE: Final = "meterseal"


class Metrics:
    """Counters and gauges of one head-end."""

    def __init__(self, waiting: Callable[[], int], pushes_refused: Callable[[], int] = int) -> None:
        self._registry = registry = CollectorRegistry()
        self.sign_ons = _counter("sign_ons", "Associations that were opened with meters.", registry)
        self._refusals = _counter("refusals", "What was refused, by cause.", registry, "cause")
        self._replays = _counter("replays", "Messages whose counter had been used.", registry)
        self.requests = _counter("requests", "Sealed requests that ended, by outcome.", registry, "outcome")
        self.pushes = _counter("pushes", "Pushes kept, own or sealed for others.", registry, "whose")
        refused = _gauge("pushes_refused", "What came as a push and was none for anybody here.", registry)
        refused.set_function(pushes_refused)
        self._left = _gauge("counters_left", "Counters left before a new key is due, the fewest.", registry)
        self._left.set(REKEY_FROM)
        self._least = REKEY_FROM
        waits = _gauge("queue_length", "Sealed requests that wait to be sent.", registry)
        waits.set_function(waiting)
        self._age = _gauge("certificate_age_seconds", "Since a certificate began.", registry, "of")
        self._end = _gauge("certificate_left_seconds", "Until a certificate ends.", registry, "of")

    def refused(self, error: MetersealError) -> None:
        """Something was refused, at either end."""
        self._refusals.labels(error.kind).inc()
        if isinstance(error, Replayed):
            self._replays.inc()

    def counters_left(self, left: int | None) -> None:
        """How many counters one key still has."""
        if left is not None and left < self._least:
            self._least = left
            self._left.set(left)

    def certificate(self, name: str, path: Path) -> None:
        """Watch the age of a certificate of the profile; others are told nothing of."""
        try:
            found = Certificate.from_pem(read_public(path, "certificate", _LARGEST))[0]
        except MetersealError:
            return
        begin, end = found.not_before.timestamp(), found.not_after.timestamp()
        self._age.labels(name).set_function(lambda: time.time() - begin)
        self._end.labels(name).set_function(lambda: end - time.time())

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


def _counter(name: str, text: str, registry: CollectorRegistry, *labels: str) -> Counter:
    return Counter(name, text, labels, _SPACE, registry=registry)


def _gauge(name: str, text: str, registry: CollectorRegistry, *labels: str) -> Gauge:
    return Gauge(name, text, labels, _SPACE, registry=registry)
