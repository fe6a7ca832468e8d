"""Handles whose keys are in an HSM (SoftHSM): the same octets as handles in memory, and nothing leaves."""

from __future__ import annotations

import copy
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from meterseal.credentials.hsm import private_key, wrapping_key
from meterseal.crypto import AgreementKey, GcmKey, SigningKey, WrappingKey, curve, kcv
from meterseal.crypto.keyfiles import write_key
from meterseal.crypto.token import (
    Token,
    TokenGcmKey,
    TokenWrappingKey,
    agreement_key,
    make_kek,
    make_pair,
    open_token,
    signing_key,
)
from meterseal.errors import (
    ConfigurationError,
    Forged,
    HsmUnavailable,
    KeyLength,
    Misuse,
    TooWeak,
    UnknownKey,
)
from tests.system.conftest import SoftHsm

_labels = count()
IV = bytes(range(12))


@pytest.fixture
def token(softhsm: SoftHsm) -> Token:
    return open_token(softhsm.module, softhsm.label, softhsm.pin.encode())


@pytest.fixture
def kek(token: Token) -> Iterator[TokenWrappingKey]:
    yield make_kek(token, f"kek-{os.getpid()}-{next(_labels)}")


def label() -> str:
    return f"pair-{os.getpid()}-{next(_labels)}"


# --- AES ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [16, 32])
@pytest.mark.parametrize("with_ak", [True, False])
def test_a_key_in_the_token_seals_and_opens_as_one_in_memory(
    kek: TokenWrappingKey, length: int, with_ak: bool
) -> None:
    ek, ak = os.urandom(length), os.urandom(length) if with_ak else b""
    inside, outside = kek.gcm(kek.wrap(ek), ak), GcmKey(ek, ak)
    assert inside.kcv == outside.kcv == kcv(ek)
    for sc in (0x10, 0x20, 0x30, 0x31, 0xB0):
        for header in (b"", b"header of general-ciphering"):
            for size in (0, 1, 100, 60_000):
                message = os.urandom(size)
                sealed = inside.seal(sc, IV, message, header)
                assert sealed == outside.seal(sc, IV, message, header)
                assert inside.open(sc, IV, sealed, header) == message
                if sc & 0x30 == 0x30 and not header:
                    assert inside.open_usual(sc, IV, sealed, message) == message
                    assert inside.open_usual(sc, IV, sealed, bytes(size)) == message
    assert inside.tag(0x10, IV, b"challenge") == outside.tag(0x10, IV, b"challenge")
    assert inside.holds(ek) and not inside.holds(os.urandom(length)) and not inside.holds(b"")
    with pytest.raises(TooWeak):
        inside.seal(0x00, IV, b"x")


def test_B01_every_bit_of_a_message_is_refused_by_the_token(kek: TokenWrappingKey) -> None:
    inside = kek.gcm(kek.wrap(os.urandom(16)), os.urandom(16))
    sealed = inside.seal(0x30, IV, b"a message")
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            inside.open(0x30, IV, bytes(changed))
        assert inside.open_usual(0x30, IV, bytes(changed), b"a message") is None


def test_other_keys_beside_it_are_told_apart(kek: TokenWrappingKey) -> None:
    ek, ak, other = (os.urandom(16) for _ in range(3))
    inside = kek.gcm(kek.wrap(ek), ak)
    assert inside.with_key(other).seal(0x30, IV, b"x") == GcmKey(other, ak).seal(0x30, IV, b"x")
    assert inside.beside(other).seal(0x30, IV, b"x") == GcmKey(ek, other).seal(0x30, IV, b"x")
    name = inside.kcv
    inside.destroy()
    assert inside.kcv == name and "destroyed" in repr(inside)
    for use in (
        lambda: inside.seal(0x30, IV, b"x"),
        lambda: inside.with_key(other),
        lambda: inside.tag(0x10, IV, b""),
    ):
        with pytest.raises(UnknownKey):
            use()


