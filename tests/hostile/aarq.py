"""Sign-on octet by octet: the AARQ that a client would send, changed, and what came of it."""

from __future__ import annotations

from typing import Any

from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.initiate import InitiateRequest
from meterseal.crypto import random_octets
from meterseal.security import Style, protect
from tests.hostile.raw import DECIPHERING, NOT_POSSIBLE
from tests.meter.world import Client


def first(client: Client, challenge: bytes | None = None) -> Aarq:
    """The AARQ that a client would send."""
    (effect,) = client.machine.associate(random_octets(16) if challenge is None else challenge)
    return Aarq.decode(effect.octets)  # type: ignore[union-attr]


def send(client: Client, aarq: Aarq) -> Aare:
    return Aare.decode(client.line.ask(aarq.encode(), client.sap, client.server))


def proof_of(client: Client, aare: bytes) -> bytes:
    """The frame of pass 3 that a client makes of an AARE."""
    (effect,) = client.machine.receive(aare)
    octets: bytes = effect.octets  # type: ignore[union-attr]
    return octets


def stands(client: Client) -> bool:
    """True when the meter serves this association."""
    answer = client.line.ask(client.sealed(bytes.fromhex("C001C100080000010000FF0200")), client.sap)
    return answer not in (NOT_POSSIBLE, DECIPHERING)


def initiate(client: Client, **changes: Any) -> Aarq:
    """An AARQ whose Initiate is changed and protected as it should be."""
    aarq = first(client)
    machine = client.machine
    plain = InitiateRequest(
        changes.pop("dedicated_key", None),
        True,
        None,
        6,
        machine.profile.conformance,
        machine.profile.max_pdu,
    ).replace(**changes)
    assert machine._opening is not None
    octets = plain.encode()
    if machine.profile.ciphered:
        octets = protect(machine._opening.context(), octets, 3, Style.GLO)
    return aarq.replace(user_information=octets)
