"""Many meters in one process: each with its own keys, state and time, behind one port and one journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal.codec.types import Array, Structure, Tag
from meterseal.cosem.object_list import ObjectList, encode_element
from meterseal.cosem.times import Date, Time
from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError, Misuse, StateDamaged, StateLocked
from meterseal.meter import Fleet, credentials_of, load_plan
from meterseal.meter.fleet import LINGER
from meterseal.meter.ledger import Ledger
from meterseal.security import KeyInUse
from meterseal.state import Journal
from tests.meter.world import NOON, Client, Line, Timer, World

REGISTER, SWITCH, POINT, SCHEDULE = "1.0.1.8.0.255", "0.0.96.3.10.255", "0.0.96.1.10.255", "0.0.15.0.1.255"
PLAN = load_plan()


class Street:
    """A fleet with time turned by hand, and the keys that clients of each meter share."""

    def __init__(self, folder: Path, count: int, plan: Any = PLAN) -> None:
        self.folder, self.count, self.plan = folder, count, plan
        self.seconds, self.timer = float(NOON), Timer()
        self.houses: dict[int, House] = {}
        self.start()

    def start(self) -> None:
        self.fleet = Fleet(self.plan, self.count, self.folder, timer=self.timer, wall=lambda: self.seconds)
        self.party = self.fleet  # what a line gets its handler from

    def restart(self) -> None:
        self.fleet.close()
        self.start()

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.timer.advance(seconds)
        self.fleet.tick()

    def house(self, number: int) -> House:
        if number not in self.houses:
            self.houses[number] = House(self, number)
        return self.houses[number]

    def line(self) -> Line:
        return Line(self, "192.0.2.1")  # type: ignore[arg-type]


class House:
    """One meter of the street, as its clients know it."""

    key = World.key

    def __init__(self, street: Street, number: int) -> None:
        self.street, self.number = street, number
        self.keys: dict[str, KeyInUse] = {}
        with street.fleet.opened(number) as meter:
            self.credentials = credentials_of(meter, logical_device=street.fleet.address(number))

    def client(self, role: str, line: Line | None = None, sap: int = 1) -> Client:
        address = self.street.fleet.address(self.number, sap)
        return Client(self, role, line or self.street.line(), server=address).sign_on()


def test_each_meter_has_its_own_keys_and_household(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 5)
    houses = [street.house(number) for number in range(1, 6)]
    assert len({house.credentials.meter.system_title for house in houses}) == 5
    keys = [
        house.credentials.roles[role].octets(name)
        for house in houses
        for role, names in (("operator", ("guek", "gak", "gbek")), ("manager", ("guek", "gak", "kek")))
        for name in names
    ]
    assert len(set(keys)) == len(keys) and None not in keys
    readings = [house.client("operator").get(3, REGISTER) for house in houses]
    assert len(set(readings)) == 5
    assert [house.credentials.meter.logical_device for house in houses] == list(range(1001, 1006))


def test_one_connection_leads_to_all_meters(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 3)
    line = street.line()
    clients = [street.house(number).client("manager", line) for number in (1, 2, 3)]
    clients[1].call(70, SWITCH, 1)
    assert [client.get(70, SWITCH, 3) for client in clients] == [1, 0, 1]
    other = street.house(2).client("operator", line, sap=17)
    assert other.get(3, "8.0.1.0.0.255") == 345678, "its second logical device"
    assert clients[0].get(17, "0.0.41.0.0.255")[0][0] == 1, "which know nothing of the wPorts"


def test_keys_of_one_meter_open_nothing_at_another(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 2)
    one, two = street.house(1), street.house(2)
    stranger = Client(one, "operator", street.line(), server=street.fleet.address(2))
    stranger.try_sign_on()
    assert stranger.machine.state.name == "IDLE"
    assert [code for _, code in two.client("manager").get(7, "0.0.99.98.1.255")] in ([46], [49])
    assert one.client("manager").get(7, "0.0.99.98.1.255") == []


def test_I03_a_wport_without_a_meter_answers_as_one_without_a_logical_device(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 2)
    aarq = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F040000101CFFFF")
    answers = {
        address: street.line().ask(aarq, 2, address)
        for address in (0, 1, 17, 1000, 1003, 17000, 17003, 40000, 65535)
    }
    with street.fleet.opened(1):
        pass
    assert len(set(answers.values())) == 1 and answers[1][0] == 0x61
    get = bytes.fromhex("C001C100080000010000FF0200")
    assert street.line().ask(get, 16, 1003) == street.line().ask(get, 16, 1001)


def test_what_a_meter_has_kept_comes_back_with_it(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 40)
    for number in (7, 8):
        client = street.house(number).client("manager")
        assert client.set(1, POINT, 2, b"point %d" % number, Tag.OCTET_STRING) == 0
        client.call(70, SWITCH, 1)
        client.line.close()
    titles = [street.house(number).credentials.meter.system_title for number in range(1, 41)]
    street.restart()
    for number in (7, 8):
        client = street.house(number).client("manager")
        assert client.get(1, POINT) == b"point %d" % number and client.get(70, SWITCH, 3) == 0
        assert [code for _, code in client.get(7, "0.0.99.98.2.255")] == [62]
    street.count = 41
    street.restart()
    with street.fleet.opened(41) as meter:
        assert meter.system_title not in titles, "one more is founded, the others stay"
    assert [House(street, number).credentials.meter.system_title for number in range(1, 41)] == titles


def test_A03_a_replay_is_known_by_a_meter_that_was_put_away(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", LINGER + 20)
    client = street.house(1).client("operator")
    replay = client.sealed(bytes.fromhex("C001C100030100010800FF0200"))
    assert client.line.ask(replay, 2, 1001)[0] == 0xCC
    client.line.close()
    for number in range(2, LINGER + 20):
        street.house(number).client("operator").line.close()
    street.pass_time(1)
    assert street.fleet.at_work == LINGER and 1 not in street.fleet._parties
    assert street.house(1).client("operator").line.ask(replay, 2, 1001)[:3] == bytes.fromhex("D80106")
    street.restart()
    assert street.house(1).client("operator").line.ask(replay, 2, 1001)[:3] == bytes.fromhex("D80106")


def test_meters_work_while_somebody_is_connected(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", LINGER + 5)
    assert street.fleet.at_work == 0
    lines = [street.house(number).client("operator").line for number in range(1, LINGER + 6)]
    street.pass_time(1)
    assert street.fleet.at_work == LINGER + 5
    for line in lines:
        line.close()
    street.pass_time(1)
    assert street.fleet.at_work == LINGER
    client = street.house(1).client("operator")
    assert client.get(3, REGISTER) > 0


def away(street: Street) -> None:
    """Put every meter away: nobody is connected, and others have been at work since."""
    for number in list(street.fleet._parties):
        street.fleet._parties.pop(number).meter.close()
        street.fleet._seen[number] = int(street.seconds)


def test_what_the_clock_asks_of_a_meter_that_was_put_away_is_made_up_for(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 2)
    client = street.house(1).client("manager")
    times = [(Time.from_text("13:00:00").to_octets(), Date.from_text("*-*-*").to_octets())]
    kind = Array(Structure((Tag.OCTET_STRING, Tag.OCTET_STRING)))
    assert client.set(22, SCHEDULE, 4, times, kind) == 0
    client.line.close()
    away(street)
    street.pass_time(2 * 3600)
    client = street.house(1).client("manager")
    assert client.get(70, SWITCH, 3) == 0
    ((moment, code),) = client.get(7, "0.0.99.98.2.255")
    assert code == 64 and moment[5:8] == bytes((13, 0, 0)), "at its own moment"
    before = client.get(3, REGISTER)
    street.pass_time(3600)
    assert client.get(3, REGISTER) == before
    client.line.close()
    away(street)
    street.pass_time(9 * 3600)
    assert street.house(1).client("manager").get(1, "0.0.96.14.0.255") == 2, "the tariff of the night"


def test_a_meter_that_watches_something_is_not_put_away(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", LINGER + 10)
    client = street.house(1).client("manager")
    assert client.set(71, "0.0.17.0.0.255", 4, 1_000_000, Tag.DOUBLE_LONG_UNSIGNED) == 0
    client.line.close()
    for number in range(2, LINGER + 11):
        street.house(number).client("operator").line.close()
    street.pass_time(1)
    assert 1 in street.fleet._parties and street.fleet.at_work == LINGER + 1


@pytest.mark.parametrize(
    ("config", "count", "error"),
    [
        ('[meter]\nsystem_title = "4D534C0000000001"\n', 2, "the configuration cannot name them"),
        ('[meter]\ndevice_name = "MSL1"\n', 2, "the configuration cannot name them"),
        ('[roles.operator]\nguek = "000102030405060708090A0B0C0D0E0F"\n', 2, "cannot name them"),
        ('[meter]\nkek = "000102030405060708090A0B0C0D0E0F"\n', 2, "cannot name them"),
        ("[roles.operator]\npre_established = true\n", 2, "open their associations by AARQ"),
        ("".join(f"[logical_devices.{sap}]\n" for sap in (2, 3, 4)), 2, "at most 4 logical devices"),
        ("", 0, "a process has 1 to 15000 meters"),
        ("", 15_001, "a process has 1 to 15000 meters"),
        (
            '[[objects]]\nclass = 7\nobis = "1.0.99.7.0.255"\ncolumns = ["3/1.0.200.8.0.255:2"]\n',
            2,
            "there is no 3/1.0.200.8.0.255",
        ),
    ],
)
def test_plans_that_many_meters_cannot_have(config: str, count: int, error: str, tmp_path: Path) -> None:
    path = tmp_path / "meter.toml"
    path.write_text(config)
    with pytest.raises(ConfigurationError, match=error):
        Street(tmp_path / "state", count, load_plan("suite0", path))
    Journal(tmp_path / "other").close()


def test_views_are_shared_until_somebody_changes_one(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 2)
    line = street.line()
    one, two = (street.house(number).client("manager", line) for number in (1, 2))
    listed = ObjectList.from_value(two.get(15, "0.0.40.0.0.255"), 3)
    (entry,) = [e for e in listed if str(e.obis) == REGISTER]
    assert one.call(15, "0.0.40.0.0.255", 4, *encode_element(entry, 3)) == 0
    assert len(one.get(15, "0.0.40.0.0.255")) == len(two.get(15, "0.0.40.0.0.255")) - 1
    line.close()
    street.restart()
    one, two = (street.house(number).client("manager") for number in (1, 2))
    assert len(one.get(15, "0.0.40.0.0.255")) == len(two.get(15, "0.0.40.0.0.255")) - 1


# --- the ledger ---------------------------------------------------------------------------------


def test_one_write_takes_what_all_have_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(tmp_path / "state", 20)
    clients = [street.house(number).client("manager") for number in range(1, 21)]
    for client in clients:
        client.get(3, REGISTER)
    writes: list[int] = []
    commit = street.fleet._ledger.journal._log.commit

    def counted(texts: list[bytes]) -> None:
        writes.append(len(texts))
        commit(texts)

    monkeypatch.setattr(street.fleet._ledger.journal._log, "commit", counted)
    street.pass_time(1)
    assert [count for count in writes if count] == [20], "20 floors, one write"


def test_the_ledger_is_compacted_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterseal.meter.ledger._SPARE", 20)
    street = Street(tmp_path / "state", 3)
    client = street.house(2).client("manager")
    for number in range(60):
        client.set(1, POINT, 2, b"%d" % number, Tag.OCTET_STRING)
        client.call(70, SWITCH, 1 + number % 2)
    street.pass_time(1)
    assert street.fleet._ledger.journal.length < 100
    street.restart()
    client = street.house(2).client("manager")
    assert client.get(1, POINT) == b"59" and len(client.get(7, "0.0.99.98.2.255")) >= 10


def test_a_ledger_is_not_a_meters_journal_and_has_one_process(tmp_path: Path) -> None:
    street = Street(tmp_path / "state", 2)
    with pytest.raises(StateLocked):
        Ledger(tmp_path / "state")
    with street.fleet.opened(1), pytest.raises(Misuse):
        street.fleet._ledger.open(1)
    street.fleet.close()
    with Journal(tmp_path / "single") as journal:
        journal.commit({"set": {"format": 1}})
    with pytest.raises(StateDamaged, match="none of many meters"):
        Ledger(tmp_path / "single")
    Journal(tmp_path / "single").close()


# --- the process --------------------------------------------------------------------------------

START = "import sys, json; from meterseal.meter import run_fleet; run_fleet(**json.loads(sys.argv[1]))"


def started(out: Path, **options: object) -> tuple[subprocess.Popen[str], str]:
    arguments = json.dumps({"count": 6, "credentials_out": str(out), **options})
    process = subprocess.Popen([sys.executable, "-c", START, arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on tcp://127.0.0.1:")
    return process, line.removeprefix("listening on ").strip()


def ended(process: subprocess.Popen[str], how: Callable[[subprocess.Popen[str]], None]) -> int:
    how(process)
    process.communicate(timeout=120)
    return process.returncode


def test_a_fleet_as_a_process_and_back_after_kill_9(tmp_path: Path) -> None:
    out, state = tmp_path / "street", str(tmp_path / "state")
    process, url = started(out, state=state)
    index = json.loads((out / "index.json").read_text())
    assert [entry["logical_device"] for entry in index] == list(range(1001, 1007))
    assert {entry["url"] for entry in index} == {url}
    names = [out / entry["credentials"] for entry in index]
    assert {os.stat(name).st_mode & 0o777 for name in (*names, out / "index.json")} == {0o600}
    for name in names:
        with meterseal.sync.connect(credentials=str(name), role="manager") as meter:
            assert meter.read("1.0.1.8.0.255").unit == "Wh"
            meter.write("1/0.0.96.1.10.255", name.name.encode(), type="os")
    before = [Credentials.load(name).roles["operator"].octets("guek") for name in names]
    assert ended(process, lambda process: process.send_signal(signal.SIGKILL)) == -signal.SIGKILL
    process, _ = started(out, state=state)
    assert [Credentials.load(name).roles["operator"].octets("guek") for name in names] == before
    for name in names:
        with meterseal.sync.connect(credentials=str(name), role="manager") as meter:
            assert meter.read("0.0.96.1.10.255").value == name.name.encode()
    assert ended(process, lambda process: process.terminate()) == 0