@pytest.mark.parametrize("length", [16, 24, 32, 48, 1024])
def test_wraps_are_those_of_RFC_3394(token: Token, length: int) -> None:
    """The KEK goes in by hand here, so that memory has one to compare with."""
    octets, name = os.urandom(32), label()
    token.use(
        None,
        lambda session: session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
                pkcs11.Attribute.VALUE: octets,
                pkcs11.Attribute.LABEL: name,
                pkcs11.Attribute.WRAP: True,
                pkcs11.Attribute.UNWRAP: True,
                pkcs11.Attribute.SIGN: True,
            }
        ),
    )
    inside, outside, secret = TokenWrappingKey(token, name), WrappingKey(octets), os.urandom(length)
    assert inside.kcv == outside.kcv
    assert inside.wrap(secret) == outside.wrap(secret)
    assert inside.unwrap(outside.wrap(secret)) == secret
    assert inside.holds(octets) and not inside.holds(os.urandom(32)) and not inside.holds(b"short")


def test_G05_wrong_wraps_are_one_error(kek: TokenWrappingKey) -> None:
    blob = kek.wrap(os.urandom(16))
    texts = set()
    for bad in (blob[:-1], blob[:-8], blob + bytes(8), b"", bytes(24), bytes(2000), blob[::-1]):
        with pytest.raises(Forged) as caught:
            kek.unwrap(bad)
        texts.add(str(caught.value))
    assert len(texts) == 1
    with pytest.raises(Forged):
        kek.gcm(blob[::-1])
    for length in (8, 17, 24, 48):
        with pytest.raises(KeyLength):
            kek.gcm(bytes(length + 8))
    for secret in (b"", bytes(8), bytes(17), bytes(1032)):
        with pytest.raises(KeyLength):
            kek.wrap(secret)


def test_G09_the_token_gives_no_key_out(token: Token, kek: TokenWrappingKey) -> None:
    inside = kek.gcm(kek.wrap(os.urandom(16)))
    for held in (kek._inside, inside._inside):
        with pytest.raises(pkcs11.AttributeSensitive):
            token.use(held, lambda key: key[pkcs11.Attribute.VALUE])
    for thing in (kek, inside, token):
        with pytest.raises(Misuse):
            copy.copy(thing)


def test_names_in_use_and_names_of_nothing(token: Token, kek: TokenWrappingKey) -> None:
    with pytest.raises(ConfigurationError, match="already"):
        make_kek(token, kek._label)
    with pytest.raises(ConfigurationError, match="NoSuchKey"):
        TokenWrappingKey(token, "nothing")
    with pytest.raises(ConfigurationError, match="NoSuchKey"):
        signing_key(token, "nothing")
    with pytest.raises(KeyLength):
        make_kek(token, "twentyfour", 24)


# --- curves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["P-256", "P-384"])
def test_pairs_sign_and_agree_as_pairs_in_memory(token: Token, name: str) -> None:
    row, signs, agrees = curve(name), label(), label()
    make_pair(token, signs, row, SigningKey)
    make_pair(token, agrees, row, AgreementKey)
    key = signing_key(token, signs)
    signature = key.sign(b"message")
    assert len(signature) == 2 * row.width and key.curve is row
    key.public.verify(signature, b"message")
    with pytest.raises(Forged):
        key.public.verify(signature, b"massage")
    wrong = SHA256() if name == "P-384" else SHA384()
    for asked in (wrong, Prehashed(wrong), Prehashed(row.hash)):
        with pytest.raises(Misuse, match=f"signs with {row.hash.name}"):
            key.backend().sign(b"no digest", ECDSA(asked))
    assert key.backend().sign(b"message", ECDSA(row.hash))
    ours, theirs = agreement_key(token, agrees), AgreementKey.generate(row)
    length = 16 if name == "P-256" else 32
    agreed = ours.agree(theirs.public, b"other info", length)
    assert agreed == theirs.agree(ours.public, b"other info", length)
    other = AgreementKey.generate(curve("P-384" if name == "P-256" else "P-256"))
    with pytest.raises(Misuse):
        ours.agree(other.public, b"", 16)
    with pytest.raises(ConfigurationError, match="already"):
        make_pair(token, signs, row, SigningKey)


def test_a_pair_does_one_thing_and_stays(token: Token) -> None:
    signs, agrees = label(), label()
    make_pair(token, signs, curve("P-256"), SigningKey)
    make_pair(token, agrees, curve("P-256"), AgreementKey)
    with pytest.raises(ConfigurationError, match="not made to sign"):
        signing_key(token, agrees)
    with pytest.raises(ConfigurationError, match="not made to derive"):
        agreement_key(token, signs)
    with pytest.raises(Misuse, match="does not leave"):
        write_key(signing_key(token, signs))
    with pytest.raises(Misuse, match="does not leave"):
        copy.copy(signing_key(token, signs).backend())


