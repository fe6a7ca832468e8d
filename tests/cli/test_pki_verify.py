"""`meterseal pki verify`: certificates with one fault each, chains, revocation lists, dates."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority
from meterseal.crypto.revocation import Revocation
from tests.cli.shell import Ran, run
from tests.crypto import certificate_faults as faults

TITLE, OTHER = "4D534C0000000001", "4D534C0000000002"
AT = ("--at", f"{faults.NOW:%Y-%m-%dT%H:%M:%SZ}")


def verify(folder: Path, der: bytes, *more: object, between: list[Certificate] | None = None) -> Ran:
    (folder / "leaf").write_bytes(der)
    (folder / "root.pem").write_bytes(faults.ROOT.certificate.to_pem())
    between = [faults.SUB.certificate] if between is None else between
    (folder / "between.pem").write_bytes(b"".join(one.to_pem() for one in between) or b"-----BEGIN ")
    words = ["pki", "verify", str(folder / "leaf"), "--trust", str(folder / "root.pem"), *map(str, AT)]
    words += ["--between", str(folder / "between.pem")] if between else []
    return run(*words, *map(str, more))


def test_the_right_one_holds(tmp_path: Path) -> None:
    assert verify(tmp_path, faults.RIGHT.der()).code == 0
    both = faults.right().to_pem() + faults.SUB.certificate.to_pem()
    assert verify(tmp_path, both, between=[]).code == 0


CAUSES = {
    "wrong curve": "secp521r1", "rsa": "not on an elliptic curve", "compressed point": "uncompressed point",
    "explicit parameters": "named curve", "lower-case title": "no system title",
    "hwSerialNum differs": "two system titles", "key usage missing": "no key usage",
    "key usage both": "extended key usage", "CA:TRUE leaf": "contradict", "serial 0": "serial number",
    "unknown critical extension": "1.2.3.4", "extension of 64 kB": "above 8192",
    "duplicate extension": "comes twice", "trailing octets": "cannot be read",
    "expired": "expired at 2026-11-25 11:59:59Z, or this clock is wrong", "from the future": "early",
    "signed by a stranger": "another key of the issuer",
    "signed by a stranger under the right identifier": "does not verify", "AKI mismatch": "another key",
    "issuer of another name": "no certificate of its issuer", "self-signed leaf": "it is none",
    "P-384 key under P-256": "P-384 key certified by a P-256",
}  # fmt: skip
"""The words that have to be in it, where the fault can be named; the others are refused by some name."""


SINGLE_AND_CHAIN = {**faults.SINGLE, **faults.CHAIN}
assert set(CAUSES) <= set(SINGLE_AND_CHAIN)


@pytest.mark.parametrize("fault", [name for name in SINGLE_AND_CHAIN if name != "pem in place of der"])
def test_D11_D12_D13_D14_D15_D19_faults_through_verify(fault: str, tmp_path: Path) -> None:
    ran = verify(tmp_path, faults.quietly(SINGLE_AND_CHAIN[fault]), "--json")
    assert ran.code == 1 and ran.err.startswith("meterseal: certificate: ") and ran.err.count("\n") == 1
    answer = json.loads(ran.out)
    assert answer["holds"] is False and answer["error"]["type"] == "certificate"
    assert CAUSES.get(fault, "") in answer["error"]["message"]


def test_D11_another_meters_title(tmp_path: Path) -> None:
    ran = verify(tmp_path, faults.RIGHT.der(), "--title", OTHER)
    assert ran.code == 1 and f"a certificate of {TITLE}, wanted is {OTHER}" in ran.err
    ran = verify(tmp_path, faults.RIGHT.der(), "--purpose", "agreement")
    assert ran.code == 1 and "for signature, wanted is agreement" in ran.err


def test_D15_chains(tmp_path: Path) -> None:
    ran = verify(tmp_path, faults.RIGHT.der(), between=[])
    assert ran.code == 1 and "from CN=4D534C0000000001: no certificate of its issuer is here" in ran.err
    twin = faults.ROOT.sub(SigningKey.generate(curve("P-256")), "Sub", faults.VALIDITY).certificate
    assert verify(tmp_path, faults.RIGHT.der(), between=[twin]).code == 1
    assert verify(tmp_path, faults.RIGHT.der(), between=[twin, faults.SUB.certificate]).code == 0
    authority, others = faults.ROOT, list[Certificate]()
    for number in range(20):
        authority = authority.sub(SigningKey.generate(curve("P-256")), f"{number}", faults.VALIDITY, None)
        others.append(authority.certificate)
    leaf = authority.issue(
        SigningKey.generate(curve("P-256")).public, faults.TITLE, Purpose.TLS, faults.VALIDITY
    )
    ran = verify(tmp_path, leaf.der, between=others)
    assert ran.code == 1 and "more than 8 certificates" in ran.err
    assert "more than" in verify(tmp_path, leaf.der, between=others[-8:]).err


def listed(by: Authority, *serials: bytes, days: int = 7, ago: int = 1) -> bytes:
    begin = faults.NOW - timedelta(days=ago)
    entries = [Revocation(one, begin) for one in serials]
    return by.revocation_list(entries, 1, begin, begin + timedelta(days=days))


STRANGER = Authority.root(SigningKey.generate(curve("P-256")), "Sub", faults.VALIDITY)
UNKNOWN = Authority.root(SigningKey.generate(curve("P-256")), "Unknown", faults.VALIDITY)


@pytest.mark.parametrize(
    ("lists", "cause"),
    [
        (lambda: [listed(faults.SUB), listed(faults.ROOT)], ""),
        (lambda: [listed(faults.SUB, b"\x12\x34"), listed(faults.ROOT)], "revoked at 2026-11-24 12:00:00Z"),
        (
            lambda: [listed(faults.SUB), listed(faults.ROOT, faults.SUB.certificate.serial)],
            "by CN=Root: unspecified",
        ),
        (lambda: [listed(faults.SUB)], "no revocation list of CN=Root"),
        (lambda: [listed(faults.ROOT)], "no revocation list of CN=Sub"),
        (lambda: [listed(faults.SUB, days=1, ago=2), listed(faults.ROOT)], "stale"),
        (lambda: [listed(faults.SUB, ago=-1), listed(faults.ROOT)], "early, or this clock is wrong"),
        (lambda: [listed(STRANGER), listed(faults.ROOT)], "names another key of its issuer"),
        (lambda: [listed(UNKNOWN)], "of an unknown issuer, CN=Unknown"),
        (lambda: [b"\x30\x00"], "cannot be read"),
    ],
)
def test_D16_revocation_through_verify(lists: Callable[[], list[bytes]], cause: str, tmp_path: Path) -> None:
    words: list[str] = []
    for number, octets in enumerate(lists()):
        (tmp_path / f"{number}.crl").write_bytes(octets)
        words += ["--crl", str(tmp_path / f"{number}.crl")]
    ran = verify(tmp_path, faults.RIGHT.der(), *words)
    assert ran.code == (1 if cause else 0), ran.err
    assert cause in ran.err


def test_D12_at(tmp_path: Path) -> None:
    (tmp_path / "leaf").write_bytes(faults.RIGHT.der())
    (tmp_path / "root").write_bytes(faults.ROOT.certificate.der)
    (tmp_path / "sub").write_bytes(faults.SUB.certificate.der)
    words = ("pki", "verify", str(tmp_path / "leaf"), "--trust", str(tmp_path / "root"), "--between")
    for at, code in (("2016-11-25", 1), ("2026-11-25T12:00+01:00", 0), ("2030-01-01", 0), ("2056-11-25", 1)):
        ran = run(*words, str(tmp_path / "sub"), "--at", at)
        assert ran.code == code and ("clock" in ran.err) is bool(code), at
