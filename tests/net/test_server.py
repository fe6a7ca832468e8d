"""The listening end over real sockets: frames, hostile peers, floods, and the end of descriptors."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
import subprocess
import sys

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
from meterseal.net import Admission, Limits, Link
from meterseal.net.connection import source_of
from tests.net.parties import (
    APDU,
    FRAME,
    Parties,
    ended,
    plain_socket,
    read_all,
    serve,
    until,
)

ANSWER = wrapper.encode(1, 16, APDU)


async def send(plain: socket.socket, octets: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(plain, octets)


async def receive(plain: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        part = await asyncio.get_running_loop().sock_recv(plain, count - len(octets))
        assert part, octets
        octets += part
    return octets


async def test_frames_are_answered_in_order_on_one_connection() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            for number in range(50):
                await send(plain, wrapper.encode(16, number, APDU))
            answers = await receive(plain, 50 * len(FRAME))
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
            await send(plain, FRAME * 2)
            assert await read_all(plain) == ANSWER
        party = await parties.last()
        assert await ended(party) is None
        assert len(party.frames) == 1


async def test_a_typed_error_of_the_party_closes_only_its_connection() -> None:
    def refuse(link: Link, source: int, destination: int, payload: bytes) -> None:
        raise ProtocolViolation("not now")

    async with await serve(parties := Parties(refuse)) as server:
        with plain_socket(server) as plain:
            await send(plain, FRAME)
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
                await send(plain, bytes((octet,)))
                await asyncio.sleep(0)
            assert await receive(plain, len(ANSWER)) == ANSWER
            await send(plain, FRAME * 2 + FRAME[:3])
            assert await receive(plain, 2 * len(ANSWER)) == ANSWER * 2
            await send(plain, FRAME[3:])
            assert await receive(plain, len(ANSWER)) == ANSWER


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
            await send(plain, octets)
            answered = await read_all(plain)
        party = await parties.last()
        assert isinstance(await ended(party), cause)
        assert len(party.frames) == octets.startswith(FRAME)
        assert len(answered) in (0, len(ANSWER) * len(party.frames))  # a reset may overtake an answer


async def test_F09_the_largest_apdu_and_wport_0_are_frames() -> None:
    async with await serve(parties := Parties(), limits=Limits(apdu=1024)) as server:
        with plain_socket(server) as plain:
            await send(plain, wrapper.encode(0, 0, bytes(1024)))
            assert await receive(plain, 1032) == wrapper.encode(0, 0, bytes(1024))
        assert (await parties.last()).frames == [(0, 0, bytes(1024))]


# --- F14: slow peers --------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [FRAME[:1], FRAME[:8], FRAME[:-1], FRAME + FRAME[:4]])
async def test_F14_an_incomplete_frame_has_its_time(sent: bytes) -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0.05)) as server:
        with plain_socket(server) as plain:
            await send(plain, sent)
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
                    await send(plain, bytes((octet,)))
                except OSError:
                    break
                await asyncio.sleep(0.005)
            assert isinstance(await ended(party), TimedOut)
            assert party.frames == []


async def test_F14_whole_frames_and_pauses_between_them_are_not_slow() -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0.05)) as server:
        with plain_socket(server) as plain:
            for _ in range(2):
                await send(plain, FRAME[:5])
                await asyncio.sleep(0)
                await send(plain, FRAME[5:])
                assert await receive(plain, len(ANSWER)) == ANSWER
                await asyncio.sleep(0.1)
            assert not (await parties.last()).ended.is_set()


async def test_F14_a_peer_that_never_reads_is_dropped_and_its_requests_wait() -> None:
    async with await serve(parties := Parties(), limits=Limits(write_time=0.2)) as server:
        with plain_socket(server) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = wrapper.encode(16, 1, bytes(60_000))
            sending = asyncio.ensure_future(send(plain, request * 500))
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
            sending = asyncio.ensure_future(send(plain, request * count))
            party = await parties.last()
            await until(lambda: party.link.unsent)
            answers = await receive(plain, len(request) * count)
            await sending
            assert answers == wrapper.encode(1, 16, bytes(60_000)) * count
            assert len(party.frames) == count


async def test_F14_what_waits_for_a_peer_is_capped() -> None:
    def flood(link: Link, source: int, destination: int, payload: bytes) -> None:
        for _ in range(1000):
            link.send(destination, source, bytes(60_000))

    async with await serve(parties := Parties(flood), limits=Limits(unsent=200_000)) as server:
        with plain_socket(server) as plain:
            await send(plain, FRAME)
            assert isinstance(await ended(await parties.last()), TooLarge)


async def test_F14_many_slow_connections_do_not_hold_up_a_good_one() -> None:
    async with await serve(parties := Parties(), limits=Limits(frame_time=0.5)) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        for plain in slow:
            plain.sendall(FRAME[:5])
        async with await net.connect(server.url) as line:
            for _ in range(100):
                await line.send(16, 1, APDU)
                assert await line.receive(5) == (1, 16, APDU)
        await until(lambda: len(parties.made) == 201)
        causes = [await ended(party) for party in parties.made]
        assert sum(isinstance(cause, TimedOut) for cause in causes) == 200
        for plain in slow:
            plain.close()


# --- F15: many connections, and how they end ------------------------------------------------------


async def test_F15_the_oldest_stranger_of_a_source_goes_first() -> None:
    async with await serve(parties := Parties(), admission=Admission(per_source=3)) as server:
        open_sockets = []
        for number in range(5):
            open_sockets.append(socket.create_connection(("127.0.0.1", server.port)))
            await parties.last(number + 1)
        causes = [await ended(party) for party in parties.made[:2]]
        assert all(isinstance(cause, ConnectionLost) and "room" in str(cause) for cause in causes)
        assert [party.ended.is_set() for party in parties.made] == [True, True, False, False, False]
        assert server.admission.dropped == 2
        for plain in open_sockets:
            plain.close()


async def test_F15_who_has_signed_on_stays() -> None:
    async with (
        await serve(parties := Parties(), admission=Admission(per_source=2)) as server,
        await net.connect(server.url) as owner,
    ):
        (await parties.last()).link.established()
        strangers = []
        for number in range(6):
            strangers.append(socket.create_connection(("127.0.0.1", server.port)))
            await parties.last(number + 2)
        await until(lambda: server.admission.dropped == 4)
        await owner.send(16, 1, APDU)
        assert await owner.receive(5) == (1, 16, APDU)
        for plain in strangers:
            plain.close()


async def test_F15_with_all_places_taken_by_owners_a_newcomer_is_refused() -> None:
    async with await serve(parties := Parties(), admission=Admission(total=1)) as server:
        async with await net.connect(server.url) as owner:
            (await parties.last()).link.established()
            with plain_socket(server) as plain:
                assert await read_all(plain) == b""
            await owner.send(16, 1, APDU)
            await owner.receive(5)
        await until(lambda: server.admission.count == 0)
        with plain_socket(server):
            await parties.last(2)


def test_F15_the_crowd_makes_room_for_others() -> None:
    class Newcomer:
        def __init__(self, source: str) -> None:
            self.source = source
            self.gone = False

        def abort(self, cause: Exception | None = None) -> None:
            self.gone = True
            admission.leave(self)

    admission = Admission(per_source=100, total=10)
    crowd = [Newcomer("crowd") for _ in range(9)]
    for one in (*crowd, owner := Newcomer("owner")):
        assert admission.enter(one)
    assert admission.enter(Newcomer("crowd")) and crowd[0].gone
    assert admission.enter(Newcomer("third")) and crowd[1].gone and not owner.gone
    assert admission.count == 10 and admission.dropped == 2


async def test_F15_reset_in_the_middle_of_an_apdu() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            await send(plain, FRAME + FRAME[:10])
            await receive(plain, len(ANSWER))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert isinstance(await ended(await parties.last()), ConnectionLost)


async def test_F15_half_close_after_a_request_still_gets_the_answer() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            await send(plain, FRAME + FRAME[:4])
            plain.shutdown(socket.SHUT_WR)
            assert await read_all(plain) == ANSWER
        cause = await ended(await parties.last())
        assert isinstance(cause, ConnectionLost) and "inside a frame" in str(cause)


async def test_F15_connections_that_close_at_once() -> None:
    async with await serve(parties := Parties()) as server:
        for number in range(100):
            plain = socket.create_connection(("127.0.0.1", server.port))
            if number % 2:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.close()
        await until(lambda: not server.links and len(parties.made) >= 50)
        async with await net.connect(server.url) as line:
            await line.send(16, 1, APDU)
            assert await line.receive(5) == (1, 16, APDU)


EMFILE = """
import asyncio, resource, socket
from meterseal import net

