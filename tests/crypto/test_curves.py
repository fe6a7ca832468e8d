"""Curve keys: what they take, what they refuse, and that a key of one purpose has no other."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import SUITES, AgreementKey, AgreementPoint, Curve, SigningKey, VerifyingKey, curve
from meterseal.crypto.curves import from_der, to_der
from meterseal.errors import Forged, KeyLength, Malformed, Misuse, UnknownKey, Unsupported
from tests.vectors import load, wycheproof

P256, P384 = curve("P-256"), curve("P-384")
BOTH = pytest.mark.parametrize("on", [P256, P384], ids=lambda c: c.name)
Case = dict[str, Any]


def octets(row: Case, name: str, inside: str = "inputs") -> bytes:
    return bytes.fromhex(row[inside][name])


def ids(row: Case) -> str:
    return f"{row['origin']}-{row['id']}"


# --- encoding -----------------------------------------------------------------------------------------

EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x100, P256.order - 1, P384.order - 1, 2**255, 2**256 - 1, 2**384 - 1]


@BOTH
@given(st.data())
def test_signatures_go_to_der_and_back_as_the_backend_does_it(on: Curve, data: st.DataObject) -> None:
    number = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**384 - 1))
    r, s = (data.draw(number) % 2 ** (8 * on.width) for _ in range(2))
    plain = r.to_bytes(on.width, "big") + s.to_bytes(on.width, "big")
    assert to_der(plain, on.width) == encode_dss_signature(r, s)
    assert from_der(encode_dss_signature(r, s), on.width) == plain
    assert decode_dss_signature(to_der(plain, on.width)) == (r, s)


# --- published vectors ------------------------------------------------------------------------------


@pytest.mark.parametrize("row", load("ecdsa"), ids=ids)
def test_signature_vectors(row: Case) -> None:
    on = curve(row["inputs"]["curve"])
    key = VerifyingKey(on, octets(row, "public"))
    message, signature = octets(row, "message"), octets(row, "signature")
    if row["expected"]["valid"]:
        key.verify(signature, message)
    else:
        with pytest.raises(Forged):
            key.verify(signature, message)
    if "private" in row["inputs"]:
        own = SigningKey(on, octets(row, "private"))
        assert own.public == key
        key.verify(own.sign(message), message)


@pytest.mark.parametrize("row", load("ecdh"), ids=ids)
def test_agreement_vectors(row: Case) -> None:
    on = curve(row["inputs"]["curve"])
    key = AgreementKey(on, octets(row, "private"))
    if "public" in row["inputs"]:
        assert key.public.octets == octets(row, "public")
    assert key._shared(AgreementPoint(on, octets(row, "peer_public"))) == octets(row, "z", "expected")


class Known(AgreementKey):
    """A key that agrees on the Z of a vector."""

    z = b""

    def _shared(self, peer: AgreementPoint) -> bytes:
        return self.z


@pytest.mark.parametrize("row", load("kdf"), ids=ids)
def test_kdf_vectors(row: Case) -> None:
    on = {"sha256": P256, "sha384": P384}[row["inputs"]["hash"]]
    key = Known.generate(on)
    key.z = octets(row, "z")
    other = octets(row, "algorithm_id") + octets(row, "party_u") + octets(row, "party_v")
    expected = octets(row, "key", "expected")
    assert key.agree(key.public, other, len(expected)) == expected
    assert key.agree(key.public, other, 16) == expected[:16]


# --- Wycheproof: D01, D02, D05 -----------------------------------------------------------------------

ECDSA = [
    (P256, "ecdsa_secp256r1_sha256_p1363", {"valid": 173, "invalid": 89}),
    (P384, "ecdsa_secp384r1_sha384_p1363", {"valid": 193, "invalid": 87}),
]
ECDH = [
    (P256, "ecdh_secp256r1_ecpoint", {"valid": 330, "invalid": 25}),
    (P384, "ecdh_secp384r1_ecpoint", {"valid": 771, "invalid": 19}),
]


@pytest.mark.parametrize(("on", "name", "counts"), ECDSA, ids=["P-256", "P-384"])
def test_D01_D02_signatures(on: Curve, name: str, counts: dict[str, int]) -> None:
    seen: Counter[str] = Counter()
    for case in wycheproof(name):
        point = bytes.fromhex(case["publicKey"]["uncompressed"])
        key = VerifyingKey(on, point[1:])
        signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
        if case["result"] == "valid":
            key.verify(signature, message)
        else:
            with pytest.raises(Forged):
                key.verify(signature, message)
        seen[case["result"]] += 1
    assert seen == counts


@pytest.mark.parametrize(("on", "name", "counts"), ECDH, ids=["P-256", "P-384"])
def test_D05_points(on: Curve, name: str, counts: dict[str, int]) -> None:
    seen: Counter[str] = Counter()
    for case in wycheproof(name):
        public = bytes.fromhex(case["public"])
        private = int(case["private"], 16).to_bytes(on.width, "big")
        # The only form on our wire is x || y; a compressed point ("acceptable") has no such form.
        uncompressed = public[:1] == b"\x04"
        if case["result"] == "valid":
            point = AgreementPoint(on, public[1:])
            assert AgreementKey(on, private)._shared(point) == bytes.fromhex(case["shared"])
            seen["valid"] += 1
        else:
            with pytest.raises(Malformed):
                AgreementPoint(on, public[1:] if uncompressed else public)
            seen["invalid"] += 1
    assert seen == counts


@BOTH
def test_D05_not_a_point(on: Curve) -> None:
    good = AgreementKey.generate(on).public.octets
    width = on.width
    prime = {32: 2**256 - 2**224 + 2**192 + 2**96 - 1, 48: 2**384 - 2**128 - 2**96 + 2**32 - 1}[width]
    y = int.from_bytes(good[width:], "big")
    bad = [
        b"",
        bytes(2 * width),  # infinity as some write it
        good[:-1],
        good + b"\x00",
        b"\x04" + good,
        b"\x02" + good[:width],
        good[:width] + bytes(width),
        prime.to_bytes(width, "big") + good[width:],
        good[:width] + ((y + 1) % prime).to_bytes(width, "big"),
        b"\xff" * (2 * width),
    ]
    for octets_ in bad:
        for kind in (AgreementPoint, VerifyingKey):
            with pytest.raises(Malformed):
                kind(on, octets_)
    AgreementPoint(on, good[:width] + (prime - y).to_bytes(width, "big"))  # -P is a point


@BOTH
def test_D02_encodings(on: Curve) -> None:
    key = SigningKey.generate(on)
    signature, width = key.sign(b"message"), on.width
    key.public.verify(signature, b"message")
    assert len(signature) == 2 * width
    r, s = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
    for other in (encode_dss_signature(r, s), signature[:-1], signature + b"\x00", b"", signature[::-1]):
        with pytest.raises(Forged):
            key.public.verify(other, b"message")
    with pytest.raises(Forged):
        key.public.verify(signature, b"massage")


@BOTH
def test_D03_the_second_form_of_a_signature_verifies(on: Curve) -> None:
    """So nothing may use signature octets as a message's name; both forms are one signature."""
    key = SigningKey.generate(on)
    signature, width = key.sign(b"message"), on.width
    s = int.from_bytes(signature[width:], "big")
    key.public.verify(signature[:width] + (on.order - s).to_bytes(width, "big"), b"message")


