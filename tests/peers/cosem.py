"""dlms-cosem as a client over TCP: its own client, transport and connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from dlms_cosem.client import DlmsClient
from dlms_cosem.connection import DlmsConnectionSettings
from dlms_cosem.cosem import CosemAttribute, CosemMethod, Obis
from dlms_cosem.enumerations import CosemInterface
from dlms_cosem.io import BlockingTcpIO, TcpTransport
from dlms_cosem.security import (
    HighLevelSecurityGmacAuthentication,
    LowLevelSecurityAuthentication,
    NoSecurityAuthentication,
)

from meterseal.cosem.obis import Obis as Name
from meterseal.credentials import RoleCredentials
from tests.peers.house import House, keys

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

MECHANISMS: dict[str, Any] = {
    "none": lambda role: NoSecurityAuthentication(),
    "lls": lambda role: LowLevelSecurityAuthentication(role.octets("secret")),
    "gmac": lambda role: HighLevelSecurityGmacAuthentication(),
}


def make(house: House, role: RoleCredentials, **settings: Any) -> Any:
    """A client for a role."""
    host, port = house.address
    named: dict[str, Any] = {}
    if role.guek is not None and role.protection:
        guek, gak = keys(role)
        named = {"encryption_key": guek, "authentication_key": gak}
    named |= {
        "client_system_title": role.client_system_title,
        "client_initial_invocation_counter": role.counter_start,
    }
    return DlmsClient(
        transport=TcpTransport(role.client, 1, BlockingTcpIO(host, port)),
        authentication=MECHANISMS[role.mechanism](role),
        connection_settings=DlmsConnectionSettings(),
        **(named | settings),
    )


@contextmanager
def connected(client: Any) -> Iterator[Any]:
    """The client with a connection, not yet signed on."""
    client.connect()
    try:
        yield client
    finally:
        client.disconnect()


@contextmanager
def associated(house: House, name: str, **settings: Any) -> Iterator[Any]:
    """The client signed on in a role; the connection closes at the end, without a release."""
    with connected(make(house, house.role(name), **settings)) as client:
        client.associate()
        yield client


def attribute(class_id: int, name: str, index: int = 2) -> Any:
    """An attribute as the peer names it."""
    return CosemAttribute(CosemInterface(class_id), Obis.from_bytes(bytes(Name(name))), index)


def method(class_id: int, name: str, index: int) -> Any:
    """A method as the peer names it."""
    return CosemMethod(CosemInterface(class_id), Obis.from_bytes(bytes(Name(name))), index)
