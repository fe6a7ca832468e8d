"""Sign-on proofs: the mechanisms are rows; a proof is the same function seen from both sides.

The prover answers the verifier's challenge.  For client and server the formulas of the standard
are one formula with the roles exchanged, so a `Handshake` knows only `own` and `peer`
(security 11).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from meterseal.apdu.ciphered import SC_AUTHENTICATED
from meterseal.crypto import VerifyingKey, hls_md5, hls_sha1, hls_sha256, same
from meterseal.errors import AuthenticationFailed, Forged, MetersealError, Misuse, Replayed, UnknownKey
from meterseal.security.context import SecuritySetup
from meterseal.security.protect import Opened

SHARES = "hls_token_shares_counter"
"""The peer option: a token may have the counter of the frame that carries it."""

TOKEN_LENGTH = 17
"""SC (1), invocation counter (4), tag (12) of an HLS-GMAC token."""

Manufacturer = Callable[[bytes, bytes], bytes]
"""Mechanism 2: (secret, challenge of the verifier) -> proof, supplied by who needs it."""


@dataclass(slots=True, eq=False)
class Handshake:
    """One sign-on in progress, from one side: titles, challenges, secret and keys.

    `shares_counter` allows a token whose counter equals that of the frame that carries it (peer
    option `hls_token_shares_counter`); `window` is that of the context; `peer_key` is the peer's
    signature key (mechanism 7).
    """

    setup: SecuritySetup
    own_title: bytes
    peer_title: bytes
    own_challenge: bytes
    peer_challenge: bytes = b""
    secret: bytes = field(default=b"", repr=False)
    manufacturer: Manufacturer | None = None
    shares_counter: bool = False
    window: int = 0
    peer_key: VerifyingKey | None = None


Prove: TypeAlias = Callable[[Handshake], bytes]
Verify: TypeAlias = Callable[[Handshake, bytes, Opened], None]


def _prove_md5(h: Handshake) -> bytes:
    return hls_md5(h.peer_challenge, h.secret)


def _prove_sha1(h: Handshake) -> bytes:
    return hls_sha1(h.peer_challenge, h.secret)


def _prove_sha256(h: Handshake) -> bytes:
    return hls_sha256(h.secret, h.own_title, h.peer_title, h.peer_challenge, h.own_challenge)


def _prove_manufacturer(h: Handshake) -> bytes:
    if h.manufacturer is None:
        raise Misuse("mechanism 2 is manufacturer-specific: no function for it has been given")
    return h.manufacturer(h.secret, h.peer_challenge)


def _prove_gmac(h: Handshake) -> bytes:
    key = h.setup.key()
    sc = SC_AUTHENTICATED | h.setup.suite.id
    counter = key.tx.take().to_bytes(4, "big")
    return bytes((sc,)) + counter + key.handle.tag(sc, h.own_title + counter, h.peer_challenge)


def _prove_ecdsa(h: Handshake) -> bytes:
    return h.setup.signing_key().sign(h.own_title + h.peer_title + h.peer_challenge + h.own_challenge)


def _verify_ecdsa(h: Handshake, proof: bytes, carrier: Opened) -> None:
    if h.peer_key is None:
        raise UnknownKey("the peer's signature key is not known")
    try:
        h.peer_key.verify(proof, h.peer_title + h.own_title + h.own_challenge + h.peer_challenge)
    except Forged as error:
        raise AuthenticationFailed(f"the peer's proof: {error}") from None


def _exchanged(h: Handshake) -> Handshake:
    """The same handshake as the peer sees it."""
    return Handshake(
        h.setup, h.peer_title, h.own_title, h.peer_challenge, h.own_challenge, h.secret, h.manufacturer
    )


def _verify_by_doing(prove: Prove) -> Verify:
    def verify(h: Handshake, proof: bytes, carrier: Opened) -> None:
        if not same(prove(_exchanged(h)), proof):
            raise AuthenticationFailed("the peer's proof does not verify: wrong secret, or not the peer")

    return verify


def _verify_gmac(h: Handshake, proof: bytes, carrier: Opened) -> None:
    key = h.setup.key()
    sc = SC_AUTHENTICATED | h.setup.suite.id
    if len(proof) != TOKEN_LENGTH or proof[0] != sc:
        raise AuthenticationFailed(f"an HLS-GMAC token has {TOKEN_LENGTH} octets and starts with {sc:02X}")
    counter = int.from_bytes(proof[1:5], "big")
    # A carrier under another key (the dedicated one) counts by itself.
    same_key = carrier.key is key
    floor = carrier.lowest_before if same_key else key.rx.lowest
    if counter < floor and not key.rx.missed(counter, h.window):
        raise Replayed(f"token counter {counter} is below {floor}", key.rx.lowest)
    if same_key and counter == carrier.counter and not h.shares_counter:
        raise AuthenticationFailed(f"token and frame use the same invocation counter ({SHARES})")
    key.rx.check_maximum(counter)
    if not same(key.handle.tag(sc, h.peer_title + proof[1:5], h.own_challenge), proof[5:]):
        raise AuthenticationFailed("the HLS-GMAC token does not verify: wrong keys, title or challenge")
    key.rx.commit(counter)


@dataclass(frozen=True, slots=True, eq=False)
class Mechanism:
    """One authentication mechanism.

    `passes` is 0 (lowest), 1 (password in the AARQ) or 4; `weak` ones are off by default;
    `needs_titles` ask for system titles even without a ciphered context; `needs_secret` ones use
    attribute 7 of the association, `needs_keys` ones signature keys.  `verify` takes the handshake,
    the proof and the message that carries it; it raises AuthenticationFailed or Replayed.
    `challenges` are the lengths that a challenge may have, `drawn` the one that this end draws.
    """

    number: int
    name: str
    passes: int
    weak: bool
    needs_titles: bool
    needs_secret: bool
    prove: Prove | None = None
    verify: Verify | None = None
    needs_keys: bool = False
    challenges: range = range(8, 65)
    drawn: int = 16


Proofs: TypeAlias = tuple[MetersealError | None, bytes]
"""What is wrong with the peer's proof, or this end's own."""


def verify_and_prove(verify: Verify, prove: Prove, h: Handshake, proof: bytes, carrier: Opened) -> Proofs:
    """The peer's proof looked at and, only where it holds, this end's own made.  Raises what `prove` does."""
    try:
        verify(h, proof, carrier)
    except MetersealError as wrong:
        return wrong, b""
    return None, prove(h)


def _four(number: int, name: str, weak: bool, titles: bool, secret: bool, prove: Prove) -> Mechanism:
    return Mechanism(number, name, 4, weak, titles, secret, prove, _verify_by_doing(prove))


MECHANISMS: dict[int, Mechanism] = {
    row.number: row
    for row in (
        Mechanism(0, "none", 0, False, False, False),
        Mechanism(1, "lls", 1, True, False, True),
        _four(2, "manufacturer", True, False, True, _prove_manufacturer),
        _four(3, "md5", True, False, True, _prove_md5),
        _four(4, "sha1", True, False, True, _prove_sha1),
        Mechanism(5, "gmac", 4, False, True, False, _prove_gmac, _verify_gmac),
        _four(6, "sha256", False, True, True, _prove_sha256),
        Mechanism(7, "ecdsa", 4, False, True, False, _prove_ecdsa, _verify_ecdsa, True, range(32, 65), 32),
    )
}
"""The authentication mechanisms by number."""

BY_NAME = {row.name: row for row in MECHANISMS.values()}
