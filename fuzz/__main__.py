"""Run the targets: mutated inputs by count and by time, or guided by coverage; typed errors only may come."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence

from fuzz import corpus, cover, reach
from fuzz.target import Target
from fuzz.targets import BY_NAME, TARGETS
from tests.mutate import hammer

_ROUND = 2_000
"""Inputs between two looks at the clock; of a stateful target a twentieth."""


def mutated(target: Target, count: int, seconds: float, seed: int) -> Counter[str]:
    """At least `count` inputs, but of a stateful target as many as there is time for, and for `seconds`."""
    begin, done, outcomes = time.monotonic(), 0, Counter[str]()
    inputs, size = corpus.beginnings(target), _ROUND // 20 if target.stateful else _ROUND
    wanted = 0 if target.stateful else count
    while done < wanted or time.monotonic() - begin < seconds:
        part = min(size, wanted - done) if done < wanted else size
        outcomes += hammer(target.run, inputs, count=part, rng=seed + done)
        done += part
    return outcomes


def by_mutation(targets: Sequence[Target], count: int, seconds: float, seed: int) -> bool:
    """The plain loop, target by target, up to the first that breaks."""
    for target in targets:
        if target.stateful and not seconds:
            continue
        begin = time.monotonic()
        outcomes = mutated(target, count, seconds, seed)
        kinds = ", ".join(f"{kind} {n}" for kind, n in outcomes.most_common())
        _tell(target, outcomes.total(), time.monotonic() - begin, kinds)
    return True


def by_coverage(targets: Sequence[Target], seconds: int, seed: int) -> bool:
    """Under atheris, target by target; what reached something new joins the corpus.  True when all hold."""
    begin, holds = time.monotonic(), True
    for found in cover.guided(targets, seconds, seed % (1 << 31)):
        target = BY_NAME[found.name]
        if found.broken:
            holds = False
            _tell(target, found.runs, time.monotonic() - begin, f"broken by {found.broken}")
        else:
            old = corpus.kept(target)
            kept = corpus.keep(target, reach.smallest(target.run, target.seeds, [*old, *found.new]))
            _tell(target, found.runs, time.monotonic() - begin, f"{kept} kept, {len(old)} before")
        begin = time.monotonic()
    return holds


def _tell(target: Target, count: int, seconds: float, what: str) -> None:
    print(f"{target.name:24} {count:9} in {seconds:6.1f} s: {what}", flush=True)


def main() -> int:
    """Anything but a value or a typed error ends the run."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help="only the targets whose name holds one of these")
    parser.add_argument("--atheris", action="append", default=[], metavar="NAME", help="guided (or `all`)")
    parser.add_argument("--count", type=int, default=1_000_000, help="mutated inputs per decoder")
    parser.add_argument("--seconds", type=int, default=60, help="least time of each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations; printed")
    parser.add_argument("--list", action="store_true", help="say what targets there are")
    options = parser.parse_args()
    if unknown := set(options.atheris) - BY_NAME.keys() - {"all"}:
        parser.error(f"no target {min(unknown)!r}; --list has them")
    logging.disable()
    guided = [t for t in TARGETS if {t.name, "all"} & set(options.atheris)]
    chosen = [t for t in TARGETS if not options.names or any(name in t.name for name in options.names)]
    if options.list:
        for target in TARGETS:
            print(f"{target.name:24} {len(target.seeds):4} seeds, {len(corpus.kept(target)):4} kept")
        return 0
    print(f"seed {options.seed}")
    if guided and cover.is_there():
        holds = by_coverage(guided, options.seconds, options.seed)
    elif guided:
        print("atheris is not installed on this platform: mutated inputs by the plain loop", flush=True)
        holds = by_mutation(guided, 0, options.seconds, options.seed)
    else:
        holds = by_mutation(chosen, options.count, options.seconds, options.seed)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
