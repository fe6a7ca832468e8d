"""Compression: octets of generated load profiles against the table of the facts, and how fast it goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import profiles
from bench.case import Figures
from meterseal.crypto.v44 import compress, decompress

SEEDS = range(20)
"""Profiles that a mean is taken over: how much one of them gives depends on its numbers."""

TABLE: dict[str, tuple[Callable[[int], bytes], int, int]] = {
    "96 rows": (lambda seed: profiles.answer(96, seed), 3654, 1072),
    "96 rows with null-data": (lambda seed: profiles.answer_with_nulls(96, seed), 2324, 843),
}
"""Profile -> how it is made, its octets, and those that it has compressed by the packet method (v44 10)."""

BAR = 1.05


def sizes(rounds: int) -> dict[str, dict[str, Any]]:
    """Mean octets of each profile to those of the table, the worse of both; MB/s of plain octets each way."""
    means, speeds = {}, {"in": list[float](), "out": list[float]()}
    for name, (make, plain, _) in TABLE.items():
        found = [make(seed) for seed in SEEDS]
        if any(len(one) != plain for one in found):
            raise AssertionError(f"the profile of {name} is another one than that of the table")
        packed = [compress(one) for one in found]
        means[name] = statistics.mean(map(len, packed))
        for _ in range(rounds):
            speeds["in"].append(_rate(compress, found, found))
            speeds["out"].append(_rate(lambda one: decompress(one, limit=1 << 16), packed, found))
    ratio = max(means[name] / wanted for name, (_, _, wanted) in TABLE.items())
    return {
        "v44_size_vs_sheet": {"ratio": round(ratio, 4), "bar": BAR, "holds": ratio <= BAR},
        "v44_octets": {name: round(mean) for name, mean in means.items()},
        "v44_mb_per_second": {way: round(statistics.median(each), 3) for way, each in speeds.items()},
    }


def _rate(work: Callable[[bytes], bytes], inputs: Sequence[bytes], plain: Sequence[bytes]) -> float:
    """MB of plain octets a second of this thread's CPU; what comes out is looked at."""
    begin = time.thread_time()
    made = [work(one) for one in inputs]
    spent = time.thread_time() - begin
    if not all(made):
        raise AssertionError("nothing came out")
    return sum(map(len, plain)) / spent / 1e6


CASES: Sequence[Figures] = (
    Figures(("v44_size_vs_sheet", "v44_octets", "v44_mb_per_second"), sizes, 7, faster=False),
)
