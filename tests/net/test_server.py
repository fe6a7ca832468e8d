"""The listening end over real sockets: frames, hostile peers, floods, and the end of descriptors."""

from __future__ import annotations

import asyncio
import socket

import pytest

from meterseal import net
from meterseal.errors import (
    ConfigurationError,
    ConnectionLost,
    Malformed,
    ProtocolViolation,
    TimedOut,
    TooLarge,
)
from meterseal.framing import wrapper
from meterseal.net import Limits, Link
from meterseal.net.ends import source_of
from tests.net.parties import (
    ANSWER,
    APDU,
    FRAME,
    SOON,
    Parties,
    ended,
    forward,
    plain_socket,
    put,
    read_all,
    serve,
    take,
    until,
)


async def test_frames_are_answered_in_order_on_one_connection() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            for number in range(50):
                await put(plain, wrapper.encode(16, number, APDU))
            answers = await take(plain, 50 * len(FRAME))
        assert [frame[0] for frame in wrapper.WrapperReader().feed(answers)] == list(range(50))
        party = await parties.last()
        assert isinstance(await ended(party), ConnectionLost)
        assert party.link.is_closing


async def test_names_of_a_connection() -> None:
    async with await serve(parties := Parties()) as server:
        assert server.url == f"tcp://127.0.0.1:{server.port}"
        with plain_socket(server) as plain:
            link = (await parties.last()).link
            own = f"127.0.0.1:{plain.getsockname()[1]}"
            assert (link.name, link.peer, link.source) == (
                f"{own}->127.0.0.1:{server.port}",
                own,
                "127.0.0.1",
            )
            assert server.links == [link]
        await until(lambda: not server.links)


def test_sources_are_hosts_and_of_ipv6_the_64() -> None:
    assert source_of(("192.0.2.1", 5)) == "192.0.2.1"
    assert source_of(("::ffff:192.0.2.1", 5, 0, 0)) == "192.0.2.1"
    assert source_of(("2001:db8:1:2:3:4:5:6", 5, 0, 0)) == source_of(("2001:db8:1:2::1", 9, 0, 0))
    assert source_of(("2001:db8:1:2::1", 5, 0, 0)) != source_of(("2001:db8:1:3::1", 5, 0, 0))
    assert source_of(("fe80::1%eth0", 5, 0, 2)) == "fe80::/64"
    assert source_of("unix") == "unix"


async def test_closing_sends_what_is_unsent_and_says_nothing_of_a_cause() -> None:
    def answer_and_close(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, payload)
        link.close()
        link.send(destination, source, payload)

    async with await serve(parties := Parties(answer_and_close)) as server:
        with plain_socket(server) as plain:
            await put(plain, FRAME * 2)
            assert await read_all(plain) == ANSWER
        party = await parties.last()
        assert await ended(party) is None
        assert len(party.frames) == 1


async def test_a_typed_error_of_the_party_closes_only_its_connection() -> None:
    def refuse(link: Link, source: int, destination: int, payload: bytes) -> None:
        raise ProtocolViolation("not now")

    async with await serve(parties := Parties(refuse)) as server:
        with plain_socket(server) as plain:
            await put(plain, FRAME)
            assert await read_all(plain) == b""
        assert isinstance(await ended(await parties.last()), ProtocolViolation)
        with plain_socket(server):
            await parties.last(2)


async def test_a_typed_error_of_the_factory_closes_the_connection() -> None:
    def refuse(link: Link) -> net.Handler:
        raise ProtocolViolation("not you")

    async with await net.serve("127.0.0.1", 0, refuse) as server:
        with plain_socket(server) as plain:
            assert await read_all(plain) == b""
        await until(lambda: server.admission.count == 0)


# --- F09: the wrapper over a socket ----------------------------------------------------------------


