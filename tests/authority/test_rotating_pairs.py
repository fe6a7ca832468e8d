"""Key pairs and agreed keys rotated at a meter, cut everywhere: it is opened by what is stored, always."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from meterseal.authority import CertificateAuthority
from meterseal.authority.adoption import credentials_of
from meterseal.authority.certifying import Certifier
from meterseal.authority.probing import Line
from meterseal.authority.rotator import Rotator
from meterseal.keys.lifecycle import State, Verb
from tests.authority.changing import cut_line, cut_process
from tests.authority.paired import PairScene

PAIRS = [
    ("meter-sign", "manager"), ("meter-agree", "manager"), ("client-sign", "manager"),
    ("client-sign", "operator"), ("client-sign", "signing"), ("client-agree", "operator"),
]  # fmt: skip
SOME = [slot for slot in PAIRS if slot != ("client-sign", "operator")]
AGREED = [
    ("guek", "operator"),
    ("gak", "operator"),
    ("guek", "manager"),
    ("gbek", "operator"),
    ("kek", "manager"),
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter that does not let who fails wait for long."""
    monkeypatch.setattr("meterseal.meter.delays.FIRST", 0.001)
    monkeypatch.setattr("meterseal.meter.delays.LONGEST", 0.004)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairScene]:
    """One meter for all cuts: each ends in order, so the next one may begin."""
    scene = PairScene(tmp_path_factory.mktemp("scene"))
    yield scene
    scene.close()


@pytest.mark.parametrize(("kind", "role"), SOME)
def test_G04_a_new_pair_is_certified_imported_proved_and_active(
    shared: PairScene, kind: str, role: str
) -> None:
    before = shared.certificates()
    report = shared.rotate(kind, role)
    assert report is not None and not report.again and not report.failed, report
    after = shared.certificates()
    assert [slot for slot in after if after[slot] != before[slot]] == [shared.slot(kind, role)]
    shared.settled()


@pytest.mark.parametrize(("kind", "role"), AGREED[1:])
def test_G04_a_key_is_agreed_on_proved_and_active(shared: PairScene, kind: str, role: str) -> None:
    before = dict(shared.held())
    shared.agree(role, kind)
    report = shared.rotate(kind, role)
    shared.agree(role)
    assert report is not None and not report.again and not report.failed, report
    after = dict(shared.held())
    changed = {(slot.role, slot.kind) for slot in after if after[slot] != before[slot]}
    assert changed == ({("", "kek"), ("manager", "gbek")} if kind == "kek" else {(role, kind)})
    shared.settled()
    with shared.open() as store:
        (active,) = (one for one in store.keys.slot(shared.slot(kind, role)) if one.state is State.ACTIVE)
        assert active.origin == "agreed"


def test_a_key_that_opens_an_association_is_not_agreed_on_over_it(shared: PairScene) -> None:
    """The manager's own GUEK goes over the deputy's association; without a deputy it is refused."""
    shared.agree("manager", "guek")
    with shared.open() as store:
        settings = store.keys.device(shared.title).settings
        del settings["roles"]["deputy"]["carries"]
        store.keys.set_settings(shared.title, settings)
    before = dict(shared.held())
    report = shared.rotate("guek", "manager")
    with shared.open() as store:
        settings["roles"]["deputy"]["carries"] = True
        store.keys.set_settings(shared.title, settings)
    shared.agree("manager")
    assert report is not None and "lost" in report.failed[shared.slot("guek", "manager")]
    assert dict(shared.held()) == before
    shared.settled()


@pytest.mark.soak
def test_an_agreement_pair_that_went_back_alone_is_found_when_it_is_asked_for(shared: PairScene) -> None:
    shared.heal()  # every role has been answered before the copy is made, and has counters to jump over
    copy, slot = shared.copy(), shared.slot("client-agree", "operator")
    before = shared.certificates()[slot]
    report = shared.rotate("client-agree", "operator")
    assert report is not None and not report.again
    shared.put_back(copy)
    report = shared.run(lambda rotator: rotator.recover(shared.title, ["client-agree"]))
    assert not report.again and not report.failed and slot in report.done
    with shared.open() as store:
        active = store.pairs.active(slot)
        assert active is not None and store.pairs.certificate(active) == before
    shared.settled()


@pytest.mark.soak
def test_a_meter_that_went_back_to_older_pairs_is_found_again(shared: PairScene) -> None:
    """Its own pair is that of before, and so is what it holds of the client, whose old key is no more."""
    shared.heal()  # every role has been answered before the copy is made, and has counters to jump over
    copy = shared.copy()
    for kind, role in (("meter-sign", "manager"), ("client-sign", "manager"), ("meter-agree", "manager")):
        report = shared.rotate(kind, role)
        assert report is not None and not report.again
    shared.put_back(copy)
    shared.heal()
    with shared.open() as store:
        (active,) = (
            one for one in store.keys.slot(shared.slot("meter-sign", "")) if one.state is State.ACTIVE
        )
        certificate = store.pairs.certificate(store.keys.find(active.id))
        assert certificate == shared.certificates()[shared.slot("meter-sign", "")]
    for kind in ("client-sign", "meter-agree"):
        report = shared.rotate(kind, "manager")
        assert report is not None and not report.again
    shared.settled()


