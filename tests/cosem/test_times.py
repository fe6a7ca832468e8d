"""Date-time, date and time: octets, text, the sign of the deviation, junk from meters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterseal.cosem.moments import compare, time_window
from meterseal.cosem.times import STATUS_DAYLIGHT_SAVING, Date, DateTime, Time
from meterseal.errors import Malformed, Misuse
from tests.vectors import vector

TIROL = bytes.fromhex("07E50713010F2E2300FF8880")
"""The clock of the capture `tirol-push`: 19 July 2021 in Austria, daylight saving time."""


class CentralEuropeanSummer(tzinfo):
    """UTC+2, one hour of it daylight saving: what a time zone table says of Austria in July."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=2)

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def tzname(self, dt: datetime | None) -> str:
        return "CEST"


def moment(text: str) -> DateTime:
    return DateTime.from_text(text)


minute_zones = st.integers(-840, 720).map(lambda minutes: timezone(timedelta(minutes=-minutes)))
moments = st.datetimes(timezones=st.none() | minute_zones).map(
    lambda when: when.replace(microsecond=when.microsecond // 10_000 * 10_000)
)


def test_the_deviation_leads_from_local_time_to_utc() -> None:
    assert TIROL.hex().upper() in vector("tirol-push")["expected"]["plaintext"]
    clock = DateTime.from_octets(TIROL)
    assert clock.deviation == -120
    assert clock.status == STATUS_DAYLIGHT_SAVING
    assert clock.to_datetime() == datetime(2021, 7, 19, 13, 46, 35, tzinfo=UTC)
    assert clock.text() == "2021-07-19T15:46:35+02:00"
    local = datetime(2021, 7, 19, 15, 46, 35, tzinfo=CentralEuropeanSummer())
    assert DateTime.from_datetime(local).to_octets() == TIROL


def test_a_capture_without_deviation_is_local_time() -> None:
    clock = DateTime.from_octets(bytes.fromhex("07E602150111251EFF800000"))
    assert clock.text() == "2022-02-21T17:37:30"
    assert clock.to_datetime() == datetime(2022, 2, 21, 17, 37, 30)
    assert clock.deviation is None
    assert clock.status == 0


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("FFFFFFFFFFFFFFFFFF8000FF", "*-*-*T*:*:*"),
        ("FFFF03FE0702000000800000", "*-03-last/7T02:00:00"),
        ("FFFFFEFDFFFFFFFFFF8000FF", "*-begin-last2T*:*:*"),
        ("FFFFFDFFFF03000000FFC4FF", "*-end-*T03:00:00+01:00"),
        ("07E50713FF0F2E232A0078FF", "2021-07-19T15:46:35.42-02:00"),
        ("07E50713FF0F2E23630000FF", "2021-07-19T15:46:35.99+00:00"),
        ("07E50D00080F2E2300FE0C80", "2021-13-00/8T15:46:35+08:20"),
        ("000000000000000000000000", "0000-00-00/0T00:00:00+00:00"),
        ("FFFE01010118636363800000", "65534-01-01/1T24:99:99.99"),
    ],
)
def test_text_of_open_special_and_senseless_fields(octets: str, text: str) -> None:
    assert DateTime.from_octets(bytes.fromhex(octets)).text() == text
    assert compare(moment(text), DateTime.from_octets(bytes.fromhex(octets))) == 0


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("2021-07-19T15:46:35Z", "07E50713010F2E23000000FF"),
        ("2021-07-19 15:46", "07E50713010F2E00008000FF"),
        ("2021-07-19", "07E5071301FFFFFFFF8000FF"),
        ("2021-07-19T15:46:35.5+0530", "07E50713010F2E2332FEB6FF"),
        ("2021-07-19T15:46:35.123456-03:00", "07E50713010F2E230C00B4FF"),
        ("*-*-*T06:00:*", "FFFFFFFFFF0600FFFF8000FF"),
    ],
)
def test_texts_that_people_write(text: str, octets: str) -> None:
    assert moment(text).to_octets().hex().upper() == octets


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2021",
        "2021-07",
        "2021-07-19T",
        "2021-07-19T15",
        "19.07.2021",
        "2021-256-01",
        "2021-07-19T300:00",
        "70000-01-01",
        "2021-07-19T15:46:35+1",
        "2021-07-19T15:46:35+999:00",
        "٢٠٢١-07-19",
        "2021-07-19T15:46:35\x00",
    ],
)
def test_a_text_that_is_no_date_time_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        moment(text)


