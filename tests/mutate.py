"""Mutated inputs for decoders, the same in every run, and a watch over what they cost."""

from __future__ import annotations

import random
import signal
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from meterseal.errors import MetersealError

COUNT = 100_000  # inputs per decoder in the normal run
WORK_PER_OCTET = 4
MEMORY_PER_OCTET = 64
MEMORY_FREE = 1 << 20
WATCHDOG = 5.0  # seconds of this process for one input
_GRACE = 64  # octets of work that inputs of any length may take
_MEASURED_EVERY = 500
_TRIES = 3

_LENGTHS = (0x00, 0x01, 0x7E, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x84, 0xFE, 0xFF)
_LONG = (
    b"\x00\x00",
    b"\xff\xff",
    b"\x81\xff",
    b"\x82\xff\xff",
    b"\x84\xff\xff\xff\xff",
    b"\x88" + b"\xff" * 8,
)


def mutations(seeds: Sequence[bytes], count: int, rng: random.Random | int = 0) -> Iterator[bytes]:
    """`count` inputs made of `seeds`: bits flipped, octets set, cut, repeated, put in, and seeds spliced."""
    chance = rng if isinstance(rng, random.Random) else random.Random(rng)
    changes = (_flip, _flip, _set_octet, _set_length, _cut, _truncate, _repeat, _insert, _overwrite)
    below = chance.random
    for _ in range(count):
        octets = bytearray(seeds[int(below() * len(seeds))])
        if below() < 0.05:
            other = seeds[int(below() * len(seeds))]
            octets[int(below() * (len(octets) + 1)) :] = other[int(below() * (len(other) + 1)) :]
        for _ in range(1 + int(below() * below() * 4)):
            changes[int(below() * len(changes))](octets, chance)
        yield bytes(octets)


def _flip(octets: bytearray, chance: random.Random) -> None:
    if octets:
        octets[int(chance.random() * len(octets))] ^= 1 << int(chance.random() * 8)


def _set_octet(octets: bytearray, chance: random.Random) -> None:
    if octets:
        octets[int(chance.random() * len(octets))] = int(chance.random() * 256)


def _set_length(octets: bytearray, chance: random.Random) -> None:
    if octets:
        octets[int(chance.random() * len(octets))] = _LENGTHS[int(chance.random() * len(_LENGTHS))]


def _cut(octets: bytearray, chance: random.Random) -> None:
    begin = int(chance.random() * len(octets))
    del octets[begin : begin + 1 + int(chance.random() * 8)]


def _truncate(octets: bytearray, chance: random.Random) -> None:
    del octets[int(chance.random() * (len(octets) + 1)) :]


def _repeat(octets: bytearray, chance: random.Random) -> None:
    begin = int(chance.random() * len(octets))
    part = octets[begin : begin + 1 + int(chance.random() * 16)]
    octets[begin:begin] = part * (1 + int(chance.random() * 4))


def _insert(octets: bytearray, chance: random.Random) -> None:
    begin = int(chance.random() * (len(octets) + 1))
    octets[begin:begin] = chance.randbytes(1 + int(chance.random() * 8))


def _overwrite(octets: bytearray, chance: random.Random) -> None:
    begin = int(chance.random() * len(octets))
    part = _LONG[int(chance.random() * len(_LONG))]
    octets[begin : begin + len(part)] = part


def truncations(seeds: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Every seed with every proper prefix of it."""
    for seed in seeds:
        for end in range(len(seed)):
            yield seed, seed[:end]


def hammer(
    decode: Callable[[bytes], object],
    seeds: Sequence[bytes],
    *,
    count: int = COUNT,
    rng: random.Random | int = 0,
    work: Callable[[], int] | None = None,
) -> Counter[str]:
    """Decode `count` mutations of `seeds`; how often each outcome came: `value`, or a typed error's kind.

    Fails on any other exception, on `work` (octets looked at by the last decode) above 4 times the input,
    on memory above 64 times the input and 1 MB (sampled), and on an input that takes 5 s.
    """
    outcomes: Counter[str] = Counter()
    with watchdog() as progress:
        for number, octets in enumerate(mutations(seeds, count, rng)):
            progress(octets)
            measured = number % _MEASURED_EVERY == 0
            try:
                result: object = decode(octets)
                outcomes["value"] += 1
            except MetersealError as error:
                result = error
                outcomes[error.kind] += 1
            except Exception as error:
                error.add_note(f"input: {octets.hex()}")
                raise
            if measured:
                allowed = MEMORY_PER_OCTET * len(octets) + MEMORY_FREE
                # Other threads and the collector allocate too, but not three times in a row.
                peaks = [_peak(decode, octets)]
                while peaks[-1] > allowed and len(peaks) < _TRIES:
                    peaks.append(_peak(decode, octets))
                assert peaks[-1] <= allowed, (peaks, octets.hex())
            if work is not None:
                assert work() <= WORK_PER_OCTET * len(octets) + _GRACE, (work(), octets.hex())
            del result
    return outcomes


def _peak(decode: Callable[[bytes], object], octets: bytes) -> int:
    """The memory that one more decoding of an input takes at its highest, its result included."""
    tracemalloc.start()
    try:
        with suppress(MetersealError):
            decode(octets)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def watchdog(seconds: float = WATCHDOG) -> Iterator[Callable[[bytes], None]]:
    """Fail when less than one call of what it gives is made in `seconds` of processor time."""
    current: list[bytes] = [b""]
    seen: list[bytes | None] = [None]

    def look(signum: int, frame: object) -> None:
        if seen[0] is current[0]:
            raise AssertionError(f"one input took {seconds:g} s: {current[0].hex()}")
        seen[0] = current[0]

    def progress(octets: bytes) -> None:
        current[0] = octets

    before = signal.signal(signal.SIGVTALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
    try:
        yield progress
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
