"""key_transfer: all or nothing, old keys for the answer, new ones afterwards, power cuts at any point."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meterseal.association import Associated, Failed
from meterseal.crypto import GcmKey, WrappingKey, random_octets
from meterseal.errors import MetersealError
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.keys.kinds import NAMES
from meterseal.meter import credentials_of
from meterseal.security import KeyInUse, Style
from tests.meter.killed import ITEMS, POINTS
from tests.meter.world import Client, World, call, read, world

OPERATOR, MANAGER = "0.0.43.0.2.255", "0.0.43.0.1.255"
REGISTER = "1.0.1.8.0.255"
GUEK, GBEK, GAK, KEK = range(4)


def kek(here: World) -> WrappingKey:
    octets = here.credentials.roles["manager"].octets("kek")
    assert octets is not None
    return WrappingKey(octets)


def transfer(manager: Client, keys: dict[int, bytes], setup: str = OPERATOR) -> int:
    wrap = kek(manager.world).wrap
    return manager.call(64, setup, 2, [(i, wrap(key)) for i, key in keys.items()], ITEMS)


def use(client: Client, guek: bytes, gak: bytes, start: int = 0) -> None:
    """Let a client go on under other keys."""
    key = KeyInUse(GcmKey(guek, gak), SendCounter(start, start + 1000), ReceiveCounter())
    client.machine.profile.setup.unicast = key


def octets(here: World, role: str, name: str) -> bytes:
    found = here.credentials.roles[role].octets(name)
    assert found is not None
    return found


def test_every_association_of_the_setup_goes_on_under_the_new_key() -> None:
    here = world()
    manager = here.signed_on("manager")
    one, two, far = (here.signed_on("operator", here.line(f"192.0.2.{i}")) for i in (1, 2, 3))
    second_device = here.signed_on("operator", one.line, server=17)
    installer = here.signed_on("installer")
    new, gak = random_octets(16), octets(here, "operator", "gak")
    assert transfer(manager, {GUEK: new}) == 0
    with pytest.raises(MetersealError):
        far.get(3, REGISTER)  # still under the old key
    shared = KeyInUse(GcmKey(new, gak), SendCounter(0, 1000), ReceiveCounter())
    for client in (one, two, second_device):
        client.machine.profile.setup.unicast = shared
        assert client.get(8, "0.0.1.0.0.255")
    assert shared.rx.lowest == 4, "the counters of a new key start anew"
    assert here.meter.rings[2].setup.unicast.rx.lowest == 3  # type: ignore[union-attr]
    assert installer.get(8, "0.0.1.0.0.255") and manager.get(3, REGISTER)


def test_the_answer_comes_under_the_old_key_and_the_next_message_under_the_new() -> None:
    here = world()
    manager = here.signed_on("manager")
    new = random_octets(16)
    old = here.meter.rings[1].setup.unicast
    assert transfer(manager, {GUEK: new}, MANAGER) == 0  # opened with the old key
    assert old is not None and "destroyed" in repr(old.handle)
    use(manager, new, octets(here, "manager", "gak"))
    assert manager.get(3, REGISTER)


@pytest.mark.parametrize("end", ["release", "abort", "again", "power cut"])
def test_keys_wait_for_the_next_association_of_a_peer_that_wants_it_so(tmp_path: Path, end: str) -> None:
    """The option: whoever brought them goes on under the old ones, and is the last one to."""
    peer = "[roles.manager.peer]\nnew_keys_from_next_association = true\n"
    here = world(peer, tmp_path / "state", tmp_path)
    manager = here.signed_on("manager")
    other = here.signed_on("manager", here.line("192.0.2.2"))
    assert transfer(manager, {GUEK: random_octets(16), GAK: random_octets(16)}, MANAGER) == 0
    assert manager.get(3, REGISTER) and other.get(3, REGISTER)
    assert transfer(manager, {GUEK: random_octets(16)}, MANAGER) == 2, "one change after another"
    if end == "release":
        manager.release()
    elif end == "abort":
        manager.line.abort()
    elif end == "power cut":
        here.restart()
    if end != "again":
        here.credentials = credentials_of(here.meter)
    else:
        ring = here.meter.rings[1]
        here.credentials = here.credentials.with_keys(
            "manager", {NAMES[key_id]: key.reveal() for key_id, key in ring._arriving.items()}
        )
    line = manager.line if end == "again" else here.line("192.0.2.3")
    assert here.signed_on("manager", line).get(3, REGISTER)
    if end != "power cut":
        with pytest.raises(MetersealError):
            other.get(3, REGISTER)


def test_a_new_gak_goes_beside_the_old_guek_and_its_counters_go_on() -> None:
    here = world()
    manager, plain = here.signed_on("manager"), here.signed_on("operator")
    dedicated = here.signed_on("operator", dedicated_key=random_octets(16))
    key = here.meter.rings[2].setup.unicast
    assert key is not None
    before = key.tx._next, key.rx.lowest
    gak = random_octets(16)
    assert transfer(manager, {GAK: gak}) == 0
    now = here.meter.rings[2].setup.unicast
    assert now is not None and (now.tx._next, now.rx.lowest) == before
    held = here.keys["operator"]
    handle = held.handle.beside(gak)
    plain.machine.profile.setup.unicast = KeyInUse(handle, held.tx, held.rx)
    assert plain.get(3, REGISTER)
    own = dedicated.machine.context.dedicated
    assert own is not None
    assert dedicated.line.ask(dedicated.sealed(_get(), 3, Style.DED), 2) == bytes.fromhex("D80105")
    own.handle = own.handle.beside(gak)
    assert dedicated.opened(dedicated.line.ask(dedicated.sealed(_get(), 3, Style.DED), 2))[:2] == b"\xc4\x01"


def _get() -> bytes:
    return bytes.fromhex("C001C100030100010800FF0200")


def test_a_new_kek_wraps_the_next_keys_of_every_role() -> None:
    here = world()
    manager = here.signed_on("manager")
    new = random_octets(16)
    old = kek(here)
    assert transfer(manager, {KEK: new}, MANAGER) == 0
    key = random_octets(16)
    wrapped = [[(GUEK, wrapping.wrap(key))] for wrapping in (old, WrappingKey(new))]
    assert manager.call(64, OPERATOR, 2, wrapped[0], ITEMS) == 0xFA
    assert manager.call(64, OPERATOR, 2, wrapped[1], ITEMS) == 0


@pytest.mark.parametrize(
    "fault",
    [
        "unknown id",
        "negative id",
        "twice",
        "other kek",
        "flipped",
        "cut",
        "empty",
        "long key",
        "no item",
        "equal pair",
    ],
)
def test_one_bad_item_leaves_all_old_keys(fault: str, tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    manager = here.signed_on("manager")
    wrap = kek(here).wrap
    good = [(GUEK, wrap(random_octets(16))), (GAK, wrap(random_octets(16)))]
    pair = random_octets(16)
    items = {
        "unknown id": [*good, (4, wrap(random_octets(16)))],
        "negative id": [*good, (255, wrap(random_octets(16)))],
        "twice": [*good, (GUEK, wrap(random_octets(16)))],
        "other kek": [*good, (GBEK, WrappingKey(random_octets(16)).wrap(random_octets(16)))],
        "flipped": [*good, (GBEK, bytes((wrap(random_octets(16))[0] ^ 1,)) + wrap(random_octets(16))[1:])],
        "cut": [*good, (GBEK, wrap(random_octets(16))[:-1])],
        "empty": [*good, (GBEK, b"")],
        "long key": [*good, (GBEK, wrap(random_octets(24)))],
        "no item": [],
        "equal pair": [(GUEK, wrap(pair)), (GAK, wrap(pair))],
    }[fault]
    kept = {name: octets(here, "operator", name) for name in ("guek", "gak", "gbek")}
    code = manager.call(64, OPERATOR, 2, items, ITEMS)
    assert code == (0x0C if fault == "no item" else 0xFA)
    operator = here.signed_on("operator")
    assert operator.get(3, REGISTER)
    here.restart()
    assert {name: octets(here, "operator", name) for name in kept} == kept


def test_version_0_knows_no_kek(tmp_path: Path) -> None:
    here = world("[roles.operator]\nsetup_version = 0\n", tmp=tmp_path)
    manager = here.signed_on("manager")
    assert transfer(manager, {KEK: random_octets(16)}) == 0xFA
    assert transfer(manager, {GUEK: random_octets(16), GBEK: random_octets(16), GAK: random_octets(16)}) == 0


def test_C12_a_key_in_use_is_not_taken_again() -> None:
    """Neither the same key, nor another role's, nor a key of another kind; counters stay where they are."""
    here = world()
    manager, operator = here.signed_on("manager"), here.signed_on("operator")
    before = here.meter.rings[2].setup.unicast
    assert before is not None
    counters = before.tx._next, before.rx.lowest
    for key_id, role, name in (
        (GUEK, "operator", "guek"),
        (GUEK, "installer", "guek"),
        (GUEK, "operator", "gbek"),
        (GUEK, "manager", "kek"),
        (GAK, "operator", "guek"),
        (GAK, "operator", "gak"),
        (GBEK, "operator", "gbek"),
        (KEK, "manager", "kek"),
    ):
        assert transfer(manager, {key_id: octets(here, role, name)}) == 0xFA, (key_id, role, name)
    after = here.meter.rings[2].setup.unicast
    assert after is before and (after.tx._next, after.rx.lowest) == counters
    assert operator.get(3, REGISTER)


