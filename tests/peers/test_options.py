"""Every peer option with the peer that needs it: on, the session goes through; off, it is refused by rule."""

from __future__ import annotations

import pytest
from dlms_cosem.client import HLSError
from gurux_dlms.enums import Command
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.objects import GXDLMSClock

from meterseal.apdu.acse import Rlre
from tests.peers import cosem, gurux
from tests.peers.cosem import attribute
from tests.peers.house import House

ENERGY, CLOCK = "1.0.1.8.0.255", "0.0.1.0.0.255"
NOT_POSSIBLE = bytes.fromhex("D80101")
NOT_FINISHED = Rlre(1).encode()


def works(house: House) -> None:
    """Another client still has its session in the same role, under the same keys."""
    with house.ours("operator") as ours:
        assert ours.read(ENERGY).unit == "Wh"


# --- hls_token_shares_counter: dlms-cosem ----------------------------------------------------------


def test_hls_token_shares_counter(meter: House) -> None:
    with cosem.associated(meter, "operator") as client:
        assert client.get(attribute(3, ENERGY))[0] == 6
    works(meter)


def test_without_hls_token_shares_counter(strict: House) -> None:
    """The proof is refused (other-reason), and nobody is signed on."""
    client = cosem.make(strict, strict.role("operator"))
    with cosem.connected(client):
        with pytest.raises(HLSError) as refused:
            client.associate()
        assert "OTHER_REASON" in str(refused.value.__cause__)
        assert client.transport.send_request(bytes.fromhex("C001C100080000010000FF0200")) == NOT_POSSIBLE
    works(strict)


def test_counters_one_apart_need_no_option(strict: House) -> None:
    """The same meter takes the peer whose token has a counter of its own."""
    with gurux.associated(strict, "operator") as peer:
        assert peer.read(GXDLMSClock(CLOCK), 2)
    works(strict)


# --- plain_release: gurux-dlms -----------------------------------------------------------------------


def test_plain_release(meter: House) -> None:
    with gurux.associated(meter, "operator") as peer:
        assert peer.release().command == Command.RELEASE_RESPONSE
        with pytest.raises(GXDLMSExceptionResponse, match="Operation not possible"):
            peer.read(GXDLMSClock(CLOCK), 2)
    works(meter)


def test_without_plain_release(strict: House) -> None:
    """The release is refused (not finished), the association stays, and ends with the connection."""
    with gurux.associated(strict, "operator") as peer:
        reply = peer.release()
        assert bytes(reply.data.array()) == NOT_FINISHED
        assert peer.read(GXDLMSClock(CLOCK), 2)
    works(strict)
    with (
        gurux.connected(strict, gurux.make(strict.role("operator"))) as peer,
        pytest.raises(GXDLMSExceptionResponse, match="Operation not possible"),
    ):
        peer.read(GXDLMSClock(CLOCK), 2)


def test_a_protected_release_needs_no_option(strict: House) -> None:
    with gurux.associated(strict, "operator") as peer:
        peer.client.useProtectedRelease = True
        assert Rlre.decode(bytes(peer.release().data.array())).reason == 0
        with pytest.raises(GXDLMSExceptionResponse, match="Operation not possible"):
            peer.read(GXDLMSClock(CLOCK), 2)
    works(strict)
