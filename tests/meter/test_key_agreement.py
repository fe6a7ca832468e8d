"""key_agreement: new keys that nobody sends, all or nothing, old keys for the answer, lost answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meterseal.codec import data as codec
from meterseal.crypto import (
    AgreementKey,
    AgreementPoint,
    GcmKey,
    SigningKey,
    VerifyingKey,
    WrappingKey,
    curve,
    suite,
)
from meterseal.errors import Forged, Malformed, StateUnavailable
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.keys.kinds import GAK, GBEK, GUEK, KEK, NAMES
from meterseal.security import KeyInUse, key_agreement
from meterseal.security.agreement import Parties
from tests.meter.killed import ITEMS
from tests.meter.world import Client, World, call, world
from tests.vectors import vector

OPERATOR, MANAGER, INSTALLER = "0.0.43.0.2.255", "0.0.43.0.1.255", "0.0.43.0.3.255"
REGISTER = "1.0.1.8.0.255"
SUITES = ("suite1", "suite2")


class Agreeing:
    """One call of key_agreement by the client of a role."""

    def __init__(self, client: Client, ids: tuple[int, ...], setup: str = OPERATOR) -> None:
        self.client, self.ids, self.name = client, ids, setup
        self.setup = client.machine.profile.setup
        on = curve(self.setup.suite.curve)
        self.ephemeral = {i: AgreementKey.generate(on) for i in ids}

    def items(self) -> list[tuple[int, bytes]]:
        signing = self.setup.signing_key()
        return [(i, key_agreement.offer(i, key, signing)) for i, key in self.ephemeral.items()]

    def call(self, items: list[tuple[int, bytes]] | None = None) -> tuple[int, list[tuple[int, bytes]]]:
        asked = call(64, self.name, 3, self.items() if items is None else items, ITEMS)
        outcome = self.client.one(asked)
        return outcome.code, [] if outcome.data is None else codec.decode(outcome.data)

    def keys(self) -> dict[int, bytes]:
        """The new keys, from what the meter answered."""
        code, answers = self.call()
        assert code == 0 and [i for i, _ in answers] == list(self.ids)
        meter = self.client.world.meter.system_title
        signer = self.setup.verifying_key(meter)
        parties = Parties(self.setup.own_title, meter)
        return {
            i: key_agreement.agreed(
                self.setup.suite, i, self.ephemeral[i],
                key_agreement.offered(self.setup.suite, i, data, signer), parties,
            )
            for i, data in answers
        }  # fmt: skip


def use(client: Client, guek: bytes, gak: bytes) -> None:
    key = KeyInUse(GcmKey(guek, gak), SendCounter(0, 1000), ReceiveCounter())
    client.machine.profile.setup.unicast = key


def octets(here: World, role: str, name: str) -> bytes:
    found = here.credentials.roles[role].octets(name)
    assert found is not None
    return found


@pytest.mark.parametrize("preset", SUITES)
def test_all_four_keys_in_one_call(preset: str, tmp_path: Path) -> None:
    here = world(preset=preset, folder=tmp_path / "state")
    manager, operator = here.signed_on("manager"), here.signed_on("operator")
    new = Agreeing(manager, (GUEK, GBEK, GAK, KEK)).keys()
    length = here.meter.rings[2].setup.suite.key_length
    assert {len(key) for key in new.values()} == {length} and len(set(new.values())) == 4
    ring = here.meter.rings[2]
    assert {i: ring.reveal(i) for i in NAMES} == new
    use(operator, new[GUEK], new[GAK])
    assert operator.get(3, REGISTER)
    wrapped = [(GBEK, WrappingKey(new[KEK]).wrap(bytes(range(length))))]
    assert manager.call(64, OPERATOR, 2, wrapped, ITEMS) == 0
    here.restart()
    for name, key_id in (("guek", GUEK), ("gak", GAK)):
        assert octets(here, "operator", name) == new[key_id]


@pytest.mark.parametrize("preset", SUITES)
def test_the_answer_comes_under_the_old_key_and_the_next_message_under_the_new(preset: str) -> None:
    here = world(preset=preset)
    manager = here.signed_on("manager")
    old = here.meter.rings[1].setup.unicast
    new = Agreeing(manager, (GUEK,), MANAGER).keys()
    assert old is not None and "destroyed" in repr(old.handle)
    use(manager, new[GUEK], octets(here, "manager", "gak"))
    assert manager.get(3, REGISTER)
    fresh = here.meter.rings[1].setup.unicast
    assert fresh is not None and fresh.rx.lowest == 1, "the counters of an agreed key start anew"


def test_D07_the_same_offer_again_gives_another_key() -> None:
    here = world(preset="suite1")
    manager = here.signed_on("manager")
    items = Agreeing(manager, (GUEK,)).items()
    keys = []
    for _ in range(2):
        code, _answers = Agreeing(manager, ()).call(items)
        assert code == 0
        keys.append(here.meter.rings[2].reveal(GUEK))
    assert keys[0] != keys[1]


def test_where_the_answer_does_not_go_out_the_old_keys_stay(tmp_path: Path) -> None:
    """Without the answer the client cannot know what was agreed on: it would be locked out."""
    here = world(preset="suite1", folder=tmp_path / "state")
    manager, ring = here.signed_on("manager"), here.meter.rings[2]
    before = {i: ring.reveal(i) for i in NAMES}
    manager.line.is_closing = True  # the line breaks while the meter works
    request = call(64, OPERATOR, 3, Agreeing(manager, (GUEK, GAK)).items(), ITEMS)
    (reply,) = manager.machine.request([request])
    manager.line.handler.received(1, 1, reply.octets)  # type: ignore[union-attr]
    manager.line.handler.closed(None)
    assert {i: ring.reveal(i) for i in NAMES} == before
    here.restart()
    assert {i: here.meter.rings[2].reveal(i) for i in NAMES} == before
    assert Agreeing(here.signed_on("manager"), (GUEK, GAK)).keys()


def test_where_the_disk_fails_the_old_keys_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    manager, ring = here.signed_on("manager"), here.meter.rings[2]
    before = {i: ring.reveal(i) for i in NAMES}

    def full(*_: Any) -> None:
        raise StateUnavailable("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(here.meter.store, "keep", full)
        assert Agreeing(manager, (GUEK,)).call()[0] == 0
    assert {i: ring.reveal(i) for i in NAMES} == before
    assert here.signed_on("operator").get(3, REGISTER)
    assert Agreeing(manager, (GUEK,)).keys() == {GUEK: ring.reveal(GUEK)}


def test_one_change_of_a_key_at_a_time() -> None:
    """Two in one list: the second is told to come again, the first one's key is in memory and on disk."""
    here = world(preset="suite1")
    manager = here.signed_on("manager")
    asked = [call(64, OPERATOR, 3, Agreeing(manager, (GUEK,)).items(), ITEMS) for _ in range(2)]
    assert [outcome.code for outcome in manager.ask(*asked)] == [0, 2]
    ring = here.meter.rings[2]
    assert bytes.fromhex(here.meter.store.get("setup/2/guek")) == ring.reveal(GUEK)


