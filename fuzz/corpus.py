"""The corpus: one file per input under `corpus/TARGET/`, named by its hash; what every run begins with."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from fuzz.target import Target

FOLDER = Path(__file__).parent / "corpus"
LARGEST = 4096
"""Octets of an input that is kept: what needs more is a test of its own."""


def name(octets: bytes) -> str:
    """The name of an input's file."""
    return sha256(octets).hexdigest()[:16] + ".bin"


def folder(target: Target) -> Path:
    return FOLDER / target.name


def kept(target: Target) -> list[bytes]:
    """The inputs that are kept for a target, in the order of their names."""
    return [path.read_bytes() for path in sorted(folder(target).glob("*.bin"))]


def beginnings(target: Target) -> list[bytes]:
    """Seeds and corpus, each input once."""
    return list(dict.fromkeys([*target.seeds, *kept(target)]))


def keep(target: Target, inputs: Iterable[bytes]) -> int:
    """Make these the corpus of a target, but for its seeds and what is too large.  How many there are."""
    seeds = set(target.seeds)
    wanted = {name(octets): octets for octets in inputs if octets not in seeds and len(octets) <= LARGEST}
    place = folder(target)
    place.mkdir(parents=True, exist_ok=True)
    for path in place.iterdir():
        if path.name not in wanted:
            path.unlink()
    for file, octets in wanted.items():
        (place / file).write_bytes(octets)
    if not wanted:
        place.rmdir()
    return len(wanted)
