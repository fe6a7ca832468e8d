"""object_list: what the meter writes the client reads, in every version of the Association."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.codec import data
from meterseal.cosem import rights
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import (
    ObjectEntry,
    ObjectList,
    decode_element,
    encode_element,
    encode_object_list,
    select_objects,
)
from meterseal.cosem.selection import AllObjects, ByClasses, ByObjects, OneObject
from meterseal.errors import DecodeError, Malformed

R, W = rights.READ, rights.WRITE
ASSOCIATION, CLOCK, ENERGY = Obis("0.0.40.0.0.255"), Obis("0.0.1.0.0.255"), Obis("1.0.1.8.0.255")
VIEW = [
    ObjectEntry(15, 3, ASSOCIATION, {1: R, 2: R}, {1: rights.ACCESS}, {2: (1, 2, 3, 4)}),
    ObjectEntry(
        8, 0, CLOCK, {1: R, 2: R | W | rights.AUTH_REQUEST}, {6: rights.ACCESS | rights.SIGN_REQUEST}
    ),
    ObjectEntry(3, 0, ENERGY, {1: R, 2: R | 0x6C, 3: R}, {}),
    ObjectEntry(1, 0, ENERGY, {1: R}, {}),
]

entries = st.builds(
    ObjectEntry,
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.binary(min_size=6, max_size=6).map(Obis),
    st.dictionaries(st.integers(-128, 127), st.integers(0, 255), max_size=4),
    st.dictionaries(st.integers(-128, 127), st.integers(0, 255).map(lambda bits: bits & ~W), max_size=3),
)


def on_the_wire(view: list[ObjectEntry], version: int) -> Any:
    return data.decode(data.encode(*encode_object_list(view, version)))


def test_octets_of_an_element() -> None:
    assert data.encode(*encode_element(VIEW[0], 3)).hex().upper() == (
        "0204" "12000F" "1103" "09060000280000FF" "0202"
        "0102" "0203" "0F01" "1601" "00" "0203" "0F02" "1601" "01040F010F020F030F04"
        "0101" "0202" "0F01" "1601"
    )  # fmt: skip
    assert data.encode(*encode_element(VIEW[0], 0)).hex().upper().endswith("010102020F010301")


@given(st.lists(entries, max_size=5, unique_by=lambda entry: (entry.obis, entry.class_id)))
def test_version_3_reads_back_whole(view: list[ObjectEntry]) -> None:
    seen = ObjectList.from_value(on_the_wire(view, 3), 3)
    assert list(seen) == view
    for entry, there in zip(view, seen, strict=True):
        assert dict(entry.attributes) == dict(there.attributes)
        assert dict(entry.methods) == dict(there.methods)


@pytest.mark.parametrize("version", range(4))
def test_every_version_reads_back_what_it_can_say(version: int) -> None:
    view = [ObjectEntry(15, version, ASSOCIATION, {2: R}, {1: rights.ACCESS}, {2: (1,)}), *VIEW[1:]]
    seen = ObjectList.from_value(on_the_wire(view, version))
    assert seen.association_version == version
    assert [entry.obis for entry in seen] == [entry.obis for entry in view]
    clock = seen.find(CLOCK)
    assert clock is not None
    auth = {0: 0, 1: 0x24, 2: 0x24, 3: 0x04}[version]
    assert clock.attribute_right(2) == R | W | auth
    assert clock.attribute_right(9) == 0
    assert clock.method_right(6) & 1
    assert clock.method_right(5) == 0
    assert dict(next(iter(seen)).selectors) == {2: (1,)}


def test_lookup() -> None:
    seen = ObjectList.from_value(on_the_wire(VIEW, 3))
    assert len(seen) == 4
    assert seen.find(Obis("9.9.9.9.9.9")) is None
    assert seen.find(ENERGY) == VIEW[2]
    assert seen.find(ENERGY, 1) == VIEW[3]
    assert seen.find(ENERGY, 7) is None
    assert seen.find(Obis(bytes(ENERGY))) is not None


def test_the_version_is_told_by_the_list_itself() -> None:
    other = ObjectEntry(15, 2, Obis("0.0.40.0.1.255"), {1: R}, {})
    assert ObjectList.from_value(on_the_wire([other, *VIEW], 3)).association_version == 3
    assert ObjectList.from_value(on_the_wire([other, *VIEW[1:2]], 2)).association_version == 2
    assert ObjectList.from_value(on_the_wire(VIEW[1:], 3)).association_version == 3
    assert ObjectList.from_value(on_the_wire(VIEW[3:], 1)).association_version == 1
    assert ObjectList.from_value([]).association_version == 1


def test_selections_cut_the_view() -> None:
    assert select_objects(VIEW, AllObjects()) == VIEW
    assert select_objects(VIEW, ByClasses((1, 8))) == [VIEW[1], VIEW[3]]
    assert select_objects(VIEW, ByObjects(((3, ENERGY), (3, CLOCK)))) == [VIEW[2]]
    assert select_objects(VIEW, OneObject(1, ENERGY)) == [VIEW[3]]
    assert select_objects(VIEW, ByClasses(())) == []


def test_one_element_reads_back() -> None:
    value = data.decode(data.encode(*encode_element(VIEW[1], 3)))
    assert decode_element(value, 3) == VIEW[1]


@pytest.mark.parametrize("rights", [([(2, 3, None), (2, 1, None)], []), ([], [(1, 1), (1, 0)])])
def test_B19_what_a_right_is_said_twice_of_is_no_element(rights: object) -> None:
    """A meter shows a list as it holds it; what it is asked to hold says one thing."""
    with pytest.raises(Malformed, match="twice"):
        decode_element((3, 0, bytes(6), rights), 1)


GOOD: Any = (3, 0, bytes(6), ([(1, 1, None)], [(1, 1)]))


@pytest.mark.parametrize(
    "element",
    [
        None,
        GOOD[:3],
        [*GOOD],
        ("3", *GOOD[1:]),
        (70_000, *GOOD[1:]),
        (-3, *GOOD[1:]),
        (3, 300, *GOOD[2:]),
        (3, 0, bytes(5), GOOD[3]),
        (*GOOD[:3], ([], [], [])),
        (*GOOD[:3], (None, [])),
        (*GOOD[:3], ([(1, 1)], [])),
        (*GOOD[:3], ([(1, None, None)], [])),
        (*GOOD[:3], ([(1, 1, [b"1"])], [])),
        (*GOOD[:3], ([(1, 1, 5)], [])),
        (*GOOD[:3], ([], [(1,)])),
        (*GOOD[:3], ([], [(1, b"")])),
        (*GOOD[:3], ([(1, 9, None)], [])),
        (*GOOD[:3], ([], [(1, 3)])),
    ],
)
def test_an_element_of_another_shape_is_malformed(element: object) -> None:
    with pytest.raises(Malformed):
        decode_element(element, 1)
    ObjectList.from_value([GOOD], 1)
    with pytest.raises(Malformed):
        ObjectList.from_value([GOOD, element], 1)


def test_a_list_of_another_shape_or_version_is_malformed() -> None:
    for value, version in (((), 1), (None, 1), ([GOOD], 4), ([(15, 7, bytes(6), ([], []))], None)):
        with pytest.raises(Malformed):
            ObjectList.from_value(value, version)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-300, 70_000)
    | st.binary(min_size=5, max_size=6)
    | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@given(plain)
def test_F02_any_value_gives_a_list_or_a_typed_error(value: Any) -> None:
    for given_value in (value, [value], [(3, 0, bytes(6), value)]):
        try:
            ObjectList.from_value(given_value)
        except DecodeError:
            pass


def test_F22_many_names_cost_no_more_each() -> None:
    # 20,000 names that differ in the last octets: a list, then look-ups, by octets that a peer chose.
    view = [ObjectEntry(1, 0, Obis(bytes(2) + at.to_bytes(4, "big"))) for at in range(20_000)]
    seen = ObjectList(view)
    assert all(seen.find(entry.obis) is entry for entry in view)
