"""Readings of pushes as makers order them: names before values, lists that name, values alone."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.codec.data import Data
from meterseal.cosem.obis import Obis
from meterseal.probe import readings

DEVICE, ENERGY, PUSH = (
    bytes.fromhex("00002A0000FF"),
    bytes.fromhex("0100010800FF"),
    bytes.fromhex("0000190900FF"),
)
NAMED = "0202 0906 0100010800FF 0600000007"


def shown(body: Any) -> list[tuple[str | None, Any, str | None]]:
    return [(None if one.obis is None else str(one.obis), one.value, one.unit) for one in readings(body)]


def listed(*names: bytes) -> list[tuple[int, bytes, int, int]]:
    return [(40 if name == PUSH else 1, name, 2, 0) for name in names]


def test_a_push_object_list_names_what_follows_it() -> None:
    """Landis+Gyr E450: the first value of the push is its own list, which counts itself."""
    body = (listed(PUSH, DEVICE, ENERGY), b"LGZ1", 4408736)
    expected = [("0.0.42.0.0.255", "LGZ1", None), ("1.0.1.8.0.255", 4408736, None)]
    assert shown(body) == expected
    assert shown((listed(DEVICE, ENERGY), b"LGZ1", 4408736)) == expected


@pytest.mark.parametrize(
    "body",
    [
        (listed(PUSH, DEVICE), b"LGZ1", 4408736),  # one name for two values
        (listed(PUSH, DEVICE, ENERGY, ENERGY), b"LGZ1"),
        (listed(DEVICE),),
        ([(1, DEVICE, 2)], 5),
        ([(1, DEVICE[:5], 2, 0)], 5),
        ([(1, DEVICE, b"2", 0)], 5),
        ([], 5),
        (),
    ],
)
def test_a_list_that_does_not_fit_names_nothing(body: Any) -> None:
    named = [one for one in readings(body) if one.obis is not None]
    assert all(
        one.value in (2, "2", None) for one in named
    )  # a name with a number behind is all that is left


def test_what_nothing_names_keeps_its_place() -> None:
    clock = bytes.fromhex("07E50713010F2E2300FF8880")
    body = Data.decode(bytes.fromhex(f"0204 090C{clock.hex()} {NAMED} 00 0A03414243")).value
    assert shown(body) == [
        (None, "2021-07-19T15:46:35+02:00", None),
        ("1.0.1.8.0.255", 7, None),
        (None, "ABC", None),
    ]
    assert readings((clock, 5, "ABC")) == []  # no name at all: the value itself says more


def test_the_name_of_the_push_itself_takes_no_value() -> None:
    """Iskraemeco AM550, SMR 5: the push setup, a device and numbers whose order the configuration knows."""
    assert readings((PUSH, b"1121273201353", 9534290, 2896624)) == []
    found = readings((PUSH, b"ISK1", ENERGY, 7))
    assert [(one.obis, one.value) for one in found] == [
        (Obis(PUSH), None),
        (None, "ISK1"),
        (Obis(ENERGY), 7),
    ]
    assert found[0].name == "push setup"


def test_there_is_an_end() -> None:
    assert len(readings([(ENERGY, 1)] * 5000)) == 4096
    assert len(readings([ENERGY, 1] * 5000)) == 4096
