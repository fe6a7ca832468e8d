"""What a meter does by itself: scripts, schedules, the tariff calendar, the limiter, event logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meterseal.codec.types import Array, MixedArray, Structure, Tag
from meterseal.cosem.times import Date, DateTime, Time
from meterseal.errors import ConfigurationError
from tests.meter.world import NOON, Client, World, world

DEMAND, SWITCH, TARIFF = "1.0.1.4.0.255", "0.0.96.3.10.255", "0.0.96.14.0.255"
TARIFF_SCRIPTS, SWITCH_SCRIPTS = "0.0.10.0.100.255", "0.0.10.0.106.255"
CALENDAR, SCHEDULE, LIMITER, CLOCK = "0.0.13.0.0.255", "0.0.15.0.1.255", "0.0.17.0.0.255", "0.0.1.0.0.255"
OTHER, OCTETS = 0xFA, Tag.OCTET_STRING
TIMES = Structure((OCTETS, OCTETS))
HOME = "[meter]\nroof = 0\nseed = 7\n"
"""A home that draws power at noon: no sun on its roof."""
SCRIPT = Structure((OCTETS, Tag.LONG_UNSIGNED))


def clock(hour: int, minute: int = 0, day: int = 15) -> bytes:
    """A face of the meter's clock in July 2025."""
    return DateTime(2025, 7, day, None, hour, minute, 0, 0).to_octets()


def turned(here: World, seconds: int) -> None:
    """Time passes, a second of the party's tick at the end of each ten minutes."""
    while seconds > 0:
        here.pass_time(min(600, seconds))
        seconds -= 600
        here.party.tick()


def log(here: World, number: int) -> list[int]:
    return [code for _, code in here.meter.store.events(number)]


# --- scripts ------------------------------------------------------------------------------------


def test_a_script_writes_and_calls() -> None:
    here = world()
    client = here.signed_on("manager")
    ids = [(9, TARIFF_SCRIPTS, 2), (9, SWITCH_SCRIPTS, 1)]
    for class_id, name, number in ids:
        assert client.call(class_id, name, 1, number, Tag.LONG_UNSIGNED) == 0
    assert client.get(1, TARIFF) == 2 and client.get(70, SWITCH, 3) == 0
    assert log(here, 2) == [62], "a remote client had it done"
    assert client.call(9, SWITCH_SCRIPTS, 1, 3, Tag.LONG_UNSIGNED) == OTHER
    assert client.call(9, SWITCH_SCRIPTS, 1, 1, Tag.UNSIGNED) == 0x0C
    ((number, actions), _) = client.get(9, SWITCH_SCRIPTS)
    assert (number, actions) == (1, [(2, 70, bytes((0, 0, 96, 3, 10, 255)), 1, 0)])


RIGHTS = (
    '[[roles.installer.rights]]\nobjects = ["0.0.10.0.106.255"]\nattributes = "read"\nmethods = "access"\n'
)


def test_a_script_has_the_meters_own_rights(tmp_path: Path) -> None:
    """Who may execute may have it done, and nothing beside: the right is on the script table."""
    here = world(RIGHTS, tmp=tmp_path)
    client = here.signed_on("installer")
    assert client.call(70, SWITCH, 1) == 3
    assert client.call(9, SWITCH_SCRIPTS, 1, 1, Tag.LONG_UNSIGNED) == 0
    assert client.get(70, SWITCH, 3) == 0
    assert client.call(9, TARIFF_SCRIPTS, 1, 1, Tag.LONG_UNSIGNED) == 4


OWN = """[[objects]]
class = 9
obis = "0.0.10.0.200.255"
[objects.scripts]
1 = ["9/0.0.10.0.200.255:1(u16:1)"]
2 = ["64/0.0.43.0.2.255:1(enum:0)"]
3 = ["1/0.0.96.14.0.255:2 = u8:7", "1/0.0.96.14.0.255:2 = u16:1", "1/0.0.96.14.0.255:2 = u8:9"]
4 = ["1/0.0.200.14.0.255:2 = u8:7"]
5 = ["9/0.0.10.0.100.255:1(u16:2)"]
6 = ["15/0.0.40.0.1.255:2 = u8:7"]
"""


