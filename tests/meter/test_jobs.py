"""Curve work as jobs: others are served meanwhile, and what an association no longer wants is dropped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import meterseal
from meterseal.codec.data import decode
from meterseal.codec.types import Tag, Type
from meterseal.credentials import Credentials
from meterseal.crypto import SigningKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Request, Validity
from meterseal.keys.kinds import GUEK
from meterseal.meter import Meter, MeterServer, load_plan, write_credentials
from meterseal.meter.delays import LONGEST
from meterseal.meter.manufacture import maker_of
from meterseal.meter.pairs import AGREEMENT, TLS
from meterseal.meter.pool import Pool, inline
from meterseal.security.steps import outcome_of
from tests.meter.killed import ITEMS
from tests.meter.test_certificate_methods import ENTITY
from tests.meter.test_key_agreement import INSTALLER, Agreeing
from tests.meter.world import NOON, Client, World, call, world

HANGING = 30.0
"""Seconds after which a test is given up."""

VALIDITY = Validity(datetime.fromtimestamp(NOON, UTC), datetime(2080, 1, 1, tzinfo=UTC))


class Waiting:
    """Jobs that are done when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None], Callable[[Exception], None]]] = []

    def run(self, job: Any, then: Any, broken: Any) -> None:
        self.jobs.append((job, then, broken))

    def do(self) -> None:
        job, then, _ = self.jobs.pop(0)
        then(job())

    def do_all(self) -> None:
        while self.jobs:
            self.do()


@pytest.fixture(scope="module")
def meter() -> World:
    return world(preset="suite1")


@pytest.fixture
def here(meter: World) -> Iterator[World]:
    yield meter
    meter.party.compute = inline


@pytest.fixture
def waiting(here: World) -> Waiting:
    jobs = Waiting()
    here.party.compute = jobs.run
    return jobs


def newcomer(here: World, role: str = "operator") -> tuple[Client, Certificate]:
    """A client with a key and a certificate that the meter has not seen."""
    client = here.client(role)
    setup, maker = client.machine.profile.setup, maker_of(here.meter.store)
    assert maker is not None
    setup.signing = SigningKey.generate(curve("P-256"))
    made = maker.issue(setup.signing.public, setup.own_title, Purpose.SIGNATURE, VALIDITY)
    setup.certificate = made.der
    return client, made


def aarq(client: Client) -> bytes:
    (effect,) = client.machine.associate(random_octets(32), random_octets(8))
    octets: bytes = effect.octets  # type: ignore[union-attr]
    return octets


def held(here: World, client: Client) -> Certificate | None:
    assert here.meter.pairs is not None
    return here.meter.pairs.trust.find(client.machine.profile.setup.own_title, Purpose.SIGNATURE)


def test_a_certificate_is_verified_while_others_are_served(here: World) -> None:
    other = here.signed_on("public")
    client, made = newcomer(here)
    jobs = Waiting()
    here.party.compute = jobs.run
    client.line.put(aarq(client), client.sap)
    for _ in range(2):  # the certificate is read, then its way to the anchor
        assert len(jobs.jobs) == 1 and not client.line.arrived
        assert other.get(8, "0.0.1.0.0.255")
        assert held(here, client) != made
        jobs.do()
    (aare,) = client.line.answers()
    assert not jobs.jobs and aare[0] == 0x61 and held(here, client) != made
    (effect,) = client.machine.receive(aare)
    (effect,) = client.machine.resume(effect.token, effect.job())  # type: ignore[union-attr]
    client.line.put(effect.octets, client.sap)  # type: ignore[union-attr]
    assert len(jobs.jobs) == 1 and held(here, client) != made
    jobs.do()
    assert held(here, client) == made  # proved


