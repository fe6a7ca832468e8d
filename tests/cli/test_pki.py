"""`meterseal pki` from root to revocation list, what it refuses, certificate faults through `verify`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from meterseal.authority import look
from meterseal.crypto import AgreementKey, SigningKey
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request, make_request
from meterseal.crypto.keyfiles import read_key
from meterseal.crypto.revocation import RevocationList
from tests.cli.shell import Ran, run, spawn

TITLE, OTHER = "4D534C0000000001", "4D534C0000000002"
NEVER = {"METERSEAL_TEST_PASSWORD": "correct horse"}


class House:
    """Commands in one folder, with a root and a sub-authority in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.sub = folder / "root", folder / "sub"
        self.done("init", "--dir", self.root, "--name", "Root")
        self.done("sub", "--dir", self.sub, "--name", "Meters", "--under", self.root)

    def pki(self, *words: object, **how: Any) -> Ran:
        return run("pki", *(str(word) for word in words), **how)

    def done(self, *words: object, **how: Any) -> Ran:
        ran = self.pki(*words, **how)
        assert ran.code == 0 and ran.err == "", ran.err
        return ran

    def request(self, name: str, title: str = TITLE, purpose: str = "signature", *more: object) -> Path:
        out = self.folder / f"{name}.csr"
        words = (
            "--title",
            title,
            "--purpose",
            purpose,
            "--key-out",
            self.folder / f"{name}.key",
            "--out",
            out,
        )
        self.done("request", *words, *more)
        return out

    def issue(self, name: str, title: str = TITLE, purpose: str = "signature", *more: object) -> Path:
        csr, out = self.request(name, title, purpose), self.folder / f"{name}.pem"
        words = ("--dir", self.sub, "--csr", csr, "--title", title, "--purpose", purpose, "--out", out)
        self.done("issue", *words, *more)
        return out

    def verify(self, file: Path, *more: object) -> Ran:
        trust, between = self.root / "ca.pem", self.sub / "ca.pem"
        return self.pki("verify", file, "--trust", trust, "--between", between, *more)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def serial(file: Path) -> str:
    return Certificate.from_pem(file.read_bytes())[0].serial.hex().upper()


# --- the road ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["signature", "agreement", "tls"])
def test_from_a_request_to_a_chain_that_holds(house: House, purpose: str) -> None:
    out = house.issue("meter", TITLE, purpose)
    leaf = Certificate.from_pem(out.read_bytes())[0]
    assert leaf.title == bytes.fromhex(TITLE) and leaf.purpose is Purpose[purpose.upper()]
    key = read_key((house.folder / "meter.key").read_bytes(), SigningKey)
    assert leaf.key.octets == key.public.octets
    assert stat.S_IMODE((house.folder / "meter.key").stat().st_mode) == 0o600
    ran = house.verify(out, "--title", TITLE, "--purpose", purpose)
    assert ran.code == 0 and ran.err == ""
    assert ran.out.startswith("holds: CN=4D534C0000000001 - CN=Meters - CN=Root, until 20")
    shown = house.verify(out, "--json").lines()[0]
    assert shown["holds"] is True and [one["subject"] for one in shown["way"]] == [
        "CN=4D534C0000000001", "CN=Meters", "CN=Root",
    ]  # fmt: skip


