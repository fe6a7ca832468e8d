"""`meterseal keys person`, `request`, `approve`: a store with people on its roll, from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meterseal import Credentials
from meterseal.authority.adoption import adopt
from meterseal.authority.shipment import write_own
from meterseal.authority.store import create_store, open_store
from meterseal.authority.store.anchors import anchors
from meterseal.authority.store.migrations import HEAD
from meterseal.cli.keys_options import person_key
from meterseal.crypto import SigningKey, curve, random_octets
from meterseal.crypto.hashes import digest_of
from meterseal.crypto.issuing import Authority, Validity
from meterseal.errors import NotAllowed
from meterseal.meter import Meter, load_plan, write_credentials
from tests.cli.shell import Ran, run

TITLE = "4D534C0000000001"
WORDS = ["--device", TITLE, "--kind", "guek", "--role", "operator"]


class Office:
    """A store with one meter, and the keys of its people."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""
        self.secrets = {name: random_octets(16) for name in ("guek", "gak", "kek")}
        role = {"client": 2, "mechanism": "gmac", "client_system_title": "4D534C4845530001", **self.secrets}
        tables = {"meter": {"system_title": TITLE, "suite": 0}, "roles": {"operator": role}}
        with create_store(str(folder / "keys.db"), by="test") as store:
            adopt(store, Credentials.from_mapping(tables))

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def keys(self, *words: str, by: str | None = None, code: int = 0) -> Ran:
        env = {"METERSEAL_STORE": self.file("keys.db")}
        ran = run("keys", *([] if by is None else ["--as", self.file(f"{by}.key")]), *words, env=env)
        assert ran.code == code, (words, ran.out, ran.err)
        self.said += ran.out + ran.err
        return ran

    def json(self, *words: str, by: str | None = None) -> Any:
        (found,) = self.keys(*words, "--json", by=by).lines()
        return found

    def add(self, name: str, *duties: str, by: str | None = None, first: list[str] | None = None) -> None:
        card = self.file(f"{name}.card")
        if not (self.folder / f"{name}.key").exists():
            self.keys("person", "card", name, "--key", self.file(f"{name}.key"), "--out", card)
        words = [word for duty in duties for word in ("--duty", duty)]
        self.keys(*(first or []), "person", "add", card, *words, "--why", "new", by=by)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path)
    assert made.json("status")["people"] == 0 and "one operator" in made.keys("status").out
    made.add("anna", "officer")
    made.add("bob", "approver", by="anna")
    return made


def test_two_people_and_what_takes_two(office: Office) -> None:
    assert [one["name"] for one in office.json("person", "list")["people"]] == ["anna", "bob"]
    assert "not-allowed" in office.keys("stage", *WORDS, code=1).err
    assert "is for officer" in office.keys("stage", *WORDS, by="bob", code=1).err
    staged = office.json("stage", *WORDS, by="anna")["key"]
    office.keys("stage", *WORDS, by="anna")  # and the older one is withdrawn
    destroy = ["destroy", *WORDS, "--key", str(staged["key"]), "--why", "never used"]
    assert "takes two" in office.keys(*destroy, by="anna", code=1).err
    asked = office.json("request", *destroy, by="anna")
    assert (asked["request"], asked["deed"], asked["about"]["kcv"]) == (1, "destroy", staged["kcv"])
    assert [one["state"] for one in office.keys("requests", "--json").lines()] == ["asked"]
    assert "is asked" in office.keys("--request", "1", *destroy, by="anna", code=1).err
    assert "anna is officer" in office.keys("approve", "1", "--why", "mine", by="anna", code=1).err
    assert "asked for by anna: never used" in office.keys("approve", "1", "--why", "seen", by="bob").out
    other = [*destroy[:-1], "another reason"]  # the reason is the requester's; the deed is the same
    done = office.json("--request", "1", *other, by="anna")["key"]
    assert done["state"] == "destroyed"
    assert "is done" in office.keys("--request", "1", *destroy, by="anna", code=1).err
    assert "approved by bob: seen" in office.keys("requests", "--all").out
    said = office.keys("journal", "show", "--last", "3", "--json").lines()
    assert [one["verb"] for one in said] == ["sign-on", "four-eyes", "destroy"]
    assert {one["by"] for one in said} == {"anna"} and said[1]["approved_by"] == "bob"
    assert office.json("journal", "verify")["verified"]


