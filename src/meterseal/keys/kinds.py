"""Kinds of keys: what each is, who holds it, and what proves a new one on the device (security 8; keys 2, 3).

A slot is one place for a key: a device, a kind, and for most kinds the role whose Security setup has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from meterseal.errors import Misuse

GUEK, GBEK, GAK, KEK = 0, 1, 2, 3
"""key_id of class 64; version 0 knows no KEK."""

NAMES: Final = {GUEK: "guek", GBEK: "gbek", GAK: "gak", KEK: "kek"}
"""What they are called in credentials and in a meter's configuration."""


class Material(Enum):
    """What a key is made of."""

    AES = "AES key"
    SECRET = "secret"
    PAIR = "key pair"


class Way(Enum):
    """How a new one reaches the device."""

    TRANSFER = "key_transfer, or key_agreement where its slot says so"
    AGREEMENT = "key_agreement"
    SECRET = "written to attribute 7 of the association"
    CERTIFICATE = "its certificate is imported"
    GENERATED = "drawn in the device, certified, imported"


class Proof(Enum):
    """What shows that the device has the new one (keys 3)."""

    ASSOCIATION = "a new association under it reads something"
    MECHANISM = "a new association by its mechanism"
    SIGNATURE = "a sign-on or an answer that it signs"
    AGREEMENT = "an exchange under a key that it agrees on"
    BROADCAST = "an unconfirmed write under it, its effect read back"
    NEXT_TRANSFER = "the next key_transfer under it is taken"


@dataclass(frozen=True, slots=True)
class Kind:
    """A row.  `key_id`: in key_transfer; `shared`: the device has it once, whatever the role; `own`: a pair
    whose private half never leaves the device; `spent`: destroyed when it is replaced."""

    name: str
    material: Material
    way: Way
    proof: Proof
    key_id: int | None = None
    shared: bool = False
    own: bool = False
    spent: bool = False
    field: str | None = None
    """Its name in credentials."""
    certificate: str | None = None
    """That of its certificate: an authority certifies it, and the one before is taken off the device."""

    @property
    def certified(self) -> bool:
        """True for a pair, which comes with a certificate."""
        return self.certificate is not None

    @property
    def common(self) -> bool:
        """True for a pair of the client, which has one for all its devices."""
        return self.certified and not self.own


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("guek", Material.AES, Way.TRANSFER, Proof.ASSOCIATION, GUEK, field="guek"),
        Kind("gak", Material.AES, Way.TRANSFER, Proof.ASSOCIATION, GAK, field="gak"),
        Kind("gbek", Material.AES, Way.TRANSFER, Proof.BROADCAST, GBEK, field="gbek"),
        Kind("kek", Material.AES, Way.TRANSFER, Proof.NEXT_TRANSFER, KEK, shared=True, field="kek"),
        Kind("lls", Material.SECRET, Way.SECRET, Proof.MECHANISM, field="secret"),
        Kind("hls", Material.SECRET, Way.SECRET, Proof.MECHANISM, field="secret"),
        Kind(
            "client-sign", Material.PAIR, Way.CERTIFICATE, Proof.SIGNATURE,
            spent=True, field="signing_key", certificate="signing_certificate",
        ),
        Kind(
            "client-agree", Material.PAIR, Way.CERTIFICATE, Proof.AGREEMENT,
            field="agreement_key", certificate="agreement_certificate",
        ),
        Kind(
            "meter-sign", Material.PAIR, Way.GENERATED, Proof.SIGNATURE,
            shared=True, own=True, certificate="signing_certificate",
        ),
        Kind(
            "meter-agree", Material.PAIR, Way.GENERATED, Proof.AGREEMENT,
            shared=True, own=True, certificate="agreement_certificate",
        ),
    )
}  # fmt: skip
"""The kinds by name."""


def kind_of(name: str) -> Kind:
    """A kind by its name.  Raises Misuse."""
    if name not in KINDS:
        raise Misuse(f"no kind of key {name[:20]!r}; there are {', '.join(KINDS)}")
    return KINDS[name]


ORDER: Final = (
    "gak", "guek", "gbek", "kek", "lls", "hls", "client-sign", "client-agree", "meter-sign", "meter-agree",
)  # fmt: skip
"""The order of a change of all: the authentication key first, then the encryption key (keys 3)."""


class Slot(NamedTuple):
    """A place for a key; `role` is empty for kinds that the device has once."""

    device: bytes
    role: str
    kind: str

    @property
    def text(self) -> str:
        """For people: title, role, kind."""
        return " ".join(filter(None, (self.device.hex().upper(), self.role, self.kind)))
