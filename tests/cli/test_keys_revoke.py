"""`meterseal keys revoke`: a shared key and a certificate are found out, wherever they are held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meterseal import Credentials
from meterseal.authority.adoption import adopt
from meterseal.authority.store import create_store, open_store
from meterseal.crypto import random_octets
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import Verb
from tests.cli.shell import Keys, run

TITLES = [f"4D534C{number:010X}" for number in (1, 2, 3)]


class Office(Keys):
    """A store with three meters: one GBEK for the first two, a KEK for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        group = random_octets(16)
        with create_store(str(folder / "keys.db"), by="test") as store:
            for title in TITLES:
                keys = {name: random_octets(16) for name in ("guek", "gak", "kek", "gbek")}
                keys |= {"gbek": group} if title != TITLES[2] else {}
                role = {"client": 1, "mechanism": "gmac", "client_system_title": "4D534C4845530001", **keys}
                tables = {"meter": {"system_title": title, "suite": 0}, "roles": {"manager": role}}
                adopt(store, Credentials.from_mapping(tables))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_shared_key_is_marked_at_all_holders_planned_and_reported(office: Office) -> None:
    slot = ["--device", TITLES[0], "--kind", "gbek", "--role", "manager"]
    planned = office.json("revoke", *slot, "--plan")
    assert [one["device"] for one in planned["holders"]] == TITLES[:2] and planned["exposed"] == []
    assert {one["state"] for one in planned["holders"]} == {"active"}, "a plan marks nothing"
    marked = office.json("revoke", *slot, "--why", "read out of a meter", "--campaign", "leak")
    assert {one["state"] for one in marked["holders"]} == {"compromised"}
    assert [(one["device"], one["kind"]) for one in marked["plan"]] == [
        (title, "gbek") for title in TITLES[:2]
    ]
    assert marked["protected"]["gbek"] == "what is sent to all of its group"
    assert office.json("status")["exposed"] == 2
    report = office.json("revoke", "--report")
    assert report["still"] == 2 and [one["until"] for one in report["exposed"]] == [None, None]
    assert "still" in office.keys("revoke", "--report", "--device", TITLES[1]).out
    assert [one["device"] for one in office.json("campaign", "report", "leak-1")["devices"]] == TITLES[:2]
    assert (
        "nothing to mark"
        in office.keys("revoke", *slot, "--key", str(marked["key"]["key"]), "--why", "x", code=2).err
    )


def test_a_campaign_of_the_name_that_does_something_else_leaves_all_unmarked(office: Office) -> None:
    slot = ["--device", TITLES[0], "--kind", "gbek", "--role", "manager", "--why", "read out of a meter"]
    office.keys("campaign", "new", "leak-1", "--kind", "guek", "--device", TITLES[0])
    refused = office.keys("revoke", *slot, "--campaign", "leak", code=2)
    assert "nothing is marked" in refused.err and "'leak-1'" in refused.err and "another name" in refused.err
    assert office.json("revoke", "--report")["exposed"] == []
    assert office.keys("campaign", "report", "leak-2", code=1).err
    assert office.json("revoke", *slot, "--campaign", "lost")["exposed"]
    assert office.json("campaign", "report", "lost-1")["waiting"] == 2


