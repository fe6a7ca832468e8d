"""Private keys as PEM: out and in again for each purpose, and what is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meterseal.crypto import AgreementKey, SigningKey, curve
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.keyfiles import read_key, write_key
from meterseal.errors import ConfigurationError, UnknownKey, Unsupported


@pytest.mark.parametrize("on", ["P-256", "P-384"])
@pytest.mark.parametrize("kind", [SigningKey, AgreementKey, TlsKey])
@pytest.mark.parametrize("password", [None, b"a password"])
def test_out_and_in(on: str, kind: type[SigningKey], password: bytes | None) -> None:
    key = kind.generate(curve(on))
    pem = write_key(key, password)
    again = read_key(pem, kind, password)
    assert type(again) is kind and again.public == key.public
    if password is not None:
        assert b"ENCRYPTED" in pem
        for wrong in (None, b"another"):
            with pytest.raises(ConfigurationError):
                read_key(pem, kind, wrong)


def test_what_is_no_key_of_the_suites() -> None:
    for octets in (b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ConfigurationError):
            read_key(octets, SigningKey)
    for other in (ec.generate_private_key(ec.SECP521R1()), rsa.generate_private_key(65537, 2048)):
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(Unsupported):
            read_key(pem, SigningKey)


def test_a_destroyed_key_is_not_written() -> None:
    key = SigningKey.generate(curve("P-256"))
    key.destroy()
    with pytest.raises(UnknownKey):
        write_key(key)
