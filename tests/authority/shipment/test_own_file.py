"""Meters that are generated, and our own file of them: shipped, taken in, cut, spliced and doubled."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meterseal.authority.adoption import credentials_of, strange_anchors
from meterseal.authority.shipment import (
    Refusal,
    Shipped,
    generate,
    read_own,
    read_template,
    take_in,
    write_own,
)
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, SigningKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.hashes import digest_of
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import ConfigurationError
from meterseal.keys.kinds import KINDS, Slot
from tests.authority.vaulted import TITLE, House

TEMPLATE = """
suite = 0
title = { flag = "MSL", first = 1000 }
serial = "MS-{number:08}"
url = "tcp://127.0.0.1:{number}"
place = "north"
[roles.operator]
client = 2
mechanism = "gmac"
client_system_title = "4D534C4845530002"
draw = ["guek", "gak"]
[roles.manager]
client = 1
mechanism = "gmac"
client_system_title = "4D534C4845530001"
draw = ["guek", "gak", "kek"]
[groups]
gbek = ["manager"]
"""


def test_meters_are_generated_shipped_and_taken_in(house: House, tmp_path: Path) -> None:
    path = tmp_path / "template.toml"
    path.write_text(TEMPLATE)
    made = [*generate(read_template(path), 20)]
    keys = [
        one.credentials.roles[role].octets(kind)
        for one in made
        for role, kind in (("operator", "guek"), ("operator", "gak"), ("manager", "guek"), ("manager", "kek"))
    ]
    assert len(set(keys)) == 80
    assert len({one.credentials.roles["manager"].octets("gbek") for one in made}) == 1
    assert made[7].serial == "MS-00001007"
    back = read_own(write_own(made))
    assert [one.credentials for one in back] == [one.credentials for one in made] or [
        one.credentials.to_toml() for one in back
    ] == [one.credentials.to_toml() for one in made]
    with house.open() as store:
        assert take_in(store, back, "factory") == 20
        assert store.keys.device(b"MSL" + (1019).to_bytes(5, "big")).url == "tcp://127.0.0.1:1019"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('flag = "MSL"', 'flag = "MS"'),
        ("first = 1000", "first = -1"),
        ("suite = 0", "suite = 7"),
        ('draw = ["guek", "gak"]', 'draw = ["everything"]'),
        ('gbek = ["manager"]', 'kek = ["manager"]'),
        ('gbek = ["manager"]', 'gbek = ["nobody"]'),
        ("[groups]", "[colours]"),
    ],
)
def test_F20_templates_that_are_none(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "template.toml"
    path.write_text(TEMPLATE.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match="template"):
        read_template(path)


def with_anchors(*anchors: Certificate) -> Shipped:
    """A meter of suite 1 that trusts these."""
    keys = {name: random_octets(16) for name in ("guek", "gak", "kek")}
    role = {"client": 1, "mechanism": "gmac", "client_system_title": "4D534C4845530001", **keys}
    meter = {
        "system_title": "4D534C00000000B1",
        "suite": 1,
        "trust": ["a.pem"],
        "signing_certificate": "m.pem",
    }
    held = {"a.pem": b"".join(one.to_pem() for one in anchors)}
    return Shipped("", Credentials.from_mapping({"meter": meter, "roles": {"manager": role}}, held=held))


@pytest.fixture(scope="module")
def root() -> Certificate:
    key = SigningKey.generate(curve("P-256"))
    return Authority.root(key, "Maker", Validity(datetime(2026, 11, 1, tzinfo=UTC))).certificate


def test_trust_anchors_travel_in_our_own_file_into_the_store_and_out_again(
    house: House, root: Certificate
) -> None:
    octets = write_own([with_anchors(root)])
    (back,) = read_own(octets)
    with house.open() as store:
        assert strange_anchors(store, back.credentials) == [digest_of(root.der).hex().upper()]
        take_in(store, [back], "factory")
        title = bytes.fromhex("4D534C00000000B1")
        assert store.keys.device(title).settings["meter"]["anchors"] == [root.der.hex().upper()]
        assert strange_anchors(store, back.credentials) == [], "it is known now"
        again = write_own([Shipped("", credentials_of(store, title))])
    assert json.loads(again.split(b"\n")[1])["files"] == {"anchors.pem": root.to_pem().decode()}


def test_key_pairs_travel_too_and_nothing_is_read_that_only_a_name_is_here_of(
    house: House, root: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    title, client = bytes.fromhex("4D534C00000000B1"), bytes.fromhex("4D534C4845530001")
    key, begin = SigningKey.generate(curve("P-256")), Validity(root.not_before)
    maker = Authority.root(SigningKey.generate(curve("P-256")), "M", begin)
    files = {
        "a.pem": maker.certificate.to_pem(),
        "m.pem": maker.issue(
            SigningKey.generate(curve("P-256")).public, title, Purpose.SIGNATURE, begin
        ).to_pem(),
        "c.key": write_key(key),
        "c.pem": maker.issue(key.public, client, Purpose.SIGNATURE, begin).to_pem(),
    }
    (tmp_path / "mine.key").write_bytes(write_key(AgreementKey.generate(curve("P-256"))))
    role = {"client": 1, "mechanism": "ecdsa", "client_system_title": client.hex(), "signing_key": "c.key",
            "signing_certificate": "c.pem", "agreement_key": "mine.key",
            **{name: random_octets(16) for name in ("guek", "gak", "kek")}}  # fmt: skip
    other = {**role, "client": 2, "signing_key": "pkcs11:token=t;object=x?module-path=evil.so"}
    meter = {"system_title": title.hex(), "suite": 1, "trust": ["a.pem"], "signing_certificate": "m.pem"}
    tables = {"meter": meter, "roles": {"manager": role, "other": other}}
    (back,) = read_own(write_own([Shipped("", Credentials.from_mapping(tables, held=files))]))
    with house.open() as store:
        take_in(store, [back], "factory", lab=True)
        held = {(slot.role, slot.kind) for slot in store.keys.slots(title) if KINDS[slot.kind].certified}
        assert held == {("manager", "client-sign"), ("", "meter-sign")}
        found = store.pairs.active(Slot(title, "manager", "client-sign"))
        assert found is not None and store.pairs.private(found, SigningKey).public == key.public
        assert store.pairs.certificate(found) == Certificate.from_pem(files["c.pem"])[0]


def test_F20_files_of_a_meter_that_are_none(root: Certificate) -> None:
    leaf = SigningKey.generate(curve("P-256"))
    maker = Authority.root(SigningKey.generate(curve("P-256")), "M", Validity(root.not_before))
    certificate = maker.issue(leaf.public, TITLE, Purpose.SIGNATURE, Validity(root.not_before))
    head, line, _ = write_own([with_anchors(root)]).split(b"\n")
    table = json.loads(line)
    wrong: Any
    for wrong in (
        [], "a.pem", {"a.pem": 1}, {"a.pem": "pkcs11:token=t;object=x"}, {"a.pem": "-----BEGIN \u00fc"},
        {"a.pem": "-----BEGIN CERTIFICATE-----"}, {"a.pem": certificate.to_pem().decode()},
        dict.fromkeys(map(str, range(101)), root.to_pem().decode()),
    ):  # fmt: skip
        with pytest.raises(Refusal, match="line 2"):
            read_own(b"\n".join([head, json.dumps({**table, "files": wrong}).encode(), b""]))


def test_F20_a_shipment_file_cut_spliced_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "template.toml"
    path.write_text(TEMPLATE)
    octets = write_own(generate(read_template(path), 3))
    lines = octets.split(b"\n")
    for changed in (
        b"",
        octets[:-30],
        b"\n".join(lines[:3]) + b"\n",
        b"\n".join([*lines[:-1], lines[1], b""]),
        octets.replace(b"shipment-1", b"shipment-2"),
        octets.replace(b'"serial"', b'"cereal"'),
        octets.replace(b'"place":"north"', b'"place":"north","place":"south"', 1),
        b"[" * 100_000,
        octets.replace(b'"gmac"', b'"rot13"'),
    ):
        with pytest.raises(Refusal):
            read_own(changed)
