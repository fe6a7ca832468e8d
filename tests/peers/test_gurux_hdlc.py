"""gurux-dlms as head-end over HDLC: link, sign-on, register, clock, objects, profile in its own frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from gurux_dlms import GXDLMSClient
from gurux_dlms.enums import Command, InterfaceType
from gurux_dlms.objects import GXDLMSClock

from tests.peers import gurux
from tests.peers.gurux import Gurux
from tests.peers.house import House, house
from tests.peers.test_gurux import CLOCK, ENERGY, PROFILE, columns, instant, our_rows, quantity, rows

PHYSICAL = 17
OPTIONS = """
[roles.operator.peer]
hls_token_shares_counter = true
plain_release = true
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A meter that listens on HDLC over TCP."""
    with house(tmp_path_factory.mktemp("hdlc"), OPTIONS, "--url", "hdlc+tcp://127.0.0.1:0") as one:
        yield one


def over_hdlc(client: Any, size: int, information: int) -> Any:
    """The peer's client speaking HDLC to our meter, its address in `size` octets."""
    client.interfaceType = InterfaceType.HDLC
    client.serverAddress = 1 if size == 1 else GXDLMSClient.getServerAddress(1, PHYSICAL, size)
    client.serverAddressSize = size
    settings = client.hdlcSettings
    settings.maxInfoTX = settings.maxInfoRX = information
    return client


@contextmanager
def linked(line: House, size: int, information: int = 128, **settings: Any) -> Iterator[Gurux]:
    """The client as operator with its link standing, ended by DISC."""
    client = over_hdlc(gurux.make(line.role("operator"), **settings), size, information)
    with gurux.connected(line, client) as peer:
        client.parseUAResponse(peer.ask(client.snrmRequest()).data)
        yield peer
        peer.ask(client.disconnectRequest())


@pytest.mark.parametrize(("size", "information"), [(1, 128), (4, 128), (2, 2030), (4, 700)])
def test_a_whole_session(line: House, size: int, information: int) -> None:
    with line.ours("operator") as ours:
        energy, clock = ours.read(ENERGY), ours.read(CLOCK)
        names = gurux.listed(ours.object_list())
        some = ours.profile(PROFILE, entries=(100, 160))
    start, end = some[10][0].to_datetime(), some[40][0].to_datetime()
    with linked(line, size, information) as peer:
        peer.sign_on()
        assert quantity(peer, ENERGY) >= energy.value
        now = instant(peer.read(GXDLMSClock(CLOCK), 2))
        assert timedelta(0) <= now - clock.value.to_datetime() < timedelta(minutes=5)
        assert [(o.objectType, o.version, o.logicalName) for o in peer.objects()] == names
        profile = columns(peer)
        by_range = rows(peer.rows(profile, peer.client.readRowsByRange(profile, start, end)))
        assert by_range == our_rows(some[10:41])
        assert peer.release().command == Command.RELEASE_RESPONSE


def test_a_link_may_be_used_again_after_disc(line: House) -> None:
    client = over_hdlc(gurux.make(line.role("operator")), 1, 128)
    with gurux.connected(line, client) as peer:
        for _ in range(3):
            client.parseUAResponse(peer.ask(client.snrmRequest()).data)
            peer.sign_on()
            assert quantity(peer, ENERGY) > 0
            peer.ask(client.disconnectRequest())


def test_an_association_ends_with_its_link(line: House) -> None:
    client = over_hdlc(gurux.make(line.role("operator")), 4, 128)
    with gurux.connected(line, client) as peer:
        client.parseUAResponse(peer.ask(client.snrmRequest()).data)
        peer.sign_on()
        assert quantity(peer, ENERGY) > 0
        peer.ask(client.disconnectRequest())
        client.parseUAResponse(peer.ask(client.snrmRequest()).data)
        with pytest.raises(Exception, match=r"(?i)service|not allowed|unknown|operation"):
            quantity(peer, ENERGY)
