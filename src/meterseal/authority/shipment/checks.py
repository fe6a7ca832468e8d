"""Keys that are no good: published, patterned, or typed on a keyboard (keys 4; catalogue G08)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from meterseal.authority.store.records import Flag

_PUBLISHED: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "000102030405060708090A0B0C0D0E0F",  # the standard's examples: GUEK
        "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF",  # GAK
        "0F0E0D0C0B0A09080706050403020100",
        "00112233445566778899AABBCCDDEEFF",  # KEK
        "101112131415161718191A1B1C1D1E1F",
        "C0C1C2C3C4C5C6C7C8C9CACBCCCDCECF",
        "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
        "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEF",
    )
)

_FEW: Final = 5
"""Different octets in a key of 16 below which no random source has drawn it: one in 10^17 has so few."""


def _patterned(key: bytes) -> bool:
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    repeats = any(key == (key[:size] * len(key))[: len(key)] for size in range(1, len(key) // 2 + 1))
    return len(steps) == 1 or repeats or len(set(key)) < _FEW


def _typed(key: bytes) -> bool:
    return all(0x20 <= octet < 0x7F for octet in key)


RULES: Final[tuple[tuple[Flag, str, Callable[[bytes], bool]], ...]] = (
    (Flag.DEFAULT, "a key that is published: an example or a default", _PUBLISHED.__contains__),
    (Flag.WEAK, "a key with a pattern, not drawn at random", _patterned),
    (Flag.WEAK, "a key of letters and digits: a password is no key", _typed),
)
"""What an AES key is looked at for, first match first."""


def look(key: bytes) -> tuple[Flag, str]:
    """What is wrong with an AES key, and in words; nothing: `Flag(0)` and no words."""
    for flag, words, wrong in RULES:
        if wrong(key):
            return flag, words
    return Flag(0), ""