def test_a_request_is_refused_or_not_needed(office: Office) -> None:
    export = ["export-credentials", "--device", TITLE, "--out", office.file("x.toml"), "--why", "field"]
    office.keys("request", *export, by="anna")
    assert office.json("refuse", "1", "--why", "not today", by="bob")["state"] == "refused"
    assert "is refused" in office.keys("--request", "1", *export, by="anna", code=1).err
    assert not (office.folder / "x.toml").exists() and office.keys("requests").out == ""
    assert "no second person" in office.keys("request", "stage", *WORDS, by="anna", code=2).err
    assert "no second person" in office.keys("request", "status", by="anna", code=2).err
    card = ["person", "card", "carl", "--key", office.file("carl.key"), "--out", office.file("carl.card")]
    assert "`keys person card` takes no second" in office.keys("request", *card, by="anna", code=2).err
    assert not (office.folder / "carl.key").exists()  # nothing of it is begun
    office.keys("request", "person", by="anna", code=2)
    office.keys("request", "nothing", by="anna", code=2)
    office.keys("request", *export[:-2], by="anna", code=2)
    office.keys("person", "add", office.file("bob.card"), "--duty", "king", by="anna", code=2)


def test_an_engineer_is_lent_keys_until_an_end_that_the_other_person_sees(office: Office) -> None:
    office.add("eve", "engineer", by="anna", first=["request"])
    office.keys("approve", "1", "--why", "she goes there", by="bob")
    office.add("eve", "engineer", by="anna", first=["--request", "1"])
    now, out = datetime.now(UTC), office.file("field.toml")
    export = ["export-credentials", "--device", TITLE, "--role", "operator", "--out", out, "--why", "visit"]
    for until in ([], ["--until", f"{now + timedelta(days=31):%Y-%m-%d}"]):
        assert "30 days at the most" in office.keys("request", *export, *until, by="eve", code=1).err
    end = f"{now + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}"
    office.keys("request", *export, "--until", end, by="eve")
    about = office.json("requests")["about"]
    assert json.loads(about) == {"devices": [TITLE], "roles": ["operator"], "until": end}
    office.keys("approve", "2", "--why", "a week", by="bob")
    later = ["--until", f"{now + timedelta(days=8):%Y-%m-%dT%H:%M:%SZ}"]
    assert "something else" in office.keys("--request", "2", *export, *later, by="eve", code=1).err
    office.keys("--request", "2", *export, "--until", end, by="eve")
    assert Credentials.load(out).role().not_after == datetime.fromisoformat(end)
    assert office.json("status", "--device", TITLE)["lent"] == [
        {"roles": ["operator"], "until": end, "by": "eve"}
    ]
    assert "lent: operator, until" in office.keys("status", "--device", TITLE).out
    said = office.keys("journal", "show", "--last", "1", "--json").lines()
    assert said[0]["until"] == end and said[0]["verb"] == "export-credentials"