async def test_F09_header_in_eight_segments_and_two_apdus_in_one() -> None:
    async with await serve(Parties()) as server:
        with plain_socket(server) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in FRAME:
                await put(plain, bytes((octet,)))
                await asyncio.sleep(0)
            assert await take(plain, len(ANSWER)) == ANSWER
            await put(plain, FRAME * 2 + FRAME[:3])
            assert await take(plain, 2 * len(ANSWER)) == ANSWER * 2
            await put(plain, FRAME[3:])
            assert await take(plain, len(ANSWER)) == ANSWER


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        (bytes.fromhex("0002001000010001C0"), Malformed),
        (b"GET / HTTP/1.1\r\n\r\n", Malformed),
        (bytes.fromhex("0001001000010000"), Malformed),
        (bytes.fromhex("000100100001FFFF"), TooLarge),
        (FRAME + b"\xff" + FRAME, Malformed),
    ],
    ids=["version", "http", "length-0", "length-65535", "garbage-between"],
)
async def test_F09_what_is_no_frame_closes_the_connection(octets: bytes, cause: type[Exception]) -> None:
    async with await serve(parties := Parties(), limits=Limits(apdu=1024)) as server:
        with plain_socket(server) as plain:
            await put(plain, octets)
            answered = await read_all(plain)
        party = await parties.last()
        assert isinstance(await ended(party), cause)
        assert len(party.frames) == octets.startswith(FRAME)
        assert len(answered) in (0, len(ANSWER) * len(party.frames))  # a reset may overtake an answer


async def test_F09_the_largest_apdu_and_wport_0_are_frames() -> None:
    async with await serve(parties := Parties(), limits=Limits(apdu=1024)) as server:
        with plain_socket(server) as plain:
            await put(plain, wrapper.encode(0, 0, bytes(1024)))
            assert await take(plain, 1032) == wrapper.encode(0, 0, bytes(1024))
        assert (await parties.last()).frames == [(0, 0, bytes(1024))]


# --- F14: slow peers --------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [FRAME[:1], FRAME[:8], FRAME[:-1], FRAME + FRAME[:4]])
async def test_F14_an_incomplete_frame_has_its_time(sent: bytes) -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0.05)) as server:
        with plain_socket(server) as plain:
            await put(plain, sent)
            await read_all(plain)
        assert isinstance(await ended(await parties.last()), TimedOut)


async def test_F14_single_octets_do_not_buy_time() -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0.1)) as server:
        with plain_socket(server) as plain:
            party = await parties.last()
            for octet in wrapper.encode(16, 1, bytes(1000)):
                if party.ended.is_set():
                    break
                try:
                    await put(plain, bytes((octet,)))
                except OSError:
                    break
                await asyncio.sleep(0.005)
            assert isinstance(await ended(party), TimedOut)
            assert party.frames == []


async def test_F14_whole_frames_and_pauses_between_them_are_not_slow() -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=SOON)) as server:
        with plain_socket(server) as plain:
            for _ in range(2):
                await put(plain, FRAME[:5])
                await asyncio.sleep(0)
                await put(plain, FRAME[5:])
                assert await take(plain, len(ANSWER)) == ANSWER
                await forward(2 * SOON)
            assert not (await parties.last()).ended.is_set()


async def test_F14_a_peer_that_never_reads_is_dropped_and_its_requests_wait() -> None:
    async with await serve(parties := Parties(), limits=Limits(write_time=0.2)) as server:
        with plain_socket(server) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = wrapper.encode(16, 1, bytes(60_000))
            sending = asyncio.ensure_future(put(plain, request * 500))
            party = await parties.last()
            cause = await ended(party)
            assert isinstance(cause, TimedOut) and "read" in str(cause)
            assert len(party.frames) < 500  # it was not read any more, so nothing was handled either
            with pytest.raises(OSError):
                await sending


async def test_F14_a_peer_that_reads_late_gets_everything() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            count = 100
            request = wrapper.encode(16, 1, bytes(60_000))
            sending = asyncio.ensure_future(put(plain, request * count))
            party = await parties.last()
            await until(lambda: party.link.unsent)
            answers = await take(plain, len(request) * count)
            await sending
            assert answers == wrapper.encode(1, 16, bytes(60_000)) * count
            assert len(party.frames) == count


