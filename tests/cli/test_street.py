"""`meterseal street up` and `meterseal utility`: processes that stay, a line of JSON, a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from meterseal.credentials import Credentials
from meterseal.demo import street
from meterseal.demo.street_meters import PUSH
from meterseal.errors import ConnectionLost
from meterseal.headend import store
from meterseal.net import parse
from tests.cli.shell import app
from tests.endtoend.whole import whole

COMMAND = "from meterseal.cli import main; main()"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.soak
def test_a_street_stands_until_it_is_told_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "street"
    words = ["street", "up", "--dir", str(folder), "--meters", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        pids = [one["pid"] for one in told["processes"]]
        assert [one["name"] for one in told["processes"]] == ["meter-1", "headend", "utility"]
        assert all(Path(one["dir"]).is_dir() and one["url"] for one in told["processes"])
        (meter,) = told["meters"]
        held = Credentials.load(meter["utility"])
        assert not held.roles
        assert held.third_party().octets("kek") is not None
        assert "kek" not in (folder / "headend" / "meter-1.toml").read_text()
        runner = CliRunner()
        asked = ["--via", told["via"], "--credentials", told["credentials"]["utility"], meter["system_title"]]
        done = runner.invoke(
            app, ["utility", "read", *asked, "8/0.0.1.0.0.255", "1/0.0.96.1.10.255:2", "--json"]
        )
        body = json.loads(done.stdout)
        assert done.exit_code == 1, "one was refused"
        assert ["value" in one for one in body["values"]] == [True, False]
        assert body["layers"][0]["kind"] == "general-ciphering"
        assert body["layers"][0]["verified"] is True
        done = runner.invoke(app, ["utility", "call", *asked, "70/0.0.96.3.10.255:1"])
        assert done.exit_code == 0, done.output
        done = runner.invoke(
            app, ["utility", "write", *asked, "8/0.0.1.0.0.255:2", "2026-01-01T00:00:00", "--json"]
        )
        assert (done.exit_code, json.loads(done.stdout)["values"][0]["error"]["type"]) == (1, "refused")
        pushes = folder / "utility" / "pushes.jsonl"
        own = ["--credentials", told["credentials"]["meter-1"], "--role", "manager"]
        done = runner.invoke(app, ["call", told["processes"][0]["url"], *own, f"40/{PUSH}:1"])
        assert done.exit_code == 0, done.output
        until = time.monotonic() + 120
        while not (pushes.exists() and pushes.read_text().endswith("\n")) and time.monotonic() < until:
            time.sleep(0.05)
        assert json.loads(pushes.read_text().splitlines()[0])["meter"] == meter["system_title"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert not [pid for pid in pids if alive(pid)]


async def test_a_street_is_told_of_and_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The short form: who runs the street says one line, keeps it, and ends with it."""
    never, closed, said = asyncio.Event(), [], list[str]()

    class Fake:
        def __init__(self, folder: Path, count: int) -> None:
            assert (folder, count) == (tmp_path, 2)

        async def __aenter__(self) -> Fake:
            return self

        async def __aexit__(self, *causes: object) -> None:
            closed.append(True)

        def told(self) -> dict[str, str]:
            return {"via": "https://127.0.0.1:1"}

        async def died(self) -> street.Process:
            await never.wait()
            return SimpleNamespace(name="headend", log="its log")  # type: ignore[return-value]

    monkeypatch.setattr(street, "Street", Fake)
    stop = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        stop.set()

    await street.stay(tmp_path, 2, stop, say)
    assert (said, closed) == (['{"via": "https://127.0.0.1:1"}'], [True])
    never.set()
    with pytest.raises(ConnectionLost, match="headend has ended"):
        await street.stay(tmp_path, 2, asyncio.Event(), said.append)
    assert len(closed) == 2


async def test_a_utilitys_commands_go_end_to_end(tmp_path: Path) -> None:
    async with whole(tmp_path) as all_:
        path = tmp_path / "utility.toml"
        all_.credentials.save(path)
        title = all_.meter.system_title.hex().upper()
        via = ["--via", str(all_.via._client.base_url), "--credentials", str(path), "--json", title]

        async def asked(*words: str) -> tuple[int, Any]:
            done = await asyncio.to_thread(CliRunner().invoke, app, ["utility", words[0], *via, *words[1:]])
            return done.exit_code, json.loads(done.stdout)

        code, body = await asked("read", "3/1.0.1.8.0.255:2", "1/0.0.96.1.10.255:2")
        assert code == 1, "one was refused"
        assert ["value" in one for one in body["values"]] == [True, False]
        assert [layer["kind"] for layer in body["layers"]] == ["general-ciphering", "general-signing"]
        assert all(layer["verified"] for layer in body["layers"])
        code, body = await asked("call", "70/0.0.96.3.10.255:1")
        assert (code, body["values"][0]["obis"]) == (0, "0.0.96.3.10.255")
        assert not all_.meter.plant.connected
        code, body = await asked("write", "8/0.0.1.0.0.255:2", "2026-01-01T00:00:00")
        assert (code, body["values"][0]["error"]["type"]) == (1, "refused")


async def test_a_utility_opens_what_was_pushed_for_it(tmp_path: Path) -> None:
    async with whole(tmp_path, pushes=(parse("tcp://127.0.0.1:0"),)) as all_:
        path, out = tmp_path / "utility.toml", tmp_path / "pushes.jsonl"
        all_.credentials.save(path)
        asked = ["utility", "pushes", "--via", str(all_.via._client.base_url), "--credentials", str(path)]

        async def run(*words: str) -> tuple[int, str]:
            done = await asyncio.to_thread(CliRunner().invoke, app, [*asked, *words])
            return done.exit_code, done.stdout

        for _ in range(3):
            all_.push()
        await all_.waiting(3)
        code, text = await run("--count", "1", "--json")
        body = json.loads(text)
        assert (code, body["apdu"], body["meter"]) == (
            0, "data-notification", all_.meter.system_title.hex().upper(),
        )  # fmt: skip
        assert [layer["kind"] for layer in body["layers"]] == ["general-ciphering", "general-signing"]
        code, text = await run("--count", "1")
        assert code == 0 and "data-notification" in text and "tag verified" in text
        assert await run("--out", str(out)) == (0, "")
        assert json.loads(out.read_text())["plain"] and out.stat().st_mode & 0o777 == 0o600
        assert await run() == (0, ""), "there is none any more"
        all_.push()
        (waits,) = await all_.waiting()
        (held,) = await all_.house.store.run(store.push(waits["id"], "utility"))
        await all_.house.store.run(store.acknowledge(waits["id"], "utility", 0.0))
        altered = held["sealed"][:-1] + bytes((held["sealed"][-1] ^ 1,))
        await all_.house.store.run(store.keep(held | {"sealed": altered}, 9))
        code, text = await run("--json")
        assert (code, json.loads(text)["error"]["type"]) == (1, "altered")
        assert (await run("--follow", "--count", "1"))[0] == 2


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    done = CliRunner().invoke(app, ["street", "up", "--dir", str(tmp_path)])
    assert done.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_meter_that_no_file_is_for(tmp_path: Path) -> None:
    words = [
        "--via",
        "https://127.0.0.1:1",
        "--credentials",
        str(tmp_path),
        "4D534C0000000001",
        "1.0.1.8.0.255",
    ]
    done = CliRunner().invoke(app, ["utility", "read", *words])
    assert done.exit_code == 1
    assert CliRunner().invoke(app, ["utility", "call", *words]).exit_code == 2
