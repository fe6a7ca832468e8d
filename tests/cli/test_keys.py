"""`meterseal keys` with a meter as a process of its own: a store from its making to another storage KEK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meterseal import Credentials
from meterseal.authority.adoption import new_of
from meterseal.errors import ConfigurationError
from tests.cli.conftest import Running, meter
from tests.cli.shell import Keys, run


@dataclass
class Office(Keys):
    """A store, a meter that it knows, and the command line."""

    folder: Path
    meter: Running
    title: str

    def at(self, *words: str, code: int = 0) -> Any:
        return self.json(words[0], "--device", self.title, *words[1:], code=code)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    with meter(folder) as running:
        title = Credentials.load(running.credentials).meter.system_title
        assert title is not None
        made = Office(folder, running, title.hex().upper())
        made.keys("init")
        assert made.json("adopt", str(running.credentials), "--serial", "4711")["keys"] == 10
        yield made


@pytest.fixture(scope="module")
def leaked(office: Office) -> Any:
    """A key that others may have."""
    return office.at("revoke", "--kind", "gbek", "--role", "installer", "--why", "found on a wall")["key"]


def states(office: Office, kind: str, role: str | None) -> list[str]:
    found = office.at("status")["keys"]
    return [one["state"] for one in found if (one["kind"], one["role"]) == (kind, role)]


def test_status_counts_and_shows(office: Office) -> None:
    found = office.json("status")
    assert found["devices"] == 1 and sum(found["keys"]["gak"].values()) >= 3
    assert {"weak", "default", "shared", "due", "open", "stuck"} <= set(found)
    text = office.keys("status", "--device", office.title).out
    assert office.title in text and "credentials file" in text


def test_rotate_brings_a_key_that_is_then_used(office: Office) -> None:
    done = office.at("rotate", "--kind", "guek", "--role", "operator", "--why", "yearly")
    assert [one["kind"] for one in done["done"]] == ["guek"] and not done["again"] and not done["failed"]
    assert states(office, "guek", "operator") == ["deactivated", "active"]
    said = [one["verb"] for one in office.at("history", "--kind", "guek", "--role", "operator")["journal"]]
    assert said[-3:] == ["retire", "activate", "rotation"]
    file = str(office.meter.credentials)
    refused = run("read", office.meter.url, "--credentials", file, "--role", "operator", "0.0.1.0.0.255")
    assert refused.code == 1, "the file that was taken in is spent"


def test_a_key_that_is_staged_is_the_one_that_is_brought(office: Office) -> None:
    staged = office.at("stage", "--kind", "gak", "--role", "installer")["key"]
    assert staged["state"] == "staged" and states(office, "gak", "installer")[-1] == "staged"
    office.at("rotate", "--kind", "gak", "--role", "installer")
    after = office.at("history", "--kind", "gak", "--role", "installer")["keys"][-1]
    assert (after["key"], after["state"]) == (staged["key"], "active")


def test_a_key_of_a_role_is_staged_for_a_role(office: Office) -> None:
    words = ["stage", "--device", office.title, "--kind", "gak"]
    for role in ([], ["--role", "nobody"]):
        assert "say --role, one of" in office.keys(*words, *role, code=2).err
    assert [one for one in office.at("status")["keys"] if one["kind"] == "gak" and not one["role"]] == []


def test_a_file_for_the_field_works_until_another_speaks_in_its_role(office: Office) -> None:
    out = office.folder / "field.toml"
    office.keys("export-credentials", "--device", office.title, "--out", str(out), "--role", "installer")
    assert out.stat().st_mode & 0o077 == 0
    file = Credentials.load(out)
    assert list(file.roles) == ["installer"]
    assert file.role().counter_end == (file.role().counter_start or 0) + 10_000
    read = run("read", office.meter.url, "--credentials", str(out), "0.0.1.0.0.255")
    assert read.code == 0, read.err


def test_keys_that_are_lent_serve_until_their_end_and_are_refused_by_name_after_it(office: Office) -> None:
    out, role = office.folder / "lent.toml", ["--role", "installer"]
    words = ["export-credentials", "--device", office.title, "--out", str(out), *role]
    assert "yet to come" in office.keys(*words, "--until", "2020-01-01", code=2).err
    office.keys(*words, "--until", "2999-01-01")
    read = ["read", office.meter.url, "--credentials", str(out), "0.0.1.0.0.255"]
    assert run(*read).code == 0
    assert [one["until"] for one in office.at("status")["lent"]] == ["2999-01-01T00:00:00Z"]
    out.write_text(out.read_text().replace("2999-", "2020-"))
    for late in (read, ["decode", "--credentials", str(out), "0001000100010003C40100"]):
        refused = run(*late)
        assert refused.code == 1, late
        assert "expired" in refused.out + refused.err and "ask for a new set" in refused.out + refused.err
    with pytest.raises(ConfigurationError, match="whoever lent them"):
        new_of(Credentials.load(out))


def test_revoke_says_why_and_ends_the_use(office: Office, leaked: Any) -> None:
    office.keys("revoke", "--device", office.title, "--kind", "gbek", "--role", "installer", code=2)
    assert leaked["state"] == "compromised"
    refused = office.keys(
        "destroy", "--device", office.title, "--kind", "gbek", "--role", "installer", "--key",
        str(leaked["key"]), "--why", "gone", code=2,
    )  # fmt: skip
    assert "no other key" in refused.err


@pytest.mark.usefixtures("leaked")
def test_a_meter_that_does_not_answer_is_run_again(office: Office) -> None:
    found = office.at("rotate", "--kind", "guek", "--role", "installer", "--url", "tcp://127.0.0.1:1", code=3)
    assert found["again"][0]["kind"] == "guek" and not found["done"]
    assert states(office, "guek", "installer") == ["active", "staged"]
    assert (
        "no kind of key" in office.keys("recover", "--device", office.title, "--kind", "password", code=2).err
    )
    recovered = office.at("recover", "--kind", "kek", code=3)
    assert {"device": office.title, "role": None, "kind": "kek"} in recovered["done"]
    assert {"device": office.title, "role": "installer", "kind": "guek"} in recovered["done"]
    (left,) = recovered["again"]  # the one that leaked
    assert left["kind"] == "gbek" and "compromised" in left["cause"]
    assert states(office, "guek", "installer") == ["deactivated", "active"]


def test_due_has_an_exit_code_of_its_own(office: Office) -> None:
    assert office.json("due")["count"] == 0
    office.keys("due", "--every", "guek", code=2)
    assert office.json("due", "--every", "guek=30", "--every", "gak=0")["count"] == 0
    assert office.keys("rotate", "--due").out == ""
    office.keys("rotate", code=2)


def test_what_is_asked_for_wrongly(office: Office) -> None:
    office.keys("rotate", "--device", office.title, "--kind", "password", code=2)
    office.keys("stage", "--device", office.title, "--kind", "guek", "--role", "nobody", code=2)
    office.keys("status", "--device", "4D534C0000000009", code=1)
    office.keys("status", "--device", "4D53", code=2)
    office.keys("init", code=1)
    missing = run("keys", "status", "--store", str(office.folder / "none.db"))
    assert missing.code == 1 and "keys init" in missing.err


def test_the_storage_kek_is_changed_and_the_journal_holds(office: Office) -> None:
    number = office.json("journal", "verify")["entries"]
    done = office.json("rewrap", "--to", str(office.folder / "new.kek"), "--why", "yearly")
    assert done["rewrapped"] >= 10
    assert "under storage KEK" in office.keys("status", code=1).err
    (office.folder / "new.kek").replace(office.folder / "keys.db.kek")
    assert office.json("rewrap")["rewrapped"] == 0
    assert office.json("journal", "verify")["entries"] > number
    last = office.keys("journal", "show", "--last", "2", "--json").lines()
    assert [one["verb"] for one in last] == ["storage-kek", "rewrapped"]
    json.dumps(last)


def test_C09_a_store_put_back_from_a_copy_says_what_to_do(office: Office) -> None:
    copy = {
        path.name: path.read_bytes() for path in office.folder.glob("keys.db*") if ".kek" not in path.name
    }
    office.at("stage", "--kind", "gak", "--role", "operator")
    for path in office.folder.glob("keys.db-*"):
        path.unlink()
    for name, octets in copy.items():
        (office.folder / name).write_bytes(octets)
    assert "keys restored" in office.keys("status", code=1).err
    assert office.json("restored", "--why", "disk died")["jump"] > 0
    assert office.at("rotate", "--kind", "gak", "--role", "operator")["done"]


def test_what_is_looked_at_of_one_kind_and_what_is_told_to_programs(office: Office) -> None:
    assert {one["kind"] for one in office.at("status", "--kind", "gak")["keys"]} == {"gak"}
    assert office.json("due", "--kind", "gak") == {"count": 0, "keys": []}
    assert "no kind of key" in office.keys("due", "--kind", "password", code=2).err
    out = str(office.folder / "told.toml")
    told = office.at("export-credentials", "--out", out, "--role", "installer", "--until", "2999-01-01")
    assert told == {
        "device": office.title, "roles": ["installer"], "until": "2999-01-01T00:00:00Z", "file": out,
    }  # fmt: skip


def test_of_a_role_its_own_keys_are_changed_and_not_those_of_the_device(office: Office) -> None:
    done = office.at("rotate", "--role", "operator", "--why", "he left")["done"]
    assert {(one["role"], one["kind"]) for one in done} == {
        ("operator", "guek"), ("operator", "gak"), ("operator", "gbek"),
    }  # fmt: skip
    refused = office.keys("rotate", "--device", office.title, "--role", "nobody", code=2)
    assert "no key of these" in refused.err
