"""E08 to E10, H08, H09 at a concentrator: false prefixes, old answers, exchanged meters, crossed callers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from meterseal import net
from meterseal.apdu.acse import Aare, Aarq, context_name
from meterseal.concentrator import Standing
from meterseal.concentrator.front import REFUSED
from meterseal.errors import MetersealError, Refused, Replayed, TimedOut
from meterseal.framing import gateway, gbt
from meterseal.meter import MeterServer, credentials_of
from meterseal.net import Link
from tests.concentrator.yard import ENERGY, SOON, new_meter, through, yard
from tests.net.parties import Parties, until

PUBLIC = Aarq(
    application_context_name=context_name(1), user_information=bytes.fromhex("01000000065F1F0400007E1FFFFF")
).encode()
FOREIGN = bytes.fromhex("4D534C00DEADBEEF")


def prefixed(network: int, address: bytes, apdu: bytes, head: bool = True) -> bytes:
    return gateway.encode(gateway.Prefix(head, network, address), apdu)


@pytest.mark.parametrize(
    "payload",
    [
        prefixed(2, b"\x01", PUBLIC),
        prefixed(1, b"\x09", PUBLIC),
        prefixed(1, b"", PUBLIC),
        prefixed(1, b"\x01\x00", PUBLIC),
        prefixed(1, bytes(255), PUBLIC),
        prefixed(1, b"\x01", PUBLIC, head=False),
    ],
    ids=["network", "device", "no address", "longer address", "255 octets", "answer's prefix"],
)
async def test_E08_what_names_no_route_reaches_no_meter(tmp_path: Path, payload: bytes) -> None:
    async with yard(tmp_path) as here:
        answer = await here.raw(payload)
        prefix, apdu = gateway.decode(answer)
        assert apdu == REFUSED
        assert not prefix.request
        assert (prefix.network, prefix.address) == gateway.decode(payload)[0][1:]
        assert [account.requests for account in here.house.record.accounts.values()] == [0]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xe6",
        b"\xe6\x01",
        b"\xe6\x01\x01\x01",
        b"\xe6\x01\xff" + bytes(20),
        b"\xe6\x01\x01\x01" + prefixed(1, b"\x02", PUBLIC),
        b"\xe6\x01\x01\x01\xe7\x01\x01\x02\x60\x00",
    ],
    ids=["one octet", "two", "no APDU", "address cut off", "prefix in a prefix", "answer in a request"],
)
async def test_E08_what_is_no_prefix_or_one_in_another_is_answered_and_goes_nowhere(
    tmp_path: Path, payload: bytes
) -> None:
    async with yard(tmp_path, direct=2) as here:
        assert await here.raw(payload) == REFUSED
        assert here.house.record.strays == 1
        assert all(account.requests == 0 for account in here.house.record.accounts.values())


async def test_E08_a_logical_device_that_is_not_listed_is_not_reached(tmp_path: Path) -> None:
    async with yard(tmp_path) as here:
        assert gateway.decode(await here.raw(PUBLIC, "tcp-1", server=2))[1] == REFUSED
        assert gateway.decode(await here.raw(PUBLIC, "tcp-1", server=17))[1][:1] == b"\x61"


async def test_E08_answers_reach_the_caller_that_asked_under_the_address_it_asked(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=2, bus=2) as here:
        names = ("tcp-1", "tcp-2", "bus-1", "bus-2")

        async def work(name: str) -> bytes | None:
            async with here.sign_on(name) as meter:
                await asyncio.gather(*(meter.read(ENERGY) for _ in range(3)))
                return meter.system_title

        titles = await asyncio.gather(*map(work, names))
        assert titles == [here.credentials[name].meter.system_title for name in names]


async def test_E08_an_answer_with_a_prefix_of_its_own_is_not_passed_on(tmp_path: Path) -> None:
    def forger(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, prefixed(1, b"\x02", b"\xc4\x01\xc1\x00", head=False))
        link.send(destination, source, b"\xc4\x01\xc1\x01\x02")

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await net.serve("127.0.0.1", 0, Parties(forger)))
        here = await stack.enter_async_context(yard(tmp_path, change=lambda name, url: server.url))
        assert gateway.decode(await here.raw(PUBLIC, "tcp-1"))[1] == b"\xc4\x01\xc1\x01\x02"


async def test_E08_an_answer_too_long_with_a_prefix_in_front_is_not_waited_for(tmp_path: Path) -> None:
    def boundless(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, bytes(0xFFFF))

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await net.serve("127.0.0.1", 0, Parties(boundless)))
        here = await stack.enter_async_context(yard(tmp_path, change=lambda name, url: server.url))
        assert gateway.decode(await here.raw(PUBLIC, "tcp-1"))[1] == REFUSED


async def test_E08_only_callers_that_are_listed_reach_meters(tmp_path: Path) -> None:
    from ipaddress import ip_network

    async with yard(tmp_path, callers=(ip_network("192.0.2.0/24"),)) as here:
        assert gateway.decode(await here.raw(PUBLIC, "tcp-1"))[1] == REFUSED
        assert (await here.raw(PUBLIC))[:1] == b"\x61", "its own management is for everybody to sign on to"


async def test_E09_nothing_is_answered_from_what_was_said_before(tmp_path: Path) -> None:
    """Each request is the meter's to answer: when it is gone, so are its answers."""
    async with AsyncExitStack() as stack:
        meter = new_meter()
        stack.callback(meter.close)
        server = MeterServer(meter)
        await server.start()
        here = await stack.enter_async_context(
            yard(tmp_path, pinned=False, change=lambda name, url: server.url)
        )
        first = await here.raw(PUBLIC, "tcp-1")
        assert gateway.decode(first)[1][:1] == b"\x61"
        await server.close()
        assert gateway.decode(await here.raw(PUBLIC, "tcp-1"))[1] == REFUSED


