"""Another storage KEK: cut off after any batch, every key is read at every moment, and the old KEK ends."""

from __future__ import annotations

import pytest

from meterseal.authority.store import FileVault
from meterseal.authority.store.rewrapping import change_kek, rewrap
from meterseal.crypto import random_octets
from meterseal.errors import ConfigurationError, Misuse
from meterseal.keys.kinds import Slot
from tests.authority.vaulted import TITLE, House, adopt

COUNT = 7


@pytest.mark.parametrize("cut", range(6))
def test_cut_after_any_batch_and_gone_on_with(house: House, cut: int) -> None:
    slots = [Slot(TITLE, f"r{number}", "guek") for number in range(COUNT)]
    secrets = [random_octets(16) for _ in slots]
    new_file = house.folder / "new.kek"
    with house.open() as store:
        for slot, secret in zip(slots, secrets, strict=True):
            adopt(store, slot, secret)
        change_kek(store.core, FileVault.create(new_file), "yearly")
        steps = rewrap(store.core, batch=2)
        for _ in range(cut):
            next(steps, None)
        steps.close()
    with pytest.raises(ConfigurationError, match="under storage KEK"):
        house.open()
    new_file.replace(house.kek)
    with house.open() as store:
        for slot, secret in zip(slots, secrets, strict=True):
            assert store.keys.reveal(store.keys.slot(slot)[0]).reveal() == secret
        if len(store.core.vaults) > 1:
            with pytest.raises(Misuse, match="not through"):
                change_kek(store.core, FileVault.create(house.folder / "third.kek"))
        *_, done = [0, *rewrap(store.core, batch=2)]
        assert done == max(0, COUNT - 2 * cut)
    with house.open() as store:
        assert len(store.core.vaults) == 1
        for slot, secret in zip(slots, secrets, strict=True):
            found = store.keys.find(store.keys.slot(slot)[0].id)
            assert found.kek == store.core.vault.kcv and store.keys.opened(found).reveal() == secret
        assert store.core.verify_journal() > COUNT


def test_a_process_that_was_open_writes_no_more_under_the_old_one(house: House) -> None:
    with house.open() as other:
        with house.open() as store:
            change_kek(store.core, FileVault.create(house.folder / "new.kek"))
            with pytest.raises(Misuse, match="in use already"):
                list(rewrap(store.core))
                change_kek(store.core, store.core.vault)
        with pytest.raises(ConfigurationError, match="was changed"):
            adopt(other)
