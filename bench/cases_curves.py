"""Benchmarks of signatures, agreed keys and sign-on by signature, against the bare work of the curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from gurux_dlms.ecdsa.GXEcdsa import GXEcdsa
from gurux_dlms.ecdsa.GXPrivateKey import GXPrivateKey

from bench.case import Case, Pair
from meterseal.apdu.general import GeneralSigning
from meterseal.association import (
    Associated,
    ClientAssociation,
    ClientProfile,
    Compute,
    Reply,
    ServerAssociation,
    ServerProfile,
)
from meterseal.crypto import AgreementKey, GcmKey, SigningKey, curve, suite
from meterseal.keys.counters import LIMIT, ReceiveCounter, SendCounter
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    Context,
    KeyInUse,
    SecuritySetup,
    Style,
    protect,
    unprotect,
)
from meterseal.security.directory import KnownKeys
from meterseal.security.layers import CIPHERING, SIGNING, Layer

CLIENT, METER = b"MSL\x00\x00\x00\x00\x01", b"MSL\x00\x00\x00\x00\x02"
BOTH = AUTHENTICATED | ENCRYPTED
CURVES = {1: "P-256", 2: "P-384"}


class Keys:
    """Two parties of one suite, each with its own keys and the other's public ones."""

    def __init__(self, suite_id: int, policy: int = 0x6C) -> None:
        self.curve = curve(CURVES[suite_id])
        self.signing = [SigningKey.generate(self.curve) for _ in range(2)]
        self.agreement = [AgreementKey.generate(self.curve) for _ in range(2)]
        length = suite(suite_id).key_length
        self.ek, self.ak = os.urandom(length), os.urandom(length)
        self.client, self.meter = (self._setup(at, suite_id, policy) for at in range(2))

    def _setup(self, at: int, suite_id: int, policy: int) -> SecuritySetup:
        titles = (CLIENT, METER) if at == 0 else (METER, CLIENT)
        known = KnownKeys()
        known.signing[titles[1]] = self.signing[1 - at].public
        known.agreement[titles[1]] = self.agreement[1 - at].public
        key = KeyInUse(GcmKey(self.ek, self.ak), SendCounter(0, LIMIT), ReceiveCounter())
        setup = SecuritySetup(suite(suite_id), *titles, policy, key)
        setup.signing, setup.agreement, setup.directory = self.signing[at], self.agreement[at], known
        return setup


def _context(setup: SecuritySetup) -> Context:
    return Context(setup, setup.peer_title, general=True, serving=setup.own_title == METER)


def _apdu() -> bytes:
    return b"\xc1" + os.urandom(99)


def sign() -> Pair:
    """general-signing of a 100-octet APDU against ECDSA and its conversion to R || S."""
    keys = Keys(1)
    context, private, ecdsa = _context(keys.client), keys.signing[0].backend(), ec.ECDSA(keys.curve.hash)
    layers = (Layer(SIGNING, b"", b"", bytes(8)),)

    def ours(apdu: bytes) -> bytes:
        return protect(context, apdu, SIGNED, Style.PLAIN, layers)

    def bare(apdu: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(apdu, ecdsa))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def agree(apdu: bytes, mine: bytes, theirs: bytes) -> None:
        message = GeneralSigning.decode(mine)
        keys.signing[0].public.verify(message.signature, message.signed())
        keys.signing[0].public.verify(theirs, apdu)

    return Pair(lambda n: [_apdu() for _ in range(n)], ours, bare, agree)


def verify() -> Pair:
    """Opening a signed APDU against the bare verification and its conversion from R || S."""
    keys = Keys(1)
    sender, receiver = _context(keys.client), _context(keys.meter)
    public, ecdsa = keys.signing[0].public.backend(), ec.ECDSA(keys.curve.hash)

    def inputs(count: int) -> Sequence[tuple[bytes, bytes, bytes]]:
        made = []
        for _ in range(count):
            layers = (Layer(SIGNING, b"", b"", os.urandom(8)),)
            octets = protect(sender, _apdu(), SIGNED, Style.PLAIN, layers)
            message = GeneralSigning.decode(octets)
            made.append((octets, message.signed(), message.signature))
        return made

    def ours(item: tuple[bytes, bytes, bytes]) -> bytes:
        return unprotect(receiver, item[0]).apdu

    def bare(item: tuple[bytes, bytes, bytes]) -> None:
        r, s = (int.from_bytes(item[2][at : at + 32], "big") for at in (0, 32))
        public.verify(encode_dss_signature(r, s), item[1], ecdsa)

    def agree(item: tuple[bytes, bytes, bytes], mine: bytes, _: Any) -> None:
        if mine not in item[1]:
            raise AssertionError("another APDU than was signed")

    return Pair(inputs, ours, bare, agree)


