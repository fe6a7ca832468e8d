"""Rights over a socket: the table for every member (A21), the person behind the client (A22), lists (B19)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterseal.apdu import services as s
from meterseal.association import Associated, Operation, Service
from meterseal.codec.types import Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.object_list import ObjectList
from meterseal.meter import access_rows
from tests.hostile.raw import REJECTED, Running, running
from tests.meter import forms
from tests.meter.test_access import expected, operations
from tests.meter.world import read, write

CURRENT, CLOCK, POINT, REGISTER = "0.0.40.0.0.255", "0.0.1.0.0.255", "0.0.96.1.10.255", "1.0.1.8.0.255"
ROLES = ("public", "operator", "installer", "manager")
LIST = 200
"""Operations of one request: what fits the meter's largest APDU."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


@pytest.mark.parametrize("role", ROLES)
def test_A21_the_table_decides_in_every_form(role: str, here: Running) -> None:
    client = here.signed_on(role)
    table = {
        (row.class_id, row.obis, row.member): row.right.split()
        for row in access_rows(here.meter, role)
        if row.logical_device == 1
    }
    everything = [o for o in operations(here.meter, 1) if o.class_id != 7 or o.member != 2]
    for service in Service:
        mine = [o for o in everything if o.service is service]
        assert len(mine) > 50
        for form in forms.MANY[service]:
            for at in range(0, len(mine), LIST):
                found = client.codes(form, mine[at : at + LIST])
                assert [{code} for code in found] == [expected(table, o) for o in mine[at : at + LIST]], form
        for operation in mine[:: 3 if service is Service.GET else 11]:
            for form in forms.ONE[service]:
                assert set(client.codes(form, [operation])) == expected(table, operation)


def test_A21_the_list_shows_what_there_is_for_this_client_and_no_more(here: Running) -> None:
    names = {}
    for role in ROLES:
        client = here.signed_on(role)
        names[role] = {e.obis for e in ObjectList.from_value(client.get(15, CURRENT), 3)}
    assert Obis(REGISTER) in names["operator"] and Obis(REGISTER) not in names["public"] | names["installer"]
    assert not any(name[:4] == b"\0\0\x2b\0" for role in ROLES[:3] for name in names[role]), (
        "no Security setup"
    )
    assert all(Obis(CURRENT) in names[role] for role in ROLES)


# --- A22 ------------------------------------------------------------------------------------------

USERS = """# persons behind the installer
[roles.installer.users.1]
name = "may set the clock"
objects = ["0.0.1.0.0.255"]
[roles.installer.users.2]
name = "may look"
allow = ["read"]
[roles.installer.users.200]
name = "may call"
allow = ["read", "access"]
"""


def test_A22_the_person_counts_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    now = bytes.fromhex("07E9070F020C000000FF8880")
    with running(tmp_path, USERS) as meter:
        for user in range(256):
            client = meter.client("installer", user=user)
            effects = client.try_sign_on()
            assert any(isinstance(e, Associated) for e in effects) == (user in (1, 2, 200)), user
            client.line.close()
        nobody = meter.client("installer")
        (effect,) = nobody.machine.associate(bytes(range(16)))
        assert nobody.line.ask(effect.octets, 3) == REJECTED  # type: ignore[union-attr]
        expectations = {
            1: (4, 0, 0, 0),
            2: (0, 0, 3, 3),
            200: (0, 0, 3, 0),
        }
        line = meter.line()  # two persons on one line and pair: one after the other
        for user, (point, clock, set_clock, call_clock) in expectations.items():
            client = meter.signed_on("installer", line, user=user)
            assert client.one(read(1, POINT)).code == point
            assert client.one(read(8, CLOCK)).code == clock
            assert client.set(8, CLOCK, 2, now, Tag.OCTET_STRING) == set_clock
            assert client.call(8, CLOCK, 3) == call_clock
            assert client.get(15, CURRENT, 11)[0] == user
            listed = ObjectList.from_value(client.get(15, CURRENT), 3)
            assert (listed.find(Obis(POINT)) is None) == (point == 4)
            entry = listed.find(Obis(CLOCK))
            assert entry is not None and bool(entry.attributes[2] & 2) == (set_clock == 0)
        client = meter.signed_on("operator", user=1)
        assert client.get(15, CURRENT, 11) == (0, ""), "a role without a list asks nobody"


# --- B19 ------------------------------------------------------------------------------------------

_CHOICES = [
    (read(8, CLOCK), 0),
    (read(1, POINT, 1), 0),
    (read(3, REGISTER), 4),
    (read(15, CURRENT, 7), 3),
    (read(1, "0.0.96.1.200.255"), 4),
    (read(8, CLOCK, 99), 3),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(picked=st.lists(st.sampled_from(range(len(_CHOICES))), min_size=1, max_size=40))
def test_B19_a_mixed_list_is_decided_element_by_element(here: Running, picked: list[int]) -> None:
    client = here.signed_on("installer")
    found = client.codes(forms.get_list, [_CHOICES[at][0] for at in picked])
    assert found == [_CHOICES[at][1] for at in picked]
    client.line.close()


def test_B19_what_is_allowed_in_a_list_is_done_and_the_rest_is_not(here: Running) -> None:
    client = here.signed_on("installer")
    for form, value in ((forms.set_list, b"list"), (forms.set_list_blocks, b"blocks")):
        good, bad = write(1, POINT, 2, value, Tag.OCTET_STRING), write(1, POINT, 1, b"x", Tag.OCTET_STRING)
        wrong = write(1, POINT, 2, 5, Tag.UNSIGNED)
        assert client.codes(form, [bad, good, wrong]) == [3, 0, 0x0C]
        assert client.get(1, POINT) == value


def test_B19_255_entries_and_more(here: Running) -> None:
    client = here.signed_on("operator")
    for count in (1, 127, 128, 255, 300):
        mixed = [read(8, CLOCK) if at % 2 else read(15, CURRENT, 7) for at in range(count)]
        assert client.codes(forms.get_list, mixed) == [0 if at % 2 else 3 for at in range(count)]
    empty = client.plain(s.GetRequestWithList(0xC1, ()).encode())
    assert empty[0] == 0xD8 or empty == bytes.fromhex("C403C100")


def test_B19_lists_of_unequal_length_are_refused_and_nothing_is_done(here: Running) -> None:
    client = here.signed_on("installer")
    before = client.get(1, POINT)
    good = write(1, POINT, 2, b"unequal", Tag.OCTET_STRING)
    assert good.data is not None
    (message,) = forms.set_list([good])
    method = forms.action_list([Operation(Service.ACTION, 8, Obis(CLOCK), 3, None, forms.NULL)])[0]
    for changed in (
        message.replace(values=(good.data, good.data)),
        message.replace(values=()),
        message.replace(attributes=message.attributes * 3),  # type: ignore[attr-defined]
        method.replace(parameters=()),
        method.replace(parameters=(forms.NULL, forms.NULL)),
    ):
        assert client.plain(changed.encode())[0] == 0xD8
    assert client.get(1, POINT) == before
