"""Days and times that come again."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.cosem.recurring import FARTHEST, day_fits, last_day, next_time
from meterseal.cosem.times import Date, Time


@pytest.mark.parametrize(
    ("pattern", "day", "fits"),
    [
        ("2025-07-15", "2025-07-15", True),
        ("2025-07-15", "2026-07-15", False),
        ("*-07-15", "2026-07-15", True),
        ("*-*-*/7", "2025-07-20", True),
        ("*-*-*/7", "2025-07-21", False),
        ("*-*-last", "2024-02-29", True),
        ("*-*-last", "2024-02-28", False),
        ("*-*-last2", "2024-02-28", True),
        ("*-03-last/7", "2025-03-30", True),
        ("*-03-last/7", "2025-03-23", False),
        ("*-03-last2/7", "2025-03-23", True),
        ("*-begin-last/7", "2025-03-30", True),
        ("*-end-last/7", "2025-10-26", True),
        ("*-13-*", "2025-10-26", False),
    ],
)
def test_which_days_a_pattern_names(pattern: str, day: str, fits: bool) -> None:
    assert day_fits(Date.from_text(pattern), date.fromisoformat(day)) is fits


@pytest.mark.parametrize(
    ("time", "pattern", "after", "found"),
    [
        ("12:00:00", "*-*-*", "2025-07-15T11:59:59", "2025-07-15T12:00:00"),
        ("12:00:00", "*-*-*", "2025-07-15T12:00:00", "2025-07-16T12:00:00"),
        ("00:00:00", "*-*-01", "2025-12-31T23:00:00", "2026-01-01T00:00:00"),
        ("06:30:00", "2030-02-03", "2025-12-31T23:00:00", "2030-02-03T06:30:00"),
        ("06:30:00", "2020-02-03", "2025-12-31T23:00:00", None),
        ("06:30:00", "*-02-29", "2025-12-31T23:00:00", "2028-02-29T06:30:00"),
        ("06:30:00", "*-02-29", "2096-03-01T00:00:00", "2104-02-29T06:30:00"),
        ("06:30:00", "2027-*-01", "2025-12-31T23:00:00", "2027-01-01T06:30:00"),
        ("06:30:00", "2025-*-31", "2025-12-31T23:00:00", None),
        ("06:30:00", "*-02-30", "2025-12-31T23:00:00", None),
        ("*:30:00", "*-*-*", "2025-12-31T23:00:00", None),
    ],
)
def test_when_a_time_comes_next(time: str, pattern: str, after: str, found: str | None) -> None:
    given_ = [(Time.from_text(time), Date.from_text(pattern))]
    moment = next_time(given_, datetime.fromisoformat(after))
    assert (moment.isoformat() if moment else None) == found


FIELDS = st.one_of(st.none(), st.integers(0, 254))
PATTERNS = st.builds(
    Date,
    st.one_of(st.none(), st.integers(2020, 2032)),
    st.one_of(st.none(), st.integers(0, 13), st.sampled_from([0xFD, 0xFE])),
    st.one_of(st.none(), st.integers(0, 32), st.sampled_from([0xFD, 0xFE])),
    st.one_of(st.none(), st.integers(1, 7)),
)
DAYS = st.dates(date(2022, 1, 1), date(2030, 12, 31))


@given(PATTERNS, DAYS)
def test_a_search_finds_what_looking_at_every_day_finds(pattern: Date, day: date) -> None:
    back = (day - timedelta(days=days) for days in range(367))
    assert last_day(pattern, day) == next((one for one in back if day_fits(pattern, one)), None)
    noon = datetime.min.time().replace(hour=12)
    found = next_time([(Time(12, 0, 0, 0), pattern)], datetime.combine(day, datetime.min.time()))
    ahead = (day + timedelta(days=days) for days in range(FARTHEST))
    expected = next((one for one in ahead if day_fits(pattern, one)), None)
    if pattern.year is not None and day.year < pattern.year:  # from its year on
        ahead = (date(pattern.year, 1, 1) + timedelta(days=days) for days in range(366))
        expected = next((one for one in ahead if day_fits(pattern, one)), None)
    assert found == (None if expected is None else datetime.combine(expected, noon))


def test_a_search_ends_with_the_calendar() -> None:
    years = Date(9998, 12, None, None), Date(9998, 2, 30, None)
    assert [next_time([(Time(12, 0, 0, 0), one)], datetime(2025, 1, 1)) for one in years] == [
        datetime(9998, 12, 1, 12),
        None,
    ]


@given(
    st.builds(Date, st.one_of(st.none(), st.integers(0, 65534)), FIELDS, FIELDS, FIELDS),
    st.builds(Time, FIELDS, FIELDS, FIELDS, FIELDS),
    st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)),
)
def test_F17_no_pattern_raises_and_what_is_found_fits(pattern: Date, time: Time, after: datetime) -> None:
    found = next_time([(time, pattern)], after)
    assert found is None or (found > after and day_fits(pattern, found.date()))
    before = last_day(pattern, after.date())
    assert before is None or (before <= after.date() and day_fits(pattern, before))


@given(st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)), st.integers(0, 23), st.integers(0, 59))
def test_every_day_means_within_a_day(after: datetime, hour: int, minute: int) -> None:
    found = next_time([(Time(hour, minute, 0, 0), Date())], after)
    assert found is not None and timedelta(0) < found - after <= timedelta(days=1)