async def test_E09_an_old_answer_put_in_again_on_the_way_is_known_by_its_counter(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        old: list[bytes] = []

        class Stale:
            """A middle between concentrator and meter that answers a read with what it saw before."""

            def __init__(self, link: Link) -> None:
                self.link, self.lines = link, asyncio.get_running_loop()
                self.there: net.Line | None = None
                self.work: asyncio.Queue[tuple[int, int, bytes]] = asyncio.Queue()
                self.task = self.lines.create_task(self.run())

            async def run(self) -> None:
                async with await net.connect(urls["tcp-1"]) as line:
                    while True:
                        client, server, apdu = await self.work.get()
                        await line.send(client, server, apdu)
                        answer = (await line.receive(SOON))[2]
                        if answer[:1] == b"\xcc":
                            old.append(answer)
                            answer = old[0]
                        self.link.send(server, client, answer)

            def received(self, source: int, destination: int, payload: bytes) -> None:
                self.work.put_nowait((source, destination, payload))

            def parted(self, source: int, destination: int, cause: Exception | None) -> None: ...

            def closed(self, cause: Exception | None) -> None:
                self.task.cancel()

        urls: dict[str, str] = {}
        middle = await stack.enter_async_context(await net.serve("127.0.0.1", 0, Stale))

        def change(name: str, url: str) -> str:
            urls[name] = url
            return middle.url

        here = await stack.enter_async_context(yard(tmp_path, change=change))
        with pytest.raises((Replayed, MetersealError)) as caught:
            async with here.sign_on("tcp-1") as meter:
                await meter.read(ENERGY)
                await meter.read(ENERGY)
        assert isinstance(caught.value, Replayed)
        assert len(old) >= 2


# --- E10 ----------------------------------------------------------------------------------------


def says(title: bytes) -> Callable[[Link, int, int, bytes], None]:
    """A meter that accepts every sign-on under a title."""
    aare = Aare(
        application_context_name=context_name(3), result=0, user_diagnostic=0, responding_ap_title=title
    )

    def answer(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, aare.encode())

    return answer


async def test_E10_a_meter_that_was_exchanged_is_reported_and_not_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await net.serve("127.0.0.1", 0, Parties(says(FOREIGN))))
        here = await stack.enter_async_context(yard(tmp_path, change=lambda name, url: server.url))
        with caplog.at_level(logging.ERROR, "meterseal.concentrator"):
            for _ in range(3):
                assert gateway.decode(await here.raw(PUBLIC, "tcp-1"))[1] == REFUSED
        (account,) = here.house.record.accounts.values()
        assert (account.standing, account.seen, account.answers) == (Standing.SWAPPED, FOREIGN, 0)
        assert account.title == here.route("tcp-1").title, "what was pinned stays"
        alarms = [record for record in caplog.records if "meter swapped" in record.message]
        assert len(alarms) == 1, "told once, not with each request"
        assert FOREIGN.hex().upper() in alarms[0].message
        codes = [entry[1] for entry in here.house.own.store.events(1)]
        assert 51 in codes


