"""Key agreement: three schemes that differ in who brings which key and what the KDF is told (security 12).

| scheme   | who makes a key for it | U, the initiator           | V         | U's part of OtherInfo       |
|----------|------------------------|----------------------------|-----------|-----------------------------|
| C(2e,0s) | both, ephemeral        | client                     | server    | title                       |
| C(1e,1s) | U, ephemeral           | originator                 | recipient | title                       |
| C(0e,2s) | nobody: both static    | originator                 | recipient | title, transaction-id       |

OtherInfo is AlgorithmID, U's part and V's title; the transaction-id carries its length octet.  The
algorithm is that of the key being agreed on: AES-GCM for encryption and authentication keys,
AES-WRAP for the master key.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from meterseal.codec.octets import length_octets
from meterseal.crypto import AgreementKey, AgreementPoint, Suite
from meterseal.errors import Misuse, Unsupported

CORRECTED, AS_PRINTED = "corrected", "as-printed"
"""Values of the peer option `algorithm_id`: the object identifier of the corrected editions, and the one
printed in edition 8.0, which the British companion specification uses."""

_ARC: Final = {CORRECTED: bytes.fromhex("6085740508"), AS_PRINTED: bytes.fromhex("6085740608")}


class Use(IntEnum):
    """What the agreed key will be used for; the value is added to the arc of the AlgorithmID."""

    GCM = 0
    WRAP = 2


def algorithm_id(suite: Suite, use: Use, form: str = CORRECTED) -> bytes:
    """The seven octets of an AlgorithmID.  Raises Unsupported for a suite that agrees on no keys."""
    if suite.curve is None:
        raise Unsupported(f"security suite {suite.id} agrees on no keys")
    return _ARC[form] + bytes((3, use + (suite.key_length == 32)))


class Scheme(NamedTuple):
    """One scheme: its name, its key_parameters octet (0: not for general-ciphering), and U's part."""

    name: str
    parameters: int
    party_u: Callable[[bytes, bytes], bytes]


def _title(title: bytes, transaction_id: bytes) -> bytes:
    return title


def _title_and_transaction(title: bytes, transaction_id: bytes) -> bytes:
    return title + length_octets(len(transaction_id)) + transaction_id


EPHEMERAL: Final = Scheme("C(2e,0s)", 0, _title)
ONE_PASS: Final = Scheme("C(1e,1s)", 1, _title)
STATIC: Final = Scheme("C(0e,2s)", 2, _title_and_transaction)

SCHEMES: Final = {row.parameters: row for row in (ONE_PASS, STATIC)}
"""The schemes of general-ciphering by key_parameters."""


class Parties(NamedTuple):
    """Who agrees: system titles of U and V, and the transaction-id of their exchange."""

    u: bytes
    v: bytes
    transaction_id: bytes = b""


def agree(
    suite: Suite,
    scheme: Scheme,
    own: AgreementKey,
    peer: AgreementPoint,
    parties: Parties,
    *,
    use: Use = Use.GCM,
    form: str = CORRECTED,
) -> bytes:
    """The octets of the key that both ends arrive at, as long as the suite's keys.

    Either end calls it with its own private and the other's public key; `parties` is the same at both.
    Raises Unsupported for suite 0, Misuse for keys on different curves.
    """
    if own.curve.name != suite.curve and suite.curve is not None:
        raise Misuse(f"security suite {suite.id} agrees on {suite.curve}, not on {own.curve.name}")
    other_info = (
        algorithm_id(suite, use, form) + scheme.party_u(parties.u, parties.transaction_id) + parties.v
    )
    return own.agree(peer, other_info, suite.key_length)
