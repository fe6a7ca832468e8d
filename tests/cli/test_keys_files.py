"""`meterseal keys generate`, `import`, `export`: from office to factory, from one utility to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.crypto import random_octets
from tests.cli.shell import Ran, run

TEMPLATE = """
suite = 0
title = { flag = "MSL", first = 1000 }
serial = "MS-{number:08}"
url = "tcp://127.0.0.1:4059"

[roles.manager]
client = 1
mechanism = "gmac"
client_system_title = "4D534C4845530001"
draw = ["guek", "gak", "kek"]

[roles.operator]
client = 2
mechanism = "gmac"
client_system_title = "4D534C4845530002"
draw = ["guek", "gak"]
"""
MAPPING = """
format = "csv"
suite = 0
title = "Title"
serial = "Serial"
keys = [
  { cell = "EK", kind = "guek", roles = ["operator"] },
  { cell = "AK", kind = "gak", roles = ["operator"] },
]
[roles.operator]
client = 2
mechanism = "gmac"
client_system_title = "4D534C4845530002"
"""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "template.toml").write_text(TEMPLATE)
        self.keys("init")

    def keys(self, *words: str, code: int = 0, store: str = "a.db") -> Ran:
        ran = run("keys", *words, env={"METERSEAL_STORE": str(self.folder / store)})
        assert ran.code == code, (words, ran.out, ran.err)
        return ran

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def pair(self, name: str, purpose: str) -> None:
        """A certificate NAME.pem and its key NAME.key."""
        folder = ["--dir", self.file("ca")]
        if not (self.folder / "ca").exists():
            assert run("pki", "init", *folder, "--name", "Office").code == 0
        title = f"4D534C00000000{len(name):02X}"
        words = ["--title", title, "--purpose", purpose]
        made = run("pki", "request", *words, "--key-out", self.file(f"{name}.key"), "--out", self.file("csr"))
        assert made.code == 0, made.err
        issued = run(
            "pki", "issue", *folder, "--csr", self.file("csr"), *words, "--out", self.file(f"{name}.pem")
        )
        assert issued.code == 0, issued.err


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def generate(desk: Desk, *words: str, code: int = 0) -> Ran:
    template = desk.file("template.toml")
    return desk.keys("generate", "--template", template, "--count", "3", *words, "--json", code=code)


def test_what_is_generated_is_what_the_factory_gets(desk: Desk) -> None:
    (made,) = generate(desk, "--out", desk.file("factory")).lines()
    assert made == {"count": 3, "first": "4D534C00000003E8", "last": "4D534C00000003EA"}
    assert (desk.folder / "factory").stat().st_mode & 0o077 == 0
    desk.keys("init", store="b.db")
    (taken,) = desk.keys("import", desk.file("factory"), "--json", store="b.db").lines()
    assert taken == made
    both = [
        desk.keys("status", "--device", made["last"], "--json", store=name).lines()[0]["keys"]
        for name in ("a.db", "b.db")
    ]
    assert [one["kcv"] for one in both[0]] == [one["kcv"] for one in both[1]] and len(both[0]) == 5
    words = ["history", "--device", made["last"], "--kind", "gak", "--role", "operator", "--json"]
    (came,) = desk.keys(*words).lines()[0]["journal"]
    assert came["verb"] == "device" and f"operator gak {both[0][-1]['kcv']}" in came["keys"]
    assert desk.keys(*words[:4], "hls", "--json").lines()[0]["journal"] == []
    assert "already" in generate(desk, "--out", desk.file("again"), code=1).err
    assert not (desk.folder / "again").exists()


def test_G15_a_sealed_file_opens_once_and_for_its_receiver_alone(desk: Desk) -> None:
    desk.pair("us", "signature")
    desk.pair("them", "agreement")
    desk.pair("others", "agreement")
    to, ours = ["--for", desk.file("them.pem")], ["--from", desk.file("us.pem")]
    generate(desk, "--out", desk.file("sealed"), *to, *ours, "--private-key", desk.file("us.key"))
    assert b"guek" not in (desk.folder / "sealed").read_bytes()
    desk.keys("init", store="b.db")
    wrong = ["--for", desk.file("others.pem"), *ours, "--private-key", desk.file("others.key")]
    assert "another receiver" in desk.keys("import", desk.file("sealed"), *wrong, code=1, store="b.db").err
    words = ["import", desk.file("sealed"), *to, *ours, "--private-key", desk.file("them.key")]
    desk.keys(*words, store="b.db")
    assert "has been used" in desk.keys(*words, code=1, store="b.db").err
    export = ["export", "--device", "4D534C00000003E9", *to, *ours, "--private-key", desk.file("us.key")]
    desk.keys(*export, "--out", desk.file("one"), code=2)
    desk.keys(*export, "--out", desk.file("one"), "--why", "hand-over")
    desk.keys("init", store="c.db")
    desk.keys("import", desk.file("one"), *words[2:], store="c.db")
    said = desk.keys("history", "--device", "4D534C00000003E9", "--json").lines()[0]["journal"][-1]
    assert (said["verb"], said["why"]) == ("export", "hand-over")


def test_F20_a_file_of_a_maker_is_taken_whole_or_not_at_all(desk: Desk) -> None:
    (desk.folder / "mapping.toml").write_text(MAPPING)
    rows = [
        ["4D534C0000000001", "1", random_octets(16).hex(), random_octets(16).hex()],
        ["4D534C0000000002", "2", "00" * 16, random_octets(16).hex()],
        ["4D534C0000000003", "3", random_octets(16).hex(), "zz"],
    ]

    def write() -> None:
        lines = [["Title", "Serial", "EK", "AK"], *rows]
        (desk.folder / "meters.csv").write_text("\n".join(",".join(line) for line in lines) + "\n")
        (desk.folder / "meters.csv").chmod(0o600)

    words = ["import", desk.file("meters.csv"), "--mapping", desk.file("mapping.toml")]
    write()
    told = desk.keys(*words, code=1).err
    assert told.startswith("meterseal: configuration: nothing was taken in\nmeterseal: line 4: ")
    assert desk.keys("status", "--json").lines()[0]["devices"] == 0
    rows[2][3] = random_octets(16).hex()
    write()
    told = desk.keys(*words, code=1).err
    assert told.startswith(
        "meterseal: configuration: nothing was taken in\nmeterseal: line 3: guek of operator"
    )
    desk.keys(*words, "--lab")
    found = desk.keys("status", "--json").lines()[0]
    assert found["devices"] == 3 and found["weak"] + found["default"] == 1
