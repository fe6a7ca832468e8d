"""Demand register: averages over periods that end with the clock, or by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from meterseal.codec.types import Tag
from meterseal.cosem.times import DateTime
from tests.meter.world import Client, world

DEMAND, SWITCH = "1.0.1.4.0.255", "0.0.96.3.10.255"
OTHER = 0xFA
HOME = "[meter]\nroof = 0\nseed = 7\n"
"""A home that draws power at noon: no sun on its roof."""


def demand(client: Client) -> tuple[int, int, str, str]:
    current, last, captured, start = (client.get(5, DEMAND, at) for at in (2, 3, 6, 7))
    return current, last, str(DateTime.from_octets(captured).time), str(DateTime.from_octets(start).time)


def test_demand_rolls_with_the_clock(tmp_path: Path) -> None:
    here = world(HOME, tmp=tmp_path)
    client = here.signed_on("manager")
    power = client.get(3, "1.0.1.7.0.255")
    here.pass_time(450)
    current, last, captured, start = demand(client)
    assert (captured, start) == ("12:00:00", "12:00:00")
    assert abs(current - power // 2) <= 4, "half of the quarter has passed"
    here.pass_time(450)
    now, before, captured, start = demand(client)
    assert (now, captured, start) == (0, "12:15:00", "12:15:00")
    assert abs(before - power) <= 4 and before != last
    assert client.get(5, DEMAND, 4) == (0, 27) and client.get(5, DEMAND, 9) == 1


def test_the_next_period_begins_when_somebody_says_so(tmp_path: Path) -> None:
    here = world(HOME, tmp=tmp_path)
    client = here.signed_on("manager")
    here.pass_time(300)
    running = demand(client)[0]
    assert client.call(5, DEMAND, 2) == 0
    current, last, captured, start = demand(client)
    assert (current, captured, start) == (0, "12:05:00", "12:05:00") and abs(last - running) <= 4
    here.pass_time(600)
    _, last, captured, start = demand(client)
    assert (captured, start) == ("12:15:00", "12:15:00"), "and ends with the clock again"


def test_demand_is_reset_and_set_up_anew(tmp_path: Path) -> None:
    here = world(HOME, folder=tmp_path / "state", tmp=tmp_path)
    client = here.signed_on("manager")
    here.pass_time(1000)
    assert demand(client)[1] > 0
    assert client.call(5, DEMAND, 1) == 0
    assert demand(client)[:2] == (0, 0)
    assert client.set(5, DEMAND, 8, 60, Tag.DOUBLE_LONG_UNSIGNED) == 0
    assert client.set(5, DEMAND, 9, 3, Tag.LONG_UNSIGNED) == 0
    here.pass_time(1200)
    here.restart()
    client = here.signed_on("manager")
    assert (client.get(5, DEMAND, 8), client.get(5, DEMAND, 9)) == (60, 3)
    captured, start = (DateTime.from_octets(client.get(5, DEMAND, at)).minute or 0 for at in (6, 7))
    assert captured - start == 2, "the average begins two periods before the one that runs"
    for member, value, kind in ((8, 59, Tag.DOUBLE_LONG_UNSIGNED), (9, 0, Tag.LONG_UNSIGNED)):
        assert client.set(5, DEMAND, member, value, kind) == OTHER


def test_demand_that_was_cut_off(tmp_path: Path) -> None:
    here = world(HOME, tmp=tmp_path)
    client = here.signed_on("manager")
    here.pass_time(450)
    before = demand(client)[0]
    client.call(70, SWITCH, 1)
    here.pass_time(300)
    assert demand(client)[0] == before


def test_demand_in_a_profile(tmp_path: Path) -> None:
    here = world(
        '[[objects]]\nclass = 7\nobis = "1.0.99.5.0.255"\ncapture_period = 900\nentries = 4\n'
        'columns = ["8/0.0.1.0.0.255:2", "5/1.0.1.4.0.255:3", "3/1.0.1.8.0.255:2"]\n',
        tmp=tmp_path,
    )
    rows = here.signed_on("manager").get(7, "1.0.99.5.0.255")
    for before, row in pairwise(rows):
        assert row[1] == (row[2] - before[2]) * 4
