"""Writing and calling at the client: values by the class tables, types that have to be said."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.association import Service
from meterseal.codec.data import Data, Tag
from meterseal.codec.types import Array
from meterseal.cosem.times import DateTime, Time
from meterseal.errors import Misuse, Refused
from tests.client.conftest import Twin
from tests.client.fake_meter import (
    START,
    FakeMeter,
)


@pytest.mark.parametrize(
    ("where", "value", "kind", "raw"),
    [
        ("0.0.1.0.0.255", START, None, "090C" + START.to_octets().hex()),
        ("0.0.1.0.0.255", START.to_datetime(), None, "090C" + START.to_octets().hex()),
        ("0.0.1.0.0.255", "2026-03-01T00:00:00+01:00", None, None),
        ("0.0.1.0.0.255:3", -60, None, "10FFC4"),
        ("0.0.42.0.0.255", "os:0102", None, "09020102"),
        ("0.0.42.0.0.255", 7, "u8", "1107"),
        ("0.0.42.0.0.255", True, None, "0301"),
        ("0.0.42.0.0.255", Data.of(5, Tag.LONG64), None, "140000000000000005"),
    ],
)
def test_values_are_written_as_the_class_says(
    memory_twin: Twin, where: str, value: Any, kind: Any, raw: str | None
) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        meter.write(where, value, kind)
    (operation,) = fake.done
    assert operation.service is Service.SET and operation.data is not None
    if raw is not None:
        assert operation.data.raw == bytes.fromhex(raw)
    else:
        assert DateTime.from_octets(operation.data.value) == DateTime.from_text(str(value))


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("2026-13-01T00:00:00", "its month is 13"),
        (DateTime(2026, 3, 1, hour=24), "0.0.1.0.0.255.*: 2026-03-01T24:.* its hour is 24"),
    ],
)
def test_F17_a_time_that_means_nothing_does_not_leave(memory_twin: Twin, value: Any, cause: str) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        with pytest.raises(Misuse, match=cause):
            meter.write("0.0.1.0.0.255", value)
        with pytest.raises(Misuse, match="its second is 61"):
            meter.write("0.0.42.0.0.255", [Time(1, 2, 61)], Array(Tag.OCTET_STRING))
        octets = DateTime(2026, 13, 1).to_octets()
        meter.write("0.0.1.0.0.255", Data.of(octets, Tag.OCTET_STRING))  # who says octets means them
    assert [o.data.value for o in fake.done if o.data is not None] == [octets]


def test_a_value_of_any_type_needs_its_type(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        with pytest.raises(Misuse, match="may be of any type: give type="):
            meter.write("0.0.42.0.0.255", 7)
        with pytest.raises(Misuse, match="no type word"):
            meter.write("0.0.42.0.0.255", 7, "u7")
        with pytest.raises(Refused, match="object-undefined"):
            meter.write("1/0.0.96.1.0.255", 7, "u8")
    assert [o.member for o in fake.done] == [2]


def test_methods_are_called(twin: Twin) -> None:
    fake = FakeMeter()
    with twin.connect(fake) as meter:
        answer = meter.call("0.0.96.3.10.255:1")
        assert (answer.value, answer.raw) == (None, None)
        assert fake.done[-1].data == Data.of(0, Tag.INTEGER)
        answer = meter.call("70/0.0.96.3.10.255:2", b"\x01\xff", "os")
        assert answer.as_json() == {
            "obis": "0.0.96.3.10.255",
            "class": 70,
            "method": 2,
            "value": "01FF",
            "raw": "090201FF",
        }
        with pytest.raises(Misuse, match="say which method"):
            meter.call("0.0.96.3.10.255")
        with pytest.raises(Refused, match="object-undefined") as caught:
            meter.call("70/0.0.96.3.10.255:9", 0, "i8")
        assert caught.value.source == "action-result"
