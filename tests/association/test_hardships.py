"""All at once: a network that loses, repeats and reorders, small PDUs, narrow windows (H07, H08, C11)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.association import Confirmed, Failed, Operation, Outcome
from meterseal.codec.data import Data
from tests.association.blocky import blocky
from tests.association.pair import CLOCK, Pair, associated, get, octet_string, put
from tests.association.test_datagrams import Shuffler

TRIES = 12
BROKEN_OFF = range(0x0F, 0x14)
"""Results that say why a long transfer has ended, from long-get-aborted to data-block-number-invalid."""


class Hard(Shuffler):
    """A shuffler that loses some of what would arrive."""

    def __init__(self, seed: int, loss: float) -> None:
        super().__init__(seed)
        self.loss = loss

    def __call__(self, direction: str, octets: bytes) -> list[bytes]:
        return [one for one in super().__call__(direction, octets) if self._random.random() >= self.loss]


def ask(pair: Pair, operation: Operation) -> Outcome | None:
    """What came of a request; None where it was given up: it, or a part of it, may yet arrive."""
    effects: list[Any] = pair.ask(operation)
    for _ in range(TRIES):
        for effect in effects:
            if isinstance(effect, Confirmed):
                return effect.outcomes[0]
            if isinstance(effect, Failed):
                return None
        again = pair.client.timed_out()
        if not again:
            break  # no block is waited for
        effects = pair.run(again)
    pair.client.give_up()
    return None


@pytest.mark.slow
@pytest.mark.parametrize("pair_of", [blocky, associated], ids=["general blocks", "blocks of a service"])
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    size=st.sampled_from([64, 128, 300]),
    windows=st.tuples(st.integers(1, 8), st.integers(1, 8)),
)
@settings(max_examples=10)
def test_H07_H08_no_value_but_one_that_was_written(
    pair_of: Callable[..., Pair], seed: int, loss: float, size: int, windows: tuple[int, int]
) -> None:
    """Writes and reads of what takes many blocks: whatever arrives, no answer is another request's.

    A late block of an earlier request may end the transfer of this one; the meter says so.
    """
    ours, theirs = ({"max_pdu": size, "window": window} for window in windows)
    pair = pair_of(datagrams=True, client=ours, server=theirs)
    tap = pair.tap = Hard(seed, loss)
    chance, maybe = random.Random(seed), set[bytes]()
    for number in range(6):
        value: Data = octet_string(bytes((number,)) * chance.randrange(1, 900))
        maybe.add(value.raw)
        outcome = ask(pair, put(value))
        assert outcome is None or outcome.code in {0, *BROKEN_OFF}
        if outcome == Outcome(0):
            assert value.raw in [o.data.raw for o in pair.plant.done if o.data]
        read = ask(pair, get(CLOCK, 2, 8))
        assert read is None or read.code in {0, *BROKEN_OFF}
        if read is not None and not read.code and pair.plant.done:
            assert read.data in maybe
    done = [o.data.raw for o in pair.plant.done if o.data]
    assert len(pair.wire) < 3000, "what comes twice is not answered by ever more"
    assert len(done) == len(set(done)), "nothing is done twice"
    tap.loss = 0.0
    last = octet_string(b"healed" * 50)
    assert any(ask(pair, put(last)) == Outcome(0) for _ in range(TRIES))
    found = {ask(pair, get(CLOCK, 2, 8)) for _ in range(TRIES)}
    assert Outcome(0, last.raw) in found
    assert found <= {None, Outcome(0, last.raw), *map(Outcome, BROKEN_OFF)}