def test_no_pair_is_begun_under_an_authority_that_the_meter_does_not_believe(
    shared: PairScene, tmp_path: Path
) -> None:
    with CertificateAuthority.root(tmp_path / "ca", "Other", by="test") as made:
        made.certificate  # noqa: B018 - there is one
    rotate = partial(
        Rotator.rotate, title=shared.title, kinds=["client-sign", "meter-agree"], roles=["operator"]
    )
    stranger = Certifier(tmp_path / "ca", by="test")
    report = shared.run(lambda one: rotate(Rotator(one._store, Line(line=shared.line), stranger)))
    assert {slot.kind for slot in report.failed} == {"client-sign", "meter-agree"} and not report.again
    assert all("CN=Other is under no trust anchor" in why for why in report.failed.values())
    shared.settled()


def test_a_compromised_pair_brings_in_its_successor_and_nothing_else(shared: PairScene) -> None:
    slot = shared.slot("client-sign", "deputy")
    with shared.open() as store:
        (active,) = (one for one in store.keys.slot(slot) if one.state is State.ACTIVE)
        store.keys.apply(Verb.COMPROMISE, active, "a laptop was stolen")
        assert "deputy" not in credentials_of(store, shared.title).roles
        assert "manager" in credentials_of(store, shared.title).roles
    report = shared.rotate("client-sign", "deputy")
    assert report is not None and report.done == [slot]
    with shared.open() as store:
        assert [one.state.value for one in store.keys.slot(slot)][-2:] == ["compromised", "active"]
        assert "deputy" in credentials_of(store, shared.title).roles
    shared.settled()


# --- cuts -----------------------------------------------------------------------------------------


def healed(scene: PairScene, kind: str, role: str) -> None:
    """The meter opens under what is stored; but for a key that was agreed on when the answer was lost, and
    that opens no way in which it is made anew."""
    agreed = (kind, role) in AGREED
    scene.opens(*([scene.slot(kind, role)] if agreed else []))
    scene.heal()
    scene.settled()


@contextmanager
def by(scene: PairScene, kind: str, role: str) -> Iterator[None]:
    """Keys of `AGREED` are agreed on, others go their own way."""
    if (kind, role) in AGREED:
        scene.agree(role, kind)
    yield
    scene.agree(role)


# Of all points some: where what carries the new key goes out, where its answer is lost, where it is proved.
LINE = {
    ("meter-sign", "manager"): (18,),
    ("client-sign", "manager"): (12,),
    ("guek", "operator"): (8,),
}
PROCESS = {("meter-sign", "manager"): 4}


@pytest.mark.parametrize(
    ("kind", "role", "point"), [(*slot, point) for slot, points in LINE.items() for point in points]
)
def test_G01_a_frame_is_lost_and_the_line_with_it(
    shared: PairScene, kind: str, role: str, point: int
) -> None:
    with by(shared, kind, role):
        assert cut_line(shared, kind, role, point)
        healed(shared, kind, role)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("kind", "role", "point"), [(*slot, point) for slot, point in PROCESS.items()])
def test_G01_the_executor_is_killed_around_a_transaction(
    shared: PairScene, kind: str, role: str, point: int, before: bool
) -> None:
    with by(shared, kind, role):
        assert cut_process(shared, kind, role, point, before)
        healed(shared, kind, role)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("kind", "role"), [*PAIRS, *AGREED])
def test_G01_every_point_of_every_kind(tmp_path: Path, kind: str, role: str) -> None:
    scene, count, point = PairScene(tmp_path), 0, 0
    with by(scene, kind, role):
        while cut_line(scene, kind, role, point := point + 1):
            healed(scene, kind, role)
            count += 1
        for before in (True, False):
            point = 0
            while cut_process(scene, kind, role, point := point + 1, before):
                healed(scene, kind, role)
                count += 1
    scene.close()
    assert count >= 30


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("kind", "role"), [*PAIRS, *AGREED])
def test_G01_the_meter_is_switched_off_at_every_point(tmp_path: Path, kind: str, role: str) -> None:
    """As above; and what the meter had not kept by then is gone."""
    scene, point = PairScene(tmp_path), 0
    with by(scene, kind, role):
        while cut_line(scene, kind, role, point := point + 1):
            scene.restart()
            healed(scene, kind, role)
    scene.close()
    assert point > 12
