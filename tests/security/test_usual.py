"""The short way for nearly all traffic opens what the long way opens, and refuses what it refuses."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import MetersealError
from meterseal.keys.counters import ReceiveCounter
from meterseal.security import Context, Style, protect, unprotect
from tests.security.keys import OWN, PEER, context, in_use

verbs = import_module("meterseal.security.protect")  # the package has a function of this name
STYLES = (Style.GLO, Style.DED, Style.GENERAL_GLO)
PLAIN = st.builds(
    lambda tag, rest: bytes((tag,)) + rest,
    st.sampled_from([0xC0, 0xC3, 0xC4, 0x01]),
    st.binary(max_size=130),
)


def ends(suite_id: int, floor: int, **options: Any) -> list[Context]:
    """A sender, and two receivers that are alike."""
    length = 32 if suite_id == 2 else 16
    made = [context(suite_id=suite_id, dedicated=False, peer=OWN) for _ in range(3)]
    for end in made:
        end.setup.own_title = OWN if end is made[0] else PEER
        end.setup.unicast = in_use(bytes(length), bytes(range(length)))
        end.setup.unicast.rx = ReceiveCounter(floor)
        end.set_dedicated(bytes(range(1, length + 1)))
    for end in made[1:]:
        for name, value in options.items():
            setattr(end, name, value)
    return made


def outcome(receiver: Context, octets: bytes) -> tuple[object, ...]:
    """What opening gives, or how it fails, and where the counters stand then."""
    unicast = receiver.setup.unicast
    try:
        opened = unprotect(receiver, octets)
        key = "global" if opened.key is unicast else "dedicated"
        found: tuple[object, ...] = (*opened._replace(key=None), key)
    except MetersealError as error:
        found = (type(error), str(error))
    stand = [None if key is None else (key.rx.lowest, key.rx._seen) for key in (unicast, receiver.dedicated)]
    return (*found, *stand)


@given(
    PLAIN,
    st.sampled_from([1, 2, 3]),
    st.sampled_from(STYLES),
    st.sampled_from([0, 2]),
    st.sampled_from([0, 1, 5]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), max_size=2),
    st.integers(0, 40),
    st.fixed_dictionaries(
        {},
        optional={
            "exclusive_dedicated": st.booleans(),
            "window": st.sampled_from([0, 64]),
            "peer_title": st.sampled_from([None, OWN, PEER]),
            "dedicated": st.none(),
            "minimum": st.sampled_from([0, 3]),
        },
    ),
)
def test_the_short_way_equals_the_long_one(
    apdu: bytes, applied: int, style: Style, suite_id: int, floor: int,
    flips: list[tuple[int, int]], cut: int, options: dict[str, Any],
) -> None:  # fmt: skip
    sender, short, long = ends(suite_id, floor, **options)
    octets = bytearray(protect(sender, apdu, applied, style))
    for at, bits in flips:
        octets[at % len(octets)] ^= bits
    given_ = bytes(octets[: len(octets) - (cut if cut > 30 else 0)])
    with pytest.MonkeyPatch.context() as patch:
        found = [outcome(short, given_), outcome(short, given_)]
        patch.setattr(verbs, "open_usual", lambda context, octets: None)
        assert found == [outcome(long, given_), outcome(long, given_)], "once, and a second time"


def test_the_usual_request_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver, _ = ends(0, 0)

    def parse(octets: bytes) -> None:
        raise AssertionError("the long way")

    monkeypatch.setattr(verbs.ciphered, "parse", parse)
    get = bytes.fromhex("C001C100080000010000FF0200")
    for style in (Style.GLO, Style.DED):
        assert unprotect(receiver, protect(sender, get, 3, style)).apdu == get