@pytest.mark.parametrize(("number", "code"), [(1, 3), (2, 3), (3, 0x0C), (4, 4), (5, 0), (6, 3)])
def test_what_scripts_do_not_do(number: int, code: int, tmp_path: Path) -> None:
    client = world(OWN, tmp=tmp_path).signed_on("manager")
    assert client.call(9, "0.0.10.0.200.255", 1, number, Tag.LONG_UNSIGNED) == code
    assert client.get(1, TARIFF) == {3: 7, 5: 2}.get(number, 1), "in order, up to what does not go"


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ('1 = ["70/0.0.96.3.10.255:1"]\n', "write CLASS/OBIS:ATTRIBUTE = TYPE:VALUE or CLASS/OBIS:METHOD"),
        ('1 = ["0.0.96.3.10.255:1()"]\n', "names no class"),
        ('0 = ["70/0.0.96.3.10.255:1()"]\n', "'0' is no number from 1 to 65535"),
        ('1 = ["70/0.0.96.3.10.255:1(7)"]\n', "scripts 1"),
        ("1 = 5\n", "scripts: a text is wanted"),
    ],
)
def test_scripts_of_a_configuration(config: str, error: str, tmp_path: Path) -> None:
    head = '[[objects]]\nclass = 9\nobis = "0.0.10.0.200.255"\n[objects.scripts]\n'
    with pytest.raises(ConfigurationError, match=error.replace("(", r"\(").replace("/", "/")):
        world(head + config, tmp=tmp_path)


# --- schedule -----------------------------------------------------------------------------------


def times(*given: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(Time.from_text(time).to_octets(), Date.from_text(day).to_octets()) for time, day in given]


def set_times(client: Client, *given: tuple[str, str]) -> int:
    return client.set(22, SCHEDULE, 4, times(*given), Array(TIMES) if given else MixedArray(()))