def other_key_id(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GAK, data)]


def stripped(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data[:64])]


def stranger(data: bytes, here: World) -> list[tuple[int, bytes]]:
    on = curve("P-256")
    return [(GUEK, key_agreement.offer(GUEK, AgreementKey.generate(on), SigningKey.generate(on)))]


def swapped(data: bytes, here: World) -> list[tuple[int, bytes]]:
    other = AgreementKey.generate(curve("P-256")).public.octets
    return [(GUEK, other + data[64:])]


def flipped(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data[:-1] + bytes((data[-1] ^ 1,)))]


def der(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data[:64] + bytes.fromhex("304402200000") + data[70:])]


def longer(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data + b"\0")]


def empty(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, b"")]


def twice(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data), (GUEK, data)]


def unknown_id(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data), (4, data)]


def one_of_two(data: bytes, here: World) -> list[tuple[int, bytes]]:
    return [(GUEK, data), (GAK, data)]


@pytest.mark.parametrize(
    "spoil",
    [other_key_id, stripped, stranger, swapped, flipped, der, longer, empty, twice, unknown_id, one_of_two],
)
def test_D02_D06_what_is_not_signed_for_this_key_changes_nothing(spoil: Any, tmp_path: Path) -> None:
    here = world(preset="suite1", folder=tmp_path / "state")
    manager = here.signed_on("manager")
    ring = here.meter.rings[2]
    before = {i: ring.reveal(i) for i in NAMES}
    agreeing = Agreeing(manager, (GUEK,))
    code, answers = agreeing.call(spoil(agreeing.items()[0][1], here))
    assert (code, answers) == (0xFA, [])
    assert {i: ring.reveal(i) for i in NAMES} == before
    here.restart()
    assert {i: here.meter.rings[2].reveal(i) for i in NAMES} == before


