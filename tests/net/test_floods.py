"""Many connections, how they end, and what happens when the machine has no room for more."""

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
    ConnectionLost,
)
from meterseal.net import Admission
from tests.net.parties import (
    ANSWER,
    APDU,
    FRAME,
    SOON,
    Parties,
    ended,
    plain_socket,
    put,
    read_all,
    serve,
    take,
    until,
)


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
        assert await owner.receive(SOON) == (1, 16, APDU)
        for plain in strangers:
            plain.close()


async def test_F15_with_all_places_taken_by_owners_a_newcomer_is_refused() -> None:
    async with await serve(parties := Parties(), admission=Admission(total=1)) as server:
        async with await net.connect(server.url) as owner:
            (await parties.last()).link.established()
            with plain_socket(server) as plain:
                assert await read_all(plain) == b""
            await owner.send(16, 1, APDU)
            await owner.receive(SOON)
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
            await put(plain, FRAME + FRAME[:10])
            await take(plain, len(ANSWER))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert isinstance(await ended(await parties.last()), ConnectionLost)


async def test_F15_half_close_after_a_request_still_gets_the_answer() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            await put(plain, FRAME + FRAME[:4])
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
            assert await line.receive(SOON) == (1, 16, APDU)


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
            assert line.receive(SOON) == (1, 16, APDU)
        for plain in strangers:
            plain.close()
        assert process.communicate("\n", SOON)[0] == "True\n"
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
            await put(plain, FRAME)
            assert await take(plain, len(ANSWER)) == ANSWER
        assert len(caplog.records) == 1


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
            await put(plain, FRAME)
            assert await take(plain, len(ANSWER)) == ANSWER


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


def test_no_resource_module_means_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert Admission().total > 100_000


async def test_F15_who_sends_many_frames_at_once_waits_for_a_turn_with_each() -> None:
    async with await serve(parties := Parties()) as server:
        order: list[int] = []
        with plain_socket(server) as greedy, plain_socket(server) as second, plain_socket(server) as modest:
            await parties.last(3)
            for number, party in enumerate(parties.made):

                def noted(
                    link: net.Link, source: int, destination: int, payload: bytes, n: int = number
                ) -> None:
                    order.append(n)
                    link.send(destination, source, payload)

                party.answer = noted
            # All is there before the loop looks.
            greedy.sendall(FRAME * 50)
            second.sendall(FRAME * 50)
            modest.sendall(FRAME)
            for plain, count in ((greedy, 50), (second, 50), (modest, 1)):
                assert await take(plain, count * len(ANSWER)) == ANSWER * count
        assert sorted(order) == [0] * 50 + [1] * 50 + [2]
        assert order.index(2) < 5
        last = [len(order) - 1 - order[::-1].index(n) for n in (0, 1)]
        assert abs(last[0] - last[1]) < 5, "the two of them alternate"


async def test_F15_nothing_more_is_done_for_a_peer_that_is_gone() -> None:
    async with await serve(parties := Parties()) as server:
        with plain_socket(server) as plain:
            party = await parties.last()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.sendall(FRAME * 150)

            def hang_up_first(link: net.Link, source: int, destination: int, payload: bytes) -> None:
                plain.close()
                link.send(destination, source, payload)  # one answer is enough to learn of the reset

            party.answer = hang_up_first
            assert isinstance(await ended(party), ConnectionLost)
        assert len(party.frames) < 10


async def test_F15_half_close_after_many_requests_still_gets_all_answers() -> None:
    async with await serve(Parties()) as server:
        with plain_socket(server) as plain:
            await put(plain, FRAME * 40)
            plain.shutdown(socket.SHUT_WR)
            assert await read_all(plain) == ANSWER * 40
