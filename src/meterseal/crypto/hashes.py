"""Digests: of images, of HLS sign-on by mechanism 6; those of 3 and 4 are in old_hashes.py (security 11)."""

from __future__ import annotations

from hashlib import sha256


def hls_sha256(secret: bytes, sender: bytes, receiver: bytes, answered: bytes, own: bytes) -> bytes:
    """The 32-octet answer of mechanism 6: SHA-256(secret, both titles, both challenges).

    Seen from who answers: `sender` is his own system title, `answered` the challenge he received,
    `own` the one he sent.  Pass 3 and pass 4 are this same function with the parties exchanged.
    """
    return sha256(secret + sender + receiver + answered + own).digest()


def digest_of(octets: bytes) -> bytes:
    """SHA-256 of public octets, 32 octets: what an image is known by."""
    return sha256(octets).digest()
