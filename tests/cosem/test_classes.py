"""Interface-class tables, the notation of shapes, and the table of well-known objects."""

from __future__ import annotations

import pytest

from meterseal.codec.types import Array, Structure, Tag
from meterseal.cosem.classes import (
    SCALED,
    attribute_of,
    attribute_shape,
    interface_class,
    interface_classes,
)
from meterseal.cosem.obis import Obis
from meterseal.cosem.shapes import (
    ANY,
    DEFINITIONS,
    Group,
    Kind,
    Leaf,
    Many,
    element_of,
    kind_of,
    shape,
    wire_type,
)
from meterseal.cosem.units import UNITS
from meterseal.cosem.well_known import Known, well_known
from meterseal.errors import Misuse


def test_every_line_of_the_tables_compiles() -> None:
    classes = interface_classes()
    assert len({(one.id, one.version) for one in classes}) == len(classes) >= 30
    for known in classes:
        assert sorted(known.attributes) == list(range(1, len(known.attributes) + 1))
        names = [one.name for one in known.attributes.values()] + [one.name for one in known.methods.values()]
        assert len(set(names)) == len(names), known
        for attribute in known.attributes.values():
            assert attribute.shape is shape(attribute.notation)
            assert attribute.type == wire_type(attribute.shape)
        for method in known.methods.values():
            assert method.type == wire_type(method.shape)
            assert method.answer is None or isinstance(shape(method.answer), Leaf | Group | Many)
    for name in DEFINITIONS:
        assert isinstance(shape(f"@{name}"), Group | Many)


@pytest.mark.parametrize(
    ("class_id", "version", "attributes", "methods"),
    [
        (1, 0, 2, 0),
        (3, 0, 3, 1),
        (4, 0, 5, 1),
        (7, 1, 8, 2),
        (8, 0, 9, 6),
        (15, 0, 8, 4),
        (15, 1, 9, 4),
        (15, 2, 11, 6),
        (15, 3, 11, 6),
        (17, 0, 2, 1),
        (18, 0, 7, 4),
        (30, 0, 6, 3),
        (40, 0, 7, 1),
        (40, 1, 10, 1),
        (40, 2, 13, 2),
        (64, 0, 5, 2),
        (64, 1, 6, 8),
        (70, 0, 4, 2),
        (71, 0, 11, 0),
        (20, 0, 10, 1),
    ],
)
def test_members_of_a_class(class_id: int, version: int, attributes: int, methods: int) -> None:
    known = interface_class(class_id, version)
    assert known is not None
    assert known.version == version
    assert (len(known.attributes), len(known.methods)) == (attributes, methods)


def test_types_and_kinds() -> None:
    clock = interface_class(8)
    assert clock is not None
    time = clock.attribute("time")
    assert time is not None
    assert (time.index, time.type, time.kind, time.static) == (2, Tag.OCTET_STRING, Kind.DATE_TIME, False)
    columns = attribute_of(7, 3)
    assert columns is not None
    assert columns.type == Array(
        Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED))
    )
    value = attribute_of(3, 2)
    assert value is not None
    assert value.type is None
    transfer = interface_class(64, 1)
    assert transfer is not None
    method = transfer.method(2)
    assert method is not None
    assert method.type == Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))
    assert transfer.method("key_agreement") is transfer.methods[3]
    assert transfer.attribute(9) is None
    assert transfer.method("nothing") is None


def test_an_unknown_version_shows_the_newest_and_an_unknown_class_nothing() -> None:
    newest = interface_class(15)
    assert newest is not None
    assert newest.version == 3
    assert interface_class(15, 9) is newest
    assert interface_class(9999) is None
    assert attribute_of(9999, 2) is None
    assert attribute_shape(9999, 2) is ANY
    assert attribute_shape(3, 99) is ANY


def test_every_scaled_attribute_points_at_a_scaler_unit() -> None:
    for (class_id, index), scaler in SCALED.items():
        entry = attribute_of(class_id, scaler)
        assert entry is not None
        assert entry.notation == "@scaler_unit"
        assert attribute_of(class_id, index) is not None


def test_shapes_know_their_parts() -> None:
    both = shape("[{time date-time, value any}]")
    assert isinstance(both, Many)
    row = element_of(both, 7)
    assert kind_of(element_of(row, 0)) is Kind.DATE_TIME
    assert element_of(row, 1) is element_of(row, 2) is element_of(None, 0) is ANY
    assert kind_of(row) is Kind.PLAIN
    assert wire_type(both) is None
    assert wire_type(shape("[[u16]]")) == Array(Array(Tag.LONG_UNSIGNED))


@pytest.mark.parametrize(
    "line",
    ["", "fly", "[u8", "{a}", "{a u8", "{a u8]", "[u8]]", "u8 u8", "@nothing", "{a u8;}", "[u8}", "{}"],
)
def test_a_line_outside_the_notation_is_refused(line: str) -> None:
    with pytest.raises(Misuse):
        shape(line)


@pytest.mark.parametrize(
    ("code", "class_id"),
    [
        ("0.0.1.0.0.255", 8),
        ("0.0.42.0.0.255", 1),
        ("1.0.1.8.0.255", 3),
        ("1.0.1.8.2.255", 3),
        ("1.0.3.8.0.255", 3),
        ("1.0.32.7.0.255", 3),
        ("1.0.1.6.0.255", 4),
        ("1.0.1.4.0.255", 5),
        ("1.0.99.1.0.255", 7),
        ("0.0.99.98.1.255", 7),
        ("0.0.40.0.0.255", 15),
        ("0.0.41.0.0.255", 17),
        ("0.0.43.0.2.255", 64),
        ("0.0.43.1.0.255", 1),
        ("0.0.43.2.0.255", 30),
        ("0.0.44.0.0.255", 18),
        ("0.0.25.9.0.255", 40),
        ("0.0.96.3.10.255", 70),
        ("0.0.96.3.25.255", 68),
        ("0.0.17.0.0.255", 71),
        ("0.0.96.11.0.255", 1),
    ],
)
def test_common_objects_are_known(code: str, class_id: int) -> None:
    known = well_known(Obis(code))
    assert known is not None
    assert known.class_id == class_id
    assert interface_class(class_id) is not None
    assert known.unit is None or known.unit == 255 or known.unit in UNITS


def test_other_objects_are_not_guessed() -> None:
    for code in ("1.0.1.8.0.0", "1.0.200.7.0.255", "0.0.96.3.30.255", "9.9.9.9.9.9"):
        assert well_known(Obis(code)) is None
    assert well_known(Obis("1.0.1.8.0.255")) == Known(3, "active energy import (+A)", 30)


def test_leaves_of_the_notation_have_a_word() -> None:
    assert shape("u16") == Leaf(Tag.LONG_UNSIGNED, word="u16")
    assert shape("date-time-25") == Leaf(Tag.DATE_TIME, Kind.DATE_TIME, "date-time-25")
