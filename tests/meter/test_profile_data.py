"""The made-up household: repeatable, monotone, consistent with its registers, and lifelike in shape."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.codec.types import Array, Structure, Tag
from meterseal.cosem.times import DateTime
from meterseal.meter import profile_data as made
from meterseal.meter.profile_data import Household, Zone

MONDAY = int(datetime(2024, 1, 15, tzinfo=UTC).timestamp())
SUMMER = int(datetime(2024, 7, 1, tzinfo=UTC).timestamp())
HOME = Household.of(0x4D534C0000000001, MONDAY)
SOLAR = Household.of(0x4D534C0000000002, SUMMER, roof=8_000)

seeds = st.integers(0, 2**64 - 1)
moments = st.integers(MONDAY - 45 * 86_400, MONDAY + 10 * 86_400)


def test_the_same_home_measures_the_same() -> None:
    again = Household.of(0x4D534C0000000001, MONDAY)
    assert made.rows(HOME, MONDAY, 96) == made.rows(again, MONDAY, 96)
    # The numbers themselves: another machine or version must come to the same ones.
    assert made.reading(HOME, MONDAY)[:2] == (20_253_114, 0)
    assert made.rows(HOME, MONDAY, 96) != made.rows(SOLAR, MONDAY, 96)


@given(seeds, moments, st.integers(0, 40 * 86_400), st.booleans())
def test_registers_never_fall(seed: int, moment: int, later: int, solar: bool) -> None:
    home = Household.of(seed, MONDAY, roof=6_000 if solar else 0)
    one, other = made.reading(home, moment), made.reading(home, moment + later)
    assert other.energy_import >= one.energy_import >= home.start_import
    assert other.energy_export >= one.energy_export >= home.start_export
    assert solar or other.energy_export == 0


@given(moments)
def test_power_is_the_growth_of_the_register(moment: int) -> None:
    begin = moment // 900 * 900
    now = made.reading(SOLAR, moment)
    assert (
        made.reading(SOLAR, begin + 900).energy_import - made.reading(SOLAR, begin).energy_import
        == now.power_import / 4
    )
    assert not (now.power_import and now.power_export)


def test_rows_agree_with_the_registers_and_the_clock() -> None:
    rows = made.rows(HOME, MONDAY + 100, 960)
    assert len(rows) == 960
    for (clock, octet, imported, exported), later in pairwise(rows):
        moment = int(DateTime.from_octets(clock).to_datetime().timestamp())
        assert moment % 900 == 0
        assert (imported, exported) == made.reading(HOME, moment)[:2]
        assert octet in (0, made.STATUS_POWER_DOWN)
        assert int(DateTime.from_octets(later[0]).to_datetime().timestamp()) == moment + 900
    assert DateTime.from_octets(rows[-1][0]).text() == "2024-01-15T01:00:00+01:00"
    type_ = Array(
        Structure((Tag.OCTET_STRING, Tag.UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED))
    )
    assert data.decode(data.encode(rows, type_)) == rows


def test_rows_begin_where_the_data_begin() -> None:
    home = Household.of(1, MONDAY, days=2)
    assert len(made.rows(home, MONDAY, 1000)) == 2 * 96 + 4 + 1  # the zone's day is an hour ahead
    before = made.reading(home, MONDAY - 30 * 86_400)
    assert before == (home.start_import, home.start_export, 0, 0)
    assert made.rows(home, MONDAY - 30 * 86_400, 10) == []


def hours(home: Household, first: int, days: range) -> list[float]:
    """Average Wh in each hour of the wall clock, over some days."""
    sums = [0.0] * 24
    for day in days:
        start = first + day * 86_400 - home.zone.minutes(first) * 60
        for hour in range(24):
            begin = start + hour * 3600
            sums[hour] += (
                made.reading(home, begin + 3600).energy_import - made.reading(home, begin).energy_import
            )
    return [total / len(days) for total in sums]


def test_the_day_looks_like_a_household() -> None:
    workdays = [hours(Household.of(seed, MONDAY), MONDAY, range(5)) for seed in range(12)]
    day = [sum(hour) / len(workdays) for hour in zip(*workdays, strict=True)]
    night, morning, evening = sum(day[1:5]) / 4, sum(day[6:9]) / 3, sum(day[18:22]) / 4
    assert night * 1.5 < morning < evening
    assert min(day) > 0
    assert 4_000 < sum(day) < 25_000
    weekend = [hours(Household.of(seed, MONDAY), MONDAY, range(5, 7)) for seed in range(12)]
    assert sum(day[7] for day in weekend) < sum(day[7] for day in workdays)
    assert sum(day[10] for day in weekend) > sum(day[10] for day in workdays)


def test_winter_is_heavier_and_the_sun_shines_by_day() -> None:
    winter = sum(sum(hours(Household.of(seed, MONDAY), MONDAY, range(7))) for seed in range(6))
    summer = sum(sum(hours(Household.of(seed, SUMMER), SUMMER, range(7))) for seed in range(6))
    assert winter > summer * 1.2
    noon, midnight = SUMMER + 11 * 3600, SUMMER + 23 * 3600
    assert sum(made.reading(SOLAR, noon - day * 86_400).power_export for day in range(10)) > 5_000
    assert all(made.reading(SOLAR, midnight - day * 86_400).power_export == 0 for day in range(10))


def test_a_power_cut_shows_in_status_and_energy() -> None:
    home = Household.of(7, MONDAY, days=600)
    rows = made.rows(home, MONDAY, 600 * 96 - 8)
    cuts = [(before, row) for before, row in pairwise(rows) if row[1] & made.STATUS_POWER_DOWN]
    assert 0 < len(cuts) < 60
    assert all(row[2:] == before[2:] for before, row in cuts)
    assert all(row[1] & made.STATUS_DAYLIGHT for row in rows if DateTime.from_octets(row[0]).status)


def test_the_clock_keeps_european_summer_time() -> None:
    zone = Zone()
    change = int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp())
    assert zone.local(change - 1).text() == "2024-03-31T01:59:59+01:00"
    assert zone.local(change).text() == "2024-03-31T03:00:00+02:00"
    assert zone.local(change).status == 0x80
    back = int(datetime(2024, 10, 27, 1, tzinfo=UTC).timestamp())
    assert zone.local(back - 1).text() == "2024-10-27T02:59:59+02:00"
    assert zone.local(back, 7).text() == "2024-10-27T02:00:00.07+01:00"
    assert Zone(-300, daylight_saving=False).local(change).text() == "2024-03-30T20:00:00-05:00"
    assert not any(zone.summer(moment) for moment in (-62_135_596_800 - 86_400, -1, 253_402_300_800 + 86_400))
