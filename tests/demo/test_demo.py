"""`meterseal demo`: every claim recomputed from the evidence, a scene that fails, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from meterseal import demo
from meterseal.demo import stage as stages
from meterseal.demo.captures import captures, opened
from meterseal.demo.scene import Account, Played, Scene, raised
from meterseal.demo.scenes import SCENES
from meterseal.demo.stage import Stage
from meterseal.errors import ConnectionLost, Refused
from tests.cli.shell import Ran, run
from tests.demo.conftest import Evidence
from tests.demo.recompute import opens, parsed

READING = "C001C1000301000108 00FF0200".replace(" ", "")


def keys_of(evidence: dict[str, Any], role: str, frame: dict[str, Any]) -> tuple[str, str, str]:
    """GUEK, GAK and the sender's title."""
    keys = evidence["keys"]
    held = keys["roles"][role]
    sender = held["client_system_title"] if frame["direction"] == "out" else keys["meter_system_title"]
    return held["guek"], held["gak"], sender


def protected(evidence: dict[str, Any], field: str = "frames") -> list[dict[str, Any]]:
    """Frames that are one service-specific ciphered APDU."""
    return [one for one in evidence[field] if one["layers"][1:] and one["apdu"] not in _ACSE]


_ACSE = ("aarq", "aare", "rlrq", "rlre")


# --- the whole ----------------------------------------------------------------------------------------


def test_every_claim_held(ran: Ran) -> None:
    (line,) = ran.lines()
    assert [scene["name"] for scene in line["scenes"]] == [scene.name for scene in SCENES]
    for scene in line["scenes"]:
        assert set(scene) == {"name", "claim", "held", "evidence"}
        assert scene["held"] is True, scene["evidence"]
        assert scene["evidence"]["facts"]
    assert (ran.code, ran.err) == (0, "")


def test_octets_are_upper_case_hex(ran: Ran) -> None:
    for scene in ran.lines()[0]["scenes"]:
        for frame in scene["evidence"].get("frames", ()):
            assert bytes.fromhex(frame["hex"]).hex().upper() == frame["hex"]


# --- claim by claim -------------------------------------------------------------------------------------


def test_views(evidence: Evidence) -> None:
    found = evidence("three roles at once")
    energy = found["seen"]["3/1.0.1.8.0.255:2"]
    assert energy["operator"]["raw"] == energy["manager"]["raw"] and "value" not in energy["installer"]
    by_client = {16: "", **{held["client"]: role for role, held in found["keys"]["roles"].items()}}
    roles = [by_client[int(one["hex"][4:8], 16)] for one in found["frames"] if one["direction"] == "out"]
    assert roles[:3] != roles[3:6] and {*roles} == {"operator", "installer", "manager"}
    first_release = next(i for i, one in enumerate(found["frames"]) if one["apdu"] == "rlrq")
    assert sum(one["apdu"] == "aare" for one in found["frames"][:first_release]) == 3, "not at the same time"
    plain = {
        role: [
            opens(one["hex"], *keys_of(found, role, one))
            for one in protected(found)
            if one["direction"] == "in" and int(one["hex"][8:12], 16) == held["client"]
        ]
        for role, held in found["keys"]["roles"].items()
    }
    assert all(None not in answers for answers in plain.values())
    assert any((answer or "").endswith(energy["operator"]["raw"]) for answer in plain["operator"])
    assert not any((answer or "").endswith(energy["operator"]["raw"]) for answer in plain["installer"])


def test_refusals(evidence: Evidence) -> None:
    found = evidence("refused")
    client = found["keys"]["roles"]["installer"]["client"]
    answers = [
        opens(one["hex"], *keys_of(found, "installer" if _sap(one) == client else "operator", one))
        for one in protected(found)
        if one["direction"] == "in"
    ]
    kinds = [(answer or "")[:4] + (answer or "")[6:] for answer in answers]
    assert "C4010104" in kinds and "C50103" in kinds


def _sap(frame: dict[str, Any]) -> int:
    return int(frame["hex"][8:12] if frame["direction"] == "in" else frame["hex"][4:8], 16)


def test_a_protected_reading(evidence: Evidence) -> None:
    found = evidence("protected")
    answers = [one for one in protected(found) if one["apdu"] == "get-response-normal"]
    (plain,) = (opens(one["hex"], *keys_of(found, "operator", one)) for one in answers)
    assert plain is not None and plain.endswith(found["raw"]) and found["raw"] not in answers[0]["hex"]
    other = {**found, "keys": evidence("refused")["keys"]}
    assert opens(answers[0]["hex"], *keys_of(other, "installer", answers[0])) is None