def test_certificates_are_signed_in_the_token(token: Token) -> None:
    from cryptography import x509

    name = label()
    make_pair(token, name, curve("P-256"), SigningKey)
    key = signing_key(token, name)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root in a token")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public.backend())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key.backend(), SHA256())
    )
    made.verify_directly_issued_by(made)


def test_credentials_name_keys_in_an_HSM(softhsm: SoftHsm, token: Token, kek: TokenWrappingKey) -> None:
    name = label()
    make_pair(token, name, curve("P-256"), SigningKey)
    assert private_key(softhsm.uri(name), SigningKey).public == signing_key(token, name).public
    assert wrapping_key(softhsm.uri(kek._label)).kcv == kek.kcv


# --- G16: an HSM that goes away, or refuses -------------------------------------------------------------


def test_G16_a_lost_session_is_opened_once_more_and_its_keys_come_back(
    token: Token, kek: TokenWrappingKey
) -> None:
    inside = kek.gcm(kek.wrap(os.urandom(16)))
    before = inside.seal(0x30, IV, b"x")
    token.close()
    assert inside.seal(0x30, IV, b"x") == before
    session = token._session
    assert session is not None
    session.close()  # behind our back
    assert inside.seal(0x30, IV, b"x") == before


def test_G16_lost_twice_is_an_error_and_never_a_key_in_memory(token: Token, kek: TokenWrappingKey) -> None:
    calls = []

    def fail(key: object) -> None:
        calls.append(key)
        raise pkcs11.DeviceError

    with pytest.raises(HsmUnavailable, match="DeviceError"):
        token.use(kek._inside, fail)
    assert len(calls) == 2


def test_G16_a_PIN_that_was_refused_is_not_tried_again(softhsm: SoftHsm) -> None:
    with pytest.raises(ConfigurationError, match="PinIncorrect"):
        open_token(softhsm.module, "second", b"wrong-pin")
    for _ in range(5):
        with pytest.raises(ConfigurationError, match="not tried again"):
            open_token(softhsm.module, "second", b"wrong-pin")
    assert open_token(softhsm.module, "second", softhsm.pin.encode()).label == "second"
    with pytest.raises(ConfigurationError, match="another PIN"):
        open_token(softhsm.module, "second", b"wrong-pin")


def test_G16_no_token_and_no_library(softhsm: SoftHsm) -> None:
    with pytest.raises(ConfigurationError, match="NoSuchToken"):
        open_token(softhsm.module, "nowhere", b"123456")
    with pytest.raises(ConfigurationError, match="no PKCS#11 library"):
        open_token("/nowhere.so", "meterseal", b"123456")


def test_many_threads_share_a_token(token: Token, kek: TokenWrappingKey) -> None:
    ek = os.urandom(16)
    inside, outside = kek.gcm(kek.wrap(ek)), GcmKey(ek)

    def work(number: int) -> bool:
        iv = number.to_bytes(12, "big")
        return inside.seal(0x30, iv, b"message") == outside.seal(0x30, iv, b"message")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def _child(name: str, blob: bytes, module: str, pin: bytes, ends: object) -> None:
    inside: TokenGcmKey = TokenWrappingKey(open_token(module, "meterseal", pin), name).gcm(blob)
    ends.send(inside.seal(0x30, IV, b"x"))  # type: ignore[attr-defined]


def test_H13_a_child_logs_in_for_itself(softhsm: SoftHsm, kek: TokenWrappingKey) -> None:
    ek = os.urandom(16)
    blob = kek.wrap(ek)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(
        target=_child, args=(kek._label, blob, softhsm.module, softhsm.pin.encode(), there)
    )
    child.start()
    assert here.poll(30) and here.recv() == GcmKey(ek).seal(0x30, IV, b"x")
    child.join(30)
    assert child.exitcode == 0
    assert kek.gcm(blob).seal(0x30, IV, b"x") == GcmKey(ek).seal(0x30, IV, b"x")
