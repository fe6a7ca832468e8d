"""Whole sessions of suites 1 and 2 in every form: a bit of any frame turned over, and it is refused.

Signatures are drawn anew each time, so these sessions are recorded as they are played; those of suite 0 are
in a file (`test_recorded`).  The normal run turns bits all over each frame, the soak every one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from meterseal.association import Associated, Confirmed, Failed, Indication, Reply, State
from meterseal.codec.data import Data, Tag
from meterseal.errors import MetersealError
from meterseal.security.packing import COMPRESSION
from meterseal.security.protection import policy_bits
from tests.association.pair import REGISTER, TO_CLIENT, TO_METER, Pair, get
from tests.association.test_layers import ALL, SEALED, SEED, drive, finished, pair_in

FORMS: dict[str, dict[str, Any]] = {
    "service-specific": {},
    "dedicated": {"client": {"dedicated_key": True}},
    "general": {"client": {"general": True}},
    "general, dedicated": {"client": {"general": True, "dedicated_key": True}},
    "general, compressed": {"client": {"general": True}, "compressed": True},
    "general, signed": {"signed": True},
    "identified": {"layers": "identified"},
    "wrapped": {"layers": "wrapped"},
    "static, compressed": {"layers": "static", "compressed": True},
    "static, signed": {"layers": "static", "signed": True},
    "one-pass, signed": {"layers": "one-pass", "signed": True},
}
REQUEST_BITS, SIGN_ON_BITS = 48, 16
"""Bits of a frame that the normal run turns over."""


def pair_of(form: str, suite_id: int) -> Pair:
    """The two ends of a session, by signature (mechanism 7)."""
    how = dict(FORMS[form])
    client = dict(how.get("client", {}))
    if client.get("dedicated_key"):
        client["dedicated_key"] = bytes(range(0x80, 0xA0 if suite_id == 2 else 0x90))
    both = {"compression": COMPRESSION["packet-default"]} if how.get("compressed") else {}
    protection = ALL if how.get("signed") else SEALED
    return pair_in(
        how.get("layers", ""), suite_id=suite_id, mechanism=7, policy=policy_bits(protection, protection),
        client={**client, **both}, server=both,
    )  # fmt: skip


def sign_on(pair: Pair) -> list[Any]:
    challenge = bytes(range(0x10, 0x10 + pair.client.profile.scheme.drawn))
    return pair.run(pair.client.associate(challenge, SEED))


def flips(octets: bytes, most: int | None) -> Iterator[bytes]:
    """Single bits turned over: all of them, or `most` of them from all over the frame."""
    bits = 8 * len(octets)
    for bit in range(bits) if most is None else range(0, bits, max(1, bits // most)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 0x80 >> bit % 8
        yield bytes(changed)


def settled(end: Any, octets: bytes) -> list[Any]:
    return list(finished(end, end.receive(octets)))


def state_of(pair: Pair) -> tuple[Any, ...]:
    meter, client = pair.server.profile.setup, pair.client.profile.setup
    return (pair.state(), meter.fresh.rx.lowest, client.fresh.rx.lowest, len(meter.exchanges))


def requests(pair: Pair, most: int | None) -> int:
    """A request with any bit turned over is not carried out, and moves nothing."""
    tried = 0

    def tap(sender: str, octets: bytes) -> list[bytes]:
        nonlocal tried
        for changed in flips(octets, most) if sender == TO_METER else ():
            before = state_of(pair)
            effects = settled(pair.server, changed)
            assert not any(isinstance(e, Indication) for e in effects), changed.hex()
            assert state_of(pair) == before, changed.hex()
            tried += 1
        return [octets]

    pair.tap = tap
    assert pair.outcomes(get())[0].code == 0
    pair.tap = lambda sender, octets: [octets]
    return tried


def answers(pair: Pair, most: int | None) -> int:
    """An answer with any bit turned over ends the request with an error, and moves nothing."""
    tried = 0
    (sent,) = finished(pair.client, pair.client.request([get()]))
    (answer,) = [e.octets for e in drive(pair, sent.octets) if isinstance(e, Reply)]
    asking = pair.client._asking
    for changed in flips(answer, most):
        before = state_of(pair)
        (failed,) = settled(pair.client, changed)
        assert isinstance(failed, Failed) and isinstance(failed.error, MetersealError), changed.hex()
        assert state_of(pair) == before, changed.hex()
        pair.client._asking = asking  # as if the answer had not been there yet
        pair.client._given_up.clear()
        tried += 1
    (confirmed,) = settled(pair.client, answer)
    assert isinstance(confirmed, Confirmed) and confirmed.outcomes[0].code == 0
    return tried


def sign_ons(form: str, suite_id: int, most: int | None) -> int:
    """A sign-on with any bit of its four frames turned over ends without an association for the client."""
    whole = pair_of(form, suite_id)
    assert sign_on(whole) == [Associated(None)]
    frames = [octets for _, octets in whole.wire]
    tried = 0
    for number, frame in enumerate(frames):
        for place in flips(bytes(len(frame)), most):
            pair = pair_of(form, suite_id)

            def tap(
                sender: str, octets: bytes, pair: Pair = pair, place: bytes = place, number: int = number
            ) -> list[bytes]:
                if len(pair.wire) != number + 1:
                    return [octets]
                # Frames of another run differ in length by a few octets: signatures do not, counters may.
                mask = place[: len(octets)] if any(place[: len(octets)]) else b"\x01"
                return [bytes(a ^ b for a, b in zip(octets, mask.ljust(len(octets), b"\0"), strict=True))]

            pair.tap = tap
            (effect,) = sign_on(pair)
            assert isinstance(effect, Failed), (number, place.hex())
            assert pair.client.state is State.IDLE
            tried += 1
    return tried


@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_core_B01_bits_of_requests_and_answers(form: str, suite_id: int) -> None:
    pair = pair_of(form, suite_id)
    assert sign_on(pair) == [Associated(None)]
    pair.plant.values[REGISTER, 2] = Data.of(bytes(120), Tag.OCTET_STRING).raw  # worth compressing
    assert requests(pair, REQUEST_BITS) + answers(pair, REQUEST_BITS) >= 2 * REQUEST_BITS
    assert FORMS[form].get("compressed", False) is (len(pair.sent(TO_CLIENT)[-1]) < 120)


@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", ["service-specific", "one-pass, signed"])
def test_core_B01_bits_of_a_sign_on(form: str, suite_id: int) -> None:
    assert sign_ons(form, suite_id, SIGN_ON_BITS) >= 4 * SIGN_ON_BITS


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite_id", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_core_B01_every_bit_of_a_session(form: str, suite_id: int) -> None:
    pair = pair_of(form, suite_id)
    assert sign_on(pair) == [Associated(None)]
    assert requests(pair, None) + answers(pair, None) > 400
    if form in ("service-specific", "general, signed", "one-pass, signed"):  # which differ in the sign-on
        sign_ons(form, suite_id, None)
