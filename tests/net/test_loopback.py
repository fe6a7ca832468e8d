"""Lines in memory: order, ends, and frames that are changed on the way."""

from __future__ import annotations

import pytest

from meterseal import net
from meterseal.errors import ConnectionLost, Malformed, ProtocolViolation, TimedOut
from meterseal.net import Limits, Link
from meterseal.net.wirelog import Direction
from tests.net.parties import APDU, FRAME, SOON, Parties, echo, silent


def test_the_party_has_handled_a_frame_when_send_returns() -> None:
    with net.blocking_loopback(parties := Parties()) as line:
        line.send(16, 1, APDU)
        assert parties.made[0].frames == [(16, 1, APDU)]
        assert line.name == "loopback->loopback"
        link = parties.made[0].link
        assert (link.name, link.peer, link.source, link.unsent) == (line.name, "loopback", "loopback", False)
        link.established()


def test_tamper_sees_both_directions_and_may_change_double_or_drop() -> None:
    seen: list[tuple[Direction, bytes]] = []

    def tamper(direction: Direction, octets: bytes) -> bytes:
        seen.append((direction, octets))
        return {b"drop": b"", b"twice": octets * 2}.get(octets[8:], octets)

    with net.blocking_loopback(parties := Parties(), tamper=tamper) as line:
        line.send(16, 1, b"drop")
        assert parties.made[0].frames == []
        line.send(16, 1, b"twice")
        assert [frame[2] for frame in parties.made[0].frames] == [b"twice"] * 2
        assert [line.receive(0)[2] for _ in range(4)] == [b"twice"] * 4
        with pytest.raises(TimedOut):
            line.receive(1000)
    assert [direction for direction, _ in seen] == ["out", "out", "in", "in"]


async def test_tamper_with_asyncio() -> None:
    async with net.loopback(
        parties := Parties(), tamper=lambda way, octets: octets[:-1] + way[:1].encode()
    ) as line:
        await line.send(16, 1, APDU)
        assert parties.made[0].frames[0][2] == APDU[:-1] + b"o"
        assert (await line.receive(SOON))[2] == APDU[:-1] + b"i"


def test_octets_that_are_no_frame_end_the_line() -> None:
    with net.blocking_loopback(parties := Parties(), tamper=lambda way, octets: b"\xff" + octets) as line:
        line.send(16, 1, APDU)
        assert isinstance(parties.made[0].cause, Malformed)
        with pytest.raises(ConnectionLost):
            line.receive(0)
        with pytest.raises(ConnectionLost):
            line.send(16, 1, APDU)


def test_a_typed_error_of_the_party_ends_the_line() -> None:
    def refuse(link: Link, source: int, destination: int, payload: bytes) -> None:
        raise ProtocolViolation("no")

    with net.blocking_loopback(parties := Parties(refuse)) as line:
        line.send(16, 1, APDU)
        assert isinstance(parties.made[0].cause, ProtocolViolation)
        with pytest.raises(ConnectionLost):
            line.receive(0)


def test_what_the_party_sent_before_it_closed_can_be_read() -> None:
    def last_words(link: Link, source: int, destination: int, payload: bytes) -> None:
        echo(link, source, destination, payload)
        link.close()
        link.close()
        echo(link, source, destination, payload)

    with net.blocking_loopback(parties := Parties(last_words), limits=Limits(apdu=100)) as line:
        line.send(16, 1, APDU)
        assert parties.made[0].cause is None
        assert line.receive(0)[2] == APDU
        with pytest.raises(ConnectionLost):
            line.receive(0)


def test_frames_after_the_party_closed_are_not_handled() -> None:
    with net.blocking_loopback(
        parties := Parties(lambda link, *frame: link.close()), tamper=lambda way, octets: octets * 3
    ) as line:
        line.send(16, 1, APDU)
        assert len(parties.made[0].frames) == 1


async def test_two_parties_that_always_answer_do_not_recurse(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 5_000

    def until_enough(link: Link, source: int, destination: int, payload: bytes) -> None:
        if len(parties.made[0].frames) < rounds:
            echo(link, source, destination, payload)

    parties = Parties(until_enough)
    line = net.loopback(parties)
    monkeypatch.setattr(type(line), "received", lambda line, *frame: echo(line.link, *frame))
    line.link.send(16, 1, APDU)
    assert len(parties.made[0].frames) == rounds
    await line.close()


async def test_a_party_may_speak_first() -> None:
    async with net.loopback(parties := Parties(silent)) as line:
        parties.made[0].link.send(1, 16, APDU)
        assert await line.receive(0) == (1, 16, APDU)
        await parties.made[0].link.drain()


def test_a_frame_in_pieces() -> None:
    pieces = iter((FRAME[:3], FRAME[3:] + FRAME[:10]))
    with net.blocking_loopback(parties := Parties(silent), tamper=lambda way, octets: next(pieces)) as line:
        line.send(16, 1, APDU)
        assert parties.made[0].frames == []
        line.send(16, 1, APDU)
        assert parties.made[0].frames == [(16, 1, APDU)]