class Echo:
    def __init__(self, link): self.link = link
    def received(self, source, destination, payload): self.link.send(destination, source, payload)
    def closed(self, cause): pass

async def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    # A cap above the limit: the system says no before the server does.
    async with await net.serve("127.0.0.1", 0, Echo, admission=net.Admission(total={total})) as server:
        print(server.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, input)
        print(server.admission.dropped > 0, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("total", ["None", "10_000"], ids=["own-cap", "past-the-cap"])
def test_F15_accepting_goes_on_when_descriptors_run_out(total: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", EMFILE.format(total=total)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        port = int(process.stdout.readline())
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        with net.blocking.connect(f"tcp://127.0.0.1:{port}") as line:
            line.send(16, 1, APDU)
            assert line.receive(10) == (1, 16, APDU)
        for plain in strangers:
            plain.close()
        assert process.communicate("\n", 10)[0] == "True\n"
        assert process.returncode == 0


async def test_F15_other_failures_to_accept_are_logged_and_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with await serve(Parties()) as server:
        loop = asyncio.get_running_loop()
        accept, failures = loop.sock_accept, [errno.ECONNABORTED, errno.EPERM, errno.EMFILE]

        async def fail_first(listener: socket.socket) -> tuple[socket.socket, object]:
            if failures:
                raise OSError(failures.pop(0), "made up")
            return await accept(listener)

        monkeypatch.setattr(loop, "sock_accept", fail_first)
        with caplog.at_level(logging.WARNING), plain_socket(server), plain_socket(server) as plain:
            await send(plain, FRAME)
            assert await receive(plain, len(ANSWER)) == ANSWER
        assert len(caplog.records) == 1


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


async def test_several_servers_may_share_their_caps() -> None:
    admission = Admission(per_source=2)
    parties = Parties()
    async with (
        await serve(parties, admission=admission) as one,
        await serve(parties, admission=admission) as two,
    ):
        assert admission.listeners == 2
        with plain_socket(one), plain_socket(two), plain_socket(two):
            await until(lambda: admission.dropped == 1)
    assert (admission.count, admission.listeners) == (0, 0)


async def test_closing_the_server_closes_its_connections_and_its_port() -> None:
    server = await serve(parties := Parties())
    with plain_socket(server) as plain:
        await parties.last()
        await server.close()
        assert await read_all(plain) == b""
        assert (await parties.last()).ended.is_set()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port))