def test_a_schedule_fires_when_its_time_has_come(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    client = here.signed_on("manager")
    assert set_times(client, ("12:10:00", "*-*-*")) == 0
    here.pass_time(599)
    here.party.tick()
    assert client.get(70, SWITCH, 3) == 1
    here.pass_time(1)
    here.party.tick()
    assert client.get(70, SWITCH, 3) == 0 and log(here, 2) == [64]
    client.call(70, SWITCH, 2)
    here.restart()
    turned(here, 23 * 3600)
    assert here.signed_on("manager").get(70, SWITCH, 3) == 1
    turned(here, 3600)
    client = here.signed_on("manager")
    assert client.get(70, SWITCH, 3) == 0, "the next day, and after a restart"
    client.call(70, SWITCH, 2)
    assert set_times(client) == 0
    turned(here, 2 * 86_400)
    assert here.signed_on("manager").get(70, SWITCH, 3) == 1


def test_what_the_clock_jumps_over_is_not_made_up_for() -> None:
    here = world()
    client = here.signed_on("manager")
    set_times(client, ("12:10:00", "2025-07-15"))
    assert client.set(8, CLOCK, 2, clock(13), OCTETS) == 0
    here.party.tick()
    assert client.get(70, SWITCH, 3) == 1
    assert client.set(8, CLOCK, 2, clock(12), OCTETS) == 0
    turned(here, 600)
    assert client.get(70, SWITCH, 3) == 0, "and what comes again does"


@pytest.mark.parametrize(
    ("kind", "given", "code"),
    [
        (1, [("12:10:00", "*-*-*")], 0),
        (1, [("12:10:00", "*-*-*"), ("12:20:00", "*-*-*")], OTHER),
        (2, [("12:10:00", "2025-07-15"), ("12:10:00", "2025-07-16")], 0),
        (2, [("12:10:00", "2025-07-15"), ("12:11:00", "2025-07-16")], OTHER),
        (2, [("12:10:00", "*-07-15")], OTHER),
        (3, [("12:10:00", "*-07-15")], 0),
        (4, [("12:10:00", "2025-07-15"), ("12:11:00", "2025-07-16")], 0),
        (4, [("12:10:00", "*-07-15")], OTHER),
        (5, [("12:10:00", "*-07-15"), ("12:11:00", "*-*-*/1")], 0),
        (5, [("*:10:00", "*-07-15")], OTHER),
        (5, [("12:10:00", "2199-07-15")], OTHER),
        (5, [("12:10:00", "*-*-*")] * 33, OTHER),
    ],
)
def test_F17_times_that_a_type_takes(kind: int, given: Any, code: int, tmp_path: Path) -> None:
    config = (
        '[[objects]]\nclass = 22\nobis = "0.0.15.0.1.255"\nwritable = true\n[objects.attributes]\n'
        f'executed_script = ["{SWITCH_SCRIPTS}", 1]\ntype = {kind}\nexecution_time = []\n'
    )
    here = world(config, tmp=tmp_path)
    assert set_times(here.signed_on("manager"), *given) == code


# --- calendar -----------------------------------------------------------------------------------


def test_the_tariff_goes_by_the_calendar(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    here.party.tick()
    client = here.signed_on("manager")
    assert client.get(1, TARIFF) == 1
    turned(here, 10 * 3600 - 600)
    assert here.signed_on("manager").get(1, TARIFF) == 1
    turned(here, 600)
    assert here.signed_on("manager").get(1, TARIFF) == 2
    here.restart()
    turned(here, 8 * 3600 - 600)
    assert here.signed_on("manager").get(1, TARIFF) == 2
    turned(here, 600)
    client = here.signed_on("manager")
    assert client.get(1, TARIFF) == 1 and log(here, 0) == [9, 9, 9]
    assert client.set(8, CLOCK, 2, clock(23), OCTETS) == 0
    here.party.tick()
    assert client.get(1, TARIFF) == 2, "at once when the clock is set"


SEASON = Array(Structure((OCTETS, OCTETS, OCTETS)))
WEEK = Array(Structure((OCTETS, *[Tag.UNSIGNED] * 7)))
DAY = Array(Structure((Tag.UNSIGNED, Array(Structure((OCTETS, OCTETS, Tag.LONG_UNSIGNED))))))
ALWAYS_2 = [(5, [(Time(0, 0, 0, 0).to_octets(), bytes((0, 0, 10, 0, 100, 255)), 2)])]


def bring_in(client: Client) -> None:
    winter = DateTime(None, 11, 1, None, 0, 0, 0, 0).to_octets()
    summer = DateTime(None, 4, 1, None, 0, 0, 0, 0).to_octets()
    seasons = [(b"w", winter, b"W"), (b"s", summer, b"S")]
    weeks = [(b"W", *[9] * 7), (b"S", *[5] * 7)]
    for member, value, kind in (
        (6, b"new", OCTETS),
        (7, seasons, SEASON),
        (8, weeks, WEEK),
        (9, ALWAYS_2, DAY),
    ):
        assert client.set(20, CALENDAR, member, value, kind) == 0


def test_the_passive_calendar_is_activated_by_hand() -> None:
    here = world()
    client = here.signed_on("manager")
    bring_in(client)
    here.party.tick()
    assert client.get(1, TARIFF) == 1
    assert client.call(20, CALENDAR, 1) == 0
    assert client.get(1, TARIFF) == 2, "summer has begun, and with it the week of its days"
    assert client.get(20, CALENDAR, 2) == b"new" and client.get(20, CALENDAR, 5) == ALWAYS_2
    assert client.set(20, CALENDAR, 2, b"x", OCTETS) == 3, "the active one is not written"


def test_the_passive_calendar_is_activated_by_the_clock(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    client = here.signed_on("manager")
    bring_in(client)
    here.party.tick()
    assert client.set(20, CALENDAR, 10, clock(14), OCTETS) == 0
    turned(here, 7200 - 600)
    assert here.signed_on("manager").get(1, TARIFF) == 1
    here.restart()
    turned(here, 600)
    client = here.signed_on("manager")
    assert client.get(1, TARIFF) == 2 and client.get(20, CALENDAR, 2) == b"new"
    assert client.get(20, CALENDAR, 10) == DateTime().to_octets()


@pytest.mark.parametrize(
    ("member", "value", "kind"),
    [
        (10, DateTime(2025, 13, 1, None, 0, 0, 0, 0).to_octets(), OCTETS),
        (10, DateTime(2025, 7, None, None, 0, 0, 0, 0).to_octets(), OCTETS),
        (10, DateTime(9999, 12, 31, None, 23, 0, 0, 0, 720).to_octets(), OCTETS),
        (10, DateTime(1, 1, 1, None, 0, 0, 0, 0, -720).to_octets(), OCTETS),
        (9, [(5, [(b"\x18\0\0\0", bytes(6), 2)])], DAY),
        (9, [(5, [(b"\xff\0\0\0", bytes(6), 2)])], DAY),
    ],
)
def test_F17_what_a_calendar_does_not_take(member: int, value: Any, kind: Any) -> None:
    assert world().signed_on("manager").set(20, CALENDAR, member, value, kind) == OTHER


def test_a_calendar_with_nothing_in_it_changes_nothing() -> None:
    here = world()
    client = here.signed_on("manager")
    here.party.tick()
    assert client.call(20, CALENDAR, 1) == 0, "an empty calendar becomes the active one"
    turned(here, 86_400)
    assert here.signed_on("manager").get(1, TARIFF) == 1


# --- limiter ------------------------------------------------------------------------------------


def limit(client: Client, watts: int, seconds: int = 60) -> None:
    for member, value in ((4, watts), (6, seconds), (7, seconds)):
        assert client.set(71, LIMITER, member, value, Tag.DOUBLE_LONG_UNSIGNED) == 0


def watched(here: World, seconds: int) -> None:
    for _ in range(seconds):
        here.pass_time(1)
        here.party.tick()


def test_who_is_over_the_threshold_for_too_long_is_cut_off(tmp_path: Path) -> None:
    here = world(HOME, folder=tmp_path / "state", tmp=tmp_path)
    client = here.signed_on("manager")
    power = client.get(3, "1.0.1.7.0.255")
    assert power > 10
    limit(client, power)
    watched(here, 120)
    assert client.get(70, SWITCH, 3) == 1, "at the threshold is not over it"
    limit(client, power - 1)
    watched(here, 60)
    assert client.get(70, SWITCH, 3) == 1
    watched(here, 1)
    assert client.get(70, SWITCH, 3) == 0 and log(here, 2) == [64]
    here.restart()
    watched(here, 61)
    client = here.signed_on("manager")
    assert client.get(70, SWITCH, 3) == 1, "without load it is under the threshold, and comes back"


def test_the_emergency_threshold(tmp_path: Path) -> None:
    here = world(HOME, tmp=tmp_path)
    client = here.signed_on("manager")
    power = client.get(3, "1.0.1.7.0.255")
    profile = Structure((Tag.LONG_UNSIGNED, OCTETS, Tag.DOUBLE_LONG_UNSIGNED))
    assert client.set(71, LIMITER, 6, 0, Tag.DOUBLE_LONG_UNSIGNED) == 0
    assert client.set(71, LIMITER, 5, power - 1, Tag.DOUBLE_LONG_UNSIGNED) == 0
    assert client.set(71, LIMITER, 8, (7, clock(12, 1), 60), profile) == 0
    watched(here, 70)
    assert client.get(71, LIMITER, 10) is False and client.get(70, SWITCH, 3) == 1, "not in its group"
    assert client.set(71, LIMITER, 9, [6, 7], Array(Tag.LONG_UNSIGNED)) == 0
    assert client.get(71, LIMITER, 10) is True and client.get(71, LIMITER, 3) == power - 1
    here.party.tick()
    assert client.get(70, SWITCH, 3) == 0
    here.pass_time(60)
    assert client.get(71, LIMITER, 10) is False and client.get(71, LIMITER, 3) == 0xFFFFFFFF


def test_a_threshold_keeps_its_type() -> None:
    client = world().signed_on("manager")
    assert client.set(71, LIMITER, 4, 5, Tag.LONG_UNSIGNED) == 0x0C
    bad = DateTime(2025, None, 1, None, 0, 0, 0, 0).to_octets()
    kind = Structure((Tag.LONG_UNSIGNED, OCTETS, Tag.DOUBLE_LONG_UNSIGNED))
    assert client.set(71, LIMITER, 8, (7, bad, 60), kind) == OTHER


def test_nothing_is_watched_until_somebody_sets_a_threshold() -> None:
    here = world()
    here.party.tick()
    (limiter,) = [held for held in here.meter.devices[1].objects.values() if held.class_id == 71]
    assert limiter.due is None  # type: ignore[attr-defined]


# --- logs ---------------------------------------------------------------------------------------


def test_the_logs_fill_as_things_happen(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    client = here.signed_on("manager")
    client.set(8, CLOCK, 2, clock(12, 30), OCTETS)
    client.call(70, SWITCH, 1)
    client.call(70, SWITCH, 2)
    here.signed_on("operator").line.put(b"\xdb\x08" + bytes(8), 2)
    here.restart()
    client = here.signed_on("manager")
    standard = client.get(7, "0.0.99.98.0.255")
    assert [code for _, code in standard] == [4, 5]
    assert [str(DateTime.from_octets(face).time)[:5] for face, _ in standard] == ["12:00", "12:30"]
    assert [code for _, code in client.get(7, "0.0.99.98.2.255")] == [62, 63]
    assert client.get(1, "0.0.96.11.2.255") == 63 and client.get(1, "0.0.96.11.0.255") == 5
    assert client.call(7, "0.0.99.98.2.255", 1) == 0
    assert [code for _, code in client.get(7, "0.0.99.98.2.255")] == [255]
    assert [code for _, code in client.get(7, "0.0.99.98.0.255")] == [4, 5], "each log by itself"


def test_noon_is_noon() -> None:
    here = world()
    assert (
        here.meter.plant.face(NOON).hour == 12
        and here.meter.plant.shown_at(here.meter.plant.face(NOON)) == NOON
    )
