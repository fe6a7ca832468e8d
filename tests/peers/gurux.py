"""gurux-dlms as a client over TCP: its own requests, its own parsing; only the socket is ours."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gurux_dlms.enums import Authentication, Conformance, InterfaceType, Security
from gurux_dlms.GXByteBuffer import GXByteBuffer
from gurux_dlms.GXReplyData import GXReplyData
from gurux_dlms.secure import GXDLMSSecureClient

from meterseal.cosem.object_list import ObjectEntry
from meterseal.credentials import RoleCredentials
from tests.peers.house import House, keys

PATIENCE = 60.0
OTHER_REASON = 250
MECHANISMS = {
    "none": Authentication.NONE,
    "lls": Authentication.LOW,
    "md5": Authentication.HIGH_MD5,
    "sha1": Authentication.HIGH_SHA1,
    "sha256": Authentication.HIGH_SHA256,
    "gmac": Authentication.HIGH_GMAC,
}
NOT_LISTED = 30
"""The class of the meter that is not among those of the peer: data protection."""
PROTECTIONS = {
    0: Security.NONE,
    1: Security.AUTHENTICATION,
    2: Security.ENCRYPTION,
    3: Security.AUTHENTICATION_ENCRYPTION,
}


def listed(objects: Iterable[ObjectEntry]) -> list[tuple[int, int, str]]:
    """What the peer makes of an object list: class, version and name of each."""
    return [(o.class_id, o.version, str(o.obis)) for o in objects if o.class_id != NOT_LISTED]


class RefusedByMeter(Exception):
    """The meter answered with a data-access-result or action-result other than success."""

    def __init__(self, code: int) -> None:
        super().__init__(f"result {code}")
        self.code = int(code)


@dataclass
class Gurux:
    """The client, and the connection that it speaks over."""

    client: Any
    line: socket.socket

    def ask(self, request: Any) -> Any:
        """Send one request and take the whole answer, block by block; RefusedByMeter when it is an error."""
        reply = GXReplyData()
        for part in [request] if isinstance(request, bytes | bytearray) else request:
            self._exchange(part, reply)
            while reply.isMoreData():
                self._exchange(self.client.receiverReady(reply), reply)
        if reply.error:
            raise RefusedByMeter(reply.error)
        return reply

    def result(self, request: Any) -> int:
        """The result code of one request; 0 is success."""
        try:
            self.ask(request)
        except RefusedByMeter as refused:
            return refused.code
        return 0

    def _exchange(self, octets: bytes | bytearray, reply: Any) -> None:
        self.line.sendall(octets)
        received = GXByteBuffer()
        while not self.client.getData(received, reply):
            part = self.line.recv(65536)
            if not part:
                raise ConnectionError("closed by the meter")
            received.set(part)

    # --- what a session is made of ----------------------------------------------------------------

    def sign_on(self) -> None:
        """AARQ, and the proofs where the mechanism has them."""
        reply = self.ask(self.client.aarqRequest())
        self.client.parseAareResponse(reply.data)
        if self.client.isAuthenticationRequired:
            reply = self.ask(self.client.getApplicationAssociationRequest())
            self.client.parseApplicationAssociationResponse(reply.data)

    def release(self) -> Any:
        """The reply to the peer's release request: its command tells RLRE from an error."""
        return self.ask(self.client.releaseRequest())

    def read(self, item: Any, attribute: int) -> Any:
        """One attribute, as the peer presents it."""
        reply = self.ask(self.client.read(item, attribute))
        if item.getDataType(attribute) == 0:
            item.setDataType(attribute, reply.valueType)
        return self.client.updateValue(item, attribute, reply.value)

    def read_list(self, wanted: Iterable[tuple[Any, int]]) -> list[Any]:
        """Several attributes in as few requests as the peer makes of them."""
        wanted, values = list(wanted), []
        for request in self.client.readList(wanted):
            values += self.ask(request).value
        self.client.updateValues(wanted, values)
        return values

    def objects(self) -> Any:
        """The object list, without objects of `NOT_LISTED`."""
        reply = self.ask(self.client.getObjectsRequest())
        return self.client.parseObjects(reply.data, True)

    def rows(self, profile: Any, request: Any, columns: Any = None) -> list[Any]:
        """The buffer of a profile by a request for rows, of all columns or of some."""
        reply = self.ask(request)
        self.client.updateValue(profile, 2, reply.value, columns)
        found: list[Any] = profile.buffer
        return found


def make(role: RoleCredentials, *, security: int | None = None, max_pdu: int = 0xFFFF) -> Any:
    """A client for a role, by the peer's own settings."""
    client = GXDLMSSecureClient(
        True, role.client, 1, MECHANISMS[role.mechanism], role.octets("secret"), InterfaceType.WRAPPER
    )
    client.maxReceivePDUSize = max_pdu
    cipher = client.ciphering
    cipher.security = PROTECTIONS[role.protection if security is None else security]
    if role.client_system_title is not None:
        cipher.systemTitle = bytearray(role.client_system_title)
    if role.guek is not None:
        cipher.blockCipherKey, cipher.authenticationKey = map(bytearray, keys(role))
    assert role.counter_start is not None
    cipher.invocationCounter = role.counter_start
    return client


@contextmanager
def connected(house: House, client: Any) -> Iterator[Gurux]:
    """The client with a connection, not yet signed on."""
    with socket.create_connection(house.address, PATIENCE) as line:
        yield Gurux(client, line)


@contextmanager
def associated(house: House, name: str, **settings: Any) -> Iterator[Gurux]:
    """The client signed on in a role; the connection closes at the end, without a release."""
    with connected(house, make(house.role(name), **settings)) as peer:
        peer.sign_on()
        yield peer


def without(client: Any, service: Any = Conformance.GENERAL_BLOCK_TRANSFER) -> None:
    """Leave a service out of what the client proposes."""
    client.proposedConformance = client.proposedConformance & ~service
