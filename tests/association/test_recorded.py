"""Recorded sessions: made again octet by octet, and every bit of every frame turned over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from meterseal.apdu.acse import Aare, Aarq, Rlre
from meterseal.association import Associated, Failed, Refusal, Released, Reply, State
from meterseal.errors import AuthenticationFailed, MetersealError
from tests.association.pair import CLIENT_CHALLENGE, TO_CLIENT, TO_METER, Pair, get, replies
from tests.association.session import FILE, METER_CHALLENGE, SESSIONS, document, pair_of, play

RECORDED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def flips(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Every single bit turned over: its number, and the octets."""
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 0x80 >> bit % 8
        yield bit, bytes(changed)


def bits_of(octets: bytes, part: bytes) -> set[int]:
    """The numbers of the bits of a part."""
    start = 8 * octets.index(part)
    return set(range(start, start + 8 * len(part)))


def test_the_library_makes_the_recorded_octets_again() -> None:
    assert document() == RECORDED
    assert RECORDED["origin"] == "derived"


@pytest.mark.parametrize("name", SESSIONS)
def test_what_a_session_holds(name: str) -> None:
    frames = RECORDED["sessions"][name]
    assert [f["apdu"] for f in frames[:2] + frames[-2:]] == ["aarq", "aare", "rlrq", "rlre"]
    assert [f["from"] for f in frames] == ["client", "meter"] * (len(frames) // 2)
    plain = {f["plain"][:4] for f in frames}
    assert {"C001", "C002", "C003", "C102", "C103", "C303", "C305"} & plain >= {
        "C001",
        "C002",
        "C003",
        "C102",
    }


def rejected_by_meter(pair: Pair, octets: bytes) -> None:
    """Every bit of a frame to the meter: refused; state, negotiation, counters, view and objects stay."""
    rights = dict(pair.view.rights)
    asked = len(pair.view.asked)
    for bit, changed in flips(octets):
        before = pair.server_state()
        refusal, reply = pair.server.receive(changed)
        assert isinstance(refusal, Refusal), bit
        assert isinstance(reply, Reply)
        if reply.octets[0] == 0x63:
            assert Rlre.decode(reply.octets) == Rlre(1)
        elif reply.octets[0] == 0x61:  # an RLRQ that looks like an AARQ now
            assert Aare.decode(reply.octets).result == 1
        else:
            assert reply.octets[0] == 0xD8
        assert pair.server_state() == before, bit
    assert (pair.view.rights, len(pair.view.asked)) == (rights, asked)


def rejected_by_client(pair: Pair, octets: bytes) -> None:
    """Every bit of an answer to a request: the request fails; state, negotiation and counters stay."""
    asking = pair.client._asking
    for bit, changed in flips(octets):
        before = pair.client_state()
        (failed,) = pair.client.receive(changed)
        assert isinstance(failed, Failed), bit
        assert isinstance(failed.error, MetersealError)
        assert pair.client_state() == before, bit
        # Ask again, as if the answer had not been there yet.
        pair.client._asking = asking
        pair.client._given_up.clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_core_B01_every_bit_of_every_protected_frame(name: str) -> None:
    """Between two ends that then go on as if nothing had been: the session completes as recorded."""
    pair = pair_of(name)
    tried = {TO_METER: 0, TO_CLIENT: 0}

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_METER and octets[0] != 0x60:
            rejected_by_meter(pair, octets)
            tried[direction] += 1
        if direction == TO_CLIENT and pair.client.state is State.ASSOCIATED:
            rejected_by_client(pair, octets)
            tried[direction] += 1
        return [octets]

    pair.tap = tap
    play(pair)
    frames = RECORDED["sessions"][name]
    assert [octets.hex().upper() for _, octets in pair.wire] == [f["octets"] for f in frames]
    # All but the AARQ; all but AARE, pass 4 and RLRE, which end things: see below.
    assert tried == {TO_METER: len(frames) // 2 - 1, TO_CLIENT: len(frames) // 2 - 3}


def until(name: str, count: int, changed: bytes | None = None) -> tuple[Pair, list[Any]]:
    """A session in which frame number `count` arrives as `changed`, or not at all."""
    pair = pair_of(name)

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if len(pair.wire) == count + 1:
            return [] if changed is None else [changed]
        return [octets]

    pair.tap = tap
    return pair, pair.sign_on()


def recorded(name: str, number: int) -> bytes:
    return bytes.fromhex(RECORDED["sessions"][name][number]["octets"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_core_B01_every_bit_of_the_aarq(name: str) -> None:
    """Refused at once; or, where the challenge was hit, a meter that cannot prove itself to this client.

    The challenge travels bare, and the proof of pass 3 does not cover it: what the meter believes then, the
    client does not, and says no more.
    """
    octets = recorded(name, 0)
    passed = set()
    for bit, changed in flips(octets):
        pair = pair_of(name)
        before = pair.server_state()
        effects = pair.server.receive(changed)
        if isinstance(effects[0], Refusal):
            assert pair.server_state() == before, bit
            assert replies(effects)[0][:1] in (b"\xd8", b"\x61")
            continue
        passed.add(bit)
        pair, (failed,) = until(name, 0, changed)
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, AuthenticationFailed)
        assert pair.client.state is State.IDLE
        assert len(pair.sent(TO_METER)) == 2
    assert passed == bits_of(octets, CLIENT_CHALLENGE)
    assert Aarq.decode(octets).calling_authentication_value == CLIENT_CHALLENGE


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_core_B01_every_bit_of_the_aare(name: str) -> None:
    """The client gives up at once; or, where the challenge was hit, proves what this meter did not ask."""
    octets = recorded(name, 1)
    passed = set()
    for bit, changed in flips(octets):
        pair, (failed,) = until(name, 1, changed)
        assert isinstance(failed, Failed), bit
        assert pair.client.state is State.IDLE
        assert not [e for _, e in pair.events if isinstance(e, Associated)], bit
        if len(pair.sent(TO_METER)) == 2:
            passed.add(bit)
            assert pair.server.state is State.IDLE
            assert isinstance(pair.refusals[0].error, AuthenticationFailed)
    assert passed == bits_of(octets, METER_CHALLENGE)
    assert Aare.decode(octets).responding_authentication_value == METER_CHALLENGE


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_core_B01_every_bit_of_pass_4(name: str) -> None:
    octets = recorded(name, 3)
    for bit, changed in flips(octets):
        pair, (failed,) = until(name, 3, changed)
        assert isinstance(failed, Failed), bit
        assert pair.client.state is State.IDLE
        assert len(pair.sent(TO_METER)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_core_B01_every_bit_of_the_rlre(name: str) -> None:
    """The session is over either way; the client says that something was wrong."""
    last = len(RECORDED["sessions"][name]) - 1
    octets = recorded(name, last)
    for bit, changed in flips(octets):
        pair = pair_of(name)
        pair.sign_on()
        # The meter's counter stands where it stood in the recording.
        pair.client.release()
        (effect,) = pair.client.receive(changed)
        assert isinstance(effect, Released), bit
        assert effect.warning, bit
        assert pair.client.state is State.IDLE
    pair = pair_of(name)
    pair.sign_on()
    pair.client.release()
    assert pair.client.receive(octets) == [Released("")]


@pytest.mark.parametrize("name", SESSIONS)
def test_core_C01_no_frame_of_a_session_is_taken_twice(name: str) -> None:
    """Each frame again: at once, at the end of its session, and in the next one."""
    pair = pair_of(name)
    again: list[bytes] = []

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_METER:
            again.append(octets)
        return [octets]

    pair.tap = tap
    play(pair)
    refused_all(pair, again)
    fresh = bytes(range(0x30, 0x40))
    pair.client.profile.dedicated_key = (
        bytes(range(0x50, 0x60)) if SESSIONS[name].get("dedicated_key") else None
    )
    assert pair.sign_on(fresh) == [Associated(None)]
    refused_all(pair, again)
    assert pair.server.state is State.ASSOCIATED


def refused_all(pair: Pair, frames: list[bytes]) -> None:
    for octets in frames:
        before = pair.server_state()
        refusal, _ = pair.server.receive(octets)
        assert isinstance(refusal, Refusal)
        assert pair.server_state() == before


@pytest.mark.parametrize("name", SESSIONS)
def test_core_C01_a_frame_sent_twice_is_done_once(name: str) -> None:
    pair = pair_of(name)
    doubled = 0

    def tap(direction: str, octets: bytes) -> list[bytes]:
        nonlocal doubled
        if direction == TO_METER and pair.server.state is State.ASSOCIATED and octets[0] != 0x62:
            effects = pair.to_meter(octets)
            before = pair.server_state()
            refusal, reply = pair.server.receive(octets)
            assert isinstance(refusal, Refusal)
            assert refusal.error.kind == "replayed"
            assert isinstance(reply, Reply)
            assert reply.octets[:3] == bytes.fromhex("D80106")
            assert pair.server_state() == before
            doubled += 1
            # The client gets the one answer there was.
            answers.extend(replies(effects))
            return []
        return [octets]

    answers: list[bytes] = []
    pair.tap = tap
    pair.sign_on()
    for _ in range(3):
        pair.run(pair.client.request([get()]))
        (effect,) = pair.client.receive(answers.pop())
        assert type(effect).__name__ == "Confirmed"
    assert doubled == 3
