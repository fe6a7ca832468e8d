"""Values that a client of the meter protects itself (class 30): sealed before what carries them."""

from __future__ import annotations

import pytest

from meterseal.association import Operation, Service
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import random_octets
from meterseal.keys.counters import WINDOW
from meterseal.security import AUTHENTICATED, ENCRYPTED
from meterseal.security.data_protection import between, protecting_data
from meterseal.security.layers import CIPHERING, Layer
from meterseal.security.parameters import Element, elements_value
from meterseal.security.steps import settle
from tests.meter.world import Client, World, world

MESSAGE = "0.0.96.13.1.255"
_NAMED = bytes.fromhex("0101 0205 120001 090600 00600D01FF 0F02 120000 0202 1600 00")


def sealed(client: Client, text: bytes) -> Operation:
    """A set_protected_attributes of one text, which has been sealed by now; what carries it has not."""
    context = client.machine.context
    layer = Layer(
        CIPHERING, context.setup.own_title, context.peer_title or b"", random_octets(8), "identified"
    )
    plain = codec.encode((text,), Structure((Tag.OCTET_STRING,)))
    element = (Element(AUTHENTICATED | ENCRYPTED, layer),)
    elements, octets = settle(protecting_data(between(context), element, plain))
    parameters = codec.encode(*elements_value(elements))
    raw = b"\x02\x03" + _NAMED + parameters + codec.encode(octets, Tag.OCTET_STRING)
    return Operation(Service.ACTION, 30, Obis("0.0.43.2.0.255"), 2, None, Data.decode(raw))


@pytest.fixture
def here() -> World:
    return world(preset="suite0")


def test_C01_a_value_is_sealed_before_what_carries_it_and_taken_once(here: World) -> None:
    manager = here.signed_on("manager")
    first, second = sealed(manager, b"first"), sealed(manager, b"second")
    for asked, code, told in (
        (second, 0, b"second"),
        (second, 0xFA, b"second"),
        (first, 0, b"first"),
        (first, 0xFA, b"first"),
        (second, 0xFA, b"first"),
    ):
        assert manager.ask(asked)[0].code == code
        assert manager.get(1, MESSAGE) == told


def test_C01_what_is_older_than_that_is_not_taken(here: World) -> None:
    manager = here.signed_on("manager")
    old = sealed(manager, b"old")
    for _ in range(WINDOW):
        manager.get(1, MESSAGE)
    assert manager.ask(old)[0].code == 0xFA
