"""Campaigns: every meter gets its keys once, whoever works, is killed, pauses, or does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meterseal.authority.adoption import adopt
from meterseal.authority.campaign import MOST_TRIES, Campaign, Plan, span
from meterseal.authority.probing import Line
from meterseal.authority.rotator import Rotator
from meterseal.authority.store import Store
from meterseal.errors import ConfigurationError, Misuse
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State
from meterseal.meter import Meter, MeterServer, credentials_of, load_plan
from tests.authority.vaulted import House

COUNT = 4


class Estate(House):
    """A store and some meters, two at each place; the last one does not answer until it is switched on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        plan = load_plan("suite0")
        self.meters = [Meter(plan, folder / f"meter-{number}") for number in range(COUNT)]
        self.titles = [meter.system_title for meter in self.meters]
        with self.open() as store:
            store.keys.retire(bytes.fromhex("4D534C0000000001"), "not of these")
            for number, meter in enumerate(self.meters):
                found = credentials_of(meter, "tcp://127.0.0.1:1")
                adopt(store, found, place=f"T-{number // 2}")

    def close(self) -> None:
        for meter in self.meters:
            meter.close()

    def work(self, name: str, awake: int = COUNT, workers: int = 3) -> list[str]:
        """Run a campaign with so many meters awake; the states in which tasks ended."""

        async def go() -> list[str]:
            async with AsyncExitStack() as stack:
                with self.open() as store:
                    for meter in self.meters[:awake]:
                        server = await stack.enter_async_context(MeterServer(meter))
                        store.keys.set_url(meter.system_title, server.url)
                    rotator = Rotator(store, Line(timeout=60))
                    return [task.state async for task in Campaign(store, name).run(rotator, workers)]

        return asyncio.run(go())

    def changed(self, store: Store) -> list[int]:
        """How many operator's GUEKs each meter has had; the active one is the meter's."""
        found = []
        for meter, title in zip(self.meters, self.titles, strict=True):
            held = store.keys.slot(Slot(title, "operator", "guek"))
            (active,) = [one for one in held if one.state is State.ACTIVE]
            assert store.keys.reveal(active).reveal() == meter.rings[2].reveal(0)
            found.append(len(held))
        return found


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path)
    yield made
    made.close()


PLAN = Plan(kinds=("guek",), roles=("operator",), why="yearly")


def test_G13_every_meter_once_and_the_sleeper_later(estate: Estate) -> None:
    with estate.open() as store:
        assert Campaign.new(store, "2026", PLAN).counts()["waiting"] == COUNT
    assert sorted(estate.work("2026", awake=COUNT - 1)) == ["done"] * (COUNT - 1) + ["waiting"]
    assert estate.work("2026", awake=COUNT) == [], "the second try has its time"
    estate.clock.advance(seconds=61)
    assert estate.work("2026") == ["done"]
    with estate.open() as store:
        assert estate.changed(store) == [2] * COUNT
        assert Campaign(store, "2026").counts()["done"] == COUNT
        assert store.rotations.open() == []


def test_G13_a_worker_that_was_killed_lets_its_meter_go(estate: Estate) -> None:
    with estate.open() as store:
        Campaign.new(store, "killed", PLAN)
        task = Campaign(store, "killed").take()  # and never seen again
        assert task is not None and task.state == "working"
    assert sorted(estate.work("killed")) == ["done"] * (COUNT - 1)
    estate.clock.advance(seconds=301)
    assert estate.work("killed") == ["done"]
    with estate.open() as store:
        assert estate.changed(store) == [2] * COUNT


def test_waves_permits_windows_and_pauses(estate: Estate) -> None:
    with estate.open() as store:
        plan = Plan(kinds=("guek",), permits=1, wave=3, window=span("22:00-05:00"))
        campaign = Campaign.new(store, "night", plan)
        assert campaign.take() is None, "it is noon"
        estate.clock.advance(hours=11)
        first, second = campaign.take(), campaign.take()
        assert first is not None and second is not None and first.place != second.place
        assert campaign.take() is None, "each place has its one permit"
        for task in (first, second):
            campaign.end(task, None, "nobody there")
        assert {one.tries for one in campaign.tasks(("waiting",))} == {0, 1}
        third = campaign.take()
        assert third is not None and campaign.take() is None, "the wave is not through"
        campaign.pause("storm")
        assert campaign.take() is None
        campaign.resume()
        assert campaign.paused is False
        said = [one.said["verb"] for one in store.core.entries(last=2)]
        assert said == ["campaign-pause", "campaign-resume"]


def test_what_never_answers_is_stuck_and_stops_the_campaign(estate: Estate) -> None:
    with estate.open() as store:
        campaign = Campaign.new(store, "silent", PLAN)
        for _ in range(MOST_TRIES):
            estate.clock.advance(hours=1)
            while (task := campaign.take()) is not None:
                campaign.end(task, None, "nobody there")
        assert campaign.paused and campaign.counts()["stuck"] >= 3
        assert {one.note for one in campaign.tasks(("stuck",))} == {"nobody there"}
        campaign.resume("the concentrator is back")
        assert campaign.counts()["stuck"] == 0 and campaign.take() is not None


@pytest.mark.parametrize(
    ("text", "at", "inside"),
    [
        ("22:00-05:00", 23, True), ("22:00-05:00", 4, True), ("22:00-05:00", 12, False),
        ("08:00-09:30", 9, True), ("08:00-09:30", 10, False),
    ],
)  # fmt: skip
def test_windows_go_over_midnight(text: str, at: int, inside: bool) -> None:
    assert Plan(window=span(text)).open_at(datetime(2026, 1, 1, at, tzinfo=UTC)) is inside


def test_what_is_no_campaign(estate: Estate) -> None:
    with estate.open() as store:
        for name, plan, titles in (
            ("", PLAN, None), ("x", Plan(kinds=("password",)), None), ("x", PLAN, [bytes(8)]),
            ("x", PLAN, []),
        ):  # fmt: skip
            with pytest.raises(Misuse):
                Campaign.new(store, name, plan, titles)
        Campaign.new(store, "x", PLAN, estate.titles[:1])
        with pytest.raises(Misuse, match="already"):
            Campaign.new(store, "x", PLAN)
        with pytest.raises(ConfigurationError, match="no campaign"):
            Campaign(store, "y")
    for wrong in ("22", "22:00-25:00", "a-b", "1:00-2:00-3:00"):
        with pytest.raises(Misuse):
            span(wrong)


def test_the_command_line_of_a_campaign(estate: Estate) -> None:
    from tests.cli.shell import run

    environment = {"METERSEAL_STORE": str(estate.path)}
    made = run("keys", "campaign", "new", "night", "--kind", "guek", "--place", "T-1", env=environment)
    assert (made.code, made.out) == (0, "2 waiting\n")
    ran = run("keys", "campaign", "run", "night", "--timeout", "5", "--json", env=environment)
    assert ran.code == 3 and ran.lines()[-1]["waiting"] == 2
    assert run("keys", "campaign", "pause", "night", env=environment).code == 0
    (report,) = run("keys", "campaign", "report", "night", "--json", env=environment).lines()
    assert report["paused"] and [one["tries"] for one in report["devices"]] == [1, 1]
    text = run("keys", "campaign", "report", "night", "--csv", env=environment).out.splitlines()
    assert text[0] == "device,place,state,tries,note" and len(text) == 3
    assert run("keys", "campaign", "resume", "night", env=environment).code == 0
    assert run("keys", "campaign", "run", "nobody", env=environment).code == 1