def test_G08_a_key_of_zeros_is_not_taken() -> None:
    here = world()
    manager, operator = here.signed_on("manager"), here.signed_on("operator")
    for key_id in (GUEK, GBEK, GAK):
        assert transfer(manager, {key_id: bytes(16)}) == 0xFA, key_id
    assert transfer(manager, {GUEK: random_octets(16), GAK: bytes(16)}) == 0xFA
    assert operator.get(3, REGISTER)


def test_C12_a_key_that_comes_back_goes_on_counting(tmp_path: Path) -> None:
    """Law 1: a new key starts at 0, one that was here before does not, not even after a restart."""
    here = world(folder=tmp_path / "state")
    first = octets(here, "operator", "guek")
    operator, manager = here.signed_on("operator"), here.signed_on("manager")
    for _ in range(5):
        operator.get(3, REGISTER)
    used = here.meter.rings[2].setup.unicast
    assert used is not None
    sent, received = used.tx._next, used.rx.lowest
    assert transfer(manager, {GUEK: random_octets(16)}) == 0
    here.restart()
    assert transfer(here.signed_on("manager"), {GUEK: first}) == 0
    back = here.meter.rings[2].setup.unicast
    assert back is not None and back.rx.lowest >= received
    here.credentials = credentials_of(here.meter)
    operator = here.signed_on("operator")
    assert operator.get(3, REGISTER)
    assert back.tx._next > sent, "no counter of this key is sent twice"


