"""Run the fuzz targets: mutated inputs by a plain loop, typed errors only; prints what came of them."""

from __future__ import annotations

import argparse
import sys
import time

from fuzz.targets import TARGETS
from tests.mutate import hammer


def main() -> int:
    """Hammer every target; any other outcome than a value or a typed error ends the run."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help="fuzz only the targets whose name holds one of these")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs per target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations; printed")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.count} inputs per target")
    for target in TARGETS:
        if options.names and not any(name in target.name for name in options.names):
            continue
        outcomes = hammer(target.decode, target.seeds, count=options.count, rng=options.seed)
        print(f"{target.name:14}", ", ".join(f"{kind} {n}" for kind, n in outcomes.most_common()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
