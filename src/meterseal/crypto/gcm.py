"""AES-GCM as DLMS/COSEM uses it: a key handle that seals and opens by the security control octet.

What GCM sees follows from two bits of the security control octet, authenticated and encrypted
(security 3; AK stands for nothing where no AK is in use, H5 for the five header fields of
general-ciphering, and for nothing in all other forms):

| bits | plaintext   | additional data          | body                    |
|------|-------------|--------------------------|-------------------------|
| A    | none        | SC, AK, H5, information  | information, tag        |
| E    | information | does not matter          | ciphertext              |
| A, E | information | SC, AK, H5               | ciphertext, tag         |
| none | -           | -                        | information (with H5)   |

The suite, broadcast and compression bits play no part but that SC as a whole is authenticated.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from meterseal.crypto.check import AES_LENGTHS, kcv
from meterseal.crypto.secret import Guarded
from meterseal.errors import Forged, KeyLength, Malformed, Misuse, TooLarge, TooWeak, UnknownKey

IV_LENGTH: Final = 12
"""Octets of the IV: system title (8) and invocation counter (4)."""

TAG_LENGTH: Final = 12
"""Octets of the tag on the wire: the most significant part of GCM's 16."""

LONGEST: Final = (1 << 30) - 1
"""Octets that a call takes in any form; the backend itself stops at 2^31 - 1."""

_FULL_TAG: Final = 16
_CUT: Final = TAG_LENGTH - _FULL_TAG
"""Where the tag on the wire ends in what the backend returns."""

_BOTH: Final = 0x30
"""The authenticated and encrypted bits of the security control octet."""

STREAM_FROM: Final = 48 * 1024
"""Octets of ciphertext from which `open` takes the streaming cipher.

Measured (CPython 3.11, AES instructions): making that cipher costs 6 to 7 us more than two calls of
the kept object, which catch up at 45,000 to 50,000 octets for either key length.
"""

_GONE: Final = "this key has been destroyed"


def _gone(nonce: bytes, data: bytes, associated_data: bytes | None) -> NoReturn:
    raise UnknownKey(_GONE)


