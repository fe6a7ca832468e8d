"""AES keys in a token: a KEK that wraps and unwraps there, and the keys it unwraps, which stay there too."""

from __future__ import annotations

from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass

from meterseal.crypto.check import AES_LENGTHS, KCV_OCTETS
from meterseal.crypto.gcm import IV_LENGTH, LONGEST, TAG_LENGTH, GcmKey
from meterseal.crypto.secret import random_octets, same
from meterseal.crypto.token.session import Held, Token
from meterseal.crypto.wrap import LONGEST as LONGEST_SECRET
from meterseal.crypto.wrap import SHORTEST, WrappingKey
from meterseal.errors import ConfigurationError, Forged, KeyLength, Malformed, TooLarge, UnknownKey

_FULL_BITS, _BITS = 128, 8 * TAG_LENGTH
_OVERHEAD: Final = 8
_BOTH: Final = 0x30

_KEK: Final[dict[Attribute, Any]] = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.WRAP: True,
    Attribute.UNWRAP: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.SIGN: True,  # CMAC, for its check value
}
_INSIDE: Final[dict[Attribute, Any]] = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.ENCRYPT: True,
    Attribute.DECRYPT: True,
    Attribute.SIGN: True,
}
_PASSING: Final[dict[Attribute, Any]] = {
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
    Attribute.TOKEN: False,
}

_DOES_NOT_UNWRAP: Final = (
    pkcs11.GeneralError,
    pkcs11.WrappedKeyInvalid,
    pkcs11.WrappedKeyLenRange,
    pkcs11.UnwrappingKeySizeRange,
    pkcs11.DataInvalid,
    pkcs11.DataLenRange,
    pkcs11.ArgumentsBad,
)
_DOES_NOT_OPEN: Final = (
    pkcs11.GeneralError,  # what SoftHSM says of a wrong tag
    pkcs11.EncryptedDataInvalid,
    pkcs11.EncryptedDataLenRange,
    pkcs11.SignatureInvalid,
)


def make_kek(token: Token, label: str, length: int = 32) -> TokenWrappingKey:
    """Make a KEK of `length` octets in the token, for good.  Raises ConfigurationError for a label in use."""
    if length not in AES_LENGTHS:
        raise KeyLength(f"a KEK of {length} octets, not 16 or 32")

    def make(session: pkcs11.Session) -> None:
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}
        if any(True for _ in session.get_objects(wanted)):
            raise ConfigurationError(f"HSM token {token.label} has a key {label!r} already")
        session.generate_key(KeyType.AES, 8 * length, label=label, store=True, template=_KEK)

    token.use(None, make)
    return TokenWrappingKey(token, label)


class TokenWrappingKey(WrappingKey):
    """A KEK (master key, storage KEK) in a token."""

    __slots__ = ("_inside", "_label", "_token")

    def __init__(self, token: Token, label: str) -> None:
        """Raises ConfigurationError when the token has no such key, or it is none that wraps."""
        self._token, self._label = token, label
        self._inside = Held(lambda session: _find(session, token, label), f"KEK {label}")
        self._kek = None
        self._kcv = token.use(self._inside, _check_value)

    def __repr__(self) -> str:
        return f"<TokenWrappingKey {self._label} {self._kcv}>"

    def _wrapped(self, key: bytes) -> bytes:
        """`key` is in the token for that long."""

        def work(kek: Any) -> bytes:
            passing = kek.session.create_object(
                {
                    Attribute.CLASS: ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                    Attribute.VALUE: key,
                    **_PASSING,
                }
            )
            try:
                return bytes(kek.wrap_key(passing, mechanism=Mechanism.AES_KEY_WRAP))
            finally:
                passing.destroy()

        return self._token.use(self._inside, work)

    def unwrap(self, blob: bytes) -> bytes:
        """As `WrappingKey.unwrap`: what is inside leaves the token.  See `gcm` for keys that need not."""

        def work(kek: Any) -> bytes:
            inside = _unwrap(kek, blob, KeyType.GENERIC_SECRET, _PASSING)
            try:
                return bytes(inside[Attribute.VALUE])
            finally:
                inside.destroy()

        return self._token.use(self._inside, work)

    def gcm(self, blob: bytes, ak: bytes = b"") -> TokenGcmKey:
        """The EK inside `blob` as a handle that stays in the token; `ak` is data to it, and known here.

        Raises Forged as `unwrap`, KeyLength.
        """
        length = len(blob) - _OVERHEAD
        if length not in AES_LENGTHS or len(ak) not in (0, length):
            raise KeyLength(
                f"EK of {length} and AK of {len(ak)} octets: an EK has 16 or 32, AK as many or none"
            )
        kek = self._inside

        def load(session: pkcs11.Session) -> Any:
            return _unwrap(kek.object(session), blob, KeyType.AES, _INSIDE)

        return TokenGcmKey(self._token, Held(load, "EK"), ak)

    def holds(self, kek: bytes) -> bool:
        """True when `kek` is this very key: both wrap the same octets alike (RFC 3394 has no nonce)."""
        if len(kek) not in AES_LENGTHS:
            return False
        probe = random_octets(SHORTEST)
        return same(WrappingKey(kek).wrap(probe), self.wrap(probe))

    def destroy(self) -> None:
        """Forget the handle; the key stays in its token."""
        self._inside.drop()


