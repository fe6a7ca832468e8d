"""Rights: the preset's rules in plain words, and every member of every object in every service form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.association import Operation, Service
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectEntry, ObjectList
from meterseal.errors import ConfigurationError
from meterseal.meter import Meter, access_rows, access_table
from meterseal.meter.objects import CosemObject
from meterseal.meter.view import Grant, Pattern, User, View, entry_of
from tests.meter.forms import MANY, ONE, access, codes
from tests.meter.world import world

ROLES = ("public", "operator", "installer", "manager")
CURRENT = "0.0.40.0.0.255"
DISPLAY = "0.0.96.13.1.255"
TYPE_UNMATCHED = 0x0C

# What design 1 says of the preset, by hand: the objects of each role and what may be changed.
SEES = {
    "public": {CURRENT, "0.0.1.0.0.255", "0.0.42.0.0.255"}
    | {f"0.0.43.1.{e}.255" for e in (1, 2, 3)},
    "operator": {
        CURRENT, "0.0.1.0.0.255", "0.0.41.0.0.255", "0.0.42.0.0.255", "0.0.96.1.0.255", "0.0.96.1.10.255",
        "1.0.0.2.0.255", "1.0.1.8.0.255", "1.0.2.8.0.255", "1.0.1.7.0.255", "1.0.2.7.0.255",
        "1.0.32.7.0.255", "1.0.52.7.0.255", "1.0.72.7.0.255", "1.0.31.7.0.255", "1.0.14.7.0.255",
        "1.0.99.1.0.255", "0.0.96.10.1.255", "0.0.96.14.0.255", "0.0.96.3.10.255", DISPLAY,
        "0.0.43.2.0.255",
    },
    "installer": {
        CURRENT, "0.0.1.0.0.255", "0.0.41.0.0.255", "0.0.42.0.0.255", "0.0.96.1.0.255", "0.0.96.1.10.255",
        "1.0.0.2.0.255", "0.0.97.97.0.255", "0.0.96.3.10.255", DISPLAY,
    },
}  # fmt: skip
CHANGES = {
    "public": set[str](),
    "operator": {f"{CURRENT} method 1", *(f"0.0.43.2.0.255 method {i}" for i in (1, 2, 3))},
    "installer": {
        f"{CURRENT} method 1",
        "0.0.1.0.0.255 attribute 2",
        "0.0.96.1.10.255 attribute 2",
        *(f"0.0.1.0.0.255 method {i}" for i in range(1, 7)),
    },
}


def test_the_preset_gives_each_role_what_it_is_for() -> None:
    rows = [row for row in access_table() if row.logical_device == 1]
    for role in SEES:
        mine = [row for row in rows if row.role == role]
        assert {row.obis for row in mine} == SEES[role]
        changes = {f"{row.obis} {row.member}" for row in mine if {"write", "access"} & set(row.right.split())}
        assert changes == CHANGES[role]
        protection = "none" if role == "public" else "authenticated+encrypted"
        assert {(row.request, row.response) for row in mine} == {(protection, protection)}
    manager = {row.obis for row in rows if row.role == "manager"}
    assert manager > SEES["operator"] | SEES["installer"] | SEES["public"]
    assert not [row for row in rows if row.name == "secret" and "read" in row.right]


def test_rows_of_one_role_and_of_none() -> None:
    assert {row.role for row in access_table(role="operator")} == {"operator"}
    thirds = {row.role for row in access_table()} - set(ROLES)
    assert thirds == {f"utility by {role} (off)" for role in ROLES if role != "public"}
    assert {row.role for row in access_table("suite1", role="utility")} == {
        f"utility by {role}" for role in ROLES if role != "public"
    }
    with pytest.raises(ConfigurationError, match="no role 'nobody'"):
        access_table(role="nobody")


@pytest.mark.parametrize("preset", ["suite0", "suite1", "suite2"])
def test_E07_whoever_is_not_the_manager_has_no_say_in_what_protection_is_required(preset: str) -> None:
    """Not even to strengthen it, which would close it to others; nor a third party through anybody."""
    rows = [row for row in access_table(preset) if (row.class_id, row.obis) == (30, "0.0.43.2.0.255")]
    assert {row.role for row in rows if "write" in row.right} == {"manager"}
    assert {row.role for row in rows if "access" in row.right} == {"manager", "operator"}


def test_the_three_uses_of_the_table_agree() -> None:
    """What `access` shows, what object_list says and what the check does are one."""
    here = world()
    rows = access_rows(here.meter)
    for role in ROLES:
        client = here.signed_on(role)
        listed = ObjectList.from_value(client.get(15, CURRENT), 3)
        shown = {
            (e.class_id, str(e.obis), f"{kind} {index}")
            for e in listed
            for kind, rights in (("attribute", e.attributes), ("method", e.methods))
            for index, bits in rights.items()
            if bits
        }
        mine = {(r.class_id, r.obis, r.member) for r in rows if r.role == role and r.logical_device == 1}
        assert shown == mine


def operations(meter: Meter, server: int) -> Iterator[Operation]:
    """Every member of every object, two that the class has not, and an object that the device has not.

    Data is of a type that no member takes, so that what is allowed changes nothing.
    """
    device = meter.devices[server]
    wrong = Data.of(1, Tag.BCD)
    keys = [(held.class_id, held.obis, held.table) for held in device.objects.values()]
    association = meter.association(1, server)
    assert association is not None
    keys.append((15, Obis(CURRENT), association.table))
    for class_id, obis, table in keys:
        for index in (*table.attributes, max(table.attributes) + 1, 0, -1):
            yield Operation(Service.GET, class_id, obis, index)
            yield Operation(Service.SET, class_id, obis, index, None, wrong)
        for index in (*table.methods, 100, 0, -1):
            yield Operation(Service.ACTION, class_id, obis, index, None, wrong)
    for service in Service:
        yield Operation(service, 3, Obis("1.0.200.8.0.255"), 2, None, wrong)
        yield Operation(service, 8, Obis("1.0.1.8.0.255"), 2, None, wrong)


def expected(table: dict[tuple[int, str, str], list[str]], operation: Operation) -> set[int]:
    """What the table says: hidden 4, no right 3, else done (or, for a wrong type, unmatched)."""
    name = operation.class_id, str(Obis(operation.instance))
    if not any(key[:2] == name for key in table):
        return {4}
    kind = "method" if operation.service is Service.ACTION else "attribute"
    word = {Service.GET: "read", Service.SET: "write", Service.ACTION: "access"}[operation.service]
    if word not in table.get((*name, f"{kind} {operation.member}"), []):
        return {3}
    return {0} if operation.service is Service.GET else {TYPE_UNMATCHED}


@pytest.mark.parametrize("server", [1, 17])
@pytest.mark.parametrize("role", ROLES)
def test_A21_every_member_of_every_object_in_every_service_form(role: str, server: int) -> None:
    here = world()
    client = here.signed_on(role, server=server)
    rows = [r for r in access_rows(here.meter, role) if r.logical_device == server]
    table = {(r.class_id, r.obis, r.member): r.right.split() for r in rows}
    everything = list(operations(here.meter, server))
    assert len(everything) > 200
    for operation in everything:
        wanted = expected(table, operation)
        for form in ONE[operation.service]:
            if operation.member == 2 and operation.class_id == 7 and wanted == {0}:
                continue  # whole profiles are long: once, below
            assert set(client.codes(form, [operation])) == wanted, (form.__name__, operation)
    for service in Service:
        mixed = [o for o in everything if o.service is service and o.class_id != 7][:255]
        for form in MANY[service]:
            found = client.codes(form, mixed)
            assert [{code} for code in found] == [expected(table, o) for o in mixed]


@pytest.mark.parametrize("server", [1, 17])
@pytest.mark.parametrize("role", ROLES)
def test_B19_the_table_decides_each_element_of_an_access_request(role: str, server: int) -> None:
    """Reads, writes and calls mixed, forty to a request; alone, each member ends as in its own service."""
    here = world()
    client = here.signed_on(role, server=server, max_pdu=0)
    rows = [r for r in access_rows(here.meter, role) if r.logical_device == server]
    table = {(r.class_id, r.obis, r.member): r.right.split() for r in rows}
    everything = [o for o in operations(here.meter, server) if (o.class_id, o.member) != (7, 2)]
    assert len({o.service for o in everything[:40]}) == 3
    for at in range(0, len(everything), 40):
        part = everything[at : at + 40]
        found = client.codes(access, part)
        assert [{code} for code in found] == [expected(table, o) for o in part]
    for operation in everything[::7]:
        assert set(client.codes(access, [operation])) == expected(table, operation)


def test_B19_access_asks_for_the_protection_of_each_element(tmp_path: Path) -> None:
    config = (
        '[roles.operator]\npolicy = "none"\nciphered = true\n'
        '[[roles.operator.rights]]\nobjects = ["1.0.1.8.0.255"]\n'
        'attributes = { 1 = "read", 2 = "read auth-request", 3 = "read auth-request enc-request" }\n'
    )
    client = world(config, tmp=tmp_path).signed_on("operator")
    asked = [Operation(Service.GET, 3, Obis("1.0.1.8.0.255"), member) for member in (1, 2, 3)]
    for applied in range(4):
        (message,) = access(asked)
        wanted = [0 if not needed & ~applied else 0x0D for needed in (0, 1, 3)]
        assert codes(client.plain(message.encode(), applied)) == wanted, applied


def test_A21_policy_and_right_are_joined_for_every_form(tmp_path: Path) -> None:
    config = (
        '[roles.operator]\npolicy = "none"\nciphered = true\n'
        '[[roles.operator.rights]]\nobjects = ["1.0.1.8.0.255"]\n'
        'attributes = { 1 = "read", 2 = "read auth-request", 3 = "read auth-request enc-request" }\n'
    )
    here = world(config, tmp=tmp_path)
    client = here.signed_on("operator")
    needs = {1: 0, 2: 1, 3: 3}
    name = Obis("1.0.1.8.0.255")
    for applied in range(4):
        for member, needed in needs.items():
            wanted = [0 if not needed & ~applied else 0x0D]
            for form in ONE[Service.GET]:
                (message,) = form([Operation(Service.GET, 3, name, member)])
                assert codes(client.plain(message.encode(), applied)) == wanted, (applied, member)


# --- views as such ------------------------------------------------------------------------------

_OBJECTS: dict[tuple[int, bytes], CosemObject] = {
    held.key: held for held in world().meter.devices[1].objects.values()
}
_RIGHTS = st.integers(0, 255)


@settings(max_examples=60)
@given(
    attributes=st.dictionaries(st.integers(0, 12), _RIGHTS, max_size=6),
    methods=st.dictionaries(st.integers(0, 9), _RIGHTS, max_size=6),
    allow=st.integers(0, 3),
    access=st.integers(0, 1),
)
def test_a_view_gives_no_more_than_the_grant_the_object_and_the_person_allow(
    attributes: dict[int, int], methods: dict[int, int], allow: int, access: int
) -> None:
    grant = Grant((Pattern.of("*.*.*.*.*.*"),), None, attributes, methods)
    entries = [entry for held in _OBJECTS.values() if (entry := entry_of(held, [grant]))]
    view = View({5: User("person", None, allow, access)})
    view.open(_OBJECTS, entries)
    for (class_id, obis), held in _OBJECTS.items():
        for index in range(-1, 14):
            given_bits = attributes.get(index, attributes.get(0, 0)) if index > 0 else 0
            for service, offer, mask in (
                (Service.GET, held.attribute_offer(index), allow),
                (Service.ACTION, held.method_offer(index), access),
            ):
                if service is Service.ACTION:
                    given_bits = methods.get(index, methods.get(0, 0)) if index > 0 else 0
                operation = Operation(service, class_id, obis, index)
                right, narrowed = view.right(operation, None), view.right(operation, 5)
                assert right is not None and narrowed is not None
                assert right & 3 == given_bits & offer
                assert narrowed & 3 == given_bits & offer & mask
                assert not narrowed or narrowed & 0xFC == given_bits & 0xFC
        assert view.right(Operation(Service.GET, class_id, obis, 1), 6) is None


def test_grants_in_order_and_hidden_objects() -> None:
    here = _OBJECTS[3, Obis("1.0.1.8.0.255")]
    everything, energy = (Pattern.of("*.*.*.*.*.*"),), (Pattern.of("1.0.1-2.8.*.255"),)
    first, hide = Grant(everything, None, {0: 1}), Grant(energy, 3, hide=True)
    again = Grant(energy, 3, {2: 0x25})
    assert entry_of(here, [first, hide]) is None
    shown = entry_of(here, [first, hide, again])
    assert shown == ObjectEntry(3, 0, here.obis, {1: 1, 2: 0x25, 3: 1}, {1: 0})
    assert entry_of(here, [again, Grant(energy, 8, hide=True)]) is not None
    assert entry_of(here, []) is None


@pytest.mark.parametrize(
    "text", ["1.0.1.8.0", "1.0.1.8.0.256", "a.0.1.8.0.255", "5-1.0.0.0.0.0", "1..1.8.0.255"]
)
def test_patterns_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Pattern.of(text)
