"""ACSE against an independent ASN.1 compiler, both ways: what one encodes the other decodes to the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import asn1tools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.acse import MECHANISM_PREFIX, OID_PREFIX, Aare, Aarq, Rlre, Rlrq
from meterseal.codec.message import Message

# The ACSE APDUs as this project's tests write them down (acse-xdlms 2.1); names follow our fields.
GRAMMAR = """
Acse DEFINITIONS ::= BEGIN
Aarq ::= [APPLICATION 0] IMPLICIT SEQUENCE {
    protocol-version [0] IMPLICIT BIT STRING OPTIONAL,
    application-context-name [1] EXPLICIT OBJECT IDENTIFIER OPTIONAL,
    called-ap-title [2] EXPLICIT OCTET STRING OPTIONAL,
    called-ae-qualifier [3] EXPLICIT OCTET STRING OPTIONAL,
    called-ap-invocation-id [4] EXPLICIT INTEGER OPTIONAL,
    called-ae-invocation-id [5] EXPLICIT INTEGER OPTIONAL,
    calling-ap-title [6] EXPLICIT OCTET STRING OPTIONAL,
    calling-ae-qualifier [7] EXPLICIT OCTET STRING OPTIONAL,
    calling-ap-invocation-id [8] EXPLICIT INTEGER OPTIONAL,
    calling-ae-invocation-id [9] EXPLICIT INTEGER OPTIONAL,
    sender-acse-requirements [10] IMPLICIT BIT STRING OPTIONAL,
    mechanism-name [11] IMPLICIT OBJECT IDENTIFIER OPTIONAL,
    calling-authentication-value [12] EXPLICIT Authentication-value OPTIONAL,
    user-information [30] EXPLICIT OCTET STRING OPTIONAL
}
Aare ::= [APPLICATION 1] IMPLICIT SEQUENCE {
    protocol-version [0] IMPLICIT BIT STRING OPTIONAL,
    application-context-name [1] EXPLICIT OBJECT IDENTIFIER OPTIONAL,
    result [2] EXPLICIT INTEGER OPTIONAL,
    result-source-diagnostic [3] EXPLICIT CHOICE {
        user-diagnostic [1] EXPLICIT INTEGER,
        provider-diagnostic [2] EXPLICIT INTEGER
    } OPTIONAL,
    responding-ap-title [4] EXPLICIT OCTET STRING OPTIONAL,
    responding-ae-qualifier [5] EXPLICIT OCTET STRING OPTIONAL,
    responding-ap-invocation-id [6] EXPLICIT INTEGER OPTIONAL,
    responding-ae-invocation-id [7] EXPLICIT INTEGER OPTIONAL,
    responder-acse-requirements [8] IMPLICIT BIT STRING OPTIONAL,
    mechanism-name [9] IMPLICIT OBJECT IDENTIFIER OPTIONAL,
    responding-authentication-value [10] EXPLICIT Authentication-value OPTIONAL,
    user-information [30] EXPLICIT OCTET STRING OPTIONAL
}
Rlrq ::= [APPLICATION 2] IMPLICIT SEQUENCE {
    reason [0] IMPLICIT INTEGER OPTIONAL,
    user-information [30] EXPLICIT OCTET STRING OPTIONAL
}
Rlre ::= [APPLICATION 3] IMPLICIT SEQUENCE {
    reason [0] IMPLICIT INTEGER OPTIONAL,
    user-information [30] EXPLICIT OCTET STRING OPTIONAL
}
Authentication-value ::= CHOICE { charstring [0] IMPLICIT OCTET STRING }
END
"""

DOTTED = {OID_PREFIX: "2.16.756.5.8.1", MECHANISM_PREFIX: "2.16.756.5.8.2"}
BIT_FIELDS = ("protocol_version", "sender_acse_requirements", "responder_acse_requirements")
NAME_FIELDS = {"application_context_name": OID_PREFIX, "mechanism_name": MECHANISM_PREFIX}
VALUE_FIELDS = ("calling_authentication_value", "responding_authentication_value")
DIAGNOSTICS = ("user_diagnostic", "provider_diagnostic")


@cache
def oracle() -> Any:
    return asn1tools.compile_string(GRAMMAR, "ber")


def theirs(message: Message) -> dict[str, Any]:
    """A message of ours as the oracle names things."""
    values: dict[str, Any] = {}
    for name, value in zip(message.fields, message, strict=True):
        if value is None:
            continue
        if name in BIT_FIELDS:
            value = (value[1:], 8 * (len(value) - 1) - value[0])
        elif name in NAME_FIELDS:
            value = f"{DOTTED[value[:6]]}.{value[6]}"
        elif name in VALUE_FIELDS:
            value = ("charstring", value)
        if name in DIAGNOSTICS:
            name, value = "result_source_diagnostic", (name.replace("_", "-"), value)
        values[name.replace("_", "-")] = value
    return values


def _fields(cls: type[Message]) -> st.SearchStrategy[Message]:
    names = [name for name in cls.fields if name != "implementation_information"]
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name in names:
        if name in BIT_FIELDS:
            value: st.SearchStrategy[Any] = st.sampled_from(
                [b"\x07\x80", b"\x07\x00", b"\x00\xff", b"\x03\xf8\x08"]
            )
        elif name in NAME_FIELDS:
            value = st.integers(0, 127).map(lambda n, prefix=NAME_FIELDS[name]: prefix + bytes((n,)))  # type: ignore[misc]
        elif "id" in name.split("_") or name in ("reason", "result", *DIAGNOSTICS):
            value = st.integers(-(2**31), 2**31 - 1)
        else:
            value = st.binary(max_size=400)
        fields[name] = st.none() | value
    built = st.builds(cls, **fields)
    if cls is not Aare:
        return built
    # A CHOICE: one of the two diagnostics.
    return st.builds(
        lambda message, which: message.replace(**{which: None}), built, st.sampled_from(DIAGNOSTICS)
    )


@pytest.mark.parametrize("cls", [Aarq, Aare, Rlrq, Rlre], ids=lambda cls: cls.__name__)
def test_the_oracle_reads_what_we_write_and_we_read_what_it_writes(cls: type[Message]) -> None:
    @given(_fields(cls))
    def both_ways(message: Message) -> None:
        octets = message.encode()
        assert oracle().decode(cls.__name__, octets) == theirs(message)
        written = oracle().encode(cls.__name__, theirs(message))
        assert written == octets
        assert cls.decode(written) == message

    both_ways()
