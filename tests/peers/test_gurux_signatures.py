"""gurux-dlms signs on by signature (mechanism 7): its own text and key work on one side, ours on the other.

What the peer cannot do is kept from it: an AARE with a certificate, whose length takes two octets, and the
check of a signature, which it hands to `verify` with a text that it has put together itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from gurux_dlms.ecdsa.GXEcdsa import GXEcdsa
from gurux_dlms.ecdsa.GXPrivateKey import GXPrivateKey
from gurux_dlms.ecdsa.GXPublicKey import GXPublicKey
from gurux_dlms.enums import Authentication, InterfaceType, Security
from gurux_dlms.objects import GXDLMSRegister
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.secure import GXDLMSSecureClient

from meterseal.credentials import Credentials
from meterseal.meter import write_credentials
from tests.hostile.raw import running
from tests.peers.gurux import PATIENCE, Gurux, RefusedByMeter
from tests.peers.house import keys

SIZE = 32
CHALLENGE = 32
"""Octets: the least that mechanism 7 takes; of itself the peer would draw 16."""


def _raw_public(key: Any) -> bytes:
    point = key.public_numbers()
    return bytes(point.x.to_bytes(SIZE, "big") + point.y.to_bytes(SIZE, "big"))


def _verify(public: ec.EllipticCurvePublicKey, signature: bytes, text: bytes) -> bool:
    """R || S over a text, by OpenSSL."""
    r, s = (int.from_bytes(part, "big") for part in (signature[:SIZE], signature[SIZE:]))
    try:
        public.verify(encode_dss_signature(r, s), bytes(text), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


@contextmanager
def _manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gurux]:
    """The peer as manager of a meter of suite 1, on a line, not yet signed on."""
    with running(folder, preset="suite1") as here:
        write_credentials(here.meter, folder / "meter.toml", here.server.url)
        here.meter.rings[1].setup.certificate = None
        file = Credentials.load(folder / "meter.toml")
        role = file.role("manager")
        own = load_pem_private_key((folder / str(role.signing_key)).read_bytes(), None)
        assert isinstance(own, ec.EllipticCurvePrivateKey)
        certificate = (folder / str(file.meter.signing_certificate)).read_bytes()
        theirs = load_pem_x509_certificate(certificate).public_key()
        assert isinstance(theirs, ec.EllipticCurvePublicKey)
        monkeypatch.setattr(GXEcdsa, "verify", lambda self, signature, text: _verify(theirs, signature, text))
        client = GXDLMSSecureClient(True, 1, 1, Authentication.HIGH_ECDSA, None, InterfaceType.WRAPPER)
        client.ctoSChallenge = bytearray(os.urandom(CHALLENGE))
        cipher = client.ciphering
        cipher.security, cipher.securitySuite = Security.AUTHENTICATION_ENCRYPTION, SecuritySuite.SUITE_1
        cipher.systemTitle = bytearray(role.client_system_title or b"")
        cipher.blockCipherKey, cipher.authenticationKey = map(bytearray, keys(role))
        private = own.private_numbers().private_value.to_bytes(SIZE, "big")
        cipher.signingKeyPair = (
            GXPublicKey.fromRawBytes(_raw_public(theirs)),
            GXPrivateKey.fromRawBytes(private),
        )
        where = urlsplit(here.server.url)
        with socket.create_connection((where.hostname, where.port), PATIENCE) as line:
            yield Gurux(client, line)


def test_the_peer_signs_on_and_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _manager(tmp_path, monkeypatch) as peer:
        peer.sign_on()
        register = GXDLMSRegister("1.0.1.8.0.255")
        assert peer.read(register, 2) > 0
        assert peer.ask(peer.client.read(register, 2)).value > 0


def test_the_signature_of_another_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _manager(tmp_path, monkeypatch) as peer:
        public, _ = peer.client.ciphering.signingKeyPair
        stranger = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        private = GXPrivateKey.fromRawBytes(stranger.to_bytes(SIZE, "big"))
        peer.client.ciphering.signingKeyPair = (public, private)
        reply = peer.ask(peer.client.aarqRequest())
        peer.client.parseAareResponse(reply.data)
        with pytest.raises(RefusedByMeter):
            peer.ask(peer.client.getApplicationAssociationRequest())
