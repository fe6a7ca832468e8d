"""Clients of three makers at one meter: associations side by side, and keys that one brings and all use."""

from __future__ import annotations

import os
from dataclasses import replace

from dlms_cosem import security as cosem_security
from gurux_dlms.objects import GXDLMSClock, GXDLMSRegister, GXDLMSSecuritySetup
from gurux_dlms.objects.enums import GlobalKeyType
from gurux_dlms.secure import GXDLMSSecureClient
from hypothesis import given
from hypothesis import strategies as st

from meterseal import Credentials, MemoryCounters, sync
from meterseal.credentials import RoleCredentials
from meterseal.crypto import WrappingKey
from tests.peers import cosem, gurux
from tests.peers.cosem import attribute
from tests.peers.house import SLOT, House
from tests.peers.test_gurux import refused

ENERGY, CLOCK = "1.0.1.8.0.255", "0.0.1.0.0.255"
SETUP = "0.0.43.0.35.255"


def test_associations_side_by_side(meter: House) -> None:
    """Each under its own keys and counters: messages of one are nothing to the others."""
    with (
        gurux.associated(meter, "operator") as first,
        cosem.associated(meter, "installer") as second,
        meter.ours("manager") as third,
        gurux.associated(meter, "public") as fourth,
    ):
        seen = third.read(ENERGY).value
        for _ in range(3):
            energy = first.ask(first.client.read(GXDLMSRegister(ENERGY), 2)).value
            clock = second.get(attribute(8, CLOCK))
            assert energy >= seen
            assert third.read(f"3/{ENERGY}:2").raw[0] == 6
            assert fourth.read(GXDLMSClock(CLOCK), 2)
            assert clock[:2] == b"\x09\x0c"
        assert first.release() and second.release_association()
        assert third.read(ENERGY).value >= seen
        assert fourth.read(GXDLMSClock(CLOCK), 2)


def test_keys_that_one_brings_and_all_use(meter: House) -> None:
    """The manager is gurux-dlms, which wraps a new GUEK and a new GAK for another role."""
    old, kek = meter.role("keys"), meter.credentials.role("manager").octets("kek")
    assert kek is not None
    guek, gak = os.urandom(16), os.urandom(16)
    setup = GXDLMSSecuritySetup(SETUP)
    wrapped = [
        (GlobalKeyType.UNICAST_ENCRYPTION, bytearray(guek)),
        (GlobalKeyType.AUTHENTICATION, bytearray(gak)),
    ]
    with gurux.associated(meter, "manager") as manager:
        wrong = setup.globalKeyTransfer(manager.client, bytearray(16), wrapped)
        assert manager.result(wrong) == gurux.OTHER_REASON
        with gurux.connected(meter, gurux.make(old)) as peer:
            peer.sign_on()
        assert manager.result(setup.globalKeyTransfer(manager.client, bytearray(kek), wrapped)) == 0
    assert refused(meter, gurux.make(replace(old, counter_start=next(meter.slots))))
    new = replace(old, guek=guek, gak=gak, counter_start=SLOT)
    with gurux.connected(meter, gurux.make(new)) as peer:
        peer.sign_on()
        energy = peer.ask(peer.client.read(GXDLMSRegister(ENERGY), 2)).value
    client = cosem.make(meter, replace(new, counter_start=2 * SLOT))
    with cosem.connected(client):
        client.associate()
        assert client.get(attribute(3, ENERGY))[0] == 6
    assert read_by_ours(meter, replace(new, counter_start=3 * SLOT)) >= energy


def read_by_ours(house: House, role: RoleCredentials) -> int:
    """The energy as our own client reads it under these keys."""
    alone = Credentials(house.credentials.meter, {"keys": role})
    with sync.connect(credentials=alone, counters=MemoryCounters()) as ours:
        return int(ours.read(ENERGY).value)


@given(kek=st.binary(min_size=16, max_size=16), key=st.binary(min_size=16, max_size=16))
def test_wrapped_keys_agree(kek: bytes, key: bytes) -> None:
    ours = WrappingKey(kek).wrap(key)
    assert bytes(GXDLMSSecureClient.encrypt(bytearray(kek), bytearray(key))) == ours
    assert cosem_security.wrap_key(cosem_security.SecurityControlField(0), kek, key) == ours
    assert WrappingKey(kek).unwrap(ours) == key
