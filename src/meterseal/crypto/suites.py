"""Security suites: one row each, with the sizes that follow from them (security 1)."""

from __future__ import annotations

from dataclasses import dataclass

from meterseal.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Suite:
    """A security suite; every length is in octets, 0 or None where the suite has no such thing.

    `key_length` is that of EK, AK and KEK; `public_length` of a public key x || y without prefix;
    `signature_length` of R || S.
    """

    id: int
    name: str
    key_length: int
    wrapped_length: int
    curve: str | None = None
    hash: str | None = None
    private_length: int = 0
    public_length: int = 0
    signature_length: int = 0
    compression: bool = False
    tag_length: int = 12
    iv_length: int = 12


SUITES: dict[int, Suite] = {
    row.id: row
    for row in (
        Suite(0, "AES-GCM-128", 16, 24),
        Suite(1, "ECDH-ECDSA-AES-GCM-128-SHA-256", 16, 24, "P-256", "SHA-256", 32, 64, 64, compression=True),
        Suite(2, "ECDH-ECDSA-AES-GCM-256-SHA-384", 32, 40, "P-384", "SHA-384", 48, 96, 96, compression=True),
    )
}
"""The suites by id; 3 to 15 are reserved."""


def suite(id: int) -> Suite:
    """The suite of this id.  Raises Unsupported for a reserved one."""
    row = SUITES.get(id)
    if row is None:
        raise Unsupported(f"security suite {id} is reserved; there are {', '.join(map(str, SUITES))}")
    return row
