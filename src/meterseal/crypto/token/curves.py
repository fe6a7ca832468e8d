"""Key pairs in a token: they sign and agree there, and have certificates and requests like any other.

Hashing is done here and the ECDSA of a digest there.  What two keys agree on (Z) stays in the token as well:
the KDF is a digest over the counter, the handle of Z and the other information.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, KeySerializationEncryption, PrivateFormat
from pkcs11 import KDF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from meterseal.crypto.curves import AgreementKey, AgreementPoint, Curve, PublicKey, SigningKey
from meterseal.crypto.curves import curve as curve_named
from meterseal.crypto.token.session import Held, Token
from meterseal.errors import ConfigurationError, Malformed, Misuse

_NAMES: Final = {"P-256": "secp256r1", "P-384": "secp384r1"}
_DIGESTS: Final = {"P-256": Mechanism.SHA256, "P-384": Mechanism.SHA384}
_PARAMETERS: Final = {encode_named_curve_parameters(oid): name for name, oid in _NAMES.items()}

_STAYS: Final[dict[Attribute, Any]] = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


def make_pair(
    token: Token,
    label: str,
    curve: Curve,
    kind: type[SigningKey] | type[AgreementKey],
    *,
    requests: bool = False,
) -> None:
    """Make a key pair in the token, for good, that may do what `kind` does and nothing else.

    `requests`: it may sign as well, for a certificate request is signed by its own key, until
    `end_requests` says that this is over.  Raises ConfigurationError for a label in use.
    """
    signs = kind is SigningKey
    private = {**_STAYS, Attribute.SIGN: signs or requests, Attribute.DERIVE: not signs}
    public = {Attribute.VERIFY: signs}

    def make(session: pkcs11.Session) -> None:
        if any(True for _ in session.get_objects({Attribute.LABEL: label})):
            raise ConfigurationError(f"HSM token {token.label} has a key {label!r} already")
        parameters = session.create_domain_parameters(
            KeyType.EC,
            {Attribute.EC_PARAMS: encode_named_curve_parameters(_NAMES[curve.name])},
            local=True,
        )
        parameters.generate_keypair(
            mechanism=Mechanism.EC_KEY_PAIR_GEN,
            store=True,
            label=label,
            public_template=public,
            private_template=private,
        )

    token.use(None, make)


def end_requests(token: Token, label: str) -> None:
    """From now on an agreement key of this label signs nothing any more."""

    def end(session: pkcs11.Session) -> None:
        for found in session.get_objects({Attribute.LABEL: label, Attribute.CLASS: ObjectClass.PRIVATE_KEY}):
            if found[Attribute.DERIVE] and found[Attribute.SIGN]:
                found[Attribute.SIGN] = False

    token.use(None, end)


def remove_pair(token: Token, label: str) -> None:
    """Take a key pair out of the token, for good; nothing where there is none."""

    def remove(session: pkcs11.Session) -> None:
        for found in list(session.get_objects({Attribute.LABEL: label, Attribute.KEY_TYPE: KeyType.EC})):
            found.destroy()

    token.use(None, remove)


def pairs_of(token: Token) -> set[str]:
    """Labels of the private keys in the token that are for curves."""

    def look(session: pkcs11.Session) -> set[str]:
        asked = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.EC}
        return {str(found[Attribute.LABEL]) for found in session.get_objects(asked)}

    return token.use(None, look)


def signing_key(token: Token, label: str) -> SigningKey:
    """The signing key of this label.  Raises ConfigurationError where there is none."""
    return SigningKey.of(_Backend(token, label, Attribute.SIGN))


def agreement_key(token: Token, label: str) -> AgreementKey:
    """The key agreement key of this label.  Raises ConfigurationError where there is none."""
    return _TokenAgreementKey.of(_Backend(token, label, Attribute.DERIVE))


class _TokenAgreementKey(AgreementKey):
    """An agreement key whose secrets stay in the token."""

    __slots__ = ()

    def agree(self, peer: AgreementPoint, other_info: bytes, length: int) -> bytes:
        """As `AgreementKey.agree`."""
        if peer.curve is not self.curve:
            raise Misuse(f"a key of {self.curve.name} does not agree with one of {peer.curve.name}")
        backend = self.backend()
        assert isinstance(backend, _Backend)  # noqa: S101 - `of` above is the one way in
        return backend.derive(peer, other_info)[:length]


class _Backend(ec.EllipticCurvePrivateKey):
    """A private key of a token in the shape of the backend's own, so that certificates are signed with it."""

    def __init__(self, token: Token, label: str, may: Attribute) -> None:
        self._token, self._label, self._may = token, label, may
        self._private = Held(self._get, f"key {label}")
        self._row, self._point = token.use(None, self._look)
        token.use(self._private, lambda _: None)

    def _find(self, session: pkcs11.Session, kind: ObjectClass) -> Any:
        try:
            return session.get_key(object_class=kind, label=self._label)
        except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned) as error:
            raise ConfigurationError(
                f"HSM token {self._token.label}, key pair {self._label!r}: {type(error).__name__}"
            ) from None

    def _get(self, session: pkcs11.Session) -> Any:
        found = self._find(session, ObjectClass.PRIVATE_KEY)
        if not found[self._may]:
            raise ConfigurationError(f"HSM key {self._label!r} is not made to {self._may.name.lower()}")
        return found

    def _look(self, session: pkcs11.Session) -> tuple[Curve, PublicKey]:
        public = self._find(session, ObjectClass.PUBLIC_KEY)
        name = _PARAMETERS.get(bytes(public[Attribute.EC_PARAMS]))
        if name is None:
            raise ConfigurationError(f"key pair {self._label!r} is on another curve than the suites")
        row = curve_named(name)
        encoded = bytes(public[Attribute.EC_POINT])  # a point in a DER octet string
        try:
            return row, PublicKey(row, encoded[-2 * row.width :])
        except Malformed:
            raise ConfigurationError(
                f"key pair {self._label!r} has no public point that can be read"
            ) from None

    def derive(self, peer: AgreementPoint, other_info: bytes) -> bytes:
        """A whole digest over 00000001, Z and the other information."""

        def work(private: Any) -> bytes:
            z = private.derive_key(
                KeyType.GENERIC_SECRET,
                8 * self._row.width,
                mechanism=Mechanism.ECDH1_DERIVE,
                mechanism_param=(KDF.NULL, None, b"\x04" + peer.octets),
                store=False,
                template=_STAYS,
            )
            try:
                parts = iter([b"\0\0\0\1", z, other_info])
                return bytes(private.session.digest(parts, mechanism=_DIGESTS[self._row.name]))
            finally:
                z.destroy()

        return self._token.use(self._private, work)

    def sign(
        self, data: bytes | bytearray | memoryview, signature_algorithm: ec.EllipticCurveSignatureAlgorithm
    ) -> bytes:
        """DER, as the backend's own; of the curve's hash and no other: of octets, or of their digest."""
        row, algorithm = self._row, signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed) and algorithm.digest_size == row.hash.digest_size == len(data):
            digest = bytes(data)
        elif getattr(algorithm, "name", None) == row.hash.name:
            digest = row.digest(bytes(data)).digest()
        else:
            raise Misuse(f"a key on {row.name} signs with {row.hash.name}")

        def work(private: Any) -> bytes:
            if not hasattr(private, "sign"):  # an object has the verbs that its token allows
                raise Misuse(f"HSM key {self._label!r} is not made to sign, or signs no further request")
            return bytes(private.sign(digest, mechanism=Mechanism.ECDSA))

        plain = self._token.use(self._private, work)
        width = self._row.width
        return encode_dss_signature(
            int.from_bytes(plain[:width], "big"), int.from_bytes(plain[width:], "big")
        )

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._point.backend()

    @property
    def curve(self) -> ec.EllipticCurve:
        """The backend's curve."""
        return self._row.backend

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return self._row.backend.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Z would leave."""
        raise self._stays()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """The number would leave."""
        raise self._stays()

    def private_bytes(
        self, encoding: Encoding, format: PrivateFormat, encryption_algorithm: KeySerializationEncryption
    ) -> bytes:
        """The number would leave."""
        raise self._stays()

    def __copy__(self) -> NoReturn:
        raise self._stays()

    def __deepcopy__(self, memo: dict[Any, Any]) -> NoReturn:
        raise self._stays()

    def _stays(self) -> Misuse:
        return Misuse(f"key {self._label!r} does not leave its token {self._token.label}")