def test_other_keys_get_one_answer(evidence: Evidence) -> None:
    found = evidence("other role's keys")
    assert len({*found["answers"]}) == 1
    assert found["answers"][0].endswith("6117A109060760857405080103A203020101A305A103020101")
    operator, installer = (found["keys"]["roles"][role] for role in ("operator", "installer"))
    assert operator["guek"] != installer["guek"] and operator["gak"] != installer["gak"]


def test_bits(evidence: Evidence) -> None:
    found = evidence("bit flipped")
    request = parsed(found["request"])
    flipped = sorted(bit for row in found["answers"] for bit in row["bits"])
    assert flipped == [*range(found["first_bit"], 4 * len(found["request"]))]
    assert len(flipped) == 8 * (5 + len(request.body)), "security header, text and tag"
    assert all(row["answer"].startswith("D8") for row in found["answers"])
    (sent,) = (one for one in found["frames"] if one["hex"] == found["request"])
    plain = opens(sent["hex"], *keys_of(found, "operator", sent))
    assert plain is not None and plain[:4] + plain[6:] == READING[:4] + READING[6:]
    (changed,) = (one for one in found["frames"] if "sent" in one)
    assert opens(changed["hex"], *keys_of(found, "operator", changed)) is None
    assert opens(changed["sent"], *keys_of(found, "operator", changed)) is not None


def test_replays(evidence: Evidence) -> None:
    found = evidence("replayed")
    sent = [one["hex"] for one in found["frames"] if one["direction"] == "out"]
    for again in found["again"]:
        assert again["request"] in sent
        answer = bytes.fromhex(again["answer"])[8:]
        assert answer[0] == 0xD8 and answer[2] == 6
        assert int.from_bytes(answer[3:], "big") > parsed(again["request"]).counter
    assert [row["request"] for row in found["session_again"]] == sent
    assert all(row["answer"][16:18] in ("61", "D8", "63") for row in found["session_again"])
    (changed,) = (one for one in found["frames"] if "sent" in one)
    assert parsed(changed["hex"]).counter < parsed(changed["sent"]).counter


def test_downgrades(evidence: Evidence) -> None:
    found = evidence("downgrade")
    asked = [one for one in found["frames"] if one["apdu"] == "aarq" and "sent" in one]
    gmac = "60857405080205"
    assert len(asked) == 2 and all(gmac in one["sent"] and gmac not in one["hex"] for one in asked)
    (row,) = found["plain_request"]
    assert row["request"].endswith(READING)
    answer = {"direction": "in", "hex": row["answer"]}
    assert opens(row["answer"], *keys_of(found, "operator", answer)) == "C401C1010D"


def test_a_dedicated_key(evidence: Evidence) -> None:
    found = evidence("dedicated key")
    dedicated = [one for one in protected(found) if one["layers"][-1]["kind"].startswith("ded-get")]
    assert [parsed(one["hex"]).tag for one in dedicated] == [0xD0, 0xD4]
    for one in dedicated:
        guek, gak, title = keys_of(found, "operator", one)
        assert opens(one["hex"], guek, gak, title) is None
        assert opens(one["hex"], found["dedicated_key"], gak, title) == one["plain"]
    assert dedicated[1]["plain"].endswith(found["raw"])


def test_a_key_transfer(evidence: Evidence) -> None:
    found = evidence("key transfer")
    kek = found["keys"]["roles"]["manager"]["kek"]
    old, new = found["old_guek"], found["new_guek"]
    assert aes_key_unwrap(bytes.fromhex(kek), bytes.fromhex(found["wrapped"])).hex().upper() == new["key"]
    for key in (old, new):
        mac = CMAC(AES(bytes.fromhex(key["key"])))
        mac.update(bytes(16))
        assert mac.finalize()[:5].hex().upper() == key["kcv"]
    calls = [
        opens(one["hex"], *keys_of(found, "manager", one))
        for one in protected(found, "frames_of_the_manager")
        if one["direction"] == "out"
    ]
    assert any(found["wrapped"] in (call or "") for call in calls)
    _, gak, _ = keys_of(found, "operator", {"direction": "out"})
    reads = [one for one in protected(found) if one["apdu"] == "get-request-normal"]
    by = [
        [opens(one["hex"], key["key"], gak, keys_of(found, "operator", one)[2]) is not None for one in reads]
        for key in (old, new)
    ]
    assert by == [[True, True, False], [False, False, True]]
    assert parsed(reads[2]["hex"]).counter < parsed(reads[0]["hex"]).counter, "the new key counts anew"


