"""Passes 3 and 4 by themselves: proofs that have no mould, answers that are too long, latest challenges."""

from __future__ import annotations

import pytest

from meterseal.apdu.common import MethodDescriptor
from meterseal.apdu.services import ActionRequestNormal
from meterseal.association import Failed
from meterseal.association.profile import RING, Ring
from meterseal.association.proving import REPLY_TO_HLS, Proving, call_of
from meterseal.errors import TooLarge
from tests.association.pair import Pair, octet_string


@pytest.mark.parametrize("length", [0, 1, 15, 16, 33, 64, 97, 300])
def test_a_proof_of_any_length_is_the_same_call(length: int) -> None:
    proof = bytes(range(256))[:length].ljust(length, b"\x05")
    made = Proving(0xC1, proof, None).first()
    assert made == ActionRequestNormal(0xC1, MethodDescriptor(*REPLY_TO_HLS), octet_string(proof)).encode()
    assert call_of(made) == ((0xC1, proof) if length in (16, 64) else None)


def test_an_answer_that_the_client_cannot_take_ends_the_sign_on() -> None:
    pair = Pair(mechanism=7, suite_id=2, client={"max_pdu": 64})
    assert isinstance(pair.sign_on(bytes(32))[-1], Failed)
    assert [type(refusal.error) for refusal in pair.refusals] == [TooLarge]


def test_a_ring_keeps_the_latest() -> None:
    ring: Ring[int] = Ring()
    for number in range(RING + 3):
        ring.append(number)
    ring.append(5)
    ring.append(RING + 3)
    assert len(ring) == RING and list(ring)[-2:] == [5, RING + 3] and 3 not in ring and 4 in ring