def test_D05_a_signed_point_off_the_curve() -> None:
    here = world(preset="suite1")
    manager = here.signed_on("manager")
    signing = manager.machine.profile.setup.signing_key()
    for point in (bytes(64), b"\xff" * 64, b"\0" * 63 + b"\x01"):
        data = point + signing.sign(bytes((GUEK,)) + point)
        assert Agreeing(manager, ()).call([(GUEK, data)])[0] == 0xFA


def test_no_item_is_a_wrong_type() -> None:
    here = world(preset="suite1")
    assert Agreeing(here.signed_on("manager"), ()).call([])[0] == 0x0C


def test_only_who_signs_can_agree(tmp_path: Path) -> None:
    """A role by HLS-GMAC with every right: the meter holds no signature key of it."""
    text = (
        '[[roles.installer.rights]]\nobjects = ["0.0.43.0.3.255"]\nmethods = "access"\nattributes = "read"\n'
    )
    here = world(text, tmp=tmp_path, preset="suite1")
    installer = here.signed_on("installer")
    installer.machine.profile.setup.signing = SigningKey.generate(curve("P-256"))
    assert Agreeing(installer, (GUEK,), INSTALLER).call()[0] == 0xFA
    operator = here.signed_on("operator")
    assert Agreeing(operator, (GUEK,)).call()[0] != 0


def test_suite_0_agrees_on_nothing() -> None:
    here = world()
    manager = here.signed_on("manager")
    assert manager.call(64, OPERATOR, 3, [(GUEK, bytes(128))], ITEMS) != 0


# --- the formula --------------------------------------------------------------------------------


def test_the_standards_own_offer() -> None:
    """gbC1: the client's ephemeral key under its signature, for key id 0; one octet changed is forged."""
    good, bad = (vector(f"gbC1-2e0s-sign-client{end}")["inputs"] for end in ("", "-bad"))
    on, message = curve("P-256"), bytes.fromhex(good["message"])
    assert message[0] == GUEK
    signer = VerifyingKey(on, bytes.fromhex(good["public"]))
    data = message[1:] + bytes.fromhex(good["signature"])
    assert key_agreement.offered(suite(1), GUEK, data, signer) == AgreementPoint(on, message[1:])
    for key_id in (GBEK, GAK, KEK):
        with pytest.raises(Forged):
            key_agreement.offered(suite(1), key_id, data, signer)
    with pytest.raises(Forged):
        key_agreement.offered(suite(1), GUEK, message[1:] + bytes.fromhex(bad["signature"]), signer)
    with pytest.raises(Malformed):
        key_agreement.offered(suite(2), GUEK, data, signer)
