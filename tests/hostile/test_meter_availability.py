"""A stranger cannot take the meter away from its owner: floods over sockets (A10, A15, C01, F14, F15).

Each attack runs on connections of its own, from the owner's own address, for as long as the owner signs on,
reads and releases.  No times are measured: where an answer may be delayed, it is delayed for ever, so that an
owner who had to wait would never be served.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aarq, Rlrq
from meterseal.apdu.ciphered import FORMS, build
from meterseal.codec.types import Tag
from meterseal.crypto import random_octets
from meterseal.errors import ConnectionLost
from meterseal.meter.delays import WAITING, Delays
from meterseal.net import Admission
from tests.hostile.aarq import first
from tests.hostile.raw import NOT_POSSIBLE, REJECTED, Line, Running, frame, running
from tests.meter.world import Client, write

CLOCK, POINT, REGISTER = "0.0.1.0.0.255", "0.0.96.1.10.255", "1.0.1.8.0.255"
GET = bytes.fromhex("C001C100080000010000FF0200")
LISTING = bytes.fromhex("C001C1000F0000280000FF0200")
PUBLIC = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F0400007E1F04B0")
SECRET = """# a role that a stranger can begin to sign on to: nothing of its AARQ needs a key
[roles.hash]
client = 46
mechanism = "sha256"
client_system_title = "4D534C4845530046"
secret = "text:a secret of twenty.."
[[roles.hash.rights]]
objects = ["0.0.40.0.0.255", "0.0.1.0.0.255"]
attributes = "read"
[roles.installer]
single = true
"""


class ForEver(Delays):
    """Answers to failures never come."""

    def failed(self, source: str, sap: int, now: float) -> float | None:
        delay = super().failed(source, sap, now)
        return None if delay is None else 1e6


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, SECRET) as found:
        found.do(lambda: setattr(found.party, "delays", ForEver()))
        yield found


def forged(sap: int, title: bytes = b"MSLHES99") -> bytes:
    """An AARQ like the owner's, by somebody without keys."""
    base = Aarq.decode(PUBLIC)
    return base.replace(
        application_context_name=acse.context_name(3),
        calling_ap_title=title,
        sender_acse_requirements=acse.AUTHENTICATION_UNIT,
        mechanism_name=acse.mechanism_name(5),
        calling_authentication_value=random_octets(16),
        user_information=build(FORMS[0x21], b"", 0x30, 1 << 30 | sap, random_octets(40)),
    ).encode()


class Bare(Line):
    """A stranger's connection; what the meter does not take is lost."""

    def send(self, *frames: bytes) -> Bare:
        try:
            self.raw(b"".join(frames))
        except OSError:
            pass  # the meter has thrown this one out: that is its right
        return self


Attack = Callable[[Running, int], Bare]
"""One move against a meter, by number; the connection stays open until the attacker has too many."""


def _open(here: Running) -> Bare:
    return Bare(here.server.port)


def fails_to_sign_on(here: Running, number: int) -> Bare:
    """Wrong keys on the owners' own client SAPs, with the owners' own titles."""
    given = here.credentials.roles[("operator", "installer", "manager")[number % 3]]
    aarq = forged(given.client, given.client_system_title or b"")
    return _open(here).send(frame(aarq, given.client))


def fails_everywhere(here: Running, number: int) -> Bare:
    """Wrong keys on every SAP there is and on all that there are not."""
    saps = [sap % 100 for sap in range(number, number + 40)]
    return _open(here).send(*(frame(forged(sap), sap, 1 + sap % 20) for sap in saps))


def hangs_up_half_way(here: Running, number: int) -> Bare:
    """A sign-on that is begun and never ended; challenges that fill what the meter remembers of them."""
    aarq = Aarq.decode(PUBLIC).replace(
        calling_ap_title=bytes.fromhex("4D534C4845530046"),
        sender_acse_requirements=acse.AUTHENTICATION_UNIT,
        mechanism_name=acse.mechanism_name(6),
        calling_authentication_value=random_octets(16),
    )
    return _open(here).send(frame(aarq.encode(), 46))


def says_nothing(here: Running, number: int) -> Bare:
    return _open(here)


def drips(here: Running, number: int) -> Bare:
    """A frame that never becomes whole."""
    return _open(here).send(frame(forged(2), 2)[: 1 + number % 60])


def raves(here: Running, number: int) -> Bare:
    return _open(here).send(random_octets(1 + number * 37 % 3000))


def comes_and_goes(here: Running, number: int) -> Bare:
    line = _open(here)
    line.close()
    return line


def never_reads(here: Running, number: int) -> Bare:
    """The public client, whose answers pile up."""
    line = _open(here)
    line.socket.setblocking(False)
    return line.send(frame(PUBLIC, 16), frame(LISTING, 16) * 500)


ATTACKS: list[Attack] = [
    fails_to_sign_on,
    fails_everywhere,
    hangs_up_half_way,
    says_nothing,
    drips,
    raves,
    comes_and_goes,
    never_reads,
]


@contextmanager
def under(attack: Attack, here: Running, most: int = 20) -> Iterator[list[int]]:
    """The attack goes on in a thread of its own; the list counts its moves."""
    moves = [0]
    stop, begun = threading.Event(), threading.Event()

    def run() -> None:
        held: list[Bare] = []
        while not stop.is_set():
            held.append(attack(here, moves[0]))
            moves[0] += 1
            if moves[0] > most:
                begun.set()
            if len(held) > most:
                held.pop(0).close()
        for line in held:
            line.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert begun.wait(120)
        yield moves
    finally:
        stop.set()
        thread.join(120)