def test_the_master_key_takes_two_and_a_timer_leaves_it_alone(office: Office) -> None:
    kek = ["--device", TITLE, "--kind", "kek"]
    for words in (["stage", *kek], ["rotate", *kek], ["rotate", "--device", TITLE]):
        assert "takes two" in office.keys(*words, by="anna", code=1).err
    assert "takes two" in office.keys("campaign", "new", "spring", by="anna", code=1).err
    assert "takes two" in office.keys("rewrap", "--to", office.file("new.kek"), by="anna", code=1).err
    office.keys("campaign", "new", "spring", "--kind", "guek", by="anna")
    office.keys("due", "--every", "kek=0", by="anna")
    asked = office.json("request", "stage", *kek, "--why", "yearly", by="anna")
    office.keys("approve", str(asked["request"]), "--why", "seen", by="bob")
    assert (
        office.json("--request", str(asked["request"]), "stage", *kek, by="anna")["key"]["state"] == "staged"
    )
    # Among what changes: by kind and role, also where neither names it.
    role = ["rotate", "--device", TITLE, "--role", "operator"]
    assert "where the meter is" in office.keys(*role, by="anna", code=1).err  # and no second person
    assert "no second person" in office.keys("request", *role, by="anna", code=2).err
    assert office.json("campaign", "new", "role", "--role", "operator", by="anna")["waiting"] == 1
    both = [*role, "--kind", "guek", "--kind", "kek"]
    number = str(office.json("request", *both, "--why", "yearly", by="anna")["request"])
    office.keys("approve", number, "--why", "seen", by="bob")
    wider = [*both[:3], *both[5:]]
    assert "about something else" in office.keys("--request", number, *wider, by="anna", code=1).err


def test_revoke_marks_nothing_where_its_campaigns_may_not_be_planned(office: Office) -> None:
    """The right to both is looked at first; what is to be asked for is said, and can be asked for."""
    also = ["--why", "a laptop was stolen", "--campaign", "leak"]
    kek = ["--device", TITLE, "--kind", "kek"]
    asked = f"campaign new leak --kind kek --device {TITLE}"
    assert f"`keys request {asked}`" in office.keys("revoke", *kek, *also, by="anna", code=2).err
    assert "bob is approver" in office.keys("revoke", *WORDS, *also, by="bob", code=1).err
    assert office.json("status")["exposed"] == 0
    assert office.json("revoke", *WORDS, *also, by="anna")["key"]["state"] == "compromised"
    assert office.json("campaign", "report", "leak-1")["waiting"] == 1
    office.keys("revoke", *kek, "--why", "the same laptop", by="anna")
    assert office.json("status")["exposed"] == 2
    assert office.json("request", *asked.split(), "--why", "the laptop", by="anna")["deed"] == "master-key"


def test_a_file_that_brings_a_trust_anchor_takes_two(office: Office) -> None:
    """The request names the file by its digest and the anchor; the next file of the same maker takes one."""
    from tests.authority.shipment.test_own_file import with_anchors

    key = SigningKey.generate(curve("P-256"))
    root = Authority.root(key, "Maker", Validity(datetime(2026, 11, 1, tzinfo=UTC))).certificate
    octets = write_own([with_anchors(root)])
    file = office.folder / "factory.jsonl"
    file.write_bytes(octets)
    file.chmod(0o600)
    take = ["import", str(file), "--why", "from the maker"]
    assert "takes two" in office.keys(*take, by="anna", code=1).err
    asked = office.json("request", *take, by="anna")
    assert (asked["deed"], asked["about"]["meters"]) == ("trust-anchor", 1)
    assert asked["about"]["anchors"] == [digest_of(root.der).hex().upper()]
    office.keys("approve", "1", "--why", "the maker's root", by="bob")
    file.write_bytes(write_own([with_anchors(root)]))  # other keys, the same anchor
    assert "about something else" in office.keys("--request", "1", *take, by="anna", code=1).err
    file.write_bytes(octets)
    office.keys("--request", "1", *take, by="anna")
    title = "4D534C00000000B2"
    file.write_bytes(write_own([with_anchors(root)]).replace(b"4D534C00000000B1", title.encode()))
    office.keys(*take, by="anna")
    with open_store(office.file("keys.db")) as store:
        assert len(anchors(store.keys.device(bytes.fromhex(title)).settings)) == 1