async def test_E10_a_whole_meter_in_anothers_place_is_no_use_even_to_who_holds_its_keys(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        other = new_meter()
        stack.callback(other.close)
        server = await stack.enter_async_context(MeterServer(other))
        here = await stack.enter_async_context(yard(tmp_path, change=lambda name, url: server.url))
        with pytest.raises(Refused):
            async with here.sign_on("tcp-1"):
                pass
        here.credentials["tcp-1"] = credentials_of(other, "tcp://127.0.0.1:1")
        with pytest.raises(Refused):
            async with here.sign_on("tcp-1"):
                pass
        (account,) = here.house.record.accounts.values()
        assert (account.standing, account.seen) == (Standing.SWAPPED, other.system_title)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xdb\x08" + FOREIGN + bytes.fromhex("05 30 00000001"),
        b"\xdd\x02\x00\x01\x08" + FOREIGN + b"\x08" + bytes(8) + b"\x00\x00\x00",
        b"\xdf\x00\x08" + FOREIGN + b"\x08" + bytes(8) + b"\x00\x00\x00\x00",
        gbt.encode(gbt.Block(1, b"\xdb\x08" + FOREIGN + bytes(20), window=1)),
    ],
    ids=["general-glo", "general-ciphering", "general-signing", "first block"],
)
async def test_E10_a_foreign_title_is_seen_in_every_header_that_has_one(
    tmp_path: Path, answer: bytes
) -> None:
    def foreign(link: Link, source: int, destination: int, payload: bytes) -> None:
        link.send(destination, source, answer)

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await net.serve("127.0.0.1", 0, Parties(foreign)))
        here = await stack.enter_async_context(yard(tmp_path, change=lambda name, url: server.url))
        assert gateway.decode(await here.raw(b"\xc8\x06\x30\x00\x00\x00\x01\x00", "tcp-1"))[1] == REFUSED
        (account,) = here.house.record.accounts.values()
        assert account.seen == FOREIGN


async def test_E10_the_first_title_is_pinned_durably_and_only_of_an_accepted_sign_on(tmp_path: Path) -> None:
    async with yard(tmp_path, pinned=False) as here:
        async with here.sign_on("tcp-1") as meter:
            title = meter.system_title
        (account,) = here.house.record.accounts.values()
        assert account.title == title
    async with yard(tmp_path, pinned=False) as again:  # another meter at the same address
        (account,) = again.house.record.accounts.values()
        assert account.title == title
        with pytest.raises(Refused):
            async with again.sign_on("tcp-1"):
                pass
        assert account.standing is Standing.SWAPPED


