"""An authority of people on the roll of a store: two make it, one with the duty lets it certify."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.authority import look
from meterseal.authority.certifying import Certifier
from meterseal.authority.store import open_store
from meterseal.errors import NotAllowed
from tests.cli.shell import Ran, run
from tests.cli.test_keys_people import Office

TITLE = "4D534C0000000001"


class Authority(Office):
    """The people's authority in a folder beside their store."""

    def pki(self, *words: str, by: str | None = None, store: bool = True, code: int = 0) -> Ran:
        whole = ["pki", *([] if by is None else ["--as", self.file(f"{by}.key")]), *words]
        ran = run(*whole, *(["--store", self.file("keys.db")] if store else []))
        assert ran.code == code, (words, ran.out, ran.err)
        return ran

    def made(self, number: int, *words: str) -> None:
        """Asked for by anna, approved by bob, done."""
        told = self.pki("ask", *words, by="anna").out
        assert f"request {number}:" in told and f"`pki --request {number}`" in told
        self.keys("approve", str(number), "--why", "as agreed", by="bob")
        self.pki("--request", str(number), *words, by="anna")


def test_an_authority_of_two_people(tmp_path: Path) -> None:
    house = Authority(tmp_path)
    root, sub, csr = (house.file(name) for name in ("root", "sub", "x.csr"))
    init = ["init", "--dir", root, "--name", "Root", "--why", "our own"]
    assert "nobody is on the roll" in house.pki(*init, code=2).err
    house.add("anna", "officer")
    house.add("bob", "approver", by="anna")
    assert "takes two: `pki ask` and" in house.pki(*init, by="anna", code=1).err
    assert "not-allowed" in house.pki(*init, code=1).err
    assert "Say --store" in house.pki("ask", *init, by="anna", store=False, code=2).err
    assert "bob is approver" in house.pki("ask", *init, by="bob", code=1).err
    house.made(1, *init)
    house.pki("ask", *init, by="anna")
    house.keys("approve", "2", "--why", "again", by="bob")
    assert "there is an authority" in house.pki("--request", "2", *init, by="anna", code=1).err
    assert "approved" in house.keys("requests").out, "what did not work has not used it up"
    other = [*init[:2], sub, *init[3:]]
    assert "something else" in house.pki("--request", "2", *other, by="anna", code=1).err

    below = ["sub", "--dir", sub, "--name", "Meters", "--under", root]
    assert "acts for people" in house.pki(*below, store=False, code=1).err
    assert "takes two" in house.pki(*below, by="anna", code=1).err
    house.made(3, *below, "--why", "for meters")

    house.pki("request", "--title", TITLE, "--purpose", "signature", "--key-out", house.file("x.key"),
              "--out", csr, store=False)  # fmt: skip
    issue = ["issue", "--dir", sub, "--csr", csr, "--title", TITLE, "--purpose", "signature"]
    assert "acts for people" in house.pki(*issue, store=False, code=1).err
    assert "is for officer" in house.pki(*issue, by="bob", code=1).err
    assert "no second person" in house.pki("ask", *issue, by="anna", code=2).err
    house.pki(*issue, by="anna")
    (entry,) = look(Path(sub))
    assert entry.history[0].by == "anna"
    house.pki("list", "--dir", sub, store=False)  # looking takes nobody
    serial = entry.serial.hex()
    revoke = ["revoke", serial, "--dir", sub, "--reason", "key-compromise", "--why", "a stolen laptop"]
    house.pki(*revoke, by="bob")
    house.pki("crl", "--dir", sub, by="anna")
    said = [one["verb"] for one in house.keys("journal", "show", "--json").lines()]
    assert [said.count(verb) for verb in ("authority", "certify", "revoke")] == [2, 2, 1]
    assert house.json("journal", "verify")["verified"]

    with open_store(house.file("keys.db")) as store:
        name = store.core.name
    assert look(Path(sub)).roll == look(Path(root)).roll == name
    assert len(Certifier(Path(sub), roll=name).between()) == 1
    with pytest.raises(NotAllowed, match="acts for people"):
        Certifier(Path(sub)).between()


def test_an_authority_of_nobody_in_particular_is_as_it_was(tmp_path: Path) -> None:
    folder = ["--dir", str(tmp_path / "ca")]
    assert run("pki", "init", *folder, "--name", "Root").code == 0
    assert look(tmp_path / "ca").roll is None
    assert run("pki", "crl", *folder).code == 0
