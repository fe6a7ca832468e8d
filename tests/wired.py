"""What went over the wire, as wire logs have it, and every invocation counter in it (law 1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from meterseal import apdu
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.ciphered import FORMS, parse
from meterseal.crypto import GcmKey
from meterseal.framing.wrapper import HEADER_LENGTH


def apdus(log: Path, direction: str = "out") -> list[bytes]:
    """APDUs of one direction, in all lives of whoever wrote the log; a kill may have cut its line short."""
    found = []
    for line in log.read_text().splitlines():
        if line.endswith("}"):
            entry = json.loads(line)
            if entry["direction"] == direction:
                found.append(bytes.fromhex(entry["hex"])[HEADER_LENGTH:])
    return found


def counters(sender: Iterable[bytes], title: bytes, key: GcmKey) -> Iterator[int]:
    """Every counter that one end used: of its messages, of Initiates, and of the tokens inside."""
    for octets in sender:
        inner: bytes | None = octets
        if octets[0] in (0x60, 0x61):
            inner = (Aarq if octets[0] == 0x60 else Aare).decode(octets).user_information
        if not inner or inner[0] not in FORMS:
            continue
        message = parse(inner)
        yield message.counter
        plain = key.open(message.sc, title + message.counter.to_bytes(4, "big"), message.body)
        if plain[:2] in (b"\xc3\x01", b"\xc7\x01"):
            at = plain.index(b"\x09\x11\x10") + 3
            yield int.from_bytes(plain[at : at + 4], "big")
        assert apdu.decode(plain)


def twice(used: Iterable[int]) -> list[int]:
    """The counters that came more than once."""
    return [counter for counter, times in Counter(used).items() if times > 1]


def spoilt(octets: bytes) -> bytes:
    """The same with another last bit: never the tag that was right, as a constant may be one time in 256."""
    return octets[:-1] + bytes((octets[-1] ^ 1,))
