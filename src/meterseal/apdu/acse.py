"""ACSE: AARQ, AARE, RLRQ, RLRE; BER outside, an xDLMS APDU in user-information (acse-xdlms 2)."""

from __future__ import annotations

from typing import Annotated

from meterseal.codec.ber import Ber
from meterseal.codec.message import Message
from meterseal.codec.parts import Hidden


class Aarq(Message, tag=b"\x60", name="aarq", ber=True):
    """A-ASSOCIATE request.  Object identifiers are their content octets; None = absent."""

    protocol_version: Annotated[bytes | None, Ber((0x80,))] = None
    application_context_name: Annotated[bytes | None, Ber((0xA1, 0x06))] = None
    called_ap_title: Annotated[bytes | None, Ber((0xA2, 0x04))] = None
    called_ae_qualifier: Annotated[bytes | None, Ber((0xA3, 0x04))] = None
    called_ap_invocation_id: Annotated[int | None, Ber((0xA4, 0x02), "integer")] = None
    called_ae_invocation_id: Annotated[int | None, Ber((0xA5, 0x02), "integer")] = None
    calling_ap_title: Annotated[bytes | None, Ber((0xA6, 0x04))] = None
    calling_ae_qualifier: Annotated[bytes | None, Ber((0xA7, 0x04))] = None
    calling_ap_invocation_id: Annotated[int | None, Ber((0xA8, 0x02), "integer")] = None
    calling_ae_invocation_id: Annotated[int | None, Ber((0xA9, 0x02), "integer")] = None
    sender_acse_requirements: Annotated[bytes | None, Ber((0x8A,))] = None
    mechanism_name: Annotated[bytes | None, Ber((0x8B,))] = None
    calling_authentication_value: Annotated[bytes | None, Ber((0xAC, 0x80), fresh=True), Hidden()] = None
    implementation_information: Annotated[bytes | None, Ber((0xBD,))] = None
    user_information: Annotated[bytes | None, Ber((0xBE, 0x04), fresh=True)] = None


class Aare(Message, tag=b"\x61", name="aare", ber=True):
    """A-ASSOCIATE response.  Of the two diagnostics one is present."""

    protocol_version: Annotated[bytes | None, Ber((0x80,))] = None
    application_context_name: Annotated[bytes | None, Ber((0xA1, 0x06))] = None
    result: Annotated[int | None, Ber((0xA2, 0x02), "integer")] = None
    user_diagnostic: Annotated[int | None, Ber((0xA3, 0xA1, 0x02), "integer")] = None
    provider_diagnostic: Annotated[int | None, Ber((0xA3, 0xA2, 0x02), "integer")] = None
    responding_ap_title: Annotated[bytes | None, Ber((0xA4, 0x04))] = None
    responding_ae_qualifier: Annotated[bytes | None, Ber((0xA5, 0x04))] = None
    responding_ap_invocation_id: Annotated[int | None, Ber((0xA6, 0x02), "integer")] = None
    responding_ae_invocation_id: Annotated[int | None, Ber((0xA7, 0x02), "integer")] = None
    responder_acse_requirements: Annotated[bytes | None, Ber((0x88,))] = None
    mechanism_name: Annotated[bytes | None, Ber((0x89,))] = None
    responding_authentication_value: Annotated[bytes | None, Ber((0xAA, 0x80), fresh=True)] = None
    implementation_information: Annotated[bytes | None, Ber((0xBD,))] = None
    user_information: Annotated[bytes | None, Ber((0xBE, 0x04), fresh=True)] = None


class Rlrq(Message, tag=b"\x62", name="rlrq", ber=True):
    """A-RELEASE request; reason 0 normal, 1 urgent, 1E user-defined."""

    reason: Annotated[int | None, Ber((0x80,), "integer")] = None
    user_information: Annotated[bytes | None, Ber((0xBE, 0x04))] = None


class Rlre(Message, tag=b"\x63", name="rlre", ber=True):
    """A-RELEASE response; reason 0 normal, 1 not-finished, 1E user-defined."""

    reason: Annotated[int | None, Ber((0x80,), "integer")] = None
    user_information: Annotated[bytes | None, Ber((0xBE, 0x04))] = None


OID_PREFIX = bytes.fromhex("608574050801")
MECHANISM_PREFIX = bytes.fromhex("608574050802")

AUTHENTICATION_UNIT = b"\x07\x80"
"""ACSE requirements with the authentication functional unit set."""

ASSOCIATION_RESULT = {0: "accepted", 1: "rejected-permanent", 2: "rejected-transient"}
USER_DIAGNOSTIC = {
    0: "null",
    1: "no-reason-given",
    2: "application-context-name-not-supported",
    3: "calling-AP-title-not-recognized",
    4: "calling-AP-invocation-id-not-recognized",
    5: "calling-AE-qualifier-not-recognized",
    6: "calling-AE-invocation-id-not-recognized",
    7: "called-AP-title-not-recognized",
    8: "called-AP-invocation-id-not-recognized",
    9: "called-AE-qualifier-not-recognized",
    10: "called-AE-invocation-id-not-recognized",
    11: "authentication-mechanism-name-not-recognized",
    12: "authentication-mechanism-name-required",
    13: "authentication-failure",
    14: "authentication-required",
}
PROVIDER_DIAGNOSTIC = {0: "null", 1: "no-reason-given", 2: "no-common-acse-version"}


def context_name(number: int) -> bytes:
    """Content octets of application context 1..4 (1 LN, 2 SN, 3 LN ciphered, 4 SN ciphered)."""
    return OID_PREFIX + bytes((number,))


def mechanism_name(number: int) -> bytes:
    """Content octets of authentication mechanism 0..7 (security 11)."""
    return MECHANISM_PREFIX + bytes((number,))


def has_first(bits: bytes) -> bool:
    """Is the first bit of a BIT STRING set, however many follow?  It begins with the unused ones' number."""
    return len(bits) > 1 and bits[0] < 8 and bool(bits[1] & 0x80)


def number_of(name: bytes | None, prefix: bytes) -> int | None:
    """The last arc of a name under `prefix`; None when it is absent or another name."""
    if name is None or len(name) != 7 or name[:6] != prefix:
        return None
    return name[6]