def test_a_kill(evidence: Evidence) -> None:
    found = evidence("killed")
    assert found["exit_code"] == -signal.SIGKILL and len({*found["processes"]}) == 2
    used: list[tuple[str, int]] = []
    for field in ("frames_before", "frames_after"):
        for one in protected(found, field):
            guek, gak, title = keys_of(found, "operator", one)
            assert opens(one["hex"], guek, gak, title) is not None, "the keys are the same"
            used.append((title, parsed(one["hex"]).counter))
    assert len(used) == len({*used}) >= 8
    assert [row["answer"][16:18] for row in found["again"]] == ["D8"] * 2


def test_captures() -> None:
    found = captures()
    assert len(found) >= 5
    for capture in found:
        assert capture["source"] and opened(capture).error is None
    ciphered = [one for one in found if one["verified"]]
    wrong = {**ciphered[0], "keys": {**ciphered[0]["keys"], "gak": "00" * 16}}
    assert opened(wrong).error is not None


# --- what does not hold -----------------------------------------------------------------------------------


async def breaks(stage: Stage, account: Account) -> None:
    account.done("something", "before")
    raise Refused("the meter says no", reason="no", code=1, source="access")


async def faulty(stage: Stage, account: Account) -> None:
    raise KeyError("nothing there")


async def contradicted(stage: Stage, account: Account) -> None:
    async with stage.wire() as wire:
        error = await raised(stage.visit("operator", wire))
        account.refusal("the operator is turned away", error, Refused)


async def empty(stage: Stage, account: Account) -> None:
    """Says nothing, so nothing can have held."""


async def holds(stage: Stage, account: Account) -> None:
    async with stage.wire() as wire:
        await stage.visit("operator", wire)
    account.done("signed on", len(wire.passed))


def test_scenes_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [Scene(act.__name__, "claim", act) for act in (breaks, faulty, contradicted, empty, holds)]

    def some(told: Callable[[Played], None] | None = None) -> list[Played]:
        return real(told, scenes)

    real = demo.play
    monkeypatch.setattr(demo, "play", some)
    ran = run("demo", "--json")
    shown = {scene["name"]: scene for scene in ran.lines()[0]["scenes"]}
    assert ran.code == 1
    assert {name for name, scene in shown.items() if scene["held"]} == {"holds"}
    assert shown["breaks"]["evidence"]["error"] == "refused: the meter says no"
    assert shown["breaks"]["evidence"]["facts"][0]["what"] == "something"
    assert shown["faulty"]["evidence"]["error"].startswith("KeyError")
    assert shown["contradicted"]["evidence"]["facts"][0]["as_claimed"] is False
    page = run("demo")
    assert page.code == 1 and "\x1b" not in page.out
    assert page.out.splitlines()[-1] == "1 of 5 claims held"
    assert "ended by refused: the meter says no" in page.out and "DID NOT HOLD" in page.out


def test_meter_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "METER", "meterseal.demo.nothing")
    with pytest.raises(ConnectionLost, match="No module named"):
        demo.play()


# --- nothing is left behind ---------------------------------------------------------------------------------


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demonstration as a process whose temporary folder is ours, once the first scene is out."""
    with subprocess.Popen(
        [sys.executable, "-c", "from meterseal.cli import main; main()", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{SCENES[0].name}\n"
            yield process
        finally:
            process.kill()


def meters(folder: Path) -> list[int]:
    """Processes that were started with something in this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def gone(folder: Path) -> bool:
    deadline = time.monotonic() + 120
    while meters(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not meters(folder)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(
    way: signal.Signals, playing: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert len(meters(tmp_path)) == 1
    playing.send_signal(way)
    _, err = playing.communicate(timeout=120)
    assert playing.returncode not in (0, None) and "Traceback" not in err
    assert gone(tmp_path) and not [*tmp_path.iterdir()]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_the_meter_ends_with_its_parent(playing: subprocess.Popen[str], tmp_path: Path) -> None:
    playing.kill()
    playing.wait(timeout=120)
    assert gone(tmp_path)


def test_json_is_one_line(ran: Ran) -> None:
    assert ran.out.count("\n") == 1 and json.loads(ran.out)