def test_two_transfers_in_one_list_do_not_bring_one_key_twice() -> None:
    here = world()
    manager = here.signed_on("manager")
    key, wrap = random_octets(16), kek(here).wrap
    outcomes = manager.ask(
        call(64, OPERATOR, 2, [(GUEK, wrap(key))], ITEMS), call(64, OPERATOR, 2, [(GAK, wrap(key))], ITEMS)
    )
    assert [o.code for o in outcomes] == [0, 0xFA]


def test_an_answer_in_blocks_is_finished_under_the_old_key() -> None:
    """A list whose answer is long: the new key works when the last block is out."""
    here = world()
    manager = here.signed_on("manager", max_pdu=64)
    items = [(GUEK, kek(here).wrap(random_octets(16)))]
    again = call(8, "0.0.1.0.0.255", 3)
    outcomes = manager.ask(call(64, MANAGER, 2, items, ITEMS), *[again] * 30)
    assert len(outcomes) == 31 and {o.code for o in outcomes} == {0}
    with pytest.raises(MetersealError):
        manager.get(3, REGISTER)


def test_nobody_else_transfers_keys() -> None:
    here = world()
    for role in ("operator", "installer", "public"):
        client = here.signed_on(role)
        assert client.one(read(64, MANAGER)).code == 4
        assert client.call(64, MANAGER, 2, [(GUEK, bytes(24))], ITEMS) == 4


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_one_of_the_two_keys_opens_the_meter(point: str, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    here = world(folder=folder)
    old = {name: octets(here, "operator", name) for name in ("guek", "gak")}
    here.meter.close()
    new = {name: random_octets(16) for name in old}
    done = subprocess.run(
        [sys.executable, "-m", "tests.meter.killed", str(folder), point, new["guek"].hex(), new["gak"].hex()],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout == "started\n", done.stderr
    assert done.returncode == -signal.SIGKILL
    here = world(folder=folder)
    opened = [keys for keys in (old, new) if signs_on(here, keys)]
    written = point not in ("before-write", "torn-write")
    assert len(opened) == 1
    if point != "before-sync":  # the octets may or may not have reached the disk
        assert opened == [new if written else old]
    assert {name: octets(here, "operator", name) for name in old} == opened[0]


def signs_on(here: World, keys: dict[str, bytes]) -> bool:
    client = here.client("operator")
    use(client, keys["guek"], keys["gak"], 500)
    effects = client.try_sign_on()
    assert any(isinstance(e, Associated | Failed) for e in effects)
    return any(isinstance(e, Associated) for e in effects)