def served(here: Running, role: str, line: Line | None = None) -> Client:
    """The owner signs on, reads and writes; the line stays open."""
    client = here.signed_on(role, line)
    assert client.get(8, CLOCK)
    if role == "installer":
        assert client.set(1, POINT, 2, random_octets(8), Tag.OCTET_STRING) == 0
    return client


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_A10_F14_F15_the_owner_is_served_while_a_stranger_attacks(attack: Attack, here: Running) -> None:
    before = here.signed_on("operator")
    with under(attack, here) as moves:
        begun = moves[0]
        for _ in range(2):
            for role in ("operator", "installer", "manager", "hash"):
                client = served(here, role)
                client.release()
                client.line.close()
            assert before.get(3, REGISTER), "an association that stood goes on standing"
        assert moves[0] > begun, "the attack was still under way"


def test_A10_the_owner_does_not_wait_behind_those_who_failed(here: Running) -> None:
    """All answers that a source may have waiting are taken; the owner at the same source is served."""
    strangers = [here.line() for _ in range(WAITING)]
    for line in strangers:
        line.put(forged(2, here.credentials.roles["operator"].client_system_title or b""), 2)
    for _ in range(1000):
        if here.do(lambda: here.party.delays.waiting) == WAITING:
            break
    assert here.do(lambda: here.party.delays.waiting) == WAITING
    for _ in range(5):
        served(here, "operator")
    assert all(line.quiet(0.001) for line in strangers), "they still wait"
    one_more = here.line()
    with pytest.raises(ConnectionLost):
        one_more.ask(forged(2), 2)
    served(here, "operator")


def test_A10_frames_behind_a_failure_wait_or_end_the_line_they_came_on(here: Running) -> None:
    stranger = here.line()
    owner = served(here, "operator")
    stranger.put(forged(2), 2)
    with pytest.raises((ConnectionLost, OSError)):
        for _ in range(2000):
            stranger.put(GET, 2)
        if stranger.take() is None:
            raise ConnectionLost("closed by the meter")
    assert owner.get(3, REGISTER)
    served(here, "operator")


def test_A15_a_stranger_does_not_take_the_place_of_a_single_owner(here: Running) -> None:
    """`single = true`: only who has proved himself replaces the one before."""
    owner = served(here, "installer")
    for number in range(50):
        title = here.credentials.roles["installer"].client_system_title or b""
        line = _open(here).send(frame(forged(3, title), 3), frame(Rlrq(0, None).encode(), 3))
        here.lines.append(line)
        if number % 2:
            line.close()
    assert owner.get(1, POINT)
    newcomer = served(here, "installer")
    assert newcomer.get(1, POINT)
    assert owner.line.ask(owner.sealed(GET), 3) == NOT_POSSIBLE, "by his own second sign-on, that is"


def test_C01_replays_of_the_owners_sessions_do_not_disturb_him(here: Running) -> None:
    """Everything the owner has ever sent, again and again, also while he is between pass 2 and pass 3."""
    recorded: list[bytes] = []

    class Heard(Line):
        def put(self, apdu: bytes, client: int, server: int = 1) -> None:
            recorded.append(frame(apdu, client, server))
            super().put(apdu, client, server)

    def owner(role: str) -> Client:
        line = Heard(here.server.port)
        here.lines.append(line)
        return served(here, role, line)

    standing = owner("operator")
    owner("installer").release()

    def replays(here: Running, number: int) -> Bare:
        return _open(here).send(*recorded[-20 - number % 20 :])

    with under(replays, here) as moves:
        begun = moves[0]
        for _ in range(3):
            owner("operator").release()
            assert standing.get(3, REGISTER)
            client = here.client("manager")
            aarq = first(client).encode()
            recorded.append(frame(aarq, 1))
            aare = client.line.ask(aarq, 1)
            assert aare != REJECTED
            (proof,) = client.machine.receive(aare)
            assert client.line.ask(proof.octets, 1)[0] == 0xCF  # type: ignore[union-attr]
        assert moves[0] > begun


def test_F15_half_open_connections_up_to_the_caps(tmp_path: Path) -> None:
    """More strangers than there are places, from the owner's address: the oldest goes, the owner stays."""
    admission = Admission(per_source=20, total=40)
    with running(tmp_path, SECRET, admission=admission) as here:
        here.do(lambda: setattr(here.party, "delays", ForEver()))
        owner = served(here, "operator")
        for attack in (says_nothing, drips, hangs_up_half_way, fails_to_sign_on):
            crowd = [attack(here, number) for number in range(60)]
            here.lines.extend(crowd)
            assert owner.get(3, REGISTER)
            for role in ("operator", "hash"):
                served(here, role).release()
        assert here.do(lambda: admission.dropped) >= 200


def test_F14_a_stranger_with_the_public_view_cannot_stop_the_clock_or_the_rest(here: Running) -> None:
    """All that the public client may ask, in floods, and all that it may not."""
    nothing = [write(1, POINT, 2, b"stranger", Tag.OCTET_STRING)]
    with under(never_reads, here):
        public = here.signed_on("public")
        for operation in nothing:
            assert public.one(operation).code in (3, 4)
        installer = served(here, "installer")
        assert installer.get(1, POINT) != b"stranger"
