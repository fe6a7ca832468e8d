"""Check values, suites, secrets, key wrap: the small parts of the crypto package."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import SUITES, GcmKey, Secret, WrappingKey, kcv, random_octets, same, suite
from meterseal.errors import Forged, KeyLength, Misuse, UnknownKey, Unsupported

keys = st.one_of(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))


def block(key: bytes, octets: bytes) -> bytes:
    return Cipher(AES(key), ECB()).encryptor().update(octets)


@given(keys)
def test_kcv_is_the_cmac_of_a_zero_block(key: bytes) -> None:
    """By the definition of CMAC (NIST SP 800-38B): for one whole block, AES(block xor K1)."""
    hash_key = block(key, bytes(16))
    doubled = int.from_bytes(hash_key, "big") << 1
    if doubled >> 128:
        doubled = (doubled & (1 << 128) - 1) ^ 0x87
    assert kcv(key) == block(key, doubled.to_bytes(16, "big"))[:5].hex().upper()
    assert kcv(key) != hash_key[:5].hex().upper()
    assert kcv(key) == GcmKey(key).kcv == WrappingKey(key).kcv


@pytest.mark.parametrize("length", [0, 8, 15, 24, 33])
def test_kcv_of_another_length(length: int) -> None:
    with pytest.raises(KeyLength):
        kcv(bytes(length))
    with pytest.raises(KeyLength):
        WrappingKey(bytes(length))


def test_suites() -> None:
    assert [suite(id).key_length for id in (0, 1, 2)] == [16, 16, 32]
    for row in SUITES.values():
        assert (row.tag_length, row.iv_length) == (12, 12)
        assert len(WrappingKey(bytes(row.key_length)).wrap(bytes(row.key_length))) == row.wrapped_length
        assert row.public_length == row.signature_length == 2 * row.private_length
    for reserved in (-1, *range(3, 16), 256):
        with pytest.raises(Unsupported):
            suite(reserved)


@given(keys, st.integers(2, 8).flatmap(lambda blocks: st.binary(min_size=8 * blocks, max_size=8 * blocks)))
def test_wrap_and_unwrap(kek: bytes, key: bytes) -> None:
    handle = WrappingKey(kek)
    blob = handle.wrap(key)
    assert len(blob) == len(key) + 8
    assert handle.unwrap(blob) == key


def test_unwrap_refuses_everything_else() -> None:
    handle = WrappingKey(bytes(16))
    blob = handle.wrap(bytes(range(16)))
    for bit in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            handle.unwrap(bytes(flipped))
    texts = set()
    for length in [*range(50), 1000, 1031, 1033, 1040, 100_000]:
        with pytest.raises(Forged) as caught:
            handle.unwrap(bytes(length))
        texts.add(str(caught.value))
    assert len(texts) == 1  # G05: one answer, whatever is wrong
    with pytest.raises(Forged):
        WrappingKey(bytes(15) + b"1").unwrap(blob)


@pytest.mark.parametrize("length", [0, 8, 15, 17, 20, 1032])
def test_wrap_of_another_length(length: int) -> None:
    with pytest.raises(KeyLength):
        WrappingKey(bytes(16)).wrap(bytes(length))


def test_a_destroyed_kek_does_nothing() -> None:
    handle = WrappingKey(bytes(16))
    blob = handle.wrap(bytes(16))
    assert handle.holds(bytes(16)) and not handle.holds(bytes(15) + b"1")
    handle.destroy()
    for use in (lambda: handle.wrap(bytes(16)), lambda: handle.unwrap(blob), lambda: handle.holds(bytes(16))):
        with pytest.raises(UnknownKey):
            use()
    assert repr(handle) == f"<WrappingKey {handle.kcv}, destroyed>"


def test_secret() -> None:
    secret = Secret(b"hls-secret-16oct")
    assert secret.reveal() == b"hls-secret-16oct"
    assert repr(secret) == str(secret) == f"{secret}" == "<Secret>"
    secret.destroy()
    with pytest.raises(UnknownKey):
        secret.reveal()


def test_same() -> None:
    assert same(b"", b"") and same(b"abc", b"abc")
    assert not same(b"abc", b"abd") and not same(b"abc", b"ab") and not same(b"", b"a")


@pytest.mark.parametrize("count", [-1, 0])
def test_random_octets_of_nothing(count: int) -> None:
    with pytest.raises(Misuse):
        random_octets(count)


def test_A13_challenges_do_not_repeat() -> None:
    challenges = {random_octets(16) for _ in range(100_000)}
    assert len(challenges) == 100_000
    assert {len(octets) for octets in challenges} == {16}