def test_a_trust_anchor_that_the_store_does_not_know_takes_two(office: Office) -> None:
    """The request names it; another meter of the same root takes one person, of another root two again."""
    files, titles = [], []
    for number in (1, 2):
        path = office.folder / f"maker{number}" / "meter.toml"
        path.parent.mkdir()
        made = Meter(load_plan("suite1"), path.parent / "meter")
        write_credentials(made, path)
        made.close()
        files.append(path)
        titles.append(made.system_title.hex().upper())
    twin = office.folder / "maker1" / "twin.toml"
    body = "\n".join(one for one in files[0].read_text().splitlines() if "certificate" not in one)
    twin.write_text(body.replace(titles[0], "4D534C00000000AA").replace('"ecdsa"', '"gmac"'))
    twin.chmod(0o600)
    adopt_first = ["adopt", str(files[0]), "--why", "from the maker"]
    assert "takes two" in office.keys(*adopt_first, by="anna", code=1).err
    asked = office.json("request", *adopt_first, by="anna")
    assert asked["deed"] == "trust-anchor" and asked["about"]["devices"] == [titles[0]]
    (anchor,) = asked["about"]["anchors"]
    office.keys("approve", "1", "--why", "the maker's root", by="bob")
    other = ["adopt", str(files[1]), "--why", "from the maker"]
    assert "about something else" in office.keys("--request", "1", *other, by="anna", code=1).err
    assert office.json("--request", "1", *adopt_first, by="anna")["device"] == titles[0]
    assert "takes two" in office.keys(*other, by="anna", code=1).err
    with open_store(office.file("keys.db"), by="test") as store:
        settings = store.keys.device(bytes.fromhex(titles[0])).settings
        assert anchors(settings) == {anchor}
        key = person_key(office.file("anna.key"), None)
        store.people.sign_on(key, "way")
        with pytest.raises(NotAllowed, match="no part"):
            store.keys.set_settings(bytes.fromhex(TITLE), settings)
        store.people.sign_on(key, "adopt")
        with pytest.raises(NotAllowed, match="no part"):
            adopt(store, Credentials.load(files[1]))
    assert office.json("adopt", str(twin), by="anna")["device"] == "4D534C00000000AA"


def test_without_a_roll_nothing_is_asked_for(tmp_path: Path) -> None:
    office = Office(tmp_path)
    assert "nobody is on the roll" in office.keys("request", "rewrap", "--to", "new.kek", code=2).err
    assert "nobody is on the roll" in office.keys("--request", "1", "rewrap", code=2).err
    assert office.json("upgrade") == {"before": HEAD, "after": HEAD}
    office.keys("retire", "--device", TITLE, "--why", "scrapped")


def test_I08_G20_no_key_of_a_meter_or_a_person_is_in_what_was_said_or_is_lying_about(office: Office) -> None:
    office.keys("stage", *WORDS, by="anna")
    office.keys("revoke", *WORDS, "--why", "found on a wall", by="bob")
    office.keys("history", "--device", TITLE, "--json")
    export = ["export-credentials", "--device", TITLE, "--out", office.file("out.toml"), "--why", "field"]
    office.keys(*export, by="anna", code=1)
    office.keys("request", *export, by="anna")
    office.keys("approve", "1", "--why", "seen", by="bob")
    office.keys("--as-password", "env:SECRET", "--request", "1", *export, by="anna", code=2)
    office.keys("--request", "1", *export, by="anna", code=1)
    office.keys("journal", "show", "--json")
    canaries = [octets.hex() for octets in office.secrets.values()]
    for name in ("anna", "bob"):
        pem = (office.folder / f"{name}.key").read_text()
        canaries += [line for line in pem.splitlines() if not line.startswith("-")]
    for canary in canaries:
        assert canary.lower() not in office.said.lower()
    for path in office.folder.iterdir():
        octets = path.read_bytes()
        for name, secret in office.secrets.items():
            assert secret not in octets and secret.hex().encode() not in octets.lower(), (path.name, name)
        assert path.suffix == ".key" or not any(one.encode() in octets for one in canaries[3:]), path.name
    assert json.dumps(office.json("status"))
