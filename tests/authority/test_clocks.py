"""Clocks that jump, and keys that must not be used any more: what a store says then, and how soon."""

from __future__ import annotations

import pytest

from meterseal.authority.campaign import MOST_TRIES, Campaign, Plan
from meterseal.authority.overview import due
from meterseal.authority.store import Device
from meterseal.authority.store.handles import FRESH, Handles
from meterseal.authority.store.leases import SECONDS, fence
from meterseal.errors import StateLocked, UnknownKey
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Verb
from tests.authority.vaulted import GUEK, ROLES, TITLE, House, adopt

HOUR, DAY = 3600, 86_400
JUMPS = [sign * size for size in (1, HOUR, DAY, 3650 * DAY) for sign in (1, -1)]
NAME = "ABCDEF0123-4D534C4845530002-tx"


@pytest.mark.parametrize("jump", JUMPS)
def test_G18_H05_what_a_dead_worker_held_is_free_in_its_time_wherever_the_clock_goes(
    house: House, jump: int
) -> None:
    with house.open() as dead, house.open() as other:
        campaign = Campaign.new(dead, "night", Plan())
        assert campaign.take() is not None
        lease = dead.leases.take(TITLE)
        house.clock.advance(seconds=jump)
        if jump < SECONDS:
            with pytest.raises(StateLocked, match=f"for {min(SECONDS, SECONDS - jump)} s at most"):
                other.leases.take(TITLE)
            assert campaign.take() is None
        house.clock.advance(seconds=SECONDS + 1)
        taken = [campaign.take()]
        house.clock.advance(seconds=60 * 2**MOST_TRIES)
        taken.append(campaign.take())
        assert any(taken), "the task is held by nobody"
        assert other.leases.take(TITLE).token > lease.token
        with pytest.raises(StateLocked, match="taken over"), dead.core.acting() as act:
            fence(act, lease)


@pytest.mark.parametrize("jump", JUMPS)
def test_G18_a_second_try_comes_and_counters_rise_wherever_the_clock_goes(house: House, jump: int) -> None:
    with house.open() as store:
        adopt(store)
        campaign = Campaign.new(store, "night", Plan())
        task = campaign.take()
        assert task is not None
        campaign.end(task, None, "nobody there")
        _, used = store.counters.reserve(NAME, 100, 1)
        house.clock.advance(seconds=jump)
        first, _ = store.counters.reserve(NAME, 100, 1)
        assert first >= used
        taken = [campaign.take()]
        house.clock.advance(seconds=60 * 2**MOST_TRIES)
        taken.append(campaign.take())
        assert any(taken), "nobody tries again"
        late = {one.record.slot for one in due(store, store.core.moment).keys}
        assert late == ({GUEK} if jump > 365 * DAY else set())
        assert store.core.verify_journal() > 0


def test_G14_a_key_that_another_process_calls_compromised_is_refused_here_within_seconds(
    house: House,
) -> None:
    now = [0.0]
    with house.open() as here, house.open() as there:
        record = adopt(there)
        handles = Handles(here.keys, clock=lambda: now[0])
        handle = handles.gcm(TITLE, "operator")
        there.keys.apply(Verb.COMPROMISE, record, "a laptop was stolen")
        now[0] += FRESH
        with pytest.raises(UnknownKey, match="no active GUEK"):
            handles.gcm(TITLE, "operator")
        with pytest.raises(UnknownKey):
            handle.seal(0x30, bytes(12), b"nobody speaks under it any more")


def test_G14_a_stolen_concentrator_is_the_keys_of_its_meters_and_no_others(house: House) -> None:
    titles = [b"MSL" + bytes(4) + bytes((number,)) for number in range(2, 8)]
    with house.open() as store:
        with store.core.acting() as act:
            for number, title in enumerate(titles):
                place = f"T-{number % 2}"
                new = Device(title=title, settings={"roles": ROLES}, place=place)
                store.keys.add_device(act, new, "test")
        for title in titles:
            adopt(store, Slot(title, "operator", "guek"))
        store.keys.retire(titles[1], "sold")
        campaign = Campaign.new(store, "stolen", Plan(why="T-1 was broken open"), place="T-1")
        assert [task.device for task in campaign.tasks()] == titles[3::2]
        said = store.core.entries(last=1)[0].said
        assert (said["verb"], said["devices"], said["why"]) == ("campaign", 2, "T-1 was broken open")
