"""Reading through the client: what is asked, what comes back, in which shape; several at once, lists."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from meterseal import NotRead, Profile, Value
from meterseal.apdu.common import SelectiveAccess
from meterseal.association import DEFAULT_CONFORMANCE, Service, conformance
from meterseal.codec.data import Data, Tag, decode
from meterseal.cosem.obis import Obis
from meterseal.cosem.profile import Column
from meterseal.cosem.selection import ByEntry, CaptureObject
from meterseal.cosem.texts import json_text
from meterseal.cosem.times import DateTime
from meterseal.errors import Misuse, Refused, TooLarge, Unsupported
from tests.client.conftest import Twin
from tests.client.fake_meter import (
    CLOCK,
    ENERGY,
    LOAD,
    NAME,
    ODD,
    PUBLIC,
    ROWS,
    START,
    SWITCH,
    VOLTAGE,
    FakeMeter,
    Role,
)


def asked(fake: FakeMeter) -> list[tuple[int, str, int]]:
    """Class, name and member of all operations that the meter did."""
    return [(o.class_id, str(Obis(o.instance)), o.member) for o in fake.done]


def without(*services: str) -> Role:
    """A role whose association lacks some services."""
    return Role(changes={"conformance": DEFAULT_CONFORMANCE & ~conformance(*services)})


def test_a_register_is_read_with_scaler_and_unit(twin: Twin) -> None:
    fake = FakeMeter()
    with twin.connect(fake) as meter:
        energy = meter.read("1.0.1.8.0.255")
    assert (energy.value, energy.unit) == (Decimal("12345.6"), "Wh")
    assert (energy.class_id, energy.obis, energy.attribute) == (3, Obis("1.0.1.8.0.255"), 2)
    assert energy.raw == bytes.fromhex("060001E240")
    assert asked(fake) == [(3, "1.0.1.8.0.255", 2), (3, "1.0.1.8.0.255", 3)]
    assert json.loads(json_text(energy.as_json())) == {
        "obis": "1.0.1.8.0.255",
        "class": 3,
        "attribute": 2,
        "value": 12345.6,
        "unit": "Wh",
        "raw": "060001E240",
    }


def test_class_and_attribute_named_read_that_and_nothing_else(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        assert meter.read("3/1.0.1.8.0.255:2").value == 123_456
        assert asked(fake) == [(3, "1.0.1.8.0.255", 2)]
        assert meter.read("3/1.0.1.8.0.255").value == Decimal("12345.6")
        assert meter.read("1.0.1.8.0.255:3").value == (-1, 30)


def test_without_lists_a_register_comes_unscaled(memory_twin: Twin) -> None:
    fake = FakeMeter(without("multiple-references"))
    with memory_twin.connect(fake) as meter:
        energy = meter.read("1.0.1.8.0.255")
        assert (energy.value, energy.unit) == (123_456, None)
        assert asked(fake) == [(3, "1.0.1.8.0.255", 2)]
        several = meter.read_many(["1.0.1.8.0.255", "1.0.32.7.0.255"])
    assert [value.value for value in several] == [123_456, 2304]


def test_scalers_are_read_once(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        meter.read("1.0.1.8.0.255")
        fake.done.clear()
        assert meter.read("1.0.1.8.0.255").unit == "Wh"
    assert asked(fake) == [(3, "1.0.1.8.0.255", 2)]


def test_the_class_is_found_in_the_order_of_the_design(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        # Well known: no object list is read.
        meter.read("0.0.1.0.0.255")
        assert (15, "0.0.40.0.0.255", 2) not in asked(fake)
        # Known to nobody: one read of the object list, and no second one.
        assert meter.read("1.0.200.200.200.255").class_id == 3
        meter.read("1.0.200.200.200.255")
        assert asked(fake).count((15, "0.0.40.0.0.255", 2)) == 1
        with pytest.raises(Misuse, match=r"1.0.201.200.200.255 is not in the object list: name its class"):
            meter.read("1.0.201.200.200.255")
    # The list, once read, goes before the table.
    fake = FakeMeter()
    fake.objects = {(1, Obis("1.0.1.8.0.255"), 2): Data.of(5, Tag.UNSIGNED)}
    with memory_twin.connect(fake) as meter:
        meter.object_list()
        assert meter.read("1.0.1.8.0.255").class_id == 1


def test_with_a_class_the_meter_refuses_and_not_the_client(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(objects=[CLOCK]))
    with memory_twin.connect(fake) as meter:
        meter.object_list()
        with pytest.raises(Refused, match=r"3/1.0.1.8.0.255:2: the meter answers object-undefined") as caught:
            meter.read("3/1.0.1.8.0.255:2")
        assert (caught.value.code, caught.value.source) == (4, "data-access-result")
        assert meter.read("0.0.1.0.0.255").value == START


def test_several_are_read_at_once_and_refused_ones_say_why(twin: Twin) -> None:
    fake = FakeMeter()
    with twin.connect(fake) as meter:
        found = meter.read_many(
            ["1.0.1.8.0.255", "3/9.9.9.9.9.9", "1.0.99.1.0.255", "0.0.1.0.0.255", "1.0.201.200.200.255"]
        )
    energy, missing, load, clock, unknown = found
    assert isinstance(energy, Value) and energy.unit == "Wh"
    assert isinstance(missing, NotRead) and isinstance(missing.error, Refused)
    assert missing.as_json() == {
        "obis": "9.9.9.9.9.9",
        "class": 3,
        "attribute": 2,
        "error": {
            "type": "refused",
            "message": "3/9.9.9.9.9.9:2: the meter answers object-undefined",
            "reason": "object-undefined",
            "code": 4,
        },
    }
    assert isinstance(load, Profile) and len(load) == 96
    assert clock.value == START
    assert isinstance(unknown, NotRead) and unknown.as_json()["class"] is None


def test_a_text_that_is_no_object_is_refused_before_anything_is_asked(memory_twin: Twin) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter, pytest.raises(Misuse, match="no OBIS code"):
        meter.read_many(["1.0.1.8.0.255", "energy"])
    assert not fake.done


def test_lists_are_cut_to_what_the_meter_takes(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(changes={"max_pdu": 128}))
    with memory_twin.connect(fake) as meter:
        found = meter.read_many(["3/1.0.1.8.0.255:2"] * 50)
    assert [value.value for value in found] == [123_456] * 50
    assert len(fake.done) == 50


def test_long_values_go_both_ways_in_blocks(twin: Twin) -> None:
    fake = FakeMeter(Role(changes={"max_pdu": 200}))
    long = bytes(range(256)) * 20
    with twin.connect(fake, max_pdu=256) as meter:
        meter.write("0.0.42.0.0.255", long, type="os")
        assert meter.read("0.0.42.0.0.255").value == long
        assert meter.call("0.0.96.3.10.255:2", long, type="os").value == long
        assert len(meter.profile("1.0.99.1.0.255")) == 96
        assert meter.max_pdu == 200


def test_what_was_not_negotiated_is_not_sent(memory_twin: Twin) -> None:
    role = without("set", "block-transfer-with-action", "selective-access")
    role.changes["max_pdu"] = 200
    fake = FakeMeter(role)
    with memory_twin.connect(fake) as meter:
        with pytest.raises(Unsupported, match="not negotiated with set"):
            meter.write("0.0.42.0.0.255", b"x", type="os")
        with pytest.raises(Unsupported, match="block-transfer-with-action"):
            meter.call("0.0.96.3.10.255:2", bytes(500), type="os")
        with pytest.raises(Unsupported, match="selective-access"):
            meter.profile("1.0.99.1.0.255", entries=(1, 2))
        assert "set" not in meter.services
    assert not [o for o in fake.done if o.service is not Service.GET]


def test_a_request_that_the_meter_cannot_take_is_not_sent(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(changes={"max_pdu": 200}))
    giant = SelectiveAccess(1, Data.of(bytes(500), Tag.OCTET_STRING))
    with memory_twin.connect(fake) as meter, pytest.raises(TooLarge, match="longer than the 168 octets that"):
        meter.get(7, "1.0.99.1.0.255", 2, giant)
    assert not fake.done


# --- profiles -------------------------------------------------------------------------------------


def test_a_profile_comes_with_its_columns(twin: Twin) -> None:
    with twin.connect(FakeMeter()) as meter:
        load = meter.profile("1.0.99.1.0.255")
    assert len(load) == 96 and load[0] == (START, Decimal("100000.0"), 0)
    assert [row[1] for row in load][:3] == [Decimal("100000.0"), Decimal("100002.5"), Decimal("100005.0")]
    assert load[1:3] == load.value[1:3]
    assert [column.source.obis for column in load.columns][:2] == [CLOCK[1], ENERGY[1]]
    shown = load.as_json()
    assert shown["columns"][1] == {
        "class": 3,
        "obis": "1.0.1.8.0.255",
        "attribute": 2,
        "index": 0,
        "unit": "Wh",
    }
    assert shown["value"][0] == ["2026-03-01T00:00:00+01:00", Decimal("100000.0"), 0]
    assert shown["raw"] == load.raw.hex().upper()


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"since": "2026-03-01T23:00:00+01:00"}, range(92, 96)),
        ({"until": "2026-03-01T00:30:00+01:00"}, range(3)),
        ({"since": START.to_datetime(), "until": START.shifted(900)}, range(2)),
        ({"since": "2027-01-01T00:00:00+01:00"}, range(0)),
        ({"since": date(2026, 3, 1), "until": date(2026, 3, 1)}, range(96)),
        ({"since": date(2026, 3, 2)}, range(0)),
        ({"until": date(2026, 2, 28)}, range(0)),
        ({"entries": (3, 5)}, range(2, 5)),
        ({"entries": (94, 0)}, range(93, 96)),
    ],
)
def test_rows_are_selected_by_the_meter(
    memory_twin: Twin, selection: dict[str, Any], expected: range
) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter:
        rows = meter.profile("1.0.99.1.0.255", **selection)
        assert [row[0].to_octets() for row in rows] == [ROWS[at][0] for at in expected]
    assert [o for o in fake.done if o.selection is not None]


@pytest.mark.parametrize("selection", [{}, {"entries": (1, 4)}, {"since": START}])
@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (["1.0.1.8.0.255"], [1]),
        (["0.0.96.10.1.255", "8/0.0.1.0.0.255:2"], [0, 2]),
        ([CaptureObject(8, CLOCK[1], 2), "3/1.0.1.8.0.255"], [0, 1]),
    ],
)
def test_columns_are_chosen(
    memory_twin: Twin, selection: dict[str, Any], columns: list[Any], kept: list[int]
) -> None:
    with memory_twin.connect(FakeMeter()) as meter:
        whole = meter.profile("1.0.99.1.0.255", **selection)
        part = meter.profile("1.0.99.1.0.255", columns=columns, **selection)
    assert list(part) == [tuple(row[at] for at in kept) for row in whole]
    assert part.columns == tuple(whole.columns[at] for at in kept)
    assert part.as_json()["value"] == [[row[at] for at in kept] for row in whole.as_json()["value"]]


def test_missing_cells_are_filled_in(memory_twin: Twin) -> None:
    fake = FakeMeter()
    first, second = bytes.fromhex("0203090C") + ROWS[0][0], bytes.fromhex("0203 00")
    rows = first + bytes.fromhex("0600000064 1101") + second + bytes.fromhex("0600000065 00")
    fake.objects[*LOAD, 2] = Data.decode(b"\x01\x02" + rows)
    with memory_twin.connect(fake) as meter:
        assert list(meter.profile("1.0.99.1.0.255")) == [
            (START, Decimal("10.0"), 1),
            (START.shifted(900), Decimal("10.1"), 1),
        ]


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"entries": (1, 2), "since": START}, "by time or by entries"),
        ({"entries": (0, 2)}, "from 1 on"),
        ({"entries": (5, 2)}, "from 1 on"),
        ({"columns": ["1.0.2.8.0.255"]}, "no column of 1.0.2.8.0.255"),
        ({"since": "yesterday"}, "yesterday"),
        ({"since": "2026-13-01"}, "a bound: 2026-13-01.* its month is 13"),
        ({"until": DateTime(2026, 2, 30)}, "a bound: 2026-02-30.* its day is 30"),
        ({"until": 5}, "a bound is a datetime, a date, a DateTime or text, not int"),
    ],
)
def test_selections_that_make_no_sense(memory_twin: Twin, arguments: dict[str, Any], cause: str) -> None:
    fake = FakeMeter()
    with memory_twin.connect(fake) as meter, pytest.raises(Misuse, match=cause):
        meter.profile("1.0.99.1.0.255", **arguments)
    with memory_twin.connect(fake) as meter, pytest.raises(Misuse, match="not the buffer of a profile"):
        meter.profile("3/1.0.1.8.0.255")


def test_a_profile_without_a_clock_has_no_times(memory_twin: Twin) -> None:
    fake = FakeMeter()
    fake.objects[*LOAD, 3] = Data.decode(bytes.fromhex("0100"))
    with memory_twin.connect(fake) as meter, pytest.raises(Misuse, match="no column with a time"):
        meter.profile("1.0.99.1.0.255", since=START)


def test_columns_are_named() -> None:
    column = Column(CaptureObject(3, ENERGY[1], 2), -1, 30)
    assert column.described()["unit"] == "Wh"


def test_descriptors_are_asked_at_once(twin: Twin) -> None:
    fake = FakeMeter()
    with twin.connect(fake) as meter:
        assert decode(meter.get(3, "1.0.1.8.0.255", 2)) == 123_456
        assert decode(meter.get(3, bytes(ENERGY[1]), 2)) == 123_456
        assert len(decode(meter.get(7, "1.0.99.1.0.255", 2, ByEntry(1, 4)))) == 4
        meter.set(1, "0.0.42.0.0.255", 2, Data.of(b"new", Tag.OCTET_STRING))
        meter.set(1, "0.0.42.0.0.255", 2, bytes.fromhex("0903616263"))
        assert meter.read("0.0.42.0.0.255").value == b"abc"
        assert meter.action(70, "0.0.96.3.10.255", 1, Data.of(0, Tag.INTEGER)) is None
        assert meter.action(70, "0.0.96.3.10.255", 2, Data.of(3, Tag.ENUM)) == b"\x16\x03"
        with pytest.raises(Refused):
            meter.get(3, "9.9.9.9.9.9", 2)
        with pytest.raises(Misuse, match="no OBIS code"):
            meter.get(3, "energy", 2)
    assert asked(fake)[0] == (3, "1.0.1.8.0.255", 2)


def test_the_object_list_is_kept_until_it_is_asked_for_again(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(objects=[CLOCK, NAME, ODD, SWITCH, VOLTAGE]))
    with memory_twin.connect(fake) as meter:
        assert len(meter.object_list()) == 5
        fake.objects = {(*CLOCK, 2): fake.objects[*CLOCK, 2]}
        assert len(meter.object_list()) == 5
        assert len(meter.object_list(again=True)) == 1


def test_an_association_says_what_it_is(memory_twin: Twin) -> None:
    fake = FakeMeter(Role(), PUBLIC)
    with memory_twin.connect(fake, "c2") as meter:
        assert meter.described() == {
            "role": "c2",
            "mechanism": "gmac",
            "suite": 0,
            "policy": "authenticated+encrypted",
        }
        assert meter.system_title == fake.title
        assert meter.is_open
    with memory_twin.connect(fake, "c16") as meter:
        assert meter.described()["policy"] == "none" and meter.system_title is None