@pytest.mark.parametrize("ending", ["the line", "the association"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_result_that_nobody_waits_for_changes_nothing(
    here: World, waiting: Waiting, ending: str, after: int
) -> None:
    client, made = newcomer(here)
    client.line.put(aarq(client), client.sap)
    for _ in range(after):
        waiting.do()
    session: Any = client.line.handler
    if ending == "the line":
        client.line.abort()
    else:
        session.end(session._live[client.sap, 1])
    waiting.do_all()
    assert held(here, client) != made
    assert not client.line.arrived


def test_a_proof_that_is_verified_too_late_opens_nothing(here: World) -> None:
    client, made = newcomer(here)
    jobs = Waiting()
    answers = client.machine.receive(client.line.ask(aarq(client), client.sap))
    (effect,) = client.machine.resume(answers[0].token, answers[0].job())  # type: ignore[union-attr]
    here.party.compute = jobs.run
    client.line.put(effect.octets, client.sap)  # type: ignore[union-attr]
    assert len(jobs.jobs) == 1
    session: Any = client.line.handler
    live = session._live[client.sap, 1]
    session.end(live)
    jobs.do_all()
    assert not client.line.arrived and not live.open and held(here, client) != made


def test_frames_behind_a_job_come_in_their_turn(here: World, waiting: Waiting) -> None:
    client, _ = newcomer(here)
    client.line.put(aarq(client), client.sap)
    client.line.put(bytes.fromhex("C001C100080000010000FF0200"), client.sap)
    waiting.do_all()
    here.pass_time(LONGEST)  # the second one is refused, and waits for that
    first, second = client.line.answers()
    assert first[0] == 0x61 and second[0] == 0xD8


def test_keys_are_agreed_on_while_others_are_served(here: World) -> None:
    manager, other = here.signed_on("manager"), here.signed_on("public")
    agreeing = Agreeing(manager, (GUEK,), INSTALLER)
    jobs = Waiting()
    here.party.compute = jobs.run
    asked = manager.machine.request((call(64, agreeing.name, 3, agreeing.items(), ITEMS),))
    before = here.meter.rings[3].reveal(GUEK)
    manager.line.put(asked[0].octets, manager.sap)  # type: ignore[union-attr]
    while len(jobs.jobs) == 1 and not manager.line.arrived:
        assert other.get(8, "0.0.1.0.0.255")
        assert here.meter.rings[3].reveal(GUEK) == before
        jobs.do()
    assert len(manager.line.answers()) == 1
    assert here.meter.rings[3].reveal(GUEK) != before


@pytest.mark.parametrize("ending", ["the line", "the association"])
def test_keys_of_an_association_that_has_ended_are_not_agreed_on(here: World, ending: str) -> None:
    manager = here.signed_on("manager")
    agreeing = Agreeing(manager, (GUEK,), INSTALLER)
    asked = manager.machine.request((call(64, agreeing.name, 3, agreeing.items(), ITEMS),))
    jobs = Waiting()
    here.party.compute = jobs.run
    ring = here.meter.rings[3]
    before = ring.reveal(GUEK)
    manager.line.put(asked[0].octets, manager.sap)  # type: ignore[union-attr]
    while jobs.jobs[0][0].func.__name__ != "outcome_of":  # type: ignore[attr-defined]
        jobs.do()  # signatures of the request come first
    session: Any = manager.line.handler
    if ending == "the line":
        manager.line.abort()
    else:
        session.end(session._live[manager.sap, 1])
    jobs.do_all()
    assert ring.reveal(GUEK) == before and not ring.changes((GUEK,))
    assert not manager.line.arrived


def test_a_job_that_breaks_costs_its_connection(here: World, waiting: Waiting) -> None:
    client, _ = newcomer(here)
    client.line.put(aarq(client), client.sap)
    with pytest.raises(ZeroDivisionError):
        waiting.jobs[0][2](ZeroDivisionError())
    assert client.line.is_closing


# --- in threads ----------------------------------------------------------------------------------


def test_a_slow_job_of_one_association_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, first = threading.Event(), asyncio.Event()
    run = Pool.run

    def slowly(pool: Pool, job: Any, then: Any, broken: Any) -> None:
        if first.is_set():
            run(pool, job, then, broken)
            return
        first.set()
        run(pool, lambda: (gate.wait(HANGING), job())[1], then, broken)

    monkeypatch.setattr(Pool, "run", slowly)

    async def talk() -> tuple[Any, Any]:
        async with MeterServer(Meter(load_plan("suite1"))) as server:
            write_credentials(server.meter, tmp_path / "meter.toml", server.url, 1)
            credentials = Credentials.load(tmp_path / "meter.toml")

            async def read(role: str) -> Any:
                async with meterseal.connect(credentials=credentials, role=role) as meter:
                    return await meter.get(8, "0.0.1.0.0.255", 2)

            slow = asyncio.create_task(read("manager"))
            await first.wait()
            found = await read("operator")
            assert not slow.done()
            gate.set()
            return found, await slow

    found, late = asyncio.run(asyncio.wait_for(talk(), HANGING))
    assert len(found) == len(late) == 14


def test_jobs_are_done_by_threads_and_told_to_the_loop() -> None:
    async def some() -> list[Any]:
        pool, heard = Pool(asyncio.get_running_loop()), []
        done = asyncio.Event()

        def told(result: Any) -> None:
            heard.append((result, threading.current_thread() is threading.main_thread()))
            if len(heard) == 2:
                done.set()

        pool.run(lambda: threading.current_thread().name, told, told)
        pool.run(lambda: 1 // 0, told, told)
        await asyncio.wait_for(done.wait(), HANGING)
        pool.close()
        return heard

    (first, second) = sorted(asyncio.run(some()), key=lambda found: isinstance(found[0], Exception))
    assert first[0].startswith("meterseal-jobs") and isinstance(second[0], ZeroDivisionError)
    assert first[1] and second[1]


def test_after_the_end_nobody_is_told() -> None:
    async def some() -> list[Any]:
        pool, heard = Pool(asyncio.get_running_loop()), list[Any]()
        gate = threading.Event()
        for _ in range(8):  # more than there are threads
            pool.run(lambda: gate.wait(HANGING), heard.append, heard.append)
        pool.close()
        gate.set()
        await asyncio.sleep(0)
        return heard

    assert len(asyncio.run(some())) <= 4


# --- key pairs and certificates --------------------------------------------------------------------

SETUP = "0.0.43.0.1.255"


def what(job: Any) -> str:
    """The name of the pure call that a job is."""
    while isinstance(job, partial):
        job = job.args[0] if job.func is outcome_of else job.func
    return str(job.__qualname__)


class Manager:
    """The manager at work on key pairs: each call, with the jobs that the meter made of it."""

    def __init__(self, here: World) -> None:
        self.here, self.client, self.other = here, here.signed_on("manager"), here.signed_on("public")

    def begin(self, method: int, value: Any, type_: Type) -> Waiting:
        jobs = Waiting()
        self.here.party.compute = jobs.run
        (asked,) = self.client.machine.request((call(64, SETUP, method, value, type_),))
        self.client.line.put(asked.octets, self.client.sap)  # type: ignore[union-attr]
        return jobs

    def call(self, method: int, value: Any, type_: Type = Tag.ENUM) -> tuple[list[str], bytes | None]:
        jobs, done = self.begin(method, value, type_), list[str]()
        while jobs.jobs:
            assert not self.client.line.arrived and self.other.get(8, "0.0.1.0.0.255")
            done.append(what(jobs.jobs[0][0]))
            jobs.do()
        self.here.party.compute = inline
        (answer,) = self.client.line.answers()
        ((outcome,),) = [e.outcomes for e in self.client.machine.receive(answer)]  # type: ignore[union-attr]
        assert outcome.code == 0
        return done, outcome.data


def test_pairs_are_drawn_requested_and_certified_while_others_are_served(here: World) -> None:
    manager, pairs, maker = Manager(here), here.meter.pairs, maker_of(here.meter.store)
    assert pairs is not None and maker is not None
    drawn, _ = manager.call(4, TLS.number)
    waits = pairs.own(TLS).waiting
    assert drawn == ["_Private.generate"] and waits is not None
    signed, octets = manager.call(5, TLS.number)
    request = Request(decode(octets or b""))
    assert signed == ["make_request"] and request.key(Purpose.TLS) == waits.public
    made = maker.issue(waits.public, here.meter.system_title, Purpose.TLS, VALIDITY)
    taken, _ = manager.call(6, made.der, Tag.OCTET_STRING)
    assert taken == ["Certificate", "verify_chain"] and pairs.own(TLS).certificate == made
    exported, octets = manager.call(7, (0, (0, TLS.number, here.meter.system_title)), ENTITY)
    assert exported == [] and decode(octets or b"") == made.der


@pytest.mark.parametrize("after", [0, 1])
def test_a_certificate_for_an_association_that_has_ended_is_not_imported(here: World, after: int) -> None:
    manager = Manager(here)
    client, made = newcomer(here)
    jobs = manager.begin(6, made.der, Tag.OCTET_STRING)
    for _ in range(after):
        jobs.do()
    manager.client.line.abort()
    jobs.do_all()
    assert held(here, client) != made


def test_a_pair_for_an_association_that_has_ended_is_dropped(here: World) -> None:
    manager, pairs = Manager(here), here.meter.pairs
    assert pairs is not None
    before = pairs.own(AGREEMENT).waiting
    jobs = manager.begin(4, AGREEMENT.number, Tag.ENUM)
    manager.client.line.abort()
    jobs.do_all()
    assert pairs.own(AGREEMENT).waiting is before
