"""One rule of exit codes: 2 for words that are wrong by themselves, 1 for what files and peers say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.shell import run

URL = "tcp://127.0.0.1:4059"
TITLE = "4D534C0000000001"
OBJECT = "1.0.1.8.0.255"
NO_FILE = ("--credentials", "no-such.toml")
SEALED = ("utility", "read", TITLE, OBJECT, *NO_FILE)
GENERATE = ("keys", "generate", "--store", "keys.db", "--template", "t.toml", "--count", "1", "--out", "o")
STORE = ("--store", "keys.db")
AUTHORITY = ("pki", "init", "--dir", "ca", "--name", "Root")
REQUEST = ("pki", "request", "--title", TITLE, "--purpose", "signature")

WRONG = {
    "URL of read": ("read", "ftp://x", OBJECT, *NO_FILE),
    "URL without a scheme": ("write", "127.0.0.1:4059", OBJECT, "1", *NO_FILE),
    "URL with a port that is none": ("call", "tcp://127.0.0.1:99999", f"{OBJECT}:1", *NO_FILE),
    "URL with an unknown option": ("read", f"{URL}?speed=9", OBJECT, *NO_FILE),
    "URL of listen": ("listen", "nowhere", *NO_FILE),
    "URL of a meter": ("meter", "run", "--url", "ftp://x"),
    "URL of a concentrator": ("concentrator", "run", "--config", "no-such.toml", "--url", "x"),
    "URL of enrol": ("pki", "enrol", "ftp://x", "--dir", "ca", *NO_FILE),
    "URL of rotate": ("keys", "rotate", "--store", "keys.db", "--device", TITLE, "--url", "x"),
    "URL of a head-end": (*SEALED, "--via", "http://127.0.0.1:1"),
    "URL of a head-end for pushes": ("utility", "pushes", *NO_FILE, "--via", "127.0.0.1:1"),
    "URL of the meter, as the role": (*SEALED, "--role", "operator", "--via", "ftp://x"),
    "nobody carries": SEALED,
    "wire log without a line": (*SEALED, "--via", "https://127.0.0.1:1", "--wire-log", "w"),
    "policy": ("read", URL, OBJECT, *NO_FILE, "--policy", "strong"),
    "layers": ("read", URL, OBJECT, *NO_FILE, "--layers", "onion"),
    "preset of a meter": ("meter", "run", "--preset", "suite3"),
    "preset of rights": ("access", "show", "--preset", "suite3"),
    "ports beyond the last": ("meter", "run", "--meters", "2", "--own-ports", "--port", "65535"),
    "asking where nobody is asked": ("listen", "udp://127.0.0.1:0", "--collect", *NO_FILE),
    "an authority below itself": ("pki", "sub", "--dir", "ca", "--under", "./ca", "--name", "x"),
    "kinds of no device": ("keys", "status", "--store", "keys.db", "--kind", "guek"),
    "kind that is due": ("keys", "due", "--kind", "foo", *STORE),
    "kind that is set a period": ("keys", "due", "--every", "foo=3", *STORE),
    "period longer than any": ("keys", "due", "--every", f"guek={10**9}", *STORE),
    "kind to rotate": ("keys", "rotate", "--due", "--kind", "foo", *STORE),
    "kind to recover": ("keys", "recover", "--kind", "foo", *STORE),
    "kind to stage": ("keys", "stage", "--device", TITLE, "--kind", "foo", *STORE),
    "kind to revoke": ("keys", "revoke", "--device", TITLE, "--kind", "foo", *STORE),
    "kind of a campaign": ("keys", "campaign", "new", "x", "--kind", "guek", "--kind", "foo", *STORE),
    "name of a campaign": ("keys", "campaign", "new", "", *STORE),
    "name of the campaigns of a leak": ("keys", "revoke", "--campaign", "x" * 65, *STORE),
    "nothing to revoke": ("keys", "revoke", *STORE),
    "a kind to revoke of no device": ("keys", "revoke", "--kind", "guek", *STORE),
    "object of a broadcast key": ("keys", "adopt", "no.toml", "--broadcast", "1.2", *STORE),
    "window of a campaign": ("keys", "campaign", "new", "x", "--window", "at night", *STORE),
    "device of a campaign": ("keys", "campaign", "new", "x", "--device", "17", *STORE),
    "title of a device": ("keys", "retire", "--device", "17", *STORE),
    "duty": ("keys", "person", "add", "c.card", "--duty", "king", *STORE),
    "store of another kind": ("keys", "status", "--store", "mysql://h/x"),
    "store without a file": ("keys", "init", "--store", "sqlite://"),
    "store behind a port that is none": ("keys", "status", "--store", "postgresql://h:99999/x"),
    "store of a roll": (*AUTHORITY, "--store", "mysql://h/x"),
    "HSM of a storage KEK": ("keys", "status", "--kek", "pkcs11:token=x", *STORE),
    "HSM of the next storage KEK": ("keys", "rewrap", "--to", "pkcs11:x", *STORE),
    "HSM of a person": ("keys", "--as", "pkcs11:object=x", "status", "--store", "keys.db"),
    "HSM of a card": ("keys", "person", "card", "a", "--key", "pkcs11:", "--out", "a.card"),
    "HSM of an authority": (*AUTHORITY, "--key", "pkcs11:token=x;object=y?pin-value=1"),
    "authority in no HSM": (*AUTHORITY, "--key", "ca.key"),
    "PIN from elsewhere": (*AUTHORITY, "--key", "pkcs11:token=x;object=y?pin-source=http:x"),
    "HSM in place of a file": (*REQUEST, "--key-out", "pkcs11:token=x;object=y"),
}  # fmt: skip
"""What is wrong, and the words; nothing that they name exists."""

RIGHT = {
    "read": ("read", URL, OBJECT, *NO_FILE),
    "read with a policy": ("read", URL, OBJECT, *NO_FILE, "--policy", "authenticated+encrypted"),
    "listen": ("listen", "udp://127.0.0.1:0", *NO_FILE),
    "meter": ("meter", "run", "--preset", "suite1", "--config", "no-such.toml"),
    "concentrator": ("concentrator", "run", "--config", "no-such.toml", "--url", URL),
    "head-end": (*SEALED, "--via", "https://127.0.0.1:1"),
    "authority": ("pki", "sub", "--dir", "ca", "--under", "no-such", "--name", "x"),
    "store": ("keys", "status", "--store", "no-such.db"),
}
"""Words that are right: what they name is missing."""


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("words", WRONG.values(), ids=list(WRONG))
def test_words_that_are_wrong_by_themselves_exit_2(words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*words)
    assert ran.code == 2 and ran.out == "" and ran.err, ran
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", RIGHT.values(), ids=list(RIGHT))
def test_what_is_missing_exits_1(words: tuple[str, ...]) -> None:
    ran = run(*words)
    assert ran.code == 1 and ran.out == "" and "meterseal: " in ran.err, ran


def test_kinds_and_combinations_at_a_store() -> None:
    assert run("keys", "init", "--store", "keys.db").code == 0
    assert run("keys", "history", "--store", "keys.db", "--device", TITLE, "--kind", "foo").code == 2
    assert run("keys", "status", "--store", "keys.db", "--device", TITLE, "--kind", "foo").code == 2
    Path("t.toml").touch()
    half = run(*GENERATE, "--for", "a.pem")
    assert half.code == 2 and "--private-key" in half.err
    assert run(*GENERATE, "--from", "a.pem").code == 2


def test_a_report_marks_nothing() -> None:
    """Words that say two things at once are refused, not taken for the one that cannot be taken back."""
    assert run("keys", "init", "--store", "keys.db").code == 0
    named = ("--device", TITLE, "--kind", "guek", "--role", "operator")
    ran = run("keys", "revoke", "--store", "keys.db", *named, "--report", "--why", "to look at")
    assert ran.code == 2 and "--report" in ran.err
    assert run("keys", "revoke", "--store", "keys.db", "--device", TITLE, "--report").code == 0


def test_a_file_that_may_not_be_read_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("meter.toml").write_text("[meter]")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    for words in (("read", URL, OBJECT, "--credentials"), ("meter", "run", "--url", "udp://h", "--config")):
        ran = run(*words, "meter.toml")
        assert ran.code == 1 and ran.err.startswith("meterseal: "), ran
        assert "readable" not in ran.err


def test_a_card_with_no_name_draws_no_key(tmp_path: Path) -> None:
    ran = run("keys", "person", "card", "", "--key", "anna.key", "--out", "anna.card")
    assert ran.code == 2 and "NAME" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_roll_of_nobody_is_not_said_to_have_people() -> None:
    assert run("keys", "init", "--store", "keys.db").code == 0
    ran = run("keys", "approve", "7", "--store", "keys.db", "--why", "x")
    assert ran.code == 1 and "not-allowed" in ran.err and "has people" not in ran.err


@pytest.mark.parametrize("family", [("concentrator", "run"), ("headend", "serve")])
def test_a_file_that_is_no_toml_says_where(family: tuple[str, ...]) -> None:
    file = Path("bad.toml")
    file.write_text("[meter]\nx =\n")
    file.chmod(0o600)
    ran = run(*family, "--config", str(file))
    assert ran.code == 1 and "line 2" in ran.err, ran.err