def test_forms_of_the_answer(house: House) -> None:
    csr = house.request("meter", TITLE, "signature", "--der")
    assert Request(csr.read_bytes()).title == bytes.fromhex(TITLE)
    words = ("--dir", house.sub, "--csr", csr, "--title", TITLE.lower(), "--purpose", "signature")
    printed = house.done("issue", *words).out
    leaf = Certificate.from_pem(printed.encode())[0]
    number = leaf.serial.hex().upper()
    house.done("show", number, "--dir", house.sub, "--out", house.folder / "m.der", "--der")
    assert Certificate((house.folder / "m.der").read_bytes()) == leaf
    colons = ":".join(number[at : at + 2] for at in range(0, len(number), 2))
    shown = house.done("show", colons.lower(), "--dir", house.sub, "--json").lines()[0]["certificate"]
    assert shown["serial"] == number and shown["state"] == "valid" and shown["title"] == TITLE
    assert [event["what"] for event in shown["history"]] == ["issued"]
    for file, kind in ((house.folder / "m.der", "certificate"), (csr, "request")):
        assert list(house.done("show", file, "--json").lines()[0]) == [kind]
        assert TITLE in house.done("show", file).out
    assert house.done("show", "--dir", house.root, "--json").lines()[0]["certificate"]["subject"] == "CN=Root"
    chain = house.done("show", house.sub / "chain.pem", "--json").lines()
    assert [one["certificate"]["subject"] for one in chain] == ["CN=Meters", "CN=Root"]
    issued = house.done("issue", *words[:5], TITLE, "--purpose", "tls", "--json", "--csr", house.request("t"))
    answer = issued.lines()[0]
    assert (
        Certificate.from_pem(answer["pem"].encode())[0].serial.hex().upper()
        == answer["certificate"]["serial"]
    )


def test_renewed_and_revoked_and_listed(house: House) -> None:
    first = house.issue("first", TITLE, "agreement")
    csr, second = house.request("second", TITLE, "agreement"), house.folder / "second.pem"
    ran = house.done("renew", serial(first), "--dir", house.sub, "--csr", csr, "--out", second, "--days", 9)
    assert ran.out.startswith("renewed 4D534C0000000001 agreement, serial ")
    ran = house.done("revoke", serial(first), "--dir", house.sub, "--reason", "superseded", "--why", "moved")
    assert ran.out == f"revoked {TITLE} agreement, serial {serial(first)}\n"
    assert house.done("crl", "--dir", house.sub, "--days", 7).out.startswith("list 1 of CN=Meters: 1 revoked")
    described = house.done("crl", "--dir", house.sub, "--json", "--out", house.folder / "l.der", "--der")
    assert described.lines()[0]["list"]["number"] == 2
    assert RevocationList((house.folder / "l.der").read_bytes()).number == 2
    house.done("crl", "--dir", house.root)
    listed = house.done("list", "--dir", house.sub).out.splitlines()
    assert len(listed) == 3 and "revoked: superseded" in listed[1] and listed[2].endswith("valid")
    entries = house.done("list", "--dir", house.sub, "--title", TITLE, "--json").lines()[0]["certificates"]
    assert [one["state"] for one in entries] == ["revoked", "valid"]
    assert entries[0]["replaced_by"] == entries[1]["serial"] == serial(second)
    assert entries[0]["revoked"]["reason"] == "superseded" and entries[0]["history"][-1]["why"] == "moved"
    assert house.done("list", "--dir", house.sub, "--title", OTHER, "--json").lines()[0]["certificates"] == []
    soon = house.done("expiring", "--dir", house.sub, "--days", 10, "--json").lines()[0]["certificates"]
    assert [one["serial"] for one in soon] == [serial(second)]
    assert len(house.done("expiring", "--dir", house.sub, "--days", 8).out.splitlines()) == 1
    lists = ("--crl", house.sub / "crl.pem", "--crl", house.root / "crl.der")
    assert house.verify(second, *lists).code == 0
    ran = house.verify(first, *lists)
    assert ran.code == 1 and ran.out == "" and ": superseded\n" in ran.err and ran.err.count("\n") == 1
    assert "number" in house.done("show", house.sub / "crl.pem").out


def test_the_same_key_by_name(house: House) -> None:
    first = house.issue("first")
    ran = house.pki("renew", serial(first), "--dir", house.sub)
    assert ran.code == 2 and "--same-key" in ran.err
    again = ("renew", serial(first), "--dir", house.sub, "--same-key", "--out", house.folder / "again.pem")
    house.done(*again)
    assert serial(house.folder / "again.pem") != serial(first)


