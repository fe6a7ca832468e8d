"""Rotation at a meter, cut everywhere: no meter that no stored key opens, one active key after the proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meterseal.authority.adoption import adopt, credentials_of
from meterseal.authority.rotator import EXPOSED
from meterseal.credentials import Credentials, RoleCredentials
from meterseal.crypto import kcv
from meterseal.errors import CounterExhausted, Misuse, StateLocked, UnknownKey
from meterseal.keys.counters import key_id
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State, Verb, find
from meterseal.keys.rotation import Phase
from meterseal.meter import Meter, load_plan
from meterseal.meter import credentials_of as factory_file
from meterseal.state import FileCounters
from tests.authority.changing import Scene, cut_line, cut_process
from tests.authority.vaulted import House

SLOTS = [
    ("guek", "operator"), ("gak", "operator"), ("gbek", "operator"), ("guek", "manager"), ("gak", "manager"),
    ("kek", "manager"), ("lls", "weak"), ("hls", "strong"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter that does not let who fails wait for long."""
    monkeypatch.setattr("meterseal.meter.delays.FIRST", 0.001)
    monkeypatch.setattr("meterseal.meter.delays.LONGEST", 0.004)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One meter for all cuts: each ends in order, so the next one may begin."""
    scene = Scene(tmp_path_factory.mktemp("scene"))
    yield scene
    scene.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("kind", "role"), SLOTS)
def test_G04_a_new_key_of_each_kind_is_brought_proved_and_active(shared: Scene, kind: str, role: str) -> None:
    before = dict(shared.held())
    report = shared.rotate(kind, role)
    assert report is not None and not report.again and not report.failed
    after = dict(shared.held())
    changed = {(slot.role, slot.kind) for slot in after if after[slot] != before[slot]}
    assert changed == ({("", "kek"), ("manager", "gbek")} if kind == "kek" else {(role, kind)})
    shared.settled()


def healed(scene: Scene) -> None:
    scene.opens()
    scene.heal()
    scene.settled()


# The request and the answer that carry the new key, and what proves it: where these frames are is found out
# by a run that is not cut; the short form takes some of all points, the long one all.
SHORT_LINE = {"guek": (7, 8), "gak": (8,), "gbek": (8,), "kek": (8,), "lls": (7,), "hls": (8,)}


@pytest.mark.parametrize(
    ("kind", "role", "point"), [(kind, role, point) for kind, role in SLOTS for point in SHORT_LINE[kind]]
)
def test_G01_a_frame_is_lost_and_the_line_with_it(shared: Scene, kind: str, role: str, point: int) -> None:
    assert cut_line(shared, kind, role, point)
    healed(shared)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("kind", "role", "point"),
    [("guek", "operator", 3), ("kek", "manager", 9)],
)
def test_G01_the_executor_is_killed_around_a_transaction(
    shared: Scene, kind: str, role: str, point: int, before: bool
) -> None:
    assert cut_process(shared, kind, role, point, before)
    healed(shared)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "role"), SLOTS)
def test_G01_every_point_of_every_kind(scene: Scene, kind: str, role: str) -> None:
    count = point = 0
    while cut_line(scene, kind, role, point := point + 1):
        healed(scene)
        count += 1
    for before in (True, False):
        point = 0
        while cut_process(scene, kind, role, point := point + 1, before):
            healed(scene)
            count += 1
    assert count >= 20


def test_G01_the_meter_is_cut_off_from_power_after_it_took_the_key(scene: Scene) -> None:
    def cut(direction: str, number: int) -> bool:
        return direction == "in" and number > 7 and changed()

    old = dict(scene.held())

    def changed() -> bool:
        return dict(scene.held()) != old

    scene.cut = cut
    report = scene.rotate("guek", "operator")
    assert report is not None and report.again
    scene.restart()
    healed(scene)
    assert dict(scene.held()) != old


def test_a_meter_that_went_back_to_an_older_state_is_found_again(scene: Scene) -> None:
    """Its keys are those of a year ago: the store has them still, and knows them when it hears them.

    Where a GUEK is an earlier one all others are looked at unasked; where none is, what is asked for.
    """
    scene.heal()  # every role has been answered before the copy was made, and has counters to jump over
    copy, kek = scene.copy(), Slot(scene.title, "", "kek")
    slots = [("guek", "operator"), ("gak", "operator"), ("hls", "strong"), ("kek", "manager")]
    for kind, role in slots:
        report = scene.rotate(kind, role)
        assert report is not None and not report.again
    scene.put_back(copy)
    report = scene.heal()
    assert {kind for kind, _ in slots} <= {slot.kind for slot in report.done}
    scene.settled()

    copy = scene.copy()
    for kind, role in (("kek", "manager"), ("gbek", "operator")):
        scene.rotate(kind, role)
    scene.put_back(copy)
    with scene.open() as store:
        lost = find(store.keys.slot(kek), State.ACTIVE)
    plain = scene.run(lambda rotator: rotator.recover(scene.title))
    assert not plain.again and kek not in plain.done, "every role signs on: nothing is in doubt"
    report = scene.run(lambda rotator: rotator.recover(scene.title, ["kek", "gbek", "guek", "lls"]))
    assert not report.again and {kek, Slot(scene.title, "operator", "gbek")} <= set(report.done)
    why = report.failed.pop(Slot(scene.title, "installer", "gbek"))
    assert "broadcast" in why and not report.failed, "nothing shows which one that is"
    scene.settled()
    with scene.open() as store:
        assert lost is not None and store.keys.find(lost.id).record.state is State.DEACTIVATED
    with pytest.raises(Misuse, match="no key of these kinds"):
        scene.run(lambda rotator: rotator.recover(scene.title, ["meter-sign"]))


@pytest.mark.soak
def test_G04_all_keys_of_a_meter_at_once(scene: Scene) -> None:
    before = dict(scene.held())
    report = scene.run(lambda rotator: rotator.rotate(scene.title, why="yearly"))
    after = dict(scene.held())
    assert not report.failed and not [slot for slot in after if after[slot] == before[slot]]
    assert {(slot.role, slot.kind) for slot in report.waiting} == {("installer", "gbek")}
    scene.opens()


def test_a_key_without_a_way_to_prove_it_waits_and_both_stay(scene: Scene) -> None:
    report = scene.rotate("gbek", "installer")
    slot = Slot(scene.title, "installer", "gbek")
    assert report is not None and "broadcast" in report.waiting[slot]
    scene.opens()
    with scene.open() as store:
        (rotation,) = store.rotations.open(scene.title)
        assert rotation.phase is Phase.TAKEN
        assert [one.state.value for one in store.keys.slot(slot)] == ["active", "staged"]


def test_G02_a_meter_that_another_works_at_is_left_alone(scene: Scene) -> None:
    with scene.open() as other, other.leases.held(scene.title), pytest.raises(StateLocked):
        scene.rotate("guek", "operator")
    report = scene.rotate("guek", "operator")
    assert report is not None and report.done


def test_G06_the_kek_before_is_kept(scene: Scene) -> None:
    scene.rotate("kek", "manager")
    with scene.open() as store:
        old, new = store.keys.slot(Slot(scene.title, "", "kek"))
        assert old.state is State.DEACTIVATED and len(store.keys.reveal(old).reveal()) == 16
        assert new.state is State.ACTIVE and new.proved is not None


def test_a_compromised_key_serves_to_bring_in_its_successor_and_nothing_else(scene: Scene) -> None:
    slot = Slot(scene.title, "manager", "guek")
    with scene.open() as store:
        active = find(store.keys.slot(slot), State.ACTIVE)
        assert active is not None
        store.keys.apply(Verb.COMPROMISE, active, "a laptop was stolen")
        assert "manager" not in credentials_of(store, scene.title).roles
        assert "operator" in credentials_of(store, scene.title).roles
        with pytest.raises(UnknownKey):
            store.handles.gcm(scene.title, "manager")
    report = scene.rotate("guek", "manager")
    assert report is not None and report.done == [slot]
    with scene.open() as store:
        assert [one.state.value for one in store.keys.slot(slot)] == ["compromised", "active"]
        assert "manager" in credentials_of(store, scene.title).roles


def test_a_meter_with_a_compromised_key_is_not_done(scene: Scene) -> None:
    """It answers, and under a key that others may have: recovered is what does not."""
    operator = Slot(scene.title, "operator", "guek")
    with scene.open() as store:
        for slot in (operator, Slot(scene.title, "manager", "gak"), Slot(scene.title, "", "kek")):
            active = find(store.keys.slot(slot), State.ACTIVE)
            assert active is not None
            store.keys.apply(Verb.COMPROMISE, active, "a laptop was stolen")
    report = scene.run(lambda rotator: rotator.recover(scene.title))
    assert report.again and not report.failed
    assert {(slot.role, slot.kind): why for slot, why in report.waiting.items()} == dict.fromkeys(
        [("operator", "guek"), ("manager", "gak"), ("", "kek")], EXPOSED
    )
    assert Slot(scene.title, "manager", "guek") in report.done and operator not in report.done
    for kind, role in (("guek", "operator"), ("gak", "manager"), ("kek", "manager")):
        scene.rotate(kind, role)
    assert operator in scene.heal().done
    scene.settled()


def test_a_meter_that_went_back_to_a_compromised_key_is_exposed_again(scene: Scene) -> None:
    """The new key is not the active one any more: what is sent under it, nobody reads."""
    slot = Slot(scene.title, "operator", "guek")
    scene.rotate("lls", "weak")  # it has answered before the copy was made, and has counters to jump over
    copy = scene.copy()
    with scene.open() as store:
        active = find(store.keys.slot(slot), State.ACTIVE)
        assert active is not None
        store.exposures.mark(store.exposures.same(active.id), "a laptop was stolen")
    scene.rotate("guek", "operator")
    with scene.open() as store:
        (exposure,) = store.exposures.report()
        assert exposure.until is not None
    scene.put_back(copy)
    report = scene.run(lambda rotator: rotator.recover(scene.title))
    assert report.waiting == {slot: EXPOSED} and slot not in report.done
    with scene.open() as store:
        assert [one.state.value for one in store.keys.slot(slot)] == ["compromised", "deactivated"]
        (exposure,) = store.exposures.report()
        assert exposure.until is None
    scene.rotate("guek", "operator")
    scene.settled()


def test_a_kind_that_is_not_there_is_refused(scene: Scene) -> None:
    with pytest.raises(Misuse, match="no key of these kinds"):
        scene.rotate("lls", "operator")
    with pytest.raises(Misuse, match="no kind of key"):
        scene.rotate("password", "operator")


def bare(role: RoleCredentials) -> RoleCredentials:
    return replace(role, guek=None, gak=None, gbek=None, kek=None, secret=None)


# --- adoption -------------------------------------------------------------------------------------


def test_C10_the_counters_of_a_file_go_over_to_the_store(tmp_path: Path) -> None:
    """What the file has used is jumped over, and it counts no more: two would count the same."""
    meter = Meter(load_plan("suite0"), tmp_path / "meter")
    house = House(tmp_path)
    path = tmp_path / "meter.toml"
    factory_file(meter, "tcp://127.0.0.1:4059").save(path)
    loaded = Credentials.load(path)
    operator = loaded.role("operator")
    octets, title = operator.octets("guek"), operator.client_system_title
    assert octets is not None and title is not None and loaded.state_folder is not None
    name = key_id(kcv(octets), title, "tx")
    _, used = FileCounters(loaded.state_folder).reserve(name, 5, 1)
    with house.open() as store:
        adopt(store, loaded, serial="4711", place="T-12")
        first, _ = store.counters.reserve(name)
        assert first >= used
        with pytest.raises(Misuse, match="already"):
            adopt(store, loaded)
        again = credentials_of(store, loaded.meter.system_title or b"")
        assert again.meter == loaded.meter
        for role in loaded.roles:
            mine, theirs = again.role(role), loaded.role(role)
            assert bare(mine) == bare(theirs)
            keys = ("guek", "gak", "gbek", "kek", "secret")
            assert [mine.octets(key) for key in keys] == [theirs.octets(key) for key in keys]
    with pytest.raises(CounterExhausted):
        FileCounters(loaded.state_folder).reserve(name)
    assert FileCounters(loaded.state_folder).received(name) is None
    meter.close()
