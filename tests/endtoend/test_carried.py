"""End to end over sockets: what the utility gets, what the head-end cannot, what becomes of requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meterseal import net
from meterseal.errors import Altered, ConnectionLost, Refused, Replayed, Withheld
from meterseal.headend import store
from meterseal.headend import visitor as visitors
from meterseal.meter import MeterServer
from meterseal.security.sealed import Sealed
from meterseal.utility.over_https import Via
from tests.endtoend.whole import SOON, Whole, whole

ENERGY = "3/1.0.1.8.0.255:2"
PROFILE = "1.0.99.1.0.255"
SWITCH = "70/0.0.96.3.10.255:1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "FIRST_PAUSE", 0.01)


@pytest.mark.parametrize(("suite", "behind"), [(0, False), (1, True), (2, False)])
async def test_E01_a_profile_and_a_command_pass_a_head_end_that_learns_nothing(
    tmp_path: Path, suite: int, behind: bool
) -> None:
    async with whole(tmp_path, suite, behind=behind) as all_:
        utility = all_.utility()
        rows = await utility.profile(PROFILE, entries=(1, 96))
        assert len(rows) == 96
        await utility.call(SWITCH)
        assert not all_.meter.plant.connected
        assert utility.layers[0]["kind"] == "general-ciphering"
        account = await all_.house.store.run(store.account_of("utility", None, 100))
        assert {row["outcome"] for row in account} == {"answered"}
        held = all_.held()
        canaries = [row[2].to_bytes(4, "big") for row in rows.cells] + [bytes(row[0]) for row in rows.cells]
        canaries += [rows.raw[at : at + 12] for at in range(0, len(rows.raw) - 12, 12)]
        third = all_.credentials.third_party()
        kek = third.octets("kek")
        canaries += [] if kek is None else [kek]
        forms = [form for one in canaries for form in (one, one.hex().encode(), one.hex().upper().encode())]
        assert not [one for one in forms if one in held], "0 hits in database, counters and journal"
        assert len(held) > 10_000


async def test_E01_the_head_end_asks_itself_and_is_refused(tmp_path: Path) -> None:
    async with whole(tmp_path) as all_:
        async with all_.house.sign_on(all_.house.config.meters[0]) as own:
            with pytest.raises(Refused):
                await own.read(ENERGY)
            with pytest.raises(Refused):
                await own.profile(PROFILE, entries=(1, 1))
            with pytest.raises(Refused):
                await own.call(SWITCH)
            assert (await own.read("8/0.0.1.0.0.255:2")).error is None
        assert all_.meter.plant.connected


async def test_E01_errors_of_the_inner_layers_tell_the_head_end_nothing(tmp_path: Path) -> None:
    """What the utility may not read is refused under its own layers: an answer like any other."""
    async with whole(tmp_path) as all_:
        utility = all_.utility()
        found = await utility.read_many([ENERGY, "1/0.0.96.1.10.255:2", "3/1.0.99.99.0.255:2"])
        assert [one.error is None for one in found] == [True, False, False]
        (row,) = await all_.house.store.run(store.account_of("utility", None, 100))
        assert (row["outcome"], row["cause"]) == ("answered", None)
        assert b"object-undefined" not in all_.held() and b"denied" not in all_.held()


async def test_E02_E04_a_head_end_that_turned_hostile_is_named(tmp_path: Path) -> None:
    """Over the API it is who carries: what it does to the octets the utility names, each."""
    async with whole(tmp_path) as all_:
        kept: list[Sealed] = []

        async def keeps(sealed: Sealed) -> Sealed:
            kept.append(await all_.via.carry(sealed))
            return kept[-1]

        async def alters(sealed: Sealed) -> Sealed:
            octets = (await all_.via.carry(sealed)).octets
            return Sealed.of(octets[:-1] + bytes((octets[-1] ^ 1,)))

        async def replays(sealed: Sealed) -> Sealed:
            await all_.via.carry(sealed)
            return kept[0]

        async def withholds(sealed: Sealed) -> Sealed:
            await all_.via.carry(sealed)
            await asyncio.sleep(SOON)
            raise AssertionError("given up before")

        utility = all_.utility(keeps)
        assert (await utility.read(ENERGY)).error is None
        hostile = ((alters, Altered, SOON), (replays, Replayed, SOON), (withholds, Withheld, 0.5))
        for carry, named, timeout in hostile:
            utility._carry = carry
            utility._session.timeout = timeout
            with pytest.raises(named):
                await utility.read(ENERGY)
        utility._carry, utility._session.timeout = keeps, SOON
        assert (await utility.read(ENERGY)).error is None
        assert utility.missed >= 2, "answers that were sealed and never came"


async def test_E04_a_head_end_that_cannot_reach_the_meter_is_no_meter_that_says_no(tmp_path: Path) -> None:
    async with whole(tmp_path) as all_:
        await all_.server.close()
        short = Via(all_.via._client.base_url.__str__(), all_.credentials, timeout=0.5)
        async with short:
            with pytest.raises(Withheld, match="expired"):
                await all_.utility(short.carry).read(ENERGY)
        all_.server = MeterServer(all_.meter)
        await all_.server.start()


async def test_H09_the_meter_starts_anew_between_two_requests(tmp_path: Path) -> None:
    async with whole(tmp_path, behind=False, linger=SOON) as all_:
        utility = all_.utility()
        assert (await utility.read(ENERGY)).error is None
        port = all_.server.port
        await all_.server.close()
        all_.server = MeterServer(all_.meter, port=port)
        await all_.server.start()
        assert (await utility.read(ENERGY)).error is None
        assert utility.missed == 0


async def test_H09_a_meter_behind_a_concentrator_starts_anew(tmp_path: Path) -> None:
    """Whether a request that was under way was done is not known then: it is not repeated by anybody."""
    async with whole(tmp_path, behind=True, linger=SOON) as all_:
        utility = all_.utility()
        assert (await utility.read(ENERGY)).error is None
        port = all_.server.port
        await all_.server.close()
        all_.server = MeterServer(all_.meter, port=port)
        await all_.server.start()
        try:
            assert (await utility.read(ENERGY)).error is None
        except Withheld as error:
            assert "unanswered" in str(error)
        assert (await utility.read(ENERGY)).error is None


async def test_H07_a_slow_line_between_head_end_and_meter_is_only_slow(tmp_path: Path) -> None:
    async with whole(tmp_path) as all_, await _slow(all_, 0.05) as slow:
        entry = all_.house.config.meters[0]
        visitor = all_.house.visitors[entry.title]
        from dataclasses import replace

        visitor.meter = replace(entry, credentials=entry.credentials.at(slow.url))
        assert (await all_.utility().read(ENERGY)).error is None


async def test_a_second_head_ends_certificate_is_not_spoken_to(tmp_path: Path) -> None:
    from dataclasses import replace

    from meterseal.demo.street import UTILITY
    from tests.headend.home import party

    async with whole(tmp_path) as all_:
        other, _ = party(b"MSLHES99").files(tmp_path, "other")
        third = replace(all_.credentials.third_party(), head_end=str(other))
        wrong = replace(all_.credentials, third_parties={UTILITY: third})
        async with Via(str(all_.via._client.base_url), wrong) as via:
            with pytest.raises(ConnectionLost):
                await via.meters()
        found = await all_.via.meters()
        assert [one["title"] for one in found] == [all_.meter.system_title.hex().upper()]


async def _slow(all_: Whole, seconds: float) -> net.Server:
    """A line to the meter on which every frame takes so long, each way."""

    class Middle:
        def __init__(self, link: net.Link) -> None:
            self.link, self.loop = link, asyncio.get_running_loop()
            self.there: asyncio.Task[net.Line] = self.loop.create_task(net.connect(all_.server.url))
            self.work: asyncio.Queue[tuple[int, int, bytes]] = asyncio.Queue()
            self.task = self.loop.create_task(self.run())

        async def run(self) -> None:
            async with await self.there as line:
                while True:
                    client, server, apdu = await self.work.get()
                    await asyncio.sleep(seconds)
                    await line.send(client, server, apdu)
                    answer = (await line.receive(SOON))[2]
                    await asyncio.sleep(seconds)
                    self.link.send(server, client, answer)

        def received(self, source: int, destination: int, payload: bytes) -> None:
            self.work.put_nowait((source, destination, payload))

        def parted(self, source: int, destination: int, cause: Exception | None) -> None: ...

        def closed(self, cause: Exception | None) -> None:
            self.task.cancel()

    return await net.serve("127.0.0.1", 0, Middle)