def test_a_P384_authority_over_P256_devices(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.done("sub", "--dir", tmp_path / "r", "--name", "x", "--under", house.root, "--curve", "P-256")
    house.done("init", "--dir", tmp_path / "big", "--name", "Big", "--curve", "P-384", "--no-expiry")
    for on, title in (("P-256", TITLE), ("P-384", OTHER)):
        csr = house.request(on, title, "signature", "--curve", on)
        words = ("--csr", csr, "--title", title, "--purpose", "signature", "--out", tmp_path / f"{on}.pem")
        house.done("issue", "--dir", tmp_path / "big", *words, "--no-expiry")
        assert house.pki("verify", tmp_path / f"{on}.pem", "--trust", tmp_path / "big" / "ca.pem").code == 0
        assert "no planned end" in house.done("show", tmp_path / f"{on}.pem").out
    csr = house.request("wrong", TITLE, "signature", "--curve", "P-384")
    ran = house.pki("issue", "--dir", house.sub, "--csr", csr, "--title", TITLE, "--purpose", "signature")
    assert ran.code == 1 and "a P-256 authority certifies no P-384 key" in ran.err


def test_passwords_and_no_secret_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("battery staple\n")
    (tmp_path / "secret").chmod(0o600)
    folder, secret = str(tmp_path / "root"), f"@{tmp_path / 'secret'}"
    assert run("pki", "init", "--dir", folder, "--name", "Root", "--password", secret).code == 0
    key = ("--key-out", str(tmp_path / "key"), "--password", "env:METERSEAL_TEST_PASSWORD")
    words: tuple[str, ...] = ("pki", "request", "--title", TITLE, "--purpose", "tls", "--out")
    assert run(*words, str(tmp_path / "csr"), *key, env=NEVER).code == 0
    load_pem_private_key((tmp_path / "key").read_bytes(), b"correct horse")
    words = (
        "pki",
        "issue",
        "--dir",
        folder,
        "--csr",
        str(tmp_path / "csr"),
        "--title",
        TITLE,
        "--purpose",
        "tls",
    )
    ran = run(*words)
    assert ran.code == 1 and "is encrypted: it needs a password" in ran.err
    ran = run(*words, "--password", "env:METERSEAL_TEST_PASSWORD", env=NEVER)
    assert ran.code == 1 and "the password is not right" in ran.err and "horse" not in ran.err
    ran = run(*words, "--password", "battery staple")
    assert ran.code == 2 and "@FILE or env:NAME" in ran.err and "battery" not in ran.err
    below = ("pki", "sub", "--dir", str(tmp_path / "sub"), "--name", "Sub", "--under", folder)
    assert run(*below).code == 1
    assert run(*below, "--under-password", secret, "--password", secret).code == 0
    assert run(*words, "--password", secret).code == 0
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "secret"]
    assert not any(b"staple" in octets or b"horse" in octets for octets in files)


# --- what is refused ----------------------------------------------------------------------------------


def test_D10_D11_D18_requests_that_are_refused(house: House) -> None:
    csr = house.request("meter")
    words = ("issue", "--dir", house.sub, "--csr", csr, "--purpose")
    ran = house.pki(*words, "signature", "--title", OTHER)
    assert ran.code == 1 and ran.out == ""
    assert ran.err == f"meterseal: certificate: the request is for {TITLE}, not for {OTHER}\n"
    octets = bytearray(Request.from_pem(csr.read_bytes()).der)
    octets[-1] ^= 1
    (house.folder / "forged.csr").write_bytes(octets)
    forged = ("issue", "--dir", house.sub, "--csr", house.folder / "forged.csr", "--title", TITLE)
    ran = house.pki(*forged, "--purpose", "signature")
    assert ran.code == 1 and "not signed by the key that it holds" in ran.err
    house.done(*words, "signature", "--title", TITLE)
    for purpose in ("agreement", "tls"):
        ran = house.pki(*words, purpose, "--title", TITLE)
        assert ran.code == 1 and f"certified before, for {TITLE} signature" in ran.err
    ran = house.pki(
        "issue", "--dir", house.sub, "--csr", house.request("2"), "--title", TITLE, "--purpose", "tls"
    )
    assert ran.code == 0
    csr = house.request("3")
    ran = house.pki("issue", "--dir", house.sub, "--csr", csr, "--title", TITLE, "--purpose", "tls")
    assert ran.code == 1 and "there is one already" in ran.err and "renew or revoke it" in ran.err
    assert len(look(house.sub)) == 2


