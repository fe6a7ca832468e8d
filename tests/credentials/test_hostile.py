"""F20 (configuration): credentials that are wrong, huge or aimed elsewhere are refused by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from meterseal.credentials import Credentials, key_option, text_option
from meterseal.errors import ConfigurationError

SECRET = "C0FFEE00C0FFEE00C0FFEE00C0FFEE00"
OPERATOR: dict[str, Any] = {
    "client": 2,
    "mechanism": "gmac",
    "policy": "authenticated+encrypted",
    "client_system_title": "4D534C4845530001",
    "guek": SECRET,
    "gak": SECRET,
}


def _load(tmp_path: Path, text: str | bytes) -> Credentials:
    file = tmp_path / "meter.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(0o600)
    return Credentials.load(file)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"guek": SECRET[:-1]}, r"\[roles.operator\] guek: 31 hex digits, an odd number"),
        ({"guek": "X" * 32}, r"\[roles.operator\] guek: not hex"),
        ({"guek": SECRET[:-2]}, r"\[roles.operator\] guek: 15 octets, suite 0 has keys of 16"),
        ({"gak": SECRET * 2}, r"\[roles.operator\] gak: 32 octets"),
        ({"gbek": SECRET + "00"}, r"\[roles.operator\] gbek: 17 octets"),
        ({"kek": ""}, r"\[roles.operator\] kek: a text is wanted"),
        ({"guek": 5}, r"\[roles.operator\] guek: a text is wanted"),
        ({"guek": None}, r"\[roles.operator\] guek: missing"),
        ({"gak": None}, r"\[roles.operator\] gak: missing"),
        ({"client_system_title": None}, r"\[roles.operator\] client_system_title: missing"),
        (
            {"client_system_title": "4D534C48455300"},
            r"client_system_title: a system title has 8 octets, not 7",
        ),
        ({"client_system_title": "4D534C0000000001"}, "client_system_title: the same as the meter's"),
        ({"mechanism": "rot13"}, r"\[roles.operator\] mechanism: a mechanism is one of none, lls"),
        ({"mechanism": None}, r"\[roles.operator\] mechanism: missing"),
        ({"mechanism": "sha256"}, r"\[roles.operator\] secret: missing"),
        ({"client": None}, r"\[roles.operator\] client: missing"),
        ({"client": 0}, r"\[roles.operator\] client: a number from 1"),
        ({"client": True}, r"\[roles.operator\] client: a number from 1"),
        ({"policy": "sealed"}, r"\[roles.operator\] policy: protection 'sealed'"),
        ({"policy": "authenticated+signed"}, r"policy: suite 0 has no signatures"),
        ({"policy": "none", "dedicated": True}, r"dedicated: the policy asks for no protection"),
        ({"ciphered": False}, r"ciphered: false, and the policy asks for protection"),
        ({"guekk": SECRET}, r"\[roles.operator\] guekk: unknown; known are client, mechanism"),
        ({"a\nb": SECRET}, r"\[roles.operator\] 'a\\nb': unknown"),
        ({"peer": {"be_nice": True}}, r"\[roles.operator.peer\] be_nice: unknown; known are"),
        ({"peer": {"plain_release": 1}}, r"\[roles.operator.peer\] plain_release: true or false"),
        ({"counter_start": -1}, r"counter_start: a number from 0 to 4294967294"),
        ({"counter_start": 2**32 - 1}, r"counter_start: a number from 0 to 4294967294"),
        ({"counter_object": "1.8.0"}, r"counter_object: '1.8.0' is no OBIS code"),
        ({"timeout": 0}, r"timeout: a time of more than 0 seconds"),
        ({"timeout": -1}, r"timeout: a time of more than 0 seconds"),
        ({"timeout": float("nan")}, r"timeout: a time of more than 0 seconds"),
        ({"user": 256}, r"user: a number from 0 to 255"),
        ({"allow_weak": "yes"}, r"allow_weak: true or false"),
    ],
)
def test_F20_wrong_values_are_named(change: dict[str, Any], place: str) -> None:
    table = {key: value for key, value in (OPERATOR | change).items() if value is not None}
    with pytest.raises(ConfigurationError, match=place) as caught:
        Credentials.from_mapping(
            {"meter": {"system_title": "4D534C0000000001"}, "roles": {"operator": table}}
        )
    assert SECRET[:-2] not in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "place"),
    [
        ({"metre": {}}, "unknown table 'metre'"),
        ({"meter": 1}, r"\[meter\]: no table"),
        ({"meter": {"suite": 3}}, r"\[meter\] suite: a security suite is one of 0, 1, 2"),
        ({"meter": {"suite": 2}, "roles": {"operator": OPERATOR}}, "16 octets, suite 2 has keys of 32"),
        ({"meter": {"system_title": "00"}}, r"\[meter\] system_title: a system title has 8"),
        ({"meter": {"url": "http://x"}}, r"\[meter\] url: a line's URL begins with"),
        ({"meter": {"trust": "root.pem"}}, r"\[meter\] trust: a list"),
        ({"meter": {"address_size": 3}}, r"\[meter\] address_size: 1, 2 or 4"),
        ({"meter": {"server_address": [1]}}, r"\[meter\] server_address: \[upper, lower\]"),
        ({"roles": []}, "roles is no table"),
        ({"roles": {"operator": 1}}, r"\[roles.operator\]: no table"),
        ({"roles": {"../operator": OPERATOR}}, "the name of a role"),
        ({"roles": {"x" * 33: OPERATOR}}, "the name of a role"),
    ],
)
def test_F20_wrong_tables_are_named(mapping: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError, match=place):
        Credentials.from_mapping(mapping)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            f'[meter]\nsuite = 0\nsuite = 1\n[roles.a]\nguek = "{SECRET}"',
            "no TOML: a key is given twice, at line 3",
        ),
        ("[roles.a]\nclient = 1\n[roles.a]\nclient = 2", "no TOML: a table is given twice, at line 3"),
        (f'[roles.a]\nguek = "{SECRET}', "no TOML: it cannot be read, at"),
        ("[meter\n", "no TOML"),
        ("a = " + "9" * 4090, "no TOML|unknown table"),
        ("a = " + "\n".join(["[" * 900] * 40), "nested too deep"),
        (b"a = '\xff'", "not UTF-8"),
        ("a" * 5000, "a line of more than 4096 characters"),
        ("#\n" * 200_000, "has 400000 octets, 262144 at most"),
        (".".join(["a"] * 100_000) + " = 1", "a line of more than 4096 characters"),
    ],
)
def test_F20_files_that_cannot_be_read(tmp_path: Path, text: str | bytes, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=cause) as caught:
        _load(tmp_path, text)
    assert "meter.toml" in str(caught.value) and SECRET not in str(caught.value)


def test_F20_a_million_rows_are_not_parsed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="262144 at most"):
        _load(tmp_path, "".join(f"[roles.r{n}]\n" for n in range(1_000_000)))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_F20_only_regular_files_are_read(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "odd")
    with pytest.raises(ConfigurationError, match=r"no regular file|directory"):
        Credentials.load(tmp_path / "odd")
    with pytest.raises(ConfigurationError, match=r"no regular file|directory"):
        key_option(f"@{tmp_path / 'odd'}")


def test_F20_key_files_are_bounded_and_their_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"0" * 5000)
    (tmp_path / "words").write_text("root:x:0:0:hidden")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "link").symlink_to(tmp_path / "words")
    (tmp_path / "on").write_text("@words")
    for name, cause in (("big", "5000 octets"), ("binary", "holds no text"), ("missing", "No such file")):
        with pytest.raises(ConfigurationError, match=cause):
            key_option(f"@{name}", tmp_path)
    for name in ("words", "link", "../" + tmp_path.name + "/words", "on"):
        with pytest.raises(ConfigurationError, match="not hex") as caught:
            key_option(f"@{name}", tmp_path)
        assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="/dev/zero is no regular file"):
        key_option("@/dev/zero")
    with pytest.raises(ConfigurationError, match="name of a file"):
        key_option("@a\0b")


@pytest.mark.parametrize("between", [" ", ":", "-", "\n"])
def test_hex_as_people_copy_it(between: str) -> None:
    octets = bytes.fromhex(SECRET)
    assert key_option(octets.hex(between)) == key_option("0x" + SECRET.lower()) == octets
    for broken in (
        f"{SECRET[:2]}{between * 2}{SECRET[2:]}",
        f"{SECRET[:1]}{between}{SECRET[1:]}",
        "0x",
        SECRET + between,
    ):
        with pytest.raises(ConfigurationError, match="not hex"):
            key_option(broken)


def test_F20_key_options_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", f" {SECRET} ")
    monkeypatch.setenv("P", "text:open sesame")
    assert key_option("env:K") == bytes.fromhex(SECRET)
    assert text_option("env:P") == b"open sesame"
    for name in ("env:", "env:A-B", "env:MISSING_KEY"):
        with pytest.raises(ConfigurationError):
            key_option(name)
    with pytest.raises(ConfigurationError, match="not hex") as caught:
        key_option("env:P")
    assert "sesame" not in str(caught.value)
