"""What comes in one turn of a loop: the order in which it is handled and leaves, and that nothing is lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal import net
from meterseal.errors import ConnectionLost, ProtocolViolation
from meterseal.framing import wrapper
from meterseal.framing.wrapper import Frame
from meterseal.net import Link
from meterseal.net.turns import Turns
from tests.net.parties import APDU, Parties, ended, plain_socket, read_all, serve, take, until

FRAME: Frame = (16, 1, APDU)


class Noted:
    """A connection that notes what is done to it; `answers` frames for each it is given."""

    def __init__(self, turns: Turns, notes: list[tuple[str, Any]], name: int, answers: int = 1) -> None:
        self.turns, self.notes, self.name, self.answers = turns, notes, name, answers
        self.fails = False
        self.came, self.left = 0, 0

    def handle(self, frame: Frame) -> None:
        assert frame[0] == self.came
        self.came += 1
        self.notes.append(("handled", self.name))
        if self.fails:
            raise RuntimeError(f"{self.name} cannot")
        for _ in range(self.answers):
            self.turns.send(self, b"answer %d" % self.left)
            self.left += 1

    def put(self, octets: bytes) -> None:
        self.notes.append((octets.decode(), self.name))

    def abort(self) -> None:
        self.notes.append(("aborted", self.name))


async def alone(turns: Turns, one: Noted) -> None:
    """Have it bring so many frames that the next looks for company."""
    while turns._alone:
        turns.came(one, (one.came, 1, APDU))
    one.notes.clear()


async def test_a_frame_without_company_is_handled_and_answered_at_once() -> None:
    notes: list[tuple[str, Any]] = []
    turns = Turns()
    one = Noted(turns, notes, 1)
    waited = 0
    for at in range(15 + 4 * 17):
        turns.came(one, (at, 1, APDU))
        if not notes:
            waited += 1
            await asyncio.sleep(0)
        assert [what for what, _ in notes] == ["handled", f"answer {at}"]
        notes.clear()
    assert waited == 4 * 2


async def test_frames_in_company_are_handled_in_a_row_and_answered_in_a_row() -> None:
    notes: list[tuple[str, Any]] = []
    turns = Turns()
    some = [Noted(turns, notes, number) for number in range(3)]
    await alone(turns, some[0])
    first = some[0].came
    for one in some:
        turns.came(one, (one.came, 1, APDU))
    assert not notes
    await asyncio.sleep(0)
    assert notes == [
        *(("handled", number) for number in range(3)),
        *((f"answer {first if number == 0 else 0}", number) for number in range(3)),
    ]


async def test_more_than_one_answer_waits_for_nobody() -> None:
    """A handler that sends much sees at once what the system does not take."""
    notes: list[tuple[str, Any]] = []
    turns = Turns()
    first, second = Noted(turns, notes, 1, answers=3), Noted(turns, notes, 2)
    await alone(turns, first)
    first.left = 0
    turns.came(first, (first.came, 1, APDU))
    turns.came(second, (0, 1, APDU))
    await asyncio.sleep(0)
    assert notes == [
        ("handled", 1),
        *((f"answer {number}", 1) for number in range(3)),
        ("handled", 2),
        ("answer 0", 2),
    ]


async def test_a_fault_in_one_frame_ends_its_connection_and_no_other() -> None:
    notes: list[tuple[str, Any]] = []
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: said.append(str(context["exception"]))
    )
    turns = Turns()
    some = [Noted(turns, notes, number) for number in range(4)]
    await alone(turns, some[3])
    some[1].fails = True
    for one in some[:3]:
        turns.came(one, (one.came, 1, APDU))
    await asyncio.sleep(0)
    turns.came(some[3], (some[3].came, 1, APDU))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert said == ["1 cannot"]
    assert [name for what, name in notes if what == "handled"] == [0, 1, 2, 3]
    assert [name for what, name in notes if what.startswith("answer")] == [0, 2, 3]
    assert ("aborted", 1) in notes


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=8), min_size=1, max_size=30))
def test_nothing_is_lost_and_each_connection_keeps_its_order(
    turns_of_events: list[list[tuple[int, bool]]],
) -> None:
    """Frames that come and requests that are asked, in any mixture over turns."""
    notes: list[tuple[str, Any]] = []

    async def play() -> tuple[Turns, list[Noted]]:
        turns = Turns()
        some = [Noted(turns, notes, number) for number in range(5)]
        numbers = [0] * 5
        for events in turns_of_events:
            for number, asks in events:
                one = some[number]
                if asks:
                    turns.ask(one, b"answer %d" % one.left)
                    one.left += 1
                else:
                    turns.came(one, (numbers[number], 1, APDU))
                    numbers[number] += 1
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [one.came for one in some] == numbers
        return turns, some

    _, some = asyncio.run(play())
    for one in some:
        left = [what for what, name in notes if name == one.name and what != "handled"]
        assert left == [f"answer {number}" for number in range(one.left)]


async def _in_company(sockets: list[socket.socket]) -> None:
    """Traffic on all of them at once, until turns bring company."""
    for _ in range(20):
        for plain in sockets:
            plain.send(wrapper.encode(16, 1, APDU))
        for plain in sockets:
            await take(plain, 8 + len(APDU))


@pytest.mark.parametrize("how", ["close", "abort", "raise", "half"])
async def test_an_answer_goes_out_before_the_end_of_its_connection(how: str) -> None:
    """Also in company: who answers and closes, fails, or was told that nothing more comes."""

    def refuse(link: Link) -> None:
        raise ProtocolViolation("enough")

    deeds: dict[str, Callable[[Link], None]] = {
        "close": lambda link: link.close(),
        "abort": lambda link: link.abort(),
        "raise": refuse,
    }

    def answer(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, payload)
        if payload == b"last" and how in deeds:
            deeds[how](link)

    async with await serve(parties := Parties(answer)) as server:
        with ExitStack() as stack:
            sockets = [stack.enter_context(plain_socket(server)) for _ in range(3)]
            await _in_company(sockets)
            last = wrapper.encode(16, 1, b"last")
            for plain in sockets:
                plain.send(last)
                if how == "half":
                    plain.shutdown(socket.SHUT_WR)
            for plain in sockets:
                assert await read_all(plain) == wrapper.encode(1, 16, b"last")
            for party in parties.made:
                cause = await ended(party)
                assert isinstance(
                    cause, {"raise": ProtocolViolation, "half": ConnectionLost}.get(how, type(None))
                )


async def test_a_frame_that_came_while_its_connection_was_stopped_is_handled_when_it_goes_on() -> None:
    """The answer of another wakes a party that fills its peer's buffers: what had come by then stays."""
    made: list[Link] = []

    def answer(link: Link, source: int, destination: int, payload: bytes) -> None:
        if payload == b"fill":
            other = next(one.link for one in parties.made if one.link is not link)
            while not other.unsent:
                other.send(1, 16, bytes(60_000))
        made.append(link)
        link.send(destination, source, payload)

    async with await serve(parties := Parties(answer)) as server:
        with plain_socket(server) as first, plain_socket(server) as second:
            await _in_company([first, second])
            first.send(wrapper.encode(16, 1, b"fill"))
            second.send(wrapper.encode(16, 1, b"kept"))
            second.setblocking(False)
            octets = b""
            async with asyncio.timeout(30):
                while not octets.endswith(wrapper.encode(1, 16, b"kept")):
                    octets += await asyncio.get_running_loop().sock_recv(second, 1 << 20)
            assert parties.made[1].frames[-1] == (16, 1, b"kept")


async def test_requests_of_many_associations_leave_together_and_each_gets_its_answer() -> None:
    async with await serve(Parties()) as server, await net.connect(server.url) as other:
        lines = [await net.connect(server.url) for _ in range(8)]
        loop = asyncio.get_running_loop()

        async def ask(number: int) -> None:
            channel = lines[number].channel(16, number + 1)
            for at in range(40):
                payload = bytes((number, at))
                assert await channel.exchange(payload, 30, loop.time() + 30) == payload

        await asyncio.gather(*(ask(number) for number in range(8)))
        await until(lambda: not other.link.unsent)
        for line in lines:
            await line.close()