def sign_gurux() -> Pair:
    """The same octets signed by the peer's own ECDSA."""
    keys = Keys(1)
    context, layers = _context(keys.client), (Layer(SIGNING, b"", b"", bytes(8)),)
    number = keys.signing[0].backend().private_numbers().private_value
    peer = GXEcdsa(GXPrivateKey.fromRawBytes(number.to_bytes(32, "big")))

    def ours(apdu: bytes) -> bytes:
        return protect(context, apdu, SIGNED, Style.PLAIN, layers)

    def theirs(apdu: bytes) -> bytes:
        return bytes(peer.sign(apdu))

    def agree(apdu: bytes, mine: bytes, other: bytes) -> None:
        message = GeneralSigning.decode(mine)
        keys.signing[0].public.verify(message.signature, message.signed())
        keys.signing[0].public.verify(other, apdu)

    return Pair(lambda n: [_apdu() for _ in range(n)], ours, theirs, agree, 50, 2)


def agreed_key() -> Pair:
    """general-ciphering with C(1e,1s), made and opened, against the bare work in it: curves, KDF, AES-GCM."""
    keys = Keys(1)
    sender, receiver = _context(keys.client), _context(keys.meter)
    layers = (Layer(CIPHERING, b"", b"", bytes(8), "one-pass"),)
    signing, ecdsa, hashed = keys.signing[0].backend(), ec.ECDSA(keys.curve.hash), keys.curve.hash
    static, point = keys.agreement[1].backend(), keys.agreement[1].public.backend()
    verifying, other_info = keys.signing[0].public.backend(), bytes(23)

    def ours(apdu: bytes) -> bytes:
        return unprotect(receiver, protect(sender, apdu, BOTH, Style.LAYERED, layers)).apdu

    def bare(apdu: bytes) -> bytes:
        ephemeral = ec.generate_private_key(keys.curve.backend)
        numbers = ephemeral.public_key().public_numbers()
        public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        signature = signing.sign(public, ecdsa)
        _point(numbers)
        key = ConcatKDFHash(hashed, 16, other_info).derive(ephemeral.exchange(ec.ECDH(), point))
        body = AESGCM(key).encrypt(bytes(12), apdu, keys.ak)
        verifying.verify(signature, public, ecdsa)
        loaded = ec.EllipticCurvePublicKey.from_encoded_point(keys.curve.backend, b"\x04" + public)
        key = ConcatKDFHash(hashed, 16, other_info).derive(static.exchange(ec.ECDH(), loaded))
        return AESGCM(key).decrypt(bytes(12), body, keys.ak)

    def _point(numbers: ec.EllipticCurvePublicNumbers) -> None:
        encoded = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        ec.EllipticCurvePublicKey.from_encoded_point(keys.curve.backend, encoded)

    def agree(apdu: bytes, mine: bytes, theirs: bytes) -> None:
        if not mine == theirs == apdu:
            raise AssertionError("what was opened is not what was sealed")

    return Pair(lambda n: [_apdu() for _ in range(n)], ours, bare, agree, 60)


class _View:
    """A view of a meter that nobody asks for anything."""

    def right(self, operation: Any, user: int | None) -> int | None:
        """None."""
        return None


def _hls7(suite_id: int) -> Pair:
    keys = Keys(suite_id)
    common: dict[str, Any] = {"client_sap": 1, "server_sap": 1, "mechanism": 7, "ciphered": True}
    client = ClientAssociation(ClientProfile(setup=keys.client, **common))
    meter = ServerAssociation(ServerProfile(setup=keys.meter, view=_View(), **common), os.urandom)
    private, public = (
        (keys.signing[at].backend() for at in range(2)),
        [key.public.backend() for key in keys.signing],
    )
    signers, ecdsa = list(private), ec.ECDSA(keys.curve.hash)

    def ours(challenge: bytes) -> bool:
        ends, effects, at = (client, meter), client.associate(challenge), 0
        while True:
            effect = effects[-1]  # at the meter `Associated` comes before the answer
            if type(effect) is Compute:
                effects = ends[at].resume(effect.token, effect.job())
            elif type(effect) is Reply:
                at = 1 - at
                effects = ends[at].receive(effect.octets)
            elif type(effect) is Associated and at == 0:
                break
            else:
                raise AssertionError(effect)
        client.end()
        return True

    def bare(challenge: bytes) -> bool:
        message = CLIENT + METER + challenge + challenge
        for signer, verifier in zip(signers, public, strict=True):
            verifier.verify(signer.sign(message, ecdsa), message, ecdsa)
        return True

    def agree(_: Any, mine: bool, theirs: bool) -> None:
        if not mine or not theirs:
            raise AssertionError("no sign-on")

    return Pair(lambda n: [os.urandom(32) for _ in range(n)], ours, bare, agree, 40)


CASES = (
    Case("sign_vs_bare_p256", 1.3, sign, faster=False),
    Case("verify_vs_bare_p256", 1.3, verify, faster=False),
    Case("sign_vs_gurux", 100, sign_gurux),
    Case("agreed_key_message_vs_bare", 1.4, agreed_key, faster=False),
    Case("hls7_p256_vs_bare", 2.0, lambda: _hls7(1), faster=False),
    Case("hls7_p384_vs_bare", 1.3, lambda: _hls7(2), faster=False),
)