def test_files_that_are_there_stay(house: House) -> None:
    house.request("meter")
    before = (house.folder / "meter.key").read_bytes()
    words = ("request", "--title", TITLE, "--purpose", "tls", "--key-out", house.folder / "meter.key")
    ran = house.pki(*words)
    assert ran.code == 1 and "not written over" in ran.err and ran.out == ""
    assert (house.folder / "meter.key").read_bytes() == before
    ran = house.pki("init", "--dir", house.root, "--name", "Again")
    assert ran.code == 1 and "there is an authority in" in ran.err


def test_a_certificate_that_cannot_be_written_is_not_lost(house: House) -> None:
    csr = house.request("meter")
    out = house.folder / "missing" / "m.pem"
    words = (
        "issue",
        "--dir",
        house.sub,
        "--csr",
        csr,
        "--title",
        TITLE,
        "--purpose",
        "signature",
        "--out",
        out,
    )
    ran = house.pki(*words)
    assert ran.code == 1 and "No such file" in ran.err and ran.out == ""
    number = next(iter(look(house.sub))).serial.hex().upper()
    assert f"it is in the index: pki show {number} --out FILE" in ran.err
    house.done("show", number, "--dir", house.sub, "--out", house.folder / "m.pem")
    assert house.verify(house.folder / "m.pem").code == 0


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        ("init --dir {root}", 2, "--name"),
        ("init --dir {new} --name X --curve P-521", 2, "no curve P-521"),
        ("init --dir {new} --name X --days 0", 2, "--days"),
        ("init --dir {new} --name X --days 5 --no-expiry", 2, "--no-expiry says so"),
        ("init --dir {new}/a/b --name X", 1, "No such file"),
        ("sub --dir {new} --name X --under {new}/top", 1, "no authority in"),
        ("sub --dir {new} --name X --under {sub}", 1, "may certify no authorities"),
        ("sub --dir {new} --name Root --under {root}", 1, "has the name CN=Root already"),
        ("list --dir {none}", 1, "no authority in"),
        ("list --dir {root} --title 12", 2, "8 octets"),
        ("show", 2, "--dir"),
        ("show nothing.pem", 1, "No such file"),
        ("show {root}", 1, "no regular file"),
        ("show {root}/index.log", 1, "cannot be read"),
        ("show {root}/ca-key.pem", 1, "neither a certificate nor a request"),
        ("show 12 --dir {root}", 1, "no certificate of serial number 12 is from here"),
        ("show zz --dir {root}", 2, "hex digits"),
        ("show {root}/ca.pem --der", 2, "--out"),
        ("show {sub}/chain.pem --out {new}", 1, "one certificate"),
        ("revoke 12 --dir {root} --reason whim", 2, "one of unspecified, key-compromise"),
        ("revoke 12 --dir {root} --reason certificate-hold", 2, "one of unspecified"),
        ("revoke 12 --dir {root} --reason superseded", 1, "from here"),
        ("renew 12 --dir {root} --same-key", 1, "from here"),
        ("renew 12 --dir {root} --csr nothing", 1, "No such file"),
        ("crl --dir {root} --days 0", 2, "--days"),
        ("crl --dir {root} --der", 2, "--out"),
        ("expiring --dir {root} --days -1", 2, "--days"),
        (
            "issue --dir {root} --csr {root}/ca.pem --title {title} --purpose tls",
            1,
            "cannot be read",
        ),
        (
            "issue --dir {root} --csr {root}/ca.pem --title {title} --purpose ca",
            2,
            "one of signature",
        ),
        ("issue --dir {root} --csr {root}/ca.pem --title xyz --purpose tls", 2, "16 hex digits"),
        ("request --title 4D534C0000000001 --purpose tls --key-out {new}/a/k", 1, "No such file"),
        ("verify {root}/ca.pem --trust {root}/ca.pem --at soon", 2, "a date is wanted"),
        ("verify {root}/ca.pem --trust nothing", 1, "No such file"),
        ("verify {root}/ca.pem", 2, "--trust"),
        ("verify {root}/ca.pem --trust {root}/ca.pem --purpose tls", 1, "for authority, wanted is tls"),
        ("verify {root}/ca.pem --trust {root}/ca.pem --title 4D534C0000000001", 1, "of no system title"),
        ("verify {sub}/ca.pem --trust {root}/ca.pem --crl {root}/ca.pem", 1, "cannot be read"),
    ],
)
def test_what_is_not_done(words: str, code: int, cause: str, shared: House) -> None:
    places = {
        "root": shared.root,
        "sub": shared.sub,
        "new": shared.folder / "new",
        "none": shared.folder,
        "title": TITLE,
    }
    ran = shared.pki(*(word.format(**places) for word in words.split()))
    assert ran.code == code and ran.out == "", ran.err
    assert cause in " ".join(ran.err.replace("│", " ").split()), ran.err


