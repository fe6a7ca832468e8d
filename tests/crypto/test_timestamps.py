"""Time stamps as other software makes them, and what is bent in them."""

from __future__ import annotations

import subprocess
from itertools import permutations
from pathlib import Path
from shutil import which

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meterseal.crypto.timestamps import TimeStamp, stamp_request
from meterseal.errors import CertificateRefused, Forged, Malformed
from tests.authority.tsa import MOMENT, TimeStamper, stamper

STAMPED = b"what was there"

SECTION = """
[stamps]
serial = serial
signer_cert = own.pem
certs = root.pem
signer_key = own.key
signer_digest = {digest}
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha384, sha512
clock_precision_digits = 3
accuracy = secs:1, millisecs:500
ordering = yes
tsa_name = yes
"""


def certificates(how: TimeStamper) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in (how.certificate, how.root)]


def test_certificates_in_whatever_order() -> None:
    """No signature covers their order: DER would have the smallest first, and not everybody sorts them."""
    how = stamper()
    token = how.token(STAMPED, root=True)
    (whole,) = (part for part in map(b"".join, permutations(certificates(how))) if part in token)
    for order in permutations(certificates(how)):
        found = TimeStamp(token.replace(whole, b"".join(order)))
        assert found.check(STAMPED, [how.anchor]) == "CN=Time" and found.moment == MOMENT
        assert TimeStamp(found.token).token == found.token == token


@pytest.mark.skipif(which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_stamp_of_openssl(digest: str, bare: bool, tmp_path: Path) -> None:
    how = TimeStamper(before=3650, days=36500)
    (tmp_path / "conf").write_text(SECTION.format(digest=digest))
    (tmp_path / "serial").write_text("1F\n")
    (tmp_path / "request").write_bytes(stamp_request(STAMPED))
    (tmp_path / "own.pem").write_bytes(how.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "root.pem").write_bytes(how.root.public_bytes(Encoding.PEM))
    key = how.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "own.key").write_bytes(key)
    words = ["ts", "-reply", "-config", "conf", "-section", "stamps", "-queryfile", "request"]
    form = ["-out", "stamp", *(["-token_out"] if bare else [])]
    done = subprocess.run(
        ["openssl", *words, *form], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = TimeStamp((tmp_path / "stamp").read_bytes())
    assert found.check(STAMPED, [how.anchor]) == "CN=Time" and found.serial == 0x1F + 1
    with pytest.raises(Forged):
        found.check(STAMPED + b"?", [how.anchor])
    with pytest.raises(Forged):
        found.check(STAMPED, [stamper().anchor])


def test_a_stamp_that_was_granted_in_another_form_than_asked() -> None:
    """PKIStatus grantedWithMods brings a stamp as well (RFC 3161, 2.4.2)."""
    how = stamper()
    token = how.token(STAMPED, root=True)
    for status, taken in enumerate((True, True, False, False, False, False)):
        content = bytes.fromhex("30030201") + bytes((status,)) + token
        response = b"\x30\x82" + len(content).to_bytes(2, "big") + content
        if taken:
            assert TimeStamp(response).check(STAMPED, [how.anchor]) == "CN=Time"
        else:
            with pytest.raises(Malformed, match="refused"):
                TimeStamp(response)


def test_a_refusal_of_the_authority_is_told_as_one() -> None:
    """As OpenSSL writes it: a status with its words, and no token."""
    words = b"\x0c\x03bad"
    for info in (b"", b"\x30\x05" + words, b"\x30\x05" + words + bytes.fromhex("03020520")):
        status = bytes.fromhex("020102") + info
        content = b"\x30" + bytes((len(status),)) + status
        with pytest.raises(Malformed, match="refused"):
            TimeStamp(b"\x30" + bytes((len(content),)) + content)


def test_D19_a_certificate_in_a_stamp_that_is_none() -> None:
    """One that nobody needs, of a version that there is not: the verifier looks at it all the same."""
    how = stamper()
    token, (_, root) = how.token(STAMPED, root=True), certificates(how)
    version = bytes.fromhex("A003020102")
    bent = token.replace(root, root.replace(version, version[:-1] + b"\x03", 1))
    with pytest.raises(CertificateRefused, match="a certificate in the time stamp"):
        TimeStamp(bent).check(STAMPED, [how.anchor])


def test_F01_stamps_cut_short() -> None:
    token = stamper().token(STAMPED, root=True)
    for size in range(len(token)):
        with pytest.raises(Malformed):
            TimeStamp(token[:size])