def test_revoke_run_again_finishes_what_is_left_and_changes_nothing_else(office: Office) -> None:
    """Marked without its campaigns, as by an earlier command; then with them; then all is there."""
    slot = ["--device", TITLES[0], "--kind", "kek", "--why", "a stolen list"]
    office.json("revoke", *slot)
    assert "all are compromised already" in office.keys("revoke", *slot, code=2).err
    first = office.json("revoke", *slot, "--campaign", "list")
    names = [f"list-{number}" for number in (1, 2, 3, 4)]
    assert [office.json("campaign", "report", name)["waiting"] for name in names] == [1, 1, 1, 1]
    entries = office.json("journal", "verify")["entries"]
    again = office.json("revoke", *slot, "--campaign", "list")
    assert [again[part] for part in ("plan", "holders")] == [first[part] for part in ("plan", "holders")]
    assert len(office.json("revoke", "--report")["exposed"]) == 1
    assert office.json("journal", "verify")["entries"] == entries, "nothing was done a second time"
    title = bytes.fromhex(TITLES[0])
    with open_store(str(office.folder / "keys.db")) as store:
        kek = Slot(title, "", "kek")
        store.keys.apply(Verb.ACTIVATE, store.keys.stage(kek, random_octets(16)))
    done = office.keys("revoke", *slot, "--campaign", "list")
    assert "a newer one: --key" in done.err and "active" not in done.out, "the successor is left alone"
    with open_store(str(office.folder / "keys.db")) as store:
        assert [one.state.value for one in store.keys.slot(kek)] == ["compromised", "active"]


def test_a_device_out_of_service_is_marked_and_in_no_campaign(office: Office) -> None:
    office.keys("retire", "--device", TITLES[1])
    slot = ["--device", TITLES[0], "--kind", "gbek", "--role", "manager", "--why", "read out of a meter"]
    marked = office.json("revoke", *slot, "--campaign", "leak")
    assert [one["device"] for one in marked["holders"]] == TITLES[:2]
    assert [one["device"] for one in office.json("campaign", "report", "leak-1")["devices"]] == TITLES[:1]


def test_a_KEK_comes_first_and_then_all_that_it_carried(office: Office) -> None:
    found = office.json("revoke", "--device", TITLES[2], "--kind", "kek", "--why", "a stolen list")
    assert [(one["kind"], one["carried"]) for one in found["plan"]] == [
        ("kek", False), ("gak", True), ("guek", True), ("gbek", True),
    ]  # fmt: skip
    out = str(office.folder / "out.toml")
    office.keys("export-credentials", "--device", TITLES[2], "--out", out)
    role = Credentials.load(out).role()
    assert role.octets("kek") is None and role.octets("guek") is not None
    office.keys(
        "revoke", "--device", TITLES[2], "--kind", "guek", "--role", "manager", "--why", "the same list"
    )
    refused = office.keys("export-credentials", "--device", TITLES[2], "--out", out, code=1)
    assert "compromised" in refused.err
    text = office.keys("revoke", "--device", TITLES[2], "--kind", "gak", "--role", "manager", "--plan").out
    assert "it protected that messages of the role" in text and "rotate" in text


def test_what_is_asked_for_wrongly(office: Office) -> None:
    for words in ([], ["--kind", "kek"], ["--device", TITLES[0]], ["--list", "x.crl"], ["--issuer", "x.pem"]):
        office.keys("revoke", *words, "--why", "x", code=2)
    slot = ["--device", TITLES[0], "--kind", "kek"]
    office.keys("revoke", *slot, "--since", "yesterday", "--why", "x", code=2)
    office.keys("revoke", *slot, "--since", "2999-01-01", "--why", "x", code=2)
    office.keys("revoke", *slot, "--certificate", "x.pem", "--why", "x", code=2)
    assert office.json("revoke", "--report") == {"still": 0, "exposed": []}


def test_D16_what_an_authority_has_revoked_is_marked_from_its_list(office: Office) -> None:
    folder = ["--dir", str(office.folder / "ca")]
    ca, crl = str(office.folder / "ca" / "ca.pem"), str(office.folder / "ca" / "crl.pem")
    assert run("pki", "init", *folder, "--name", "Office").code == 0
    assert run("pki", "crl", *folder).code == 0
    words = ["--list", crl, "--issuer", ca]
    assert office.json("revoke", *words, "--plan")["holders"] == []
    assert "nobody holds it" in office.keys("revoke", *words, "--why", "x", code=2).err
    assert office.json("revoke", "--certificate", ca, "--plan") == {
        "key": None, "holders": [], "protected": {}, "plan": [], "exposed": [],
    }  # fmt: skip
    json.dumps(office.json("status"))
