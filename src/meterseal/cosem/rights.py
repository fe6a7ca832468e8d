"""Access rights and security policies as bits, and their older encodings.

One octet says what the standard's newest forms say (class 15 version 3 access_mode, class 64 version
1 policy; fact sheets classes 1, security 14):

    bit   7            6           5          4           3          2          1       0
          signed       encrypted   auth.      signed      encrypted  auth.      write   read
          |------------- response ----------| |------------- request ----------|

For a method bit 0 is "access" and bit 1 is unused; a policy uses bits 2 to 7 alone. What a message
needs, and what it had, is put on one scale of three bits: AUTHENTICATED 1, ENCRYPTED 2, SIGNED 4.
"""

from __future__ import annotations

from typing import Final

from meterseal.errors import Malformed, Misuse

READ: Final = 0x01
WRITE: Final = 0x02
ACCESS: Final = 0x01
AUTH_REQUEST: Final = 0x04
ENC_REQUEST: Final = 0x08
SIGN_REQUEST: Final = 0x10
AUTH_RESPONSE: Final = 0x20
ENC_RESPONSE: Final = 0x40
SIGN_RESPONSE: Final = 0x80
PROTECTION: Final = 0xFC
"""The bits of a right that say how request and response are protected."""

AUTHENTICATED: Final = 1
ENCRYPTED: Final = 2
SIGNED: Final = 4

_WORDS: Final = (
    (READ, "read"), (WRITE, "write"),
    (AUTH_REQUEST, "auth-request"), (ENC_REQUEST, "enc-request"), (SIGN_REQUEST, "sign-request"),
    (AUTH_RESPONSE, "auth-response"), (ENC_RESPONSE, "enc-response"), (SIGN_RESPONSE, "sign-response"),
)  # fmt: skip
_BITS: Final = {word: bit for bit, word in _WORDS} | {"access": ACCESS}


def satisfies(applied: int, required: int) -> bool:
    """True when every bit of `required` is applied; more is always accepted."""
    return not required & ~applied


# --- text form of a right -----------------------------------------------------------------------


def text(bits: int, *, method: bool = False) -> str:
    """ "read auth-request enc-response"; "access ..." for a method; "none" for no right at all."""
    words = [word for bit, word in _WORDS if bits & bit]
    if method and bits & ACCESS:
        words[0] = "access"
    return " ".join(words) or "none"


def parse(words: str, *, method: bool = False) -> int:
    """Read the text form, words in any order. Raises `Misuse` for an unknown or misplaced word."""
    bits = 0
    for word in words.split():
        if word == "none":
            continue
        if word not in _BITS or (word in ("read", "write") if method else word == "access"):
            kind = "a method" if method else "an attribute"
            raise Misuse(f"{word[:40]!r} is no right on {kind}; known: {', '.join(_BITS)}")
        bits |= _BITS[word]
    return bits


# --- access_mode of the Association object, versions 0 to 3 ------------------------------------------

_ANY_AUTHENTICATION: Final = AUTH_REQUEST | AUTH_RESPONSE
_OLD_ATTRIBUTE_MODES: Final = (
    0, READ, WRITE, READ | WRITE,
    READ | _ANY_AUTHENTICATION, WRITE | _ANY_AUTHENTICATION, READ | WRITE | _ANY_AUTHENTICATION,
)  # fmt: skip
"""Attribute access_mode 0..6 of versions 1 and 2 (0..3: version 0) as bits. "Authenticated" of these
versions does not tell request from response: both are meant."""
_OLD_METHOD_MODES: Final = (0, ACCESS, ACCESS | _ANY_AUTHENTICATION)


def attribute_mode(bits: int, version: int) -> int:
    """access_mode of an attribute for an Association of `version` 0..3.

    The old versions cannot say everything: encryption and signature are dropped, authentication
    either way becomes "authenticated", and version 0 has the bare right only.
    """
    _check_version(version)
    if version == 3:
        return bits & 0xFF
    bare = bits & (READ | WRITE)
    return bare + 3 if version and bare and bits & _ANY_AUTHENTICATION else bare


def attribute_bits(mode: int, version: int) -> int:
    """Bits of an attribute's access_mode; `Malformed` for a mode the version does not have."""
    _check_version(version)
    return _mode_bits(
        mode, (_OLD_ATTRIBUTE_MODES[:4], _OLD_ATTRIBUTE_MODES, _OLD_ATTRIBUTE_MODES)[version:], "attribute"
    )


def method_mode(bits: int, version: int) -> int | bool:
    """access_mode of a method for an Association of `version` 0..3; a boolean in version 0."""
    _check_version(version)
    if version == 3:
        return bits & (ACCESS | PROTECTION)
    allowed = bool(bits & ACCESS)
    if version == 0:
        return allowed
    return 2 if allowed and bits & _ANY_AUTHENTICATION else int(allowed)


def method_bits(mode: int | bool, version: int) -> int:
    """Bits of a method's access_mode, boolean or number; `Malformed` for a mode the version does not have."""
    _check_version(version)
    return _mode_bits(
        int(mode), (_OLD_METHOD_MODES[:2], _OLD_METHOD_MODES, _OLD_METHOD_MODES)[version:], "method"
    )


def _mode_bits(mode: int, tables: tuple[tuple[int, ...], ...], kind: str) -> int:
    """Look `mode` up in the first table; without one (version 3) the mode is the bits."""
    if not tables:
        if 0 <= mode <= 0xFF:
            return mode
    elif 0 <= mode < len(tables[0]):
        return tables[0][mode]
    raise Malformed(f"access_mode {mode} of a {kind} is not defined in this version of the Association")


def _check_version(version: int) -> None:
    if not 0 <= version <= 3:
        raise Misuse(f"Association version {version}: 0 to 3 are known")


# --- security_policy of the Security setup object, versions 0 and 1 ----------------------------------

_OLD_POLICIES: Final = (
    0,
    AUTH_REQUEST | AUTH_RESPONSE,
    ENC_REQUEST | ENC_RESPONSE,
    AUTH_REQUEST | AUTH_RESPONSE | ENC_REQUEST | ENC_RESPONSE,
)
"""security_policy 0..3 of class 64 version 0 as bits: both directions alike."""


def policy_from_wire(policy: int, version: int) -> int:
    """Bits of a received security_policy; `Malformed` for a value the version does not have."""
    if version == 0 and 0 <= policy < len(_OLD_POLICIES):
        return _OLD_POLICIES[policy]
    if version == 1 and 0 <= policy <= 0xFF and not policy & ~PROTECTION:
        return policy
    raise Malformed(f"security_policy {policy} is not defined in version {version} of the Security setup")


def policy_to_wire(bits: int, version: int) -> int:
    """security_policy for class 64 `version`; `Misuse` when version 0 cannot say it."""
    if version == 1:
        return bits & PROTECTION
    if version == 0 and bits & PROTECTION in _OLD_POLICIES:
        return _OLD_POLICIES.index(bits & PROTECTION)
    raise Misuse(f"policy {bits:02X} cannot be said in version {version} of the Security setup")


def strengthens(old: int, new: int) -> bool:
    """True when the policy `new` keeps every bit of `old` (security_activate allows nothing else)."""
    return satisfies(new, old)
