"""Wycheproof through our own handles: AES-GCM and GMAC at the DLMS/COSEM sizes, RFC 3394 key wrap."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from meterseal.crypto import GcmKey, WrappingKey, gcm
from meterseal.errors import Forged, KeyLength, Malformed, Misuse
from tests.vectors import wycheproof

Case = dict[str, Any]


def octets(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


class Bare(GcmKey):
    """A handle whose SC || AK is whatever a case has: Wycheproof's additional data is not of our shape."""

    aad = b""

    def _sc_ak(self, sc: int) -> bytes:
        return self.aad


def handle(case: Case, aad: bytes) -> Bare:
    key = Bare(octets(case, "key"))
    key.aad = key._additional[0x30] = aad
    return key


def expect(valid: bool, key: GcmKey, sc: int, iv: bytes, body: bytes, plain: bytes) -> None:
    if valid:
        assert key.open(sc, iv, body) == plain
        return
    with pytest.raises(Forged):
        key.open(sc, iv, body)


@pytest.mark.parametrize("stream_from", [0, 1 << 40], ids=["stream", "two-calls"])
def test_aes_gcm(stream_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcm, "STREAM_FROM", stream_from)
    seen: Counter[str] = Counter()
    for case in wycheproof("aes_gcm"):
        iv, aad, plain = octets(case, "iv"), octets(case, "aad"), octets(case, "msg")
        if case["keySize"] == 192:
            with pytest.raises(KeyLength):
                GcmKey(octets(case, "key"))
            seen["no such key in any suite"] += 1
            continue
        key, tag = handle(case, aad), octets(case, "tag")[:12]
        if case["ivSize"] != 96:
            with pytest.raises(Misuse):
                key.seal(0x30, iv, plain)
            with pytest.raises(Malformed):
                key.open(0x30, iv, octets(case, "ct") + tag)
            seen["other IV"] += 1
            continue
        sealed = key.seal(0x30, iv, plain)
        valid = case["result"] == "valid"
        if not valid and tag == sealed[-12:]:
            seen["right after the cut"] += 1
            continue
        if valid:
            assert sealed == octets(case, "ct") + tag
            assert key.seal(0x20, iv, plain) == octets(case, "ct")
            assert key.open(0x20, iv, octets(case, "ct")) == plain
        expect(valid, key, 0x30, iv, octets(case, "ct") + tag, plain)
        seen[case["result"]] += 1
    assert seen == {
        "valid": 79,
        "invalid": 40,
        "right after the cut": 14,
        "other IV": 80,
        "no such key in any suite": 103,
    }


def test_aes_gmac() -> None:
    seen: Counter[str] = Counter()
    for case in wycheproof("aes_gmac"):
        if case["keySize"] == 192 or case["ivSize"] != 96:
            seen["other size"] += 1
            continue
        iv, message, tag = octets(case, "iv"), octets(case, "msg"), octets(case, "tag")[:12]
        key = handle(case, b"")
        right = key.tag(0x10, iv, message)
        valid = case["result"] == "valid"
        if not valid and tag == right:
            seen["right after the cut"] += 1
            continue
        assert (right == tag) is valid
        if valid:
            assert key.seal(0x10, iv, message) == message + tag
        expect(valid, key, 0x10, iv, message + tag, message)
        seen[case["result"]] += 1
    assert seen == {"valid": 30, "invalid": 80, "right after the cut": 28, "other size": 276}


def test_aes_wrap() -> None:
    seen: Counter[str] = Counter()
    for case in wycheproof("aes_wrap"):
        plain, wrapped = octets(case, "msg"), octets(case, "ct")
        if case["keySize"] == 192:
            with pytest.raises(KeyLength):
                WrappingKey(octets(case, "key"))
            seen["no such key in any suite"] += 1
            continue
        kek = WrappingKey(octets(case, "key"))
        # "acceptable" are wraps of 8 octets, one block: RFC 3394 wants two at least.
        if case["result"] != "valid":
            with pytest.raises(Forged):
                kek.unwrap(wrapped)
        else:
            assert kek.unwrap(wrapped) == plain
            assert kek.wrap(plain) == wrapped
        seen[case["result"]] += 1
    assert seen["valid"] == 24
    assert sum(seen.values()) == 165