def test_no_resource_module_means_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert Admission().total > 100_000


async def test_a_connection_that_is_lost_while_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with await serve(Parties()) as server:
        loop = asyncio.get_running_loop()
        connect, failures = loop.connect_accepted_socket, [1]

        async def fail_first(factory: object, accepted: socket.socket) -> object:
            if failures.pop() if failures else 0:
                raise OSError(errno.EBADF, "made up")
            return await connect(factory, accepted)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "connect_accepted_socket", fail_first)
        with caplog.at_level(logging.WARNING), plain_socket(server) as lost:
            assert await read_all(lost) == b""
        assert "made up" in caplog.text
        with plain_socket(server) as plain:
            await send(plain, FRAME)
            assert await receive(plain, len(ANSWER)) == ANSWER


async def test_the_handler_may_end_its_connection_in_every_way_at_once() -> None:
    def end(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.abort(ProtocolViolation("first"))
        link.abort(ProtocolViolation("second"))
        link.close()
        link.send(destination, source, payload)

    async with await serve(parties := Parties(end)) as server:
        with plain_socket(server) as plain:
            await send(plain, FRAME * 3)
            await read_all(plain)
        party = await parties.last()
        assert str(await ended(party)) == "first"
        assert len(party.frames) == 1
        party.link.close()
        party.link.abort()
        await party.link.drain()