async def test_E10_one_meter_is_not_pinned_at_two_addresses(tmp_path: Path) -> None:
    urls: list[str] = []

    def same(name: str, url: str) -> str:
        urls.append(url)
        return urls[0]

    async with yard(tmp_path, direct=2, pinned=False, change=same) as here:
        async with here.sign_on("tcp-1"):
            pass
        with pytest.raises(Refused):
            async with here.sign_on("tcp-2", keys="tcp-1"):
                pass


async def test_E10_a_message_for_another_meter_is_not_sent_down_the_route(tmp_path: Path) -> None:
    layered = b"\xdd\x02\x00\x01\x08" + bytes(8) + b"\x08" + FOREIGN + b"\x00\x00\x00\x00\x06" + bytes(6)
    async with yard(tmp_path) as here:
        assert gateway.decode(await here.raw(layered, "tcp-1"))[1] == REFUSED
        assert [account.requests for account in here.house.record.accounts.values()] == [0]


# --- lines: queues, strangers, late answers -----------------------------------------------------------


async def test_H08_an_answer_that_comes_too_late_on_a_shared_line_is_nobodys(tmp_path: Path) -> None:
    """The pair's link ends with the time-out: the next caller has another link, and only its answers."""
    async with yard(tmp_path, direct=0, bus=1) as here:
        (shared,) = here.house.shared.values()
        route = here.route("bus-1")
        async with await through(here.house.url, route) as line:
            await line.send(16, 1, b"\xc0\x01\x81\x00\x08\x00\x00\x01\x00\x00\xff\x02\x00")
            with pytest.raises(TimedOut):
                await line.receive(0.0)
            answer = await line.take()
            assert answer[:1] in (b"\xc4", b"\xd8")
        await until(lambda: shared.waiting == 0)
        async with here.sign_on("bus-1") as meter:
            assert (await meter.read(ENERGY)).error is None


async def test_a_full_queue_refuses_and_others_get_their_turn(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=0, bus=1, queue=6, queue_of_caller=3) as here:
        route = here.route("bus-1")
        async with await through(here.house.url, route) as greedy:
            for _ in range(40):
                await greedy.send(16, 1, PUBLIC)
            async with asyncio.timeout(SOON), here.sign_on("bus-1") as meter:
                assert (await meter.read(ENERGY)).error is None
            answers = [await greedy.take() for _ in range(40)]
            assert answers.count(REFUSED) >= 30, "three may wait; each of the others is refused at once"
            assert any(answer[:1] == b"\x61" for answer in answers)


async def test_a_stranger_takes_no_association_from_who_has_proved_itself(tmp_path: Path) -> None:
    async with yard(tmp_path, direct=0, bus=1) as here, here.sign_on("bus-1") as meter:
        assert gateway.decode(await here.raw(PUBLIC, "bus-1", client=2))[1] == REFUSED
        assert (await meter.read(ENERGY)).error is None


async def test_who_has_proved_nothing_loses_the_pair_to_a_newcomer(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(yard(tmp_path, direct=0, bus=1))
        stranger = await stack.enter_async_context(await through(here.house.url, here.route("bus-1")))
        await stranger.send(2, 1, PUBLIC)
        await stranger.take()
        async with asyncio.timeout(SOON), here.sign_on("bus-1") as meter:
            assert (await meter.read(ENERGY)).error is None


async def test_H09_a_meter_that_starts_anew_in_mid_session_costs_the_association_only(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        meter = new_meter()
        stack.callback(meter.close)
        server = MeterServer(meter)
        await server.start()
        port = server.port
        here = await stack.enter_async_context(
            yard(tmp_path, pinned=False, change=lambda name, url: server.url)
        )
        here.credentials["tcp-1"] = credentials_of(meter, "tcp://127.0.0.1:1")
        with pytest.raises(MetersealError):
            async with here.sign_on("tcp-1") as before:
                await before.read(ENERGY)
                await server.close()
                server = MeterServer(meter, port=port)
                await server.start()
                await before.read(ENERGY)
        async with here.sign_on("tcp-1") as after:
            assert (await after.read(ENERGY)).error is None
        await server.close()
