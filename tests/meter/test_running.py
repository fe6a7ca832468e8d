"""The meter as a process: the line it says, the credentials it writes, signals, kill -9, its own refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError, StateLocked
from meterseal.meter import Meter, load_plan, run_meter
from meterseal.security import KeyInUse
from meterseal.state import read_records
from meterseal.state.log import Record
from tests.hostile.raw import Line
from tests.meter.world import Client, World, read

START = "import sys, json; from meterseal.meter import run_meter; run_meter(**json.loads(sys.argv[1]))"


@dataclass
class Process:
    """A meter in a process of its own, and the keys of its clients."""

    process: subprocess.Popen[str]
    credentials: Credentials
    keys: dict[str, KeyInUse] = field(default_factory=dict)
    key = World.key

    @property
    def port(self) -> int:
        assert self.credentials.meter.url is not None
        return int(self.credentials.meter.url.rpartition(":")[2])

    def signed_on(self, role: str) -> Client:
        line = Line(self.port)
        return Client(self, role, line).sign_on()


@contextmanager
def started(path: Path, **options: object) -> Iterator[Process]:
    out = path / "meter-credentials.toml"
    arguments = {"credentials_out": str(out), **options}
    process = subprocess.Popen(
        [sys.executable, "-c", START, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on tcp://127.0.0.1:"), process.stderr and process.stderr.read()
        assert out.stat().st_mode & 0o777 == 0o600
        found = Process(process, Credentials.load(out))
        assert found.credentials.meter.url == line.removeprefix("listening on ").strip()
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=120)


def until_kept(state: str, wanted: Callable[[Record], bool]) -> None:
    """Wait for a record that a running meter writes, of what is no matter of an answer, within a second."""
    end = time.monotonic() + 60
    while not any(map(wanted, read_records(Path(state), "journal"))):
        assert time.monotonic() < end, "not written"
        time.sleep(0.02)


def test_it_says_that_it_listens_when_the_credentials_are_complete(tmp_path: Path) -> None:
    with started(tmp_path) as here:
        assert list(here.credentials.roles) == ["public", "operator", "installer", "manager"]
        manager, operator = (here.credentials.roles[name] for name in ("manager", "operator"))
        assert manager.kek is not None and operator.kek is None
        assert operator.counter_start == 1 and operator.counter_object == "0.0.43.1.2.255"
        client = here.signed_on("operator")
        assert client.get(3, "1.0.1.8.0.255") > 0
        client.line.close()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_end_it_cleanly(name: str, tmp_path: Path) -> None:
    with started(tmp_path, wire_log=str(tmp_path / "wire.jsonl")) as here:
        client = here.signed_on("operator")
        client.get(3, "1.0.1.8.0.255")
        here.process.send_signal(getattr(signal, name))
        out, err = here.process.communicate(timeout=120)
        client.line.close()
        assert (here.process.returncode, out, err) == (0, "", "")
    frames = [json.loads(line) for line in (tmp_path / "wire.jsonl").read_text().splitlines()]
    assert [frame["direction"] for frame in frames] == ["in", "out"] * 3
    assert (tmp_path / "wire.jsonl").stat().st_mode & 0o777 == 0o600


def test_kill_9_and_back_with_its_keys_and_counters(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    seen: set[int] = set()
    with started(tmp_path, state=state) as here:
        client = here.signed_on("operator")
        before = here.credentials
        for _ in range(20):
            answer = client.line.ask(client.sealed(bytes.fromhex("C001C100030100010800FF0200")), 2)
            seen.add(int.from_bytes(answer[3:7], "big"))
        replay = client.sealed(bytes.fromhex("C001C100030100010800FF0200"))
        assert client.line.ask(replay, 2)[0] == 0xCC
        used = int.from_bytes(replay[3:7], "big")
        until_kept(state, lambda record: record.get("lowest", 0) > used)
        here.process.send_signal(signal.SIGKILL)
        here.process.wait()
        client.line.close()
        keys = here.keys
    with started(tmp_path, state=state) as here:
        assert here.credentials.meter.system_title == before.meter.system_title
        for role, given in before.roles.items():
            for name in ("guek", "gak", "gbek", "kek"):
                assert here.credentials.roles[role].octets(name) == given.octets(name)
        assert (here.credentials.roles["operator"].counter_start or 0) > 20
        here.keys = keys  # the client goes on counting as well
        client = here.signed_on("operator")
        assert client.line.ask(replay, 2)[:3] == bytes.fromhex("D80106")
        answer = client.line.ask(client.sealed(bytes.fromhex("C001C100030100010800FF0200")), 2)
        assert int.from_bytes(answer[3:7], "big") > max(seen), "no counter is sent twice"
        client.line.close()


def test_refusals_are_told_on_stderr_and_nowhere_else(tmp_path: Path) -> None:
    with started(tmp_path) as here:
        client = here.signed_on("installer")
        assert client.one(read(3, "1.0.1.8.0.255")).code == 4
        client.line.close()
        here.process.terminate()
        out, err = here.process.communicate(timeout=120)
    assert out == ""
    assert "client 3 at 127.0.0.1:" in err and "get 3/1.0.1.8.0.255:2: object-undefined" in err


def test_one_process_has_the_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with started(tmp_path, state=str(state)), pytest.raises(StateLocked):
        Meter(load_plan(), state)


def test_without_a_state_folder_keys_are_fresh_and_nothing_stays(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    keys = set()
    for _ in range(2):
        environment = {**os.environ, "TMPDIR": str(folder)}
        out = tmp_path / "credentials.toml"
        arguments = json.dumps({"credentials_out": str(out)})
        process = subprocess.Popen(
            [sys.executable, "-c", START, arguments], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None and process.stdout.readline()
        assert len(list(folder.iterdir())) == 1
        keys.add(Credentials.load(out).roles["operator"].octets("guek"))
        process.terminate()
        process.communicate(timeout=120)
        assert process.returncode == 0 and not list(folder.iterdir())
    assert len(keys) == 2


def test_fixed_keys_need_a_state_folder(tmp_path: Path) -> None:
    config = tmp_path / "meter.toml"
    config.write_text('[roles.operator]\nguek = "000102030405060708090A0B0C0D0E0F"\n')
    with pytest.raises(ConfigurationError, match="--state DIR"):
        run_meter(config=config)


def test_a_port_in_use_is_a_configuration_error(tmp_path: Path) -> None:
    with started(tmp_path) as here, pytest.raises(ConfigurationError, match="cannot listen"):
        run_meter(port=here.port, state=tmp_path / "other")
    Meter(load_plan(), tmp_path / "other").close()  # and the state folder is free again


def test_the_logs_survive_kill_9(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with started(tmp_path, state=state) as here:
        client = here.signed_on("manager")
        assert client.call(70, "0.0.96.3.10.255", 1) == 0
        forged = bytearray(client.sealed(bytes.fromhex("C001C100030100010800FF0200")))
        forged[-1] ^= 1
        assert client.line.ask(bytes(forged), 1)[0] == 0xD8
        until_kept(state, lambda record: record.get("event", [])[1:] == [49, 1])
        here.process.send_signal(signal.SIGKILL)
        here.process.wait()
        client.line.close()
        keys = here.keys
    with started(tmp_path, state=state) as here:
        here.keys = keys
        client = here.signed_on("manager")
        logs = {log: [code for _, code in client.get(7, f"0.0.99.98.{log}.255")] for log in (0, 1, 2)}
        assert [code for code in logs[0] if code != 9] == [2, 2], "power came twice, beside the tariff's 9"
        assert (logs[1], logs[2]) == ([49], [62])
        client.line.close()
