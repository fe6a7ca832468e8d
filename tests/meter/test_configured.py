"""Objects that are their attributes: how they are configured, read, written and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meterseal.codec.types import Array, Tag
from meterseal.errors import ConfigurationError
from tests.meter.world import call, world

SWITCH_SCRIPTS = "0.0.10.0.106.255"


@pytest.mark.parametrize(
    ("class_id", "name", "wanted"),
    [
        (41, "0.0.25.0.0.255", [4059, bytes((0, 0, 25, 1, 0, 255)), 576, 8, 180]),
        (23, "0.0.22.0.0.255", [5, 1, 1, 128, 128, 25, 120, 16]),
    ],
)
def test_how_lines_are_set_up(class_id: int, name: str, wanted: list[Any]) -> None:
    client = world().signed_on("manager")
    assert [client.get(class_id, name, at) for at in range(2, len(wanted) + 2)] == wanted
    assert client.set(class_id, name, 2, 5, Tag.ENUM if class_id == 23 else Tag.LONG_UNSIGNED) == 3


IPV4 = """[[objects]]
class = 42
obis = "0.0.25.1.0.255"
writable = true
[objects.attributes]
DL_reference = "0.0.25.2.0.255"
IP_address = 3232235777
multicast_IP_address = []
IP_options = []
subnet_mask = 4294967040
gateway_IP_address = 0
use_DHCP_flag = false
primary_DNS_address = 0
secondary_DNS_address = 0
"""


def test_a_setup_that_is_written_is_kept(tmp_path: Path) -> None:
    here = world(IPV4, folder=tmp_path / "state", tmp=tmp_path)
    client = here.signed_on("manager")
    assert client.set(42, "0.0.25.1.0.255", 3, 1, Tag.DOUBLE_LONG_UNSIGNED) == 0
    assert client.set(42, "0.0.25.1.0.255", 4, [1, 2], Array(Tag.DOUBLE_LONG_UNSIGNED)) == 0
    here.restart()
    client = here.signed_on("manager")
    assert client.get(42, "0.0.25.1.0.255", 3) == 1 and client.get(42, "0.0.25.1.0.255", 4) == [1, 2]
    assert client.one(call(42, "0.0.25.1.0.255", 3)).code == 3, "methods that it does not have"


@pytest.mark.parametrize(
    ("was", "now", "error"),
    [
        ("IP_address = 3232235777", "IP_address = 'x'", "attributes IP_address: value is u32"),
        ("subnet_mask = 4294967040\n", "", "attributes subnet_mask: missing"),
        ("subnet_mask", "mask", "attributes 'mask': unknown"),
        ("class = 42", "class = 47", "objects of class 47 are not made here"),
    ],
)
def test_attributes_of_a_configuration(was: str, now: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=error):
        world(IPV4.replace(was, now, 1), tmp=tmp_path)


def test_a_configuration_that_an_object_cannot_work_with(tmp_path: Path) -> None:
    config = (
        '[[objects]]\nclass = 22\nobis = "0.0.15.0.1.255"\n[objects.attributes]\n'
        f'executed_script = ["{SWITCH_SCRIPTS}", 1]\ntype = 9\nexecution_time = []\n'
    )
    with pytest.raises(ConfigurationError, match=r"22/0\.0\.15\.0\.1\.255 attribute 4: a schedule"):
        world(config, tmp=tmp_path)
