"""MD5 and SHA-1, for HLS mechanisms 3 and 4 of old meters and for nothing else (security 11).

Both are broken as hashes, and their answers are bound to no system title: a peer can have them
computed by somebody else.  The mechanisms are off unless switched on by name.
"""

from __future__ import annotations

from hashlib import md5, sha1


def hls_md5(challenge: bytes, secret: bytes) -> bytes:
    """The 16-octet answer of mechanism 3: MD5(challenge || secret)."""
    return md5(challenge + secret, usedforsecurity=False).digest()


def hls_sha1(challenge: bytes, secret: bytes) -> bytes:
    """The 20-octet answer of mechanism 4: SHA-1(challenge || secret)."""
    return sha1(challenge + secret, usedforsecurity=False).digest()