async def test_F14_what_waits_for_a_peer_is_capped() -> None:
    def flood(link: Link, source: int, destination: int, payload: bytes) -> None:
        for _ in range(1000):
            link.send(destination, source, bytes(60_000))

    async with await serve(parties := Parties(flood), limits=Limits(unsent=200_000)) as server:
        with plain_socket(server) as plain:
            await put(plain, FRAME)
            assert isinstance(await ended(await parties.last()), TooLarge)


async def test_F14_many_slow_connections_do_not_hold_up_a_good_one() -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0.5)) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        for plain in slow:
            plain.sendall(FRAME[:5])
        async with await net.connect(server.url) as line:
            for _ in range(100):
                await line.send(16, 1, APDU)
                assert await line.receive(SOON) == (1, 16, APDU)
        await until(lambda: len(parties.made) == 201)
        causes = [await ended(party) for party in parties.made]
        assert sum(isinstance(cause, TimedOut) for cause in causes) == 200
        for plain in slow:
            plain.close()


# --- listening ----------------------------------------------------------------------------------------


async def test_listening_where_it_cannot_be_done_is_a_configuration_error() -> None:
    async with await serve(Parties()) as server:
        with pytest.raises(ConfigurationError, match=str(server.port)):
            await net.serve("127.0.0.1", server.port, Parties())
    for host, port in (("no-such-host.invalid", 0), ("127.0.0.1", 70_000), ("192.0.2.1", 0), ("a" * 70, 0)):
        with pytest.raises(ConfigurationError, match="cannot listen"):
            await net.serve(host, port, Parties())


async def test_H16_addresses_that_this_machine_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def two_addresses(host: str, port: int, **options: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
    async with await net.serve("both", 0, Parties()) as server:
        assert server.url.startswith("tcp://127.0.0.1:")


async def test_closing_the_server_closes_its_connections_and_its_port() -> None:
    server = await serve(parties := Parties())
    with plain_socket(server) as plain:
        await parties.last()
        await server.close()
        assert await read_all(plain) == b""
        assert (await parties.last()).ended.is_set()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port))


async def test_the_handler_may_end_its_connection_in_every_way_at_once() -> None:
    def end(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.abort(ProtocolViolation("first"))
        link.abort(ProtocolViolation("second"))
        link.close()
        link.send(destination, source, payload)

    async with await serve(parties := Parties(end)) as server:
        with plain_socket(server) as plain:
            await put(plain, FRAME * 3)
            await read_all(plain)
        party = await parties.last()
        assert str(await ended(party)) == "first"
        assert len(party.frames) == 1
        party.link.close()
        party.link.abort()
        await party.link.drain()


async def test_pieces_of_many_connections_come_in_turn_and_none_is_mixed_with_another() -> None:
    """They receive in the same place: what is not whole is taken out of it at once."""
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as first, plain_socket(server) as second, plain_socket(server) as third:
            frames = [wrapper.encode(16, number, bytes((number,)) * 100) for number in (1, 2, 3)]
            ends = list(zip((first, second, third), frames, strict=True))
            for at in range(0, len(frames[0]), 18):
                for plain, frame in ends:
                    await put(plain, frame[at : at + 18])
                    await asyncio.sleep(0)
            for plain, frame in ends:
                assert await take(plain, len(frame)) == wrapper.encode(frame[5], 16, frame[8:])
        await until(lambda: all(party.link.is_closing for party in parties.made))


async def test_a_failed_write_shows_at_once_and_nothing_more_is_handled() -> None:
    seen: list[bool] = []

    def cut(link: Link, source: int, destination: int, payload: bytes) -> None:
        link._transport._sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        link.send(destination, source, payload)
        seen.append(link.is_closing)

    async with await serve(parties := Parties(cut)) as server:
        with plain_socket(server) as plain:
            await put(plain, 3 * FRAME)
            assert isinstance(await ended(await parties.last()), ConnectionLost)
    assert seen == [True]
