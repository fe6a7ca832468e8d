"""A process that agrees on keys with a meter, or imports a certificate, and is killed at a chosen point.

Usage: killed_pairs.py FOLDER WHAT POINT with WHAT `agree` or `import`, points as in `killed`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from meterseal.codec import data as codec
from meterseal.codec.types import Tag
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.issuing import Request, Validity
from meterseal.keys.kinds import GAK, GUEK
from meterseal.meter.manufacture import maker_of
from meterseal.meter.pairs import KeyPairs
from tests.meter import killed
from tests.meter.test_key_agreement import Agreeing
from tests.meter.world import World, call, world

SETUP = "0.0.43.0.1.255"


def agree(here: World) -> None:
    manager = here.signed_on("manager")
    armed(here)
    Agreeing(manager, (GUEK, GAK)).call()


def take(here: World) -> None:
    manager = here.signed_on("manager")
    outcome = manager.one(call(64, SETUP, 5, 0, Tag.ENUM))
    maker = maker_of(here.meter.store)
    assert outcome.data is not None and maker is not None
    request = Request(codec.decode(outcome.data))
    validity = Validity(datetime(2020, 1, 1, tzinfo=UTC))
    issued = maker.issue(request.key(Purpose.SIGNATURE), request.title, Purpose.SIGNATURE, validity)
    armed(here)
    manager.call(64, SETUP, 6, issued.der, Tag.OCTET_STRING)


def armed(here: World) -> None:
    """From now on the cut comes at the point; what was received is written before."""
    here.party.tick()
    here.meter.note = lambda setup: None  # type: ignore[method-assign]
    owner, name, how = WHERE[sys.argv[3]]
    setattr(owner, name, how(getattr(owner, name)))
    print("started", flush=True)


WHERE = killed.WHERE
ACTS = {"agree": agree, "import": take}


def main(folder: str, what: str, point: str) -> None:
    if what == "import" and point == "active":
        WHERE[point] = KeyPairs, "destroy_dropped", killed.after
    ACTS[what](world(folder=Path(folder), preset="suite1"))
    print("not killed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
