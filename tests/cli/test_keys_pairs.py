"""`meterseal keys` for key pairs and agreed keys, with a meter as a process: rotated, due, renewed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meterseal import Credentials
from meterseal.authority import look
from meterseal.authority.register import State
from tests.cli.conftest import meter
from tests.cli.shell import run


@dataclass
class Office:
    """A store, an authority, and a meter of suite 1 that both know."""

    folder: Path
    title: str
    file: str

    def json(self, *words: str, code: int = 0, device: bool = True) -> Any:
        which = ["--device", self.title] if device else []
        environment = {"METERSEAL_STORE": str(self.folder / "keys.db")}
        ran = run("keys", *words, *which, "--json", env=environment)
        assert ran.code == code, (words, ran.out, ran.err)
        return ran.lines()[0] if ran.out else ran.err

    def rotate(self, *words: str, **how: Any) -> Any:
        return self.json("rotate", *words, "--authority", str(self.folder / "ca"), **how)

    def states(self, kind: str, role: str | None) -> list[str]:
        found = self.json("history", "--kind", kind)["keys"]
        return [one["state"] for one in found if one["role"] == role]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    assert run("pki", "init", "--dir", str(folder / "ca"), "--name", "Root").code == 0
    config = folder / "config.toml"
    config.write_text('[meter]\ntrust = ["ca/ca.pem"]\n')
    with meter(folder, "--preset", "suite1", "--config", str(config)) as running:
        file = str(running.credentials)
        enrolled = run("pki", "enrol", running.url, "--dir", str(folder / "ca"), "--credentials", file)
        assert enrolled.code == 0, enrolled.err
        title = (Credentials.load(file).meter.system_title or b"").hex().upper()
        made = Office(folder, title, file)
        made.json("init", device=False)
        assert made.json("adopt", file, device=False)["keys"] == 16
        yield made


@pytest.fixture(scope="module")
def renewed(office: Office) -> Any:
    """What was said when the meter's pair was renewed, with a certificate of 30 days."""
    return office.rotate("--kind", "meter-sign", "--days", "30")


def test_a_pair_of_the_meter_is_renewed_and_shown(office: Office, renewed: Any) -> None:
    assert [one["kind"] for one in renewed["done"]] == ["meter-sign"] and not renewed["again"]
    assert office.states("meter-sign", None) == ["deactivated", "active"]
    shown = [one for one in office.json("status")["keys"] if one["kind"] == "meter-sign"][-1]
    assert shown["origin"] == "drawn in the device" and shown["expires"] is not None
    replaced = [one for one in look(office.folder / "ca") if one.state is State.REPLACED]
    assert [(one.title or b"").hex().upper() for one in replaced] == [office.title]


@pytest.mark.usefixtures("renewed")
def test_C10_what_ends_soon_is_due_and_renewed_ahead(office: Office) -> None:
    """The certificate of 30 days is within the 60 that it is renewed ahead by."""
    ahead = office.json("due", "--limit", "5", code=3, device=False)
    assert [one["kind"] for one in ahead["keys"]] == ["meter-sign"]
    assert office.json("due", code=3) == ahead
    assert office.json("due", "--device", "4D534C0000000000", device=False)["count"] == 0
    expiring = run("pki", "expiring", "--dir", str(office.folder / "ca"), "--days", "60", "--json")
    assert len(expiring.lines()[0]["certificates"]) == 1
    assert "--authority" in office.json("rotate", "--due", device=False)
    assert "--authority" in office.json("rotate", "--due", "--kind", "meter-sign", device=False)
    done = office.rotate("--due", device=False)
    assert [one["kind"] for one in done["done"]] == ["meter-sign"]
    assert office.json("due", device=False)["count"] == 0
    again = run("pki", "expiring", "--dir", str(office.folder / "ca"), "--days", "60", "--json")
    assert again.lines()[0]["certificates"] == []


def test_pairs_without_an_authority_are_refused_by_name(office: Office) -> None:
    assert "--authority" in office.json("rotate", "--kind", "meter-agree", code=2)
    staged = office.json("stage", "--kind", "client-sign", "--role", "manager", "--with", "00" * 16, code=2)
    assert "not staged by hand" in staged


def test_a_clients_new_pair_signs_on(office: Office) -> None:
    done = office.rotate("--kind", "client-sign", "--role", "manager")
    assert [(one["kind"], one["role"]) for one in done["done"]] == [("client-sign", "manager")]
    out = office.folder / "exported.toml"
    ran = run(
        "keys", "export-credentials", "--device", office.title, "--out", str(out), "--role", "manager",
        env={"METERSEAL_STORE": str(office.folder / "keys.db")},
    )  # fmt: skip
    assert ran.code == 0, ran.err
    url = str(Credentials.load(out).meter.url)
    read = run("read", url, "--credentials", str(out), "--role", "manager", "1/0.0.42.0.0.255")
    assert read.code == 0, read.err


def test_a_key_is_agreed_on_where_there_is_a_way_back(office: Office) -> None:
    chosen = office.json("way", "agreement", "--kind", "guek", "--role", "operator")
    assert (chosen["kind"], chosen["way"]) == ("guek", "agreement")
    done = office.json("rotate", "--kind", "guek", "--role", "operator")
    assert [one["kind"] for one in done["done"]] == ["guek"]
    assert office.json("history", "--kind", "guek", "--role", "operator")["keys"][-1]["origin"] == "agreed"
    refused = office.json("way", "agreement", "--kind", "guek", "--role", "manager", code=2)
    assert "no other role" in refused
    office.json("way", "transfer", "--kind", "guek", "--role", "operator")
    office.json("rotate", "--kind", "guek", "--role", "operator")
    history = office.json("history", "--kind", "guek", "--role", "operator")["keys"]
    assert [one["origin"] for one in history] == ["credentials file", "agreed", "generated"]
    assert "one way only" in office.json("way", "agreement", "--kind", "meter-sign", code=2)
