"""OpenSSL's command line as a second opinion on what `meterseal pki` makes, and the other way round."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from meterseal.crypto.certificates import Certificate
from tests.cli.shell import run

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")

TITLE = "4D534C0000000001"


def openssl(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def pki(*words: object) -> str:
    ran = run("pki", *map(str, words))
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module", params=["P-256", "P-384"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, a sub-authority, one certificate for each purpose, lists of both authorities."""
    folder = tmp_path_factory.mktemp("openssl")
    pki("init", "--dir", folder / "root", "--name", "Root", "--curve", request.param)
    pki("sub", "--dir", folder / "sub", "--name", "Sub", "--under", folder / "root", "--curve", request.param)
    for purpose in ("signature", "agreement", "tls"):
        csr, out = folder / f"{purpose}.csr", folder / f"{purpose}.pem"
        words = ("--title", TITLE, "--purpose", purpose)
        pki("request", *words, "--key-out", folder / f"{purpose}.key", "--out", csr)
        pki("issue", "--dir", folder / "sub", "--csr", csr, *words, "--out", out)
    serial = Certificate.from_pem((folder / "tls.pem").read_bytes())[0].serial.hex()
    pki("revoke", serial, "--dir", folder / "sub", "--reason", "key-compromise")
    for name in ("root", "sub"):
        pki("crl", "--dir", folder / name)
    return folder


def test_openssl_verifies_the_chain(made: Path) -> None:
    words = (
        "verify",
        "-x509_strict",
        "-CAfile",
        made / "root" / "ca.pem",
        "-untrusted",
        made / "sub" / "ca.pem",
    )
    for purpose in ("signature", "agreement", "tls"):
        assert openssl(*words, made / f"{purpose}.pem").endswith(": OK\n")
    assert openssl("verify", "-CAfile", made / "root" / "ca.pem", made / "sub" / "ca.pem").endswith(": OK\n")


def test_openssl_reads_what_is_in_it(made: Path) -> None:
    text = openssl("x509", "-in", made / "signature.pem", "-noout", "-text")
    assert re.search(r"Subject: CN ?= ?4D534C0000000001\n", text)
    assert re.search(r"Key Usage: critical\s+Digital Signature\n", text)
    assert "Basic Constraints" not in text and "Extended Key Usage" not in text
    assert re.search(
        r"Key Usage: critical\s+Key Agreement\n", openssl("x509", "-in", made / "agreement.pem", "-text")
    )
    text = openssl("x509", "-in", made / "tls.pem", "-noout", "-text")
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in text
    text = openssl("x509", "-in", made / "sub" / "ca.pem", "-noout", "-text")
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0\n", text)
    assert re.search(r"Key Usage: critical\s+Certificate Sign, CRL Sign\n", text)


def test_openssl_honours_the_lists(made: Path) -> None:
    text = openssl(
        "crl", "-in", made / "sub" / "crl.pem", "-noout", "-text", "-CAfile", made / "sub" / "ca.pem"
    )
    assert "verify OK" in text and "Key Compromise" in text
    assert openssl("crl", "-inform", "DER", "-in", made / "sub" / "crl.der", "-noout", "-nextupdate")
    words = [
        "verify",
        "-crl_check_all",
        "-CAfile",
        made / "root" / "ca.pem",
        "-untrusted",
        made / "sub" / "ca.pem",
    ]
    words += ["-CRLfile", made / "sub" / "crl.pem", "-CRLfile", made / "root" / "crl.pem"]
    assert openssl(*words, made / "signature.pem").endswith(": OK\n")
    assert "certificate revoked" in openssl(*words, made / "tls.pem", code=2)


def test_openssl_takes_the_keys_and_requests(made: Path) -> None:
    for purpose in ("signature", "agreement", "tls"):
        assert "verify OK" in openssl("req", "-in", made / f"{purpose}.csr", "-noout", "-verify")
        public = openssl("pkey", "-in", made / f"{purpose}.key", "-pubout")
        assert openssl("x509", "-in", made / f"{purpose}.pem", "-noout", "-pubkey") == public
    assert "Key is valid" in openssl("pkey", "-in", made / "root" / "ca-key.pem", "-noout", "-check")


def test_a_request_made_by_openssl(made: Path) -> None:
    """Its key, its request, our certificate: for the other title, as it asks."""
    key, csr, out = made / "other.key", made / "other.csr", made / "other.pem"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-sha256", "-subj", "/CN=4D534C0000000002", "-out", csr)
    words = ("--title", "4D534C0000000002", "--purpose", "signature", "--out", out)
    pki("issue", "--dir", made / "sub", "--csr", csr, *words)
    trust = ("--trust", made / "root" / "ca.pem", "--between", made / "sub" / "ca.pem")
    lists = ("--crl", made / "sub" / "crl.pem", "--crl", made / "root" / "crl.pem")
    assert pki("verify", out, *trust, *lists).startswith("holds: ")


CONFIG = """
[req]
prompt = no
distinguished_name = who
req_extensions = more
[who]
CN = a meter
[more]
subjectAltName = critical,otherName:1.3.6.1.5.5.7.8.4;SEQUENCE:module
[module]
type = OID:1.2.3.4
serial = FORMAT:HEX,OCTETSTRING:4D534C0000000003
"""


def test_D18_a_request_with_its_title_in_the_hardware_module_name(made: Path) -> None:
    """Shown by that title, certified by our own form, and for no other."""
    key, csr, out, config = (made / f"module.{end}" for end in ("key", "der", "pem", "cnf"))
    config.write_text(CONFIG)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-config", config, "-outform", "DER", "-out", csr)
    assert pki("show", csr).startswith("title       4D534C0000000003\n")
    words = ("--dir", made / "sub", "--csr", csr, "--purpose", "signature", "--out", out)
    assert run("pki", "issue", *map(str, words), "--title", TITLE).code == 1
    pki("issue", *words, "--title", "4D534C0000000003")
    assert Certificate.from_pem(out.read_bytes())[0].subject_text == "CN=4D534C0000000003"


def test_an_encrypted_key(made: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    words = ("--dir", tmp_path / "root", "--name", "Locked", "--password", f"@{tmp_path / 'password'}")
    pki("init", *words)
    key = ("pkey", "-in", tmp_path / "root" / "ca-key.pem", "-noout", "-passin")
    openssl(*key, f"file:{tmp_path / 'password'}")
    openssl(*key, "pass:wrong", code=1)