@given(moments)
def test_python_moments_survive(when: datetime) -> None:
    there = DateTime.from_datetime(when)
    assert DateTime.from_octets(there.to_octets()) == there
    back = there.to_datetime()
    assert back == when
    assert back.utcoffset() == when.utcoffset()
    assert datetime.fromisoformat(there.text()) == when
    assert DateTime.from_text(there.text(), status=there.status) == there


@given(st.binary(min_size=12, max_size=12))
@example(bytes(12))
@example(b"\xff" * 12)
@example(b"\x80\x00" * 6)
def test_F17_junk_in_a_date_time_never_raises(octets: bytes) -> None:
    value = DateTime.from_octets(octets)
    assert value.to_octets() == octets
    assert isinstance(value.invalid, tuple)
    assert compare(value, value) == 0
    again = DateTime.from_text(value.text())
    assert compare(value, again) == 0 or (value.hundredths or 0) > 99
    if value.complete and (value.deviation is None or abs(value.deviation) < 1440):
        assert value.to_datetime().year == value.year
    else:
        with pytest.raises(Malformed):
            value.to_datetime()


@given(st.binary(min_size=5, max_size=5))
def test_F17_junk_in_a_date_never_raises(octets: bytes) -> None:
    value = Date.from_octets(octets)
    assert value.to_octets() == octets
    again = Date.from_text(value.text())
    assert (again.year, again.month, again.day) == (value.year, value.month, value.day)
    assert value.complete == (again.complete)


@given(st.binary(min_size=4, max_size=4))
def test_F17_junk_in_a_time_never_raises(octets: bytes) -> None:
    value = Time.from_octets(octets)
    assert value.to_octets() == octets
    again = Time.from_text(value.text())
    assert (again.hour, again.minute, again.second) == (value.hour, value.minute, value.second)


@given(st.binary(max_size=20))
def test_F17_only_the_number_of_octets_is_refused(octets: bytes) -> None:
    for size, reader in ((12, DateTime.from_octets), (5, Date.from_octets), (4, Time.from_octets)):
        if len(octets) != size:
            with pytest.raises(Malformed):
                reader(octets)


def test_fields_of_no_meaning_are_named() -> None:
    junk = DateTime.from_octets(bytes.fromhex("07E50D200818636364040000"))
    assert junk.invalid == ("month", "day", "weekday", "hour", "minute", "second", "hundredths", "deviation")
    assert not junk.complete
    assert DateTime.from_octets(TIROL).invalid == ()
    assert Date(2021, 2, 29).invalid == ("day",)
    assert Date(None, 2, 29).invalid == ()
    assert Date(2021, None, 31).invalid == ()
    assert Date(None, 4, 31).invalid == ("day",)
    assert Date(2021, 2, 29).complete is False
    assert Date(2020, 2, 29).complete is True


def test_fields_that_do_not_fit_are_refused_when_written() -> None:
    for value in (Date(70_000, 1, 1), Date(2021, 300, 1), Time(-1), DateTime(deviation=40_000)):
        with pytest.raises(Misuse):
            value.to_octets()


def test_an_offset_of_seconds_is_refused() -> None:
    with pytest.raises(Misuse):
        DateTime.from_datetime(datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=90))))


