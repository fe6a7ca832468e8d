"""Dissection of mutated and made-up input: an answer each time, JSON each time, only typed errors in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.cosem.texts import json_text
from meterseal.errors import MetersealError, Truncated
from meterseal.probe import Keyring, dissect, pieces, readings
from tests.framing.captures import p1_telegram
from tests.mutate import COUNT, hammer
from tests.probe import samples
from tests.probe.test_streams import SESSION

RINGS = (
    samples.E450_RING,
    samples.GOSEM_RING,
    Keyring.of(guek=samples.EK, gak=samples.AK, title=samples.TITLE),
    samples.TIROL_RING,
    Keyring(),
)
SEEDS = [
    samples.E450_OCTETS,
    samples.TIROL,
    SESSION,
    samples.ciphered_p1(),
    p1_telegram(),
    samples.of("hdlc-i-aare", "frame"),
    samples.of("gb41-general-ciphering-1e1s"),
    samples.of("gb133-access-request"),
    samples.sealed(bytes.fromhex("C001C100080000010000FF0200")),
    bytes.fromhex("0102020312000109060000010000FF0202090C07E4010101000000008000FF"),
]
STEP = COUNT // len(SEEDS)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_mutated_frames_give_typed_errors_only(seed: int) -> None:
    ring = RINGS[seed % len(RINGS)]

    def answer(octets: bytes) -> object:
        found = dissect(octets, ring, unverified=bool(len(octets) & 1))
        assert found
        for one in found:
            shown = one.to_json()
            assert set(shown) - {"error"} == {"layers", "apdu", "plain", "value"}
            assert one.error is None or shown["plain"] is None
            if one.message is not None:
                readings(getattr(one.message, "notification_body", one.message))
        return found

    outcomes = hammer(answer, [SEEDS[seed]], count=STEP, rng=seed)
    assert outcomes["value"] == STEP


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    for one in dissect(octets, RINGS[2]):
        json.loads(json_text(one.to_json()))


@given(st.text(alphabet='0123456789abcdefABCDEF xX:,#;\n-{"', max_size=200))
def test_any_text(text: str) -> None:
    try:
        found = pieces(text.encode())
    except MetersealError as error:
        assert error.kind in ("malformed", "truncated")
        return
    assert all(isinstance(piece, bytes) for piece in found)


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        ("01", "truncated"),
        ("020309", "truncated"),
        ("01" * 500, "too-deep"),
        ("0184FFFFFFFF", "truncated"),
        ("DC84ED2FAE69" + "00" * 54, "truncated"),
        ("DB841E308000" + "00" * 27, "truncated"),
        ("C001C100070100630100FF02010102", "truncated"),
        ("130200120F16080001020300020405", "truncated"),
        ("130001AA", "malformed"),
    ],
)
def test_killer_inputs(octets: str, kind: str) -> None:
    """F03 to F08: refused by a typed error before anything is made for the counts they claim."""
    (one,) = dissect(bytes.fromhex(octets), RINGS[2])
    assert one.error is not None and one.error.kind in (kind, "malformed"), one


def test_F17_junk_in_times_and_names_is_shown() -> None:
    push = bytes.fromhex(
        "0F00000001" + "0C" + "FFFF0D20FF19FF7B64800100" + "0202" + "0906FFFFFFFFFFFF" + "1105"
    )
    (one,) = dissect(push)
    assert one.error is None
    json.loads(json_text(one.to_json()))


def test_nothing_at_all() -> None:
    (one,) = dissect(b"")
    assert isinstance(one.error, Truncated)