class TokenGcmKey(GcmKey):
    """An encryption key in a token, with the authentication key beside it in memory: GCM gets it as data.

    Where the tag is verified, the token does it: no text leaves that has not been.
    """

    __slots__ = ("_inside", "_token")

    def __init__(self, token: Token, held: Held, ak: bytes) -> None:
        """`held`: an AES key that may encrypt and decrypt.  Raises what getting it raises."""
        self._alive, self._ek, self._kcv = False, None, None
        self._token, self._inside = token, held
        token.use(held, lambda _: None)
        self._revive(ak, self._sealed)

    def __repr__(self) -> str:
        return f"<TokenGcmKey {self._kcv or ''}{'' if self._alive else ', destroyed'}>"

    @property
    def kcv(self) -> str:
        """As `GcmKey.kcv`."""
        if self._kcv is None and self._alive:
            self._kcv = self._token.use(self._inside, _check_value)
        return self._kcv or ""

    def open(self, sc: int, iv: bytes, body: bytes, header: bytes = b"") -> bytes:
        """As `GcmKey.open`."""
        if sc & _BOTH != _BOTH:
            return super().open(sc, iv, body, header)
        if len(iv) != IV_LENGTH:
            raise Malformed(f"an IV has {IV_LENGTH} octets, not {len(iv)}: a system title has 8")
        if len(body) < TAG_LENGTH:
            raise Malformed(f"{len(body)} octets are less than a tag of {TAG_LENGTH}")
        if len(body) > LONGEST:
            raise TooLarge(f"{len(body)} octets are more than one message can have")
        parameters = GCMParams(iv, self._sc_ak(sc) + header, _BITS)
        try:
            return self._token.use(
                self._inside,
                lambda key: bytes(key.decrypt(body, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)),
            )
        except _DOES_NOT_OPEN:
            raise Forged("the authentication tag does not verify") from None

    def open_usual(self, sc: int, iv: bytes, body: bytes, likely: bytes) -> bytes | None:
        """As `GcmKey.open_usual`."""
        try:
            return self.open(sc, iv, body)
        except Forged:
            return None

    def with_key(self, ek: bytes) -> GcmKey:
        """As `GcmKey.with_key`: the other EK is one of memory."""
        if not self._alive:
            del ek
            raise UnknownKey("this key has been destroyed")
        return GcmKey(ek, self._ak)

    def beside(self, ak: bytes) -> GcmKey:
        """As `GcmKey.beside`."""
        return TokenGcmKey(self._token, self._inside, ak)

    def holds(self, ek: bytes) -> bool:
        """True when `ek` is this very EK: both make the same key stream."""
        if len(ek) not in AES_LENGTHS:
            return False
        nonce = random_octets(IV_LENGTH)
        # A nonce of 96 random bits, and nobody else sees what comes of it.
        return same(GcmKey(ek).seal(0x20, nonce, bytes(16)), self._sealed(nonce, bytes(16), None)[:16])

    def destroy(self, *, named: bool = True) -> None:
        """As `GcmKey.destroy`; what is in the token goes with the session."""
        super().destroy(named=named)
        self._inside.drop()

    def _sealed(self, nonce: bytes, data: bytes, additional: bytes | None) -> bytes:
        parameters = GCMParams(nonce, additional or b"", _FULL_BITS)
        return self._token.use(
            self._inside,
            lambda key: bytes(key.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)),
        )


def _find(session: pkcs11.Session, token: Token, label: str) -> Any:
    try:
        found = session.get_key(object_class=ObjectClass.SECRET_KEY, label=label)
    except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned) as error:
        raise ConfigurationError(f"HSM token {token.label}, key {label!r}: {type(error).__name__}") from None
    # SIGN: a check value is a CMAC.
    missing = [name for name in ("WRAP", "UNWRAP", "SIGN") if not found[Attribute[name]]]
    if missing:
        raise ConfigurationError(f"HSM key {label!r} is no KEK: CKA_{', CKA_'.join(missing)} is not set")
    return found


def _unwrap(kek: Any, blob: bytes, kind: KeyType, template: dict[Attribute, Any]) -> Any:
    if len(blob) <= LONGEST_SECRET + _OVERHEAD:
        try:
            return kek.unwrap_key(
                ObjectClass.SECRET_KEY,
                kind,
                blob,
                mechanism=Mechanism.AES_KEY_WRAP,
                store=False,
                template=template,
            )
        except _DOES_NOT_UNWRAP:
            pass
    raise Forged("the wrapped key does not unwrap: other KEK, or changed on the way") from None


def _check_value(key: Any) -> str:
    """As `crypto.kcv`: CMAC of a zero block."""
    return bytes(key.sign(bytes(16), mechanism=Mechanism.AES_CMAC))[:KCV_OCTETS].hex().upper()
