"""Run the benchmarks: alternating rounds, ratio of medians, bars; writes bench/results.json."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import (
    cases_codec,
    cases_curves,
    cases_framing,
    cases_headend,
    cases_keys,
    cases_security,
    cases_service,
    cases_suites,
    cases_v44,
)
from bench.case import Case, Pair

ROUNDS = 9
"""Of what is measured over lines and in other processes."""

ROUNDS_OF_PAIRS = 25
"""Of two functions in this process.  A machine with neighbours has quick and slow moments: so many rounds
that the two medians come from the same mixture of them."""

RESULTS = Path(__file__).parent / "results.json"
PACKAGES = ("meterseal", "cryptography", "gurux-dlms", "dlms-cosem")


def spent(call: Callable[[Any], Any], inputs: Sequence[Any]) -> float:
    """CPU seconds of this thread for one call per input, divided by their number."""
    start = time.thread_time()
    for item in inputs:
        call(item)
    return (time.thread_time() - start) / len(inputs)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """The ratio of a case with the quartiles of both sides, in microseconds a call."""
    pair: Pair = case.make()
    for _ in range(3):
        (item,) = pair.inputs(1)
        pair.agree(item, pair.ours(item), pair.theirs(item))
    ours: list[float] = []
    theirs: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            ours.append(spent(pair.ours, pair.inputs(pair.calls)))
            theirs.append(spent(pair.theirs, pair.inputs(pair.calls_theirs or pair.calls)))
    finally:
        gc.enable()
    mine, peer = statistics.median(ours), statistics.median(theirs)
    ratio = peer / mine if case.faster else mine / peer
    return {
        "ratio": round(ratio, 3),
        "bar": case.bar,
        "holds": ratio >= case.bar if case.faster else ratio <= case.bar,
        "rounds": rounds,
        "ours_us": quartiles(ours),
        "theirs_us": quartiles(theirs),
    }


def quartiles(seconds: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile in microseconds."""
    return [round(q * 1e6, 3) for q in statistics.quantiles(seconds, n=4)]


def installed(name: str) -> str:
    """The version of a package, or `absent`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def main() -> int:
    """Measure every case, print a table, write the results; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="measure only the cases whose name holds one of these")
    parser.add_argument(
        "--rounds", type=int, help=f"instead of {ROUNDS_OF_PAIRS} in one process, else {ROUNDS}"
    )
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    figures: dict[str, Any] = {}
    print(f"{'ratio':34} {'value':>9} {'bar':>9}   ours / other side, us a call (median)")
    for case in (*cases_codec.CASES, *cases_framing.CASES, *cases_security.CASES, *cases_curves.CASES):
        if chosen(options.names, [case.name]):
            figures[case.name] = measure(case, options.rounds or ROUNDS_OF_PAIRS)
            show(case.name, figures[case.name], ">=" if case.faster else "<=")
    for group in (
        *cases_v44.CASES,
        *cases_service.CASES,
        *cases_suites.CASES,
        *cases_headend.CASES,
        *cases_keys.CASES,
    ):
        if chosen(options.names, group.names):
            rounds = options.rounds or ROUNDS
            found = group.measure(max(group.rounds, rounds) if group.rounds > 1 else 1)
            figures |= found
            for name, row in found.items():
                show(name, row, ">=" if group.faster else "<=")
    versions = {name: installed(name) for name in PACKAGES} | {"python": platform.python_version()}
    ratios = {name: row["ratio"] for name, row in figures.items() if "ratio" in row}
    RESULTS.write_text(
        json.dumps({"ratios": ratios, "figures": figures, "versions": versions}, indent=2) + "\n"
    )
    return 0 if all(row.get("holds", True) for row in figures.values()) else 1


def chosen(wanted: Sequence[str], names: Sequence[str]) -> bool:
    """Whether one of the names holds one of the words that were given, if any were."""
    return not wanted or any(word in name for word in wanted for name in names)


def show(name: str, row: dict[str, Any], sign: str) -> None:
    """One line of the table; a figure without a bar shows what it measured."""
    if "ratio" not in row:
        print(f"{name:34} {', '.join(f'{key} {value}' for key, value in row.items())}", flush=True)
        return
    sides = [value[1] for key, value in row.items() if key.startswith(("ours", "theirs"))]
    mark = "" if row["holds"] else "   MISSED"
    middle = " / ".join(f"{side:.2f}" for side in sides)
    print(f"{name:34} {row['ratio']:9.2f} {sign} {row['bar']:6.2f}   {middle}{mark}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