def test_the_sign_can_be_turned() -> None:
    assert DateTime.from_octets(TIROL).turned().deviation == 120
    assert DateTime().turned() == DateTime()


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(-(10**7), 10**7))
def test_shifting_counts_on_the_same_clock(when: datetime, seconds: int) -> None:
    start = DateTime.from_datetime(when, status=0x80)
    later = start.shifted(seconds)
    assert later.to_datetime() == start.to_datetime() + timedelta(seconds=seconds)
    assert later.status == 0x80
    assert later.weekday == later.to_datetime().isoweekday()


def test_shifting_needs_a_moment() -> None:
    with pytest.raises(Malformed):
        moment("2021-07-*T00:00").shifted(900)
    with pytest.raises(Malformed):
        moment("9999-12-31T23:59:59").shifted(1)


# --- comparison -------------------------------------------------------------------------------------


@given(moments.filter(lambda when: 2 < when.year < 9998), moments.filter(lambda when: 2 < when.year < 9998))
def test_complete_moments_compare_as_python_does(one: datetime, other: datetime) -> None:
    if (one.tzinfo is None) != (other.tzinfo is None):
        # One side says no deviation: the faces of the clocks decide.
        one, other = one.replace(tzinfo=None), other.replace(tzinfo=None)
    expected = (one > other) - (one < other)
    assert compare(DateTime.from_datetime(one), DateTime.from_datetime(other)) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("2021-07-19T15:00+02:00", "2021-07-19T14:00+01:00", 0),
        ("2021-07-19T15:00+02:00", "2021-07-19T15:00+01:00", -1),
        ("2021-07-19T15:00+02:00", "2021-07-19T15:00", 0),
        ("2021-07-19", "2021-07-19T23:59:59", 0),
        ("2021-07-19", "2021-07-20T00:00", -1),
        ("*-*-*T06:00", "2021-07-19T05:59", 1),
        ("*-02-last", "2020-02-29T10:00", 0),
        ("2021-02-last", "2021-02-27", 1),
        ("2021-02-last2", "2021-02-27", 0),
        ("2021-begin-*", "2021-12-31", 0),
        ("2021-13-40T00:00", "2021-12-31T23:59", 1),
        ("0001-01-01T00:00+14:00", "0001-01-01T00:00+00:00", 0),
    ],
)
def test_moments_compare_by_what_they_mean(one: str, other: str, expected: int) -> None:
    assert compare(moment(one), moment(other)) == expected
    assert compare(moment(other), moment(one)) == -expected


@given(st.lists(moments.filter(lambda when: 2 < when.year < 9998), min_size=3, max_size=3))
def test_a_window_agrees_with_the_comparison(three: list[datetime]) -> None:
    start, end, when = (DateTime.from_datetime(one) for one in three)
    inside = time_window(start.to_octets(), end.to_octets())
    expected = compare(start, when) <= 0 and compare(when, end) <= 0
    assert inside(when.to_octets()) is expected


@given(
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=12, max_size=12),
)
def test_F17_a_window_takes_junk_as_the_comparison_does(start: bytes, end: bytes, when: bytes) -> None:
    low, high, mid = map(DateTime.from_octets, (start, end, when))
    assert time_window(start, end)(when) is (compare(low, mid) <= 0 and compare(mid, high) <= 0)


def test_a_window_includes_its_ends_and_knows_wild_cards() -> None:
    day = time_window(moment("2021-07-19").to_octets(), moment("2021-07-19").to_octets())
    assert day(moment("2021-07-19T00:00").to_octets())
    assert day(moment("2021-07-19T23:59:59.99").to_octets())
    assert not day(moment("2021-07-20T00:00").to_octets())
    hour = time_window(moment("2021-07-19T10:00").to_octets(), moment("2021-07-19T11:00").to_octets())
    assert hour(moment("2021-07-19T11:00").to_octets())
    assert not hour(moment("2021-07-19T11:00:00.01").to_octets())
    with pytest.raises(Malformed):
        hour(b"\x00" * 11)
    with pytest.raises(Malformed):
        time_window(b"", b"")
