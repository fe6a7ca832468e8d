"""`meterseal decode`: what goes in, what comes out where, and the exit code for each cause."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from meterseal.cli import pages
from meterseal.probe import MAX_INPUT
from tests.cli.shell import run, spawn
from tests.framing.captures import E450, E450_KEYS, p1_telegram
from tests.probe import samples
from tests.probe.samples import AK, EK, TITLE, sealed
from tests.vectors import vector
from tests.wired import spoilt

GET = "C001C100080000010000FF0200"
GLO_GET = vector("gb40-glo-get-sc30")["expected"]["apdu"]
TIROL_KEY = vector("tirol-push")["inputs"]["ek"]
KEYS = {"GUEK": EK.hex(), "GAK": AK.hex(), "SHORT": "0011", "EMPTY": "", "ODD": "001"}
WITH_KEYS = ("--guek", "env:GUEK", "--gak", "env:GAK", "--title", TITLE.hex())


# --- what goes in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [GET],
        [GET.lower()],
        ["C0 01 C1 00 08 00 00 01 00 00 FF 02 00"],
        ["C0:01:C1:00:08:00:00:01:00:00:FF:02:00"],
        ["C0", "01", "C1", "00", "08", "00", "00", "01", "00", "00", "FF", "02", "00"],
        ["0xC0,0x01,0xC1,0x00,0x08,0x00,0x00,0x01,0x00,0x00,0xFF,0x02,0x00"],
    ],
)
def test_hex(words: list[str]) -> None:
    ran = run("decode", "--json", *words)
    assert ran.code == 0 and ran.err == ""
    assert [line["plain"] for line in ran.lines()] == [GET]


@pytest.mark.parametrize(
    "content",
    [GET.encode(), bytes.fromhex(GET), b"# a GET\n" + GET.encode() + b"\n", b"\xef\xbb\xbf" + GET.encode()],
)
def test_file_and_stdin(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "frame"
    file.write_bytes(content)
    for ran in (run("decode", "--json", str(file)), run("decode", "--json", "-", stdin=content)):
        assert ran.code == 0
        assert ran.lines()[0]["plain"] == GET


def test_a_file_whose_name_is_hex_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("20250101").write_bytes(bytes.fromhex(GET))
    assert run("decode", "--json", "20250101").lines()[0]["plain"] == GET


def test_several_frames_are_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "capture.hex"
    file.write_text(f"{GET}\n6203800100\n")
    lines = run("decode", "--json", str(file)).lines()
    assert [line["apdu"] for line in lines] == ["get-request-normal", "rlrq"]


def test_blocks_on_lines_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "capture.hex"
    file.write_text("\n".join(frame.hex(":") for frame in E450))
    ran = run("decode", "--json", str(file), "--guek", E450_KEYS["ek"], "--gak", E450_KEYS["ak"])
    assert ran.code == 0
    assert [line["apdu"] for line in ran.lines()] == ["data-notification"]


def test_customer_ports_with_ways_of_their_own() -> None:
    """A frame of 257 octets whose L says 01, and a date-time with a tag: only where the port is named."""
    apdu = bytes.fromhex("0F00000001 090C07E60A1007150012FF800000 0202 0906 0100010800FF 0600000007")
    long = bytes.fromhex("0F00000001 00 0202 0906 0100010800FF 0981E9") + bytes(233)
    body = bytes.fromhex("53FF100167") + long
    frame = b"\x68\x01\x01\x68" + body + bytes((sum(body) & 0xFF, 0x16))
    assert len(body) == 257
    for octets, name in ((frame, "sagemcom-t210-d"), (apdu, "norway-kaifa")):
        assert run("decode", "--json", octets.hex()).code == 1
        (told,) = run("decode", "--json", "--preset", name, octets.hex()).lines()
        assert told["apdu"] == "data-notification" and told["value"]["notification_body"][0] == "0100010800FF"
    noise = run("decode", "--json", "--preset", "sagemcom-t210-d", "0011" + frame.hex()).lines()
    assert [one["apdu"] for one in noise] == [None, "data-notification"]
    wrong = run("decode", "--preset", "no-port", apdu.hex())
    assert wrong.code == 2 and "there are tirol, netz-noe" in wrong.err


def test_wire_log(tmp_path: Path) -> None:
    log = tmp_path / "wire.jsonl"
    frame = samples.wrapped((16, 1, bytes.fromhex(GET))).hex().upper()
    entry = {"time": "2026-01-01T00:00:00Z", "connection": "a->b", "direction": "out", "hex": frame}
    log.write_text(json.dumps(entry) + "\n" + json.dumps(entry) + "\n")
    assert len(run("decode", "--json", str(log)).lines()) == 2


def test_key_file(tmp_path: Path) -> None:
    key = tmp_path / "guek"
    key.touch(0o600)
    key.write_text(TIROL_KEY + "\n")
    ran = run("decode", "--json", "--guek", f"@{key}", samples.TIROL.hex())
    assert ran.code == 0 and ran.lines()[0]["apdu"] == "data-notification"


def test_credentials_file(tmp_path: Path) -> None:
    file = tmp_path / "meter.toml"
    file.touch(0o600)
    file.write_text(
        f'[meter]\nsystem_title = "{samples.GOSEM_METER}"\n[roles.reader]\nclient = 2\nmechanism = "gmac"\n'
        f'client_system_title = "4349520000000001"\nguek = "{samples.GOSEM_KEY.hex()}"\n'
        f'gak = "{samples.GOSEM_KEY.hex()}"\n'
    )
    ran = run(
        "decode", "--json", "--credentials", str(file), samples.of("gosem-rlrq-glo-initiate-request").hex()
    )
    assert ran.code == 0, ran.err
    assert ran.lines()[0]["layers"][0]["verified"] is True
    assert run("decode", "--credentials", str(file), "--guek", EK.hex(), GET).code == 2


# --- what comes out --------------------------------------------------------------------------------


def test_json_shape() -> None:
    (line,) = run("decode", "--json", *WITH_KEYS, GLO_GET, env=KEYS).lines()
    assert line == {
        "layers": [
            {
                "kind": "glo-get-request",
                "suite": 0,
                "authenticated": True,
                "encrypted": True,
                "signed": False,
                "compressed": False,
                "broadcast": False,
                "system_title": "4D4D4D0000BC614E",
                "invocation_counter": 0x01234567,
                "verified": True,
            }
        ],
        "apdu": "get-request-normal",
        "plain": "C0010000080000010000FF0200",
        "value": {
            "invoke_id_and_priority": 0,
            "attribute": {"class_id": 8, "instance_id": "0.0.1.0.0.255", "attribute_id": 2},
            "selection": None,
        },
    }


def test_page_of_a_push() -> None:
    ran = run("decode", "--guek", TIROL_KEY, samples.TIROL.hex())
    assert ran.code == 0 and ran.err == ""
    assert "m-bus  source 1, destination 103" in ran.out
    assert "suite 1, encrypted, no tag; system title 4B464D1010000023 (KFM)" in ran.out
    assert "1.0.1.8.0.255   9108                       Wh    active energy import (+A)" in ran.out


def test_page_of_a_telegram() -> None:
    ran = run("decode", *WITH_KEYS, samples.ciphered_p1().hex(), env=KEYS)
    assert ran.code == 0
    assert "p1-telegram  XXX5TESTMETER, CRC right" in ran.out
    assert "1-0:1.8.1   000051.775 kWh" in ran.out


def test_page_of_anything_else() -> None:
    ran = run("decode", *WITH_KEYS, GLO_GET, env=KEYS)
    assert "glo-get-request  suite 0, authenticated+encrypted, tag verified;" in ran.out
    assert '"instance_id": "0.0.1.0.0.255"' in ran.out


def test_page_of_what_was_opened_and_makes_no_sense() -> None:
    ran = run("decode", *WITH_KEYS, sealed(bytes.fromhex("C001C10008")).hex(), env=KEYS)
    assert ran.code == 1
    assert "opened, and not understood: C001C10008" in ran.out
    assert ran.err.startswith("meterseal: truncated: ")


def test_link_frames() -> None:
    ran = run("decode", "--json", samples.of("hdlc-snrm-4byte", "frame").hex())
    assert ran.code == 0
    assert ran.lines()[0]["layers"][0]["control"] == "SNRM"


# --- exit codes and causes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kind", "cause"),
    [
        ([GLO_GET], "unknown-key", "GUEK missing"),
        (["--guek", "env:GUEK", "--title", TITLE.hex(), GLO_GET], "unknown-key", "GAK"),
        (["--guek", "env:GUEK", "--gak", "env:GAK", GLO_GET], "unknown-key", "system title of the client"),
        (["--guek", "env:GAK", "--gak", "env:GUEK", "--title", TITLE.hex(), GLO_GET], "forged", "swapped"),
        ([*WITH_KEYS, spoilt(bytes.fromhex(GLO_GET)).hex()], "forged", "tag wrong"),
        (["--guek", "env:SHORT", "--no-gak", "--title", TITLE.hex(), GLO_GET], "key-length", "2 octets"),
        ([*WITH_KEYS, GLO_GET[:-2]], "truncated", ""),
        ([*WITH_KEYS, GLO_GET + "00"], "malformed", ""),
        (["DD00"], "truncated", ""),
        (["C0"], "truncated", ""),
        ([""], "truncated", ""),
        ([GET[:-1]], "malformed", "the last octet has only one"),
    ],
)
def test_failures(words: list[str], kind: str, cause: str) -> None:
    ran = run("decode", "--json", *words, env=KEYS)
    assert ran.code == 1
    (line,) = ran.lines()
    assert line["plain"] is None
    assert line["error"]["type"] == kind and cause in line["error"]["message"]
    assert ran.err.startswith(f"meterseal: {kind}: ") and ran.err.count("\n") == 1
    page = run("decode", *words, env=KEYS)
    assert page.code == 1 and page.err == ran.err and "not opened" in page.out


def test_counter_went_back(tmp_path: Path) -> None:
    file = tmp_path / "twice.hex"
    file.write_text(f"{sealed(bytes.fromhex(GET), ic=7).hex()}\n" * 2)
    ran = run("decode", "--json", *WITH_KEYS, str(file), env=KEYS)
    assert ran.code == 1  # one of them failed
    first, second = ran.lines()
    assert "error" not in first
    assert second["error"]["type"] == "replayed" and second["error"]["lowest_acceptable"] == 8


def test_a_page_says_what_proves_a_signed_layer() -> None:
    """No tag and no counter: a signature, or nothing where no key of the signer is held."""
    signed = bytes.fromhex(vector("gbcs184-signed")["inputs"]["apdu"])
    ran = run("decode", *WITH_KEYS, sealed(signed, sc=0x31).hex(), env=KEYS)
    assert ran.code == 0 and "signature was NOT verified" in ran.err
    assert "general-signing  suite 1, signed, NOT verified; system title 123456789ABCDEF0\n" in ran.out
    layer = {"kind": "general-signing", "suite": 1, "system_title": "4D534C0000000001", "verified": True}
    shown = pages._layer(dict.fromkeys(("authenticated", "encrypted", "compressed", "broadcast"), False)
                         | layer | {"signed": True, "invocation_counter": None})  # fmt: skip
    assert shown == (
        "general-signing  suite 1, signed, signature verified; system title 4D534C0000000001 (MSL)"
    )


def test_unverified_warns() -> None:
    words = ("decode", "--json", "--guek", "env:GUEK", "--title", TITLE.hex(), GLO_GET)
    assert run(*words, env=KEYS).code == 1
    ran = run(*words, "--unverified", env=KEYS)
    assert ran.code == 0
    assert ran.lines()[0]["layers"][0]["verified"] is None
    assert ran.lines()[0]["plain"] == "C0010000080000010000FF0200"
    assert "warning" in ran.err and "NOT verified" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing/of/that/name"],
        ["zz"],
        ["--gak", "00", "--no-gak", GET],
        ["--guek", "zz", GET],
        ["--guek", "env:ODD", GET],
        ["--guek", "env:EMPTY", GET],
        ["--guek", "env:NOBODY", GET],
        ["--guek", "@nothing/there", GET],
        ["--title", "4D4D4D", GET],
        ["--title", "no title", GET],
        ["--nonsense", GET],
        ["caf\N{LATIN SMALL LETTER E WITH ACUTE}"],
        ["\x1b[31m"],
    ],
)
def test_what_is_not_understood(words: list[str]) -> None:
    ran = run("decode", *words, env=KEYS)
    assert ran.code == 2 and ran.out == ""
    assert "\x1b" not in ran.err


def test_a_key_that_is_none_is_not_repeated() -> None:
    ran = run("decode", "--guek", "00112233445566778899aabbccddeexx", GET)
    assert ran.code == 2 and "00112233" not in ran.err


def test_no_file_to_read(tmp_path: Path) -> None:
    assert run("decode", str(tmp_path)).code == 1
    locked = tmp_path / "empty"
    locked.write_bytes(b"")
    (line,) = run("decode", "--json", str(locked)).lines()
    assert line["error"]["type"] == "truncated"


def test_big_input_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "big"
    with file.open("wb") as opened:
        opened.truncate(MAX_INPUT + 1)
    ran = run("decode", str(file))
    assert ran.code == 1 and "too-large" in ran.err


# --- text from outside on somebody's terminal ----------------------------------------------------------


HOSTILE = "name\x1b[2J\u202e\x07\u200b\n\r\x9b"


def test_F18_text_does_not_steer_a_terminal() -> None:
    text = HOSTILE.encode("utf-8")
    apdu = bytes.fromhex("C401C100") + bytes((0x0C, len(text))) + text
    push = bytes.fromhex("0F0000000100020209060000600100FF") + bytes((0x0C, len(text))) + text
    for frame in (apdu, push):
        for words in ([], ["--json"]):
            ran = run("decode", *words, frame.hex())
            assert ran.code == 0
            assert ran.out.isascii() and ran.out.replace("\n", "").isprintable()
            assert "name" in ran.out and r"\u202e" in ran.out
    (line,) = run("decode", "--json", apdu.hex()).lines()
    assert line["value"]["result"]["data"] == HOSTILE


def test_F18_octets_that_are_no_utf8() -> None:
    apdu = bytes.fromhex("C401C100") + b"\x0c\x03a\xff\x80"
    (line,) = run("decode", "--json", apdu.hex()).lines()
    assert line["value"]["result"]["data"] == "a\ufffd\ufffd"


def test_F18_a_megabyte_of_text_is_cut_on_a_page() -> None:
    size = 1 << 15
    push = (
        bytes.fromhex("0F0000000100020209060000600100FF")
        + b"\x0c\x82"
        + size.to_bytes(2, "big")
        + b"x" * size
    )
    ran = run("decode", "-", stdin=push)
    assert ran.code == 0 and len(ran.out) < 2000 and "more characters" in ran.out


# --- as a process: locale, streams, purity ---------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_H16_any_locale(env: dict[str, str]) -> None:
    text = "Zähler \u202e".encode()
    apdu = bytes.fromhex("C401C100") + bytes((0x0C, len(text))) + text
    done = spawn(["decode", "--json", apdu.hex()], env=env)
    assert done.returncode == 0 and done.stderr == b""
    assert json.loads(done.stdout)["value"]["result"]["data"] == "Zähler \u202e"
    assert spawn(["decode", apdu.hex()], env=env).returncode == 0


def test_H16_arguments_that_are_no_text() -> None:
    done = spawn(["decode", b"caf\xe9"], env={"LC_ALL": "C"})
    assert done.returncode == 2 and done.stdout == b"" and b"Traceback" not in done.stderr


def test_stdin_of_octets_as_a_process() -> None:
    done = spawn(["decode", "--json", "-"], stdin=p1_telegram())
    assert done.returncode == 0
    assert json.loads(done.stdout)["value"]["identification"] == "XXX5TESTMETER"


def test_a_reader_that_leaves_early() -> None:
    code = "import sys, os; os.close(1); from meterseal.cli import main; main()"
    done = spawn(["decode", "--json", GET], code=code)
    assert b"Traceback" not in done.stderr


def test_commands_of_another_extra_say_which(tmp_path: Path) -> None:
    code = "import sys; sys.modules['httpx'] = None; from meterseal.cli import main; main()"
    done = spawn(["demo"], code=code)
    assert done.returncode == 1 and done.stdout == b""
    assert b"pip install 'meterseal[server]'" in done.stderr and done.stderr.count(b"\n") == 1
    with patch.dict(sys.modules, {"meterseal.demo.street": None}):
        ran = run("street", "up", "--dir", str(tmp_path / "street"))
    assert ran.code == 1 and "a street needs more packages" in ran.err


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    code = (
        "import importlib.util as util, sys\n"
        "found = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {missing!r} else found(name, *rest)\n"
        "from meterseal.cli import main\n"
        "main()"
    )
    done = spawn(["decode", GET], code=code)
    assert done.returncode == 2 and done.stdout == b""
    assert b"pip install 'meterseal[cli]'" in done.stderr and done.stderr.count(b"\n") == 1
