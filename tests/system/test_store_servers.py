"""The store of keys on real servers: its storage KEK in SoftHSM, its tables in PostgreSQL."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meterseal.authority.campaign import Campaign, Plan
from meterseal.authority.revoking import planned, revoke, steps
from meterseal.authority.store import FileVault, create_store, open_store
from meterseal.authority.store.hsm import HsmVault
from meterseal.authority.store.opening import kek_to_be
from meterseal.authority.store.rewrapping import change_kek, rewrap
from meterseal.credentials.hsm import token_of
from meterseal.crypto import GcmKey
from meterseal.crypto.token import TokenGcmKey, make_kek
from meterseal.errors import ConfigurationError, Misuse
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State
from tests.authority.vaulted import GUEK, TITLE, add, adopt
from tests.system.conftest import SoftHsm

IV = bytes(12)


def new_kek(softhsm: SoftHsm) -> str:
    uri = softhsm.uri(f"storage-{os.urandom(6).hex()}")
    make_kek(*token_of(uri))
    return uri


def test_a_store_whose_KEK_is_in_an_HSM_seals_there(softhsm: SoftHsm, tmp_path: Path) -> None:
    uri, where, ek = new_kek(softhsm), str(tmp_path / "keys.db"), os.urandom(16)
    with create_store(where, uri, by="test") as store:
        add(store, TITLE)
        adopt(store, GUEK, ek)
    with open_store(where, uri, by="test") as store:
        handle = store.handles.gcm(TITLE, "operator")
        assert isinstance(handle, TokenGcmKey)
        assert handle.seal(0x30, IV, b"message") == GcmKey(ek).seal(0x30, IV, b"message")
        assert store.core.verify_journal() > 0
    with pytest.raises(ConfigurationError, match="has a key"):
        kek_to_be(uri, make=True)
    with pytest.raises(ConfigurationError, match="NoSuchKey"):
        kek_to_be(f"{uri}-2")
    assert kek_to_be(f"{uri}-2", make=True).kcv == kek_to_be(f"{uri}-2").kcv
    with pytest.raises(ConfigurationError, match="under storage KEK"):
        open_store(where, new_kek(softhsm), by="test")
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert ek not in held and ek.hex().encode() not in held.lower()


@pytest.mark.parametrize(("first", "second"), [("file", "hsm"), ("hsm", "file"), ("hsm", "hsm")])
def test_the_KEK_moves_into_an_HSM_out_of_one_and_to_the_next(
    softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    monkeypatch.setenv("METERSEAL_WITNESS", str(tmp_path / "witness"))
    places: list[str | Path] = []
    for number, kind in enumerate((first, second)):
        path = tmp_path / f"{number}.kek"
        if kind == "file":
            FileVault.create(path)
        places.append(path if kind == "file" else new_kek(softhsm))
    where, ek = str(tmp_path / "keys.db"), os.urandom(16)
    with create_store(where, places[0], by="test") as store:
        add(store, TITLE)
        adopt(store, GUEK, ek)
        to = places[1]
        change_kek(store.core, FileVault(to) if isinstance(to, Path) else HsmVault(to), "moved")
    with open_store(where, places[1], by="test") as store:  # cut off before anything was wrapped again
        assert store.handles.gcm(TITLE, "operator").seal(0x30, IV, b"x") == GcmKey(ek).seal(0x30, IV, b"x")
        assert list(rewrap(store.core))
    with open_store(where, places[1], by="test") as store:
        assert len(store.core.vaults) == 1
        assert store.keys.reveal(store.keys.slot(GUEK)[0]).reveal() == ek


def test_a_store_in_PostgreSQL(postgres: str, tmp_path: Path) -> None:
    kek = tmp_path / "kek"
    with create_store(postgres, kek, by="test") as store:
        add(store, TITLE)
        record = adopt(store)
    with open_store(postgres, kek, by="test") as store:
        assert store.handles.gcm(TITLE, "operator").kcv == record.kcv
        assert store.core.verify_journal() > 0


def test_marks_and_campaigns_are_one_transaction_in_PostgreSQL(postgres: str, tmp_path: Path) -> None:
    with create_store(postgres, tmp_path / "kek", by="test") as store:
        add(store, TITLE)
        record = adopt(store)
        found = [(one, None) for one in store.exposures.same(record.id)]
        todo = steps(store, found)
        Campaign.new(store, "leak-1", Plan(("gak",)), [TITLE])
        with pytest.raises(Misuse, match="nothing is marked"):
            revoke(store, found, todo, "a leak", "leak")
        assert store.keys.find(record.id).record.state is State.ACTIVE
        revoke(store, found, todo, "a leak", "other")
        assert store.keys.find(record.id).record.state is State.COMPROMISED
        assert Campaign(store, "other-1").counts()["waiting"] == 1 and planned(store, "other")
        assert store.pairs.elsewhere(Slot(TITLE, "operator", "client-sign")) is None