class GcmKey(Guarded):
    """Handle of an encryption key (EK) together with the authentication key (AK) beside it.

    `ek` has 16 or 32 octets, `ak` as many, or none where no AK is in use; else KeyLength.  The IV
    is everywhere the originator's system title and the invocation counter, 12 octets, and its
    uniqueness is the caller's charge.
    """

    __slots__ = ("_additional", "_ak", "_alive", "_ek", "_encrypt", "_kcv")

    _ek: bytes | None
    _kcv: str | None  # made when asked for

    def __init__(self, ek: bytes, ak: bytes = b"") -> None:
        self._alive, self._ek, self._kcv = False, None, None
        lengths = len(ek), len(ak)
        if lengths[0] not in AES_LENGTHS or lengths[1] not in (0, lengths[0]):
            del ek, ak  # a traceback shows locals
            raise KeyLength(
                f"EK of {lengths[0]} and AK of {lengths[1]} octets: an EK has 16 or 32, AK as many or none"
            )
        self._ek = bytes(ek)
        # One object per key for good: making one costs many times a call.
        self._revive(bytes(ak), AESGCM(ek).encrypt)

    def _revive(self, ak: bytes, encrypt: Callable[[bytes, bytes, bytes | None], bytes]) -> None:
        """All that the verbs need: the AK, and what encrypts under the EK with a tag of 16 octets."""
        self._alive, self._ak, self._encrypt = True, ak, encrypt
        # SC -> SC || AK for values with both bits, made on first use (64 of them at most): what is
        # in here `seal` knows to be of the usual form, without a second look.
        self._additional: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f"<GcmKey {self.kcv}{'' if self._alive else ', destroyed'}>"

    @property
    def kcv(self) -> str:
        """The check value of the EK: 10 hex digits; known even after `destroy`."""
        if self._kcv is None and self._ek is not None:
            self._kcv = kcv(self._ek)
        return self._kcv or ""

    def seal(self, sc: int, iv: bytes, information: bytes, header: bytes = b"") -> bytes:
        """Protect `information` as the security control octet `sc` says; what follows SC and IC on the wire.

        `header` is H5 of general-ciphering.  Raises TooWeak for an SC that protects nothing
        (legal with a header only), Misuse for an IV of another length, UnknownKey after `destroy`.
        """
        if len(iv) != IV_LENGTH:
            raise Misuse(f"an IV has {IV_LENGTH} octets, not {len(iv)}")
        additional = self._additional.get(sc)
        if additional is None or header:
            if len(information) > LONGEST:
                raise _too_large(information)
            return _SEAL[(sc >> 4) & 3](self, sc, iv, information, header)
        # Nearly all traffic, by the shortest way.
        try:
            return self._encrypt(iv, information, additional)[:-4]  # _CUT, without looking it up
        except OverflowError:
            raise _too_large(information) from None

    def open(self, sc: int, iv: bytes, body: bytes, header: bytes = b"") -> bytes:
        """The information inside `body`, verified as far as `sc` says that it is authenticated.

        With encryption alone nothing is verified: the result is what anybody may have sent.
        Raises Forged when the tag does not verify, Malformed for a body shorter than a tag or an
        IV of another length, TooWeak as in `seal`, UnknownKey after `destroy`.
        """
        if len(iv) != IV_LENGTH:
            raise Malformed(f"an IV has {IV_LENGTH} octets, not {len(iv)}: a system title has 8")
        end = len(body) - TAG_LENGTH
        if sc in self._additional and not header and 0 <= end < STREAM_FROM:
            # Nearly all traffic, by the shortest way: `_open_both` for a known SC.
            text = self._encrypt(iv, body[:end], None)[:end]
            full = self._encrypt(iv, text, self._additional[sc])
            if compare_digest(full[end:_CUT], body[end:]):
                return text
            del text, full
            raise Forged(_WRONG_TAG)
        if len(body) > LONGEST:
            raise _too_large(body)
        return _OPEN[(sc >> 4) & 3](self, sc, iv, body, header)

    def seal_usual(self, sc: int, iv: bytes, information: bytes) -> bytes:
        """As `seal`, for whoever has seen to it that `sc` has both bits, and to the lengths."""
        additional = self._additional.get(sc) or self._sc_ak(sc)
        return self._encrypt(iv, information, additional)[:-4]

    def open_usual(self, sc: int, iv: bytes, body: bytes, likely: bytes) -> bytes | None:
        """As `open`; None where it does not verify.  Where it is `likely` that comes back, after one call.

        `sc` has both bits; `body` is at least a tag, and shorter than `STREAM_FROM`.

        What is sealed here under the peer's nonce is compared, and goes nowhere.
        """
        additional = self._additional.get(sc) or self._sc_ak(sc)
        sealed = self._encrypt(iv, likely, additional)[:-4]
        if compare_digest(sealed, body):
            return likely
        size = len(body) - TAG_LENGTH
        if len(likely) != size:
            likely = bytes(size)
            sealed = self._encrypt(iv, likely, None)
        # The key stream is the same for both, so the texts differ in the bits in which the sealed ones do.
        text = _differing(body[:size], sealed[:size], likely).to_bytes(size, "big")
        if compare_digest(self._encrypt(iv, text, additional)[size:-4], body[size:]):
            return text
        return None

    def tag(self, sc: int, iv: bytes, challenge: bytes) -> bytes:
        """The 12-octet GMAC over SC, AK and `challenge`: the proof of HLS mechanism 5 (security 11).

        Raises Misuse for an IV of another length, UnknownKey after `destroy`.
        """
        if len(iv) != IV_LENGTH:
            raise Misuse(f"an IV has {IV_LENGTH} octets, not {len(iv)}")
        return self._encrypt(iv, b"", self._sc_ak(sc) + challenge)[:TAG_LENGTH]

    def with_key(self, ek: bytes) -> GcmKey:
        """A handle of another EK beside the same AK: a dedicated, broadcast or agreed key.

        The two are destroyed apart.  Raises KeyLength, and UnknownKey after `destroy`.
        """
        if not self._alive:
            del ek
            raise UnknownKey(_GONE)
        return GcmKey(ek, self._ak)

    def beside(self, ak: bytes) -> GcmKey:
        """A handle of the same EK beside another AK: what a dedicated key becomes when the GAK changes.

        The invocation counters of the EK go on.  Raises as `with_key`.
        """
        if self._ek is None:
            del ak
            raise UnknownKey(_GONE)
        return GcmKey(self._ek, ak)

    def holds(self, ek: bytes) -> bool:
        """True when `ek` is this very EK (constant time); for refusing the same key again."""
        if self._ek is None:
            raise UnknownKey(_GONE)
        return compare_digest(self._ek, ek)

    def destroy(self, *, named: bool = True) -> None:
        """Drop EK and AK; every later use raises UnknownKey.

        A key that was made for one message needs no name afterwards: not `named` spares the check value.
        """
        if named:
            self._kcv = self.kcv
        self._alive, self._ek = False, None
        self._ak = b""
        self._encrypt = _gone
        self._additional = {}

    def _sc_ak(self, sc: int) -> bytes:
        """SC || AK."""
        octets = self._additional.get(sc)
        if octets is None:
            if not self._alive:
                raise UnknownKey(_GONE)
            if not 0 <= sc <= 0xFF:
                raise Misuse(f"security control {sc} is not an octet")
            octets = bytes((sc,)) + self._ak
            if sc & _BOTH == _BOTH:
                self._additional[sc] = octets
        return octets

    def _refuse_bare(self, sc: int, header: bytes) -> None:
        """SC asks for no protection at all: a layer of general-ciphering may, nothing else."""
        if not self._alive:
            raise UnknownKey(_GONE)
        if not header:
            raise TooWeak(f"security control {sc:02X} says neither authenticated nor encrypted")

    # --- sealing: one function for each value of the A and E bits -------------------------------

    def _seal_none(self, sc: int, iv: bytes, information: bytes, header: bytes) -> bytes:
        self._refuse_bare(sc, header)
        return information

    def _seal_authenticated(self, sc: int, iv: bytes, information: bytes, header: bytes) -> bytes:
        tag = self._encrypt(iv, b"", self._sc_ak(sc) + header + information)
        return information + tag[:TAG_LENGTH]

    def _seal_encrypted(self, sc: int, iv: bytes, information: bytes, header: bytes) -> bytes:
        return self._encrypt(iv, information, None)[:-_FULL_TAG]

    def _seal_both(self, sc: int, iv: bytes, information: bytes, header: bytes) -> bytes:
        return self._encrypt(iv, information, self._sc_ak(sc) + header)[:_CUT]

    # --- opening.  Neither key nor unverified text may be a local when an exception leaves: -----
    # --- a traceback can be printed with its locals. --------------------------------------------

    def _open_none(self, sc: int, iv: bytes, body: bytes, header: bytes) -> bytes:
        self._refuse_bare(sc, header)
        return body

    def _open_authenticated(self, sc: int, iv: bytes, body: bytes, header: bytes) -> bytes:
        end = _information_end(body)
        tag = self._encrypt(iv, b"", self._sc_ak(sc) + header + body[:end])
        if compare_digest(tag[:TAG_LENGTH], body[end:]):
            return body[:end]
        del tag  # the right tag of what somebody else made up
        raise Forged(_WRONG_TAG)

    def _open_encrypted(self, sc: int, iv: bytes, body: bytes, header: bytes) -> bytes:
        # GCM encrypts by a key stream, so encrypting once more takes it off; the tag is of no use.
        return self._encrypt(iv, body, None)[:-_FULL_TAG]

    def _open_both(self, sc: int, iv: bytes, body: bytes, header: bytes) -> bytes:
        end = _information_end(body)
        if end >= STREAM_FROM:
            return self._open_stream(sc, iv, body, header)
        # The kept object opens 16-octet tags only.  Two calls of it are cheaper than one new
        # streaming cipher: the first takes the key stream off, the second makes the true tag.
        text = self._encrypt(iv, body[:end], None)[:end]
        full = self._encrypt(iv, text, self._sc_ak(sc) + header)
        if compare_digest(full[end:_CUT], body[end:]):
            return text
        del text, full
        raise Forged(_WRONG_TAG)

    def _open_stream(self, sc: int, iv: bytes, body: bytes, header: bytes) -> bytes:
        end = _information_end(body)
        if self._ek is None:
            raise UnknownKey(_GONE)
        decryptor = Cipher(AES(self._ek), GCM(iv, body[end:], min_tag_length=TAG_LENGTH)).decryptor()
        decryptor.authenticate_additional_data(self._sc_ak(sc) + header)
        text = decryptor.update(body[:end])
        try:
            return text + decryptor.finalize()
        except InvalidTag:
            del text, decryptor
        raise Forged(_WRONG_TAG)


_WRONG_TAG: Final = "the authentication tag does not verify"


def _differing(one: bytes, other: bytes, text: bytes) -> int:
    """`text` with those bits turned in which the two differ; all of them have one length."""
    number = int.from_bytes
    return number(one, "big") ^ number(other, "big") ^ number(text, "big")


def _information_end(body: bytes) -> int:
    """Where the information ends and the tag begins."""
    end = len(body) - TAG_LENGTH
    if end < 0:
        raise Malformed(f"{len(body)} octets are less than a tag of {TAG_LENGTH}")
    return end


def _too_large(octets: bytes) -> TooLarge:
    return TooLarge(f"{len(octets)} octets are more than one message can have")


_SEAL = (GcmKey._seal_none, GcmKey._seal_authenticated, GcmKey._seal_encrypted, GcmKey._seal_both)
_OPEN = (GcmKey._open_none, GcmKey._open_authenticated, GcmKey._open_encrypted, GcmKey._open_both)
"""By (SC >> 4) & 3: bit 0 authenticated, bit 1 encrypted."""
