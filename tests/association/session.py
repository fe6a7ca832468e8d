"""Complete sessions with fixed keys and challenges: what tests/vectors/session-suite0.json is made from.

`python -m tests.association.session` writes the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meterseal import apdu
from meterseal.apdu.ciphered import FORMS, parse
from meterseal.association import Associated, Confirmed, Released
from meterseal.crypto import GcmKey
from tests.association.pair import (
    AK,
    CLIENT_CHALLENGE,
    CLIENT_TITLE,
    DEK,
    EK,
    METER_TITLE,
    TO_CLIENT,
    Pair,
    call,
    drawing,
    get,
    octet_string,
    put,
)

FILE = Path(__file__).parent.parent / "vectors" / "session-suite0.json"
METER_CHALLENGE = bytes(range(0x60, 0x70))
LONG = octet_string(bytes(range(200)))

SESSIONS: dict[str, dict[str, Any]] = {
    "service-specific": {},
    "dedicated": {"dedicated_key": DEK},
    "general": {"general": True},
}


SERVICES = 0x401E9D
"""What the recorded sessions negotiate."""


def pair_of(name: str) -> Pair:
    """The two ends of a session, with everything fixed."""
    common = {"max_pdu": 128, "conformance": SERVICES}
    return Pair(client={**common, **SESSIONS[name]}, server=common, draw=drawing(METER_CHALLENGE))


def play(pair: Pair) -> None:
    """Sign on, read, write and call, short and in blocks and in lists, and release."""
    assert pair.sign_on() == [Associated(None)]
    pair.plant.values[get().instance, 3] = LONG.raw
    for operations in (
        (get(),),
        (get(member=3),),
        (get(), get(member=4)),
        (put(octet_string(b"short")),),
        (put(LONG),),
        (call(),),
        (call(LONG), call()),
    ):
        (effect,) = pair.ask(*operations)
        assert isinstance(effect, Confirmed), effect
    assert pair.release() == [Released()]


def frames(name: str) -> list[dict[str, Any]]:
    """The frames of a session in order, with the plain APDU of each."""
    pair = pair_of(name)
    play(pair)
    return [
        {
            "from": sender,
            "apdu": apdu.name(octets),
            "octets": octets.hex().upper(),
            "plain": _plain(sender, octets),
        }
        for sender, octets in pair.wire
    ]


def _plain(sender: str, octets: bytes) -> str:
    """The plain APDU by the bare key, apart from the road that the library takes."""
    if octets[0] not in FORMS:
        return octets.hex().upper()
    message = parse(octets)
    key = GcmKey(DEK if message.form.key_set == "dedicated" else EK, AK)
    title = METER_TITLE if sender == TO_CLIENT else CLIENT_TITLE
    return key.open(message.sc, title + message.counter.to_bytes(4, "big"), message.body).hex().upper()


def document() -> dict[str, Any]:
    """What the file holds."""
    keys = {"guek": EK, "gak": AK, "dedicated_key": DEK}
    titles = {"client_system_title": CLIENT_TITLE, "meter_system_title": METER_TITLE}
    challenges = {"client_challenge": CLIENT_CHALLENGE, "meter_challenge": METER_CHALLENGE}
    return {
        "title": "Complete sessions of suite 0 by HLS-GMAC, all messages authenticated and encrypted",
        "origin": "derived",
        "source": "made by this project: a regression value, no third-party proof",
        **{name: octets.hex().upper() for name, octets in (keys | titles | challenges).items()},
        "sessions": {name: frames(name) for name in SESSIONS},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1) + "\n", encoding="utf-8")
