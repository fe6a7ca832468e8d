"""What a target is: a name, seeds, and a function that may end in a value or in a typed error only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Decode = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    `stateful`: an input is a play of many messages (`fuzz.script`), which takes a hundred times as long as
    one that is decoded; such a target runs for a time, not for a count.
    """

    name: str
    run: Decode
    seeds: Sequence[bytes]
    stateful: bool = False


def both_ways(decode: Callable[[bytes], object], encode: Callable[[object], bytes]) -> Decode:
    """A decoder whose every value must be written to octets that mean the same."""

    def run(octets: bytes) -> object:
        value = decode(octets)
        once = encode(value)
        twice = encode(decode(once))
        assert once == twice, f"written as {once.hex()}, then as {twice.hex()}"
        return value

    return run


def in_thirds(feed: Callable[[bytes], object]) -> Decode:
    """A reader of a stream, fed in three pieces."""

    def run(octets: bytes) -> object:
        third = len(octets) // 3
        return [feed(part) for part in (octets[:third], octets[third : 2 * third], octets[2 * third :])]

    return run