def test_an_authority_that_was_refused_is_none(house: House) -> None:
    words = ("--dir", house.folder / "new", "--name", "New")
    assert house.pki("sub", *words, "--under", house.sub).code == 1
    for verb in ("list", "show"):
        ran = house.pki(verb, *words[:2])
        assert ran.code == 1 and "was never finished" in ran.err
    house.done("init", *words)  # the folder is as good as new


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> House:
    """For what changes nothing."""
    return House(tmp_path_factory.mktemp("pki"))


# --- as processes -------------------------------------------------------------------------------------


def test_H16_as_a_process_with_an_open_umask(tmp_path: Path) -> None:
    words = ["pki", "init", "--dir", "root", "--name", "R\u00f6\u00f6t\u202e"]
    done = spawn(words, cwd=tmp_path, umask=0, env={"LC_ALL": "C"})
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.count(b"\n") == 1
    assert b"\xe2\x80\xae" not in done.stdout  # no terminal is turned round
    words = ["pki", "request", "--title", TITLE, "--purpose", "tls", "--key-out", "key", "--out", "csr"]
    assert spawn(words, cwd=tmp_path, umask=0).returncode == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes["root"] == 0o700
    assert {modes[name] for name in ("key", "ca-key.pem", "index.log", "index.mark")} == {0o600}
    assert {modes[name] for name in ("csr", "ca.pem", "chain.pem")} == {0o644}


def test_other_commands_do_not_load_certificates() -> None:
    code = (
        "import sys; from meterseal.cli import main; sys.argv = ['meterseal', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('cryptography.x509' in sys.modules)"
    )
    assert spawn([], code=code).returncode == 0


def test_agreement_keys_are_read_as_such(house: House) -> None:
    house.issue("meter", TITLE, "agreement")
    key = read_key((house.folder / "meter.key").read_bytes(), AgreementKey)
    leaf = Certificate.from_pem((house.folder / "meter.pem").read_bytes())[0]
    assert leaf.key == key.public
    assert Request(make_request(key, bytes.fromhex(TITLE))).to_pem().startswith(b"-----BEGIN")
    assert leaf._x509.public_bytes(Encoding.DER) == leaf.der