def test_D04_no_nonce_twice() -> None:
    key = SigningKey.generate(P256)
    count = 2_000
    assert len({key.sign(b"the same message")[:32] for _ in range(count)}) == count


# --- one key, one purpose ------------------------------------------------------------------------------


@BOTH
def test_D10_D20_types_tell_the_purpose(on: Curve) -> None:
    signing, agreeing = SigningKey.generate(on), AgreementKey.generate(on)
    assert not hasattr(signing, "agree") and not hasattr(agreeing, "sign")
    assert type(signing.public) is VerifyingKey and type(agreeing.public) is AgreementPoint
    point = AgreementPoint(on, signing.public.octets)
    assert point != signing.public and hash(point) != hash(signing.public)
    other = P384 if on is P256 else P256
    with pytest.raises(Misuse):
        agreeing.agree(AgreementKey.generate(other).public, b"", 16)
    with pytest.raises(Malformed):
        VerifyingKey(other, signing.public.octets)


@pytest.mark.parametrize("name", ["P-256", "P-384"])
def test_the_public_half_is_the_point_that_its_octets_say(name: str) -> None:
    on = curve(name)
    made: list[SigningKey | AgreementKey] = [SigningKey.generate(on) for _ in range(20)]
    for private in [*made, AgreementKey.generate(on)]:
        public = private.public
        assert public == type(public)(on, public.octets) == type(public).of(private.backend().public_key())


def test_agreement_is_mutual() -> None:
    for on in (P256, P384):
        a, b = AgreementKey.generate(on), AgreementKey.generate(on)
        assert a.agree(b.public, b"info", 32) == b.agree(a.public, b"info", 32)
        assert a.agree(b.public, b"info", 32) != a.agree(b.public, b"inf0", 32)


def test_other_keys_are_refused() -> None:
    with pytest.raises(Unsupported):
        curve("P-521")
    with pytest.raises(Unsupported):
        curve(SUITES[0].curve)
    foreign = ec.generate_private_key(ec.SECP521R1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    for key in (foreign, edwards, None):
        with pytest.raises(Unsupported):
            SigningKey.of(key)
    for public in (foreign.public_key(), edwards.public_key(), None):
        with pytest.raises(Unsupported):
            VerifyingKey.of(public)


@BOTH
def test_private_octets(on: Curve) -> None:
    one = SigningKey(on, (1).to_bytes(on.width, "big"))
    one.public.verify(one.sign(b"m"), b"m")
    for number in (0, on.order, on.order + 1):
        with pytest.raises(Malformed):
            SigningKey(on, number.to_bytes(on.width, "big"))
    for length in (0, on.width - 1, on.width + 1):
        with pytest.raises(KeyLength):
            AgreementKey(on, bytes(length))


def test_G17_private_keys_do_not_show() -> None:
    octets_ = bytes(range(1, 33))
    key = SigningKey(P256, octets_)
    assert octets_.hex() not in repr(key).lower()
    with pytest.raises(Misuse):
        pickle.dumps(key)
    key.destroy()
    assert "destroyed" in repr(key)
    with pytest.raises(UnknownKey):
        key.sign(b"m")
    with pytest.raises(UnknownKey):
        _ = key.public
    gone = AgreementKey.generate(P256)
    peer = gone.public
    gone.destroy()
    with pytest.raises(UnknownKey):
        gone.agree(peer, b"", 16)
