"""Invocation counters at the meter over a socket: C01, C02, C04, C05, C06, C12, C14."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterseal.apdu.acse import Aare, Aarq, Rlre, Rlrq
from meterseal.apdu.ciphered import FORMS, GLO_TAG, build, parse
from meterseal.codec.types import Array, Structure, Tag
from meterseal.crypto import GcmKey, WrappingKey, random_octets
from meterseal.errors import Forged
from meterseal.keys.counters import LIMIT, ReceiveCounter, SendCounter
from meterseal.security import Style
from tests.hostile.aarq import first
from tests.hostile.raw import DECIPHERING, REJECTED, Line, Running, running
from tests.meter.world import Client, call

CLOCK, REGISTER, SETUP = "0.0.1.0.0.255", "1.0.1.8.0.255", "0.0.43.0.1.255"
GET = bytes.fromhex("C001C100080000010000FF0200")
ITEMS = Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))
COUNTER_ERROR = bytes.fromhex("D80106")


class Noting(Line):
    """A line that keeps every APDU that goes over it."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.said: list[tuple[str, bytes]] = []

    def put(self, apdu: bytes, client: int, server: int = 1) -> None:
        self.said.append(("client", apdu))
        super().put(apdu, client, server)

    def take(self) -> bytes | None:
        found = super().take()
        if found is not None:
            self.said.append(("meter", found))
        return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


def noted(here: Running) -> Noting:
    line = Noting(here.server.port)
    here.lines.append(line)
    return line


def session(here: Running, role: str, line: Noting, **options: object) -> Client:
    """A whole session of all kinds of requests."""
    client = here.signed_on(role, line, **options)
    for _ in range(3):
        client.get(8, CLOCK)
    client.get(15, "0.0.40.0.0.255")
    client.release()
    return client


# --- C01 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("general", [False, True], ids=["service-specific", "general"])
def test_C01_every_frame_of_a_session_again(general: bool, here: Running) -> None:
    """At once, in the next association of the same line, and on a line of its own: never a second time."""
    line = noted(here)
    session(here, "operator", line, general=general)
    frames = [octets for who, octets in line.said if who == "client"]
    assert {octets[0] for octets in frames} >= {0x60, 0x62, 0xDB if general else 0xC8}
    floor = here.counters()
    stranger = here.line()
    for octets in frames:
        answer = stranger.ask(octets, 2)
        assert answer[:1] == b"\xd8" or answer == REJECTED
        assert here.counters() == floor
    owner = here.signed_on("operator", line)
    floor = here.counters()
    for octets in frames:
        answer = owner.line.ask(octets, 2)
        if octets[0] == 0x60:
            assert answer == REJECTED
        elif octets[0] == 0x62:
            assert answer == Rlre(1).encode()
        else:
            # A replay is told apart from a bad tag, with what would be acceptable: `report_counter` is on.
            assert answer == COUNTER_ERROR + floor[2][0].to_bytes(4, "big")
        assert here.counters() == floor
    assert owner.get(3, REGISTER)


def test_C01_last_older_and_far_older_frames(here: Running) -> None:
    client = here.signed_on("operator")
    frames = [client.sealed(GET) for _ in range(40)]
    for octets in frames[10:]:
        assert client.line.ask(octets, 2)[0] == 0xCC
    floor = here.counters()
    for octets in (frames[-1], frames[-2], frames[10], frames[9], frames[0]):
        assert client.line.ask(octets, 2) == COUNTER_ERROR + floor[2][0].to_bytes(4, "big")
    assert here.counters() == floor
    bad = client.sealed(GET)
    assert client.line.ask(bad[:-1] + bytes((bad[-1] ^ 1,)), 2) == DECIPHERING
    assert client.line.ask(bad, 2)[0] == 0xCC


def test_C01_nothing_of_one_role_is_taken_by_another(here: Running) -> None:
    operator, installer = here.signed_on("operator"), here.signed_on("installer")
    for client, other in ((operator, installer), (installer, operator)):
        octets = client.sealed(GET)
        before = here.counters()
        assert other.line.ask(octets, other.sap)[:2] == DECIPHERING[:2]
        assert here.counters() == before
        assert client.line.ask(octets, client.sap)[0] == 0xCC


# --- C02 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", [LIMIT, LIMIT - 1, LIMIT - 2, 1 << 31, 1 << 16])
def test_C02_a_forged_high_counter_poisons_nothing(counter: int, here: Running) -> None:
    """In requests, in the Initiate of an AARQ and in the token of pass 3: the next genuine one passes."""
    client = here.signed_on("operator")
    title = client.machine.profile.setup.own_title
    floor = here.counters()
    for sc in (0x10, 0x20, 0x30):
        for body in (bytes(12), bytes(40), GET + bytes(12)):
            assert client.line.ask(build(FORMS[0xC8], b"", sc, counter, body), 2)[:1] == b"\xd8"
            assert client.line.ask(build(FORMS[0xDB], title, sc, counter, body), 2)[:1] == b"\xd8"
    newcomer = here.client("operator")
    forged = build(FORMS[GLO_TAG[0x01]], b"", 0x30, counter, random_octets(40))
    assert newcomer.line.ask(first(newcomer).replace(user_information=forged).encode(), 2) == REJECTED
    assert client.line.ask(Rlrq(0, forged).encode(), 2) == Rlre(1).encode()
    assert here.counters() == floor
    assert client.get(3, REGISTER)
    assert here.signed_on("operator").get(3, REGISTER)


def test_C02_nor_does_one_in_the_token_of_pass_3(here: Running) -> None:
    client = here.client("operator")
    aare = client.line.ask(first(client).encode(), 2)
    assert Aare.decode(aare).result == 0
    client.machine.receive(aare)
    floor = here.counters()[2][0]
    token = b"\x10" + (LIMIT - 1).to_bytes(4, "big") + bytes(12)
    answer = client.plain(bytes.fromhex("C301C1000F0000280000FF01010911") + token)
    assert answer[:4] == bytes.fromhex("C701C1FA")
    # The frame around it was genuine: its own counter is spent, and no more than that.
    assert floor < here.counters()[2][0] < floor + 10
    assert here.signed_on("operator").get(3, REGISTER)


def test_C02_a_genuine_jump_is_the_owners_to_make(here: Running) -> None:
    """Forward is allowed; what lies between is gone for good."""
    client = here.signed_on("installer")
    key = client.machine.profile.setup.unicast
    assert key is not None
    skipped = client.sealed(GET)
    for _ in range(5000):
        key.tx.take()
    assert client.line.ask(client.sealed(GET), 3)[0] == 0xCC
    assert client.line.ask(skipped, 3)[:3] == COUNTER_ERROR


# --- C04, C12 -------------------------------------------------------------------------------------


def test_C04_C12_the_same_key_again_lowers_no_counter(tmp_path: Path) -> None:
    """A re-key with the key in use, alone or beside a new one: refused as a whole, counters as before."""
    with running(tmp_path) as meter:
        client = meter.signed_on("manager")
        given = meter.credentials.roles["manager"]
        guek, gak, kek = (given.octets(name) for name in ("guek", "gak", "kek"))
        assert guek is not None and gak is not None and kek is not None
        wrap = WrappingKey(kek).wrap
        for items in ([(0, wrap(guek))], [(2, wrap(random_octets(16))), (0, wrap(guek))]):
            before = meter.counters()[1][0]
            outcome = client.one(call(64, SETUP, 2, items, ITEMS))
            assert outcome.code != 0
            assert meter.counters()[1][0] > before
            assert client.get(8, CLOCK)
        # A new key starts its own; the old one that comes back goes on where it was.
        old = client.sealed(GET)
        fresh = random_octets(16)
        assert client.one(call(64, SETUP, 2, [(0, wrap(fresh))], ITEMS)).code == 0
        held = client.machine.profile.setup.unicast
        assert held is not None
        spent = held.tx.take()
        held.handle, held.tx, held.rx = GcmKey(fresh, gak), SendCounter(0, 100), ReceiveCounter()
        assert client.line.ask(old, 1) == DECIPHERING
        assert client.get(8, CLOCK)
        assert client.one(call(64, SETUP, 2, [(0, wrap(guek))], ITEMS)).code == 0
        held.handle, held.tx, held.rx = GcmKey(guek, gak), SendCounter(spent, spent + 100), ReceiveCounter()
        assert client.line.ask(old, 1)[:3] == COUNTER_ERROR, "its counters are still those of that key"
        assert client.get(8, CLOCK)


# --- C05 ------------------------------------------------------------------------------------------


def test_C05_a_meter_takes_the_last_counter_and_none_after_it(tmp_path: Path) -> None:
    with running(tmp_path) as meter:
        client = meter.signed_on("operator")
        key = client.machine.profile.setup.unicast
        assert key is not None
        key.tx = SendCounter(LIMIT - 3, LIMIT)
        frames = [client.sealed(GET) for _ in range(3)]
        for octets in frames:
            assert client.line.ask(octets, 2)[0] == 0xCC
        title = client.machine.profile.setup.own_title
        beyond = build(
            FORMS[0xC8], b"", 0x30, LIMIT, key.handle.seal(0x30, title + LIMIT.to_bytes(4, "big"), GET)
        )
        for octets in (beyond, *frames):
            assert client.line.ask(octets, 2)[:1] == b"\xd8"
        assert meter.counters()[2][0] == LIMIT


def test_C05_a_meter_whose_own_counter_ends_sends_nothing_under_it(tmp_path: Path) -> None:
    with running(tmp_path) as meter:
        client = meter.signed_on("operator")
        ring = meter.do(lambda: meter.meter.rings[2])
        unicast = ring.setup.unicast
        assert unicast is not None

        def exhaust() -> None:
            unicast.tx = SendCounter(LIMIT - 2, LIMIT)

        meter.do(exhaust)
        answers = [client.line.ask(client.sealed(GET), 2) for _ in range(4)]
        assert [parse(octets).counter for octets in answers[:2]] == [LIMIT - 2, LIMIT - 1]
        assert all(octets[:1] == b"\xd8" for octets in answers[2:])
        other = meter.signed_on("installer")
        assert other.get(8, CLOCK), "the end of one key is not the end of the others"


# --- C06, C14 -------------------------------------------------------------------------------------


def initiate_of(octets: bytes) -> bytes:
    """The ciphered Initiate inside an ACSE APDU; the APDU itself where it is none."""
    for kind in (Aarq, Aare, Rlrq, Rlre):
        if octets[:1] == kind.tag:
            return kind.decode(octets).user_information or b""
    return octets


def test_C06_C14_no_key_title_and_counter_comes_twice_on_the_wire(here: Running) -> None:
    """All that both ends seal in many sessions, tokens of passes 3 and 4 included, told apart by key."""
    seen: set[tuple[bytes, bytes, int]] = set()
    tokens = frames = 0
    for number, role in enumerate(("operator", "installer", "manager") * 4):
        line = noted(here)
        dedicated = random_octets(16) if number % 2 else None
        client = here.signed_on(role, line, dedicated_key=dedicated, general=number % 3 == 0)
        second = here.signed_on(role, line, server=17)
        for one in (client, second):
            one.get(15, "0.0.40.0.0.255")
            one.release()
        given = here.credentials.roles[role]
        guek, gak = given.octets("guek"), given.octets("gak")
        assert guek is not None and gak is not None
        keys = {"global": GcmKey(guek, gak)}
        if dedicated is not None:
            keys["dedicated"] = GcmKey(dedicated, gak)
        titles = {
            "client": given.client_system_title or b"",
            "meter": here.meter.system_title,
        }
        for who, octets in line.said:
            inner = initiate_of(octets)
            if inner[:1] == b"" or inner[0] not in FORMS:
                continue
            message = parse(inner)
            key = keys[message.form.key_set]
            nonce = titles[who] + message.counter.to_bytes(4, "big")
            plain = key.open(message.sc, nonce, message.body)
            used = [(key.kcv.encode(), titles[who], message.counter)]
            frames += 1
            at = plain.find(b"\x09\x11\x10")
            if plain[:2] in (b"\xc3\x01", b"\xc7\x01") and at > 0:  # the token, which is sealed as well
                counter = int.from_bytes(plain[at + 3 : at + 7], "big")
                used.append((keys["global"].kcv.encode(), titles[who], counter))
                tokens += 1
            for triple in used:
                assert triple not in seen, (who, message.form.name, triple)
                seen.add(triple)
    assert tokens == 2 * 2 * 12 and frames > 150


def test_C06_what_the_meter_said_is_not_taken_back_by_it(here: Running) -> None:
    """Both directions are under one key; the title keeps them apart."""
    line = noted(here)
    client = here.signed_on("operator", line)
    for _ in range(3):
        client.get(8, CLOCK)
    floor = here.counters()
    for who, octets in list(line.said):
        if who == "meter" and octets[0] in FORMS:
            turned = bytes((0xC8,)) + octets[1:]
            for variant in (octets, turned):
                assert line.ask(variant, 2)[:1] == b"\xd8"
    assert here.counters() == floor


def test_C06_C14_a_counter_of_the_meters_is_no_counter_of_the_clients(here: Running) -> None:
    """White box: the answers open under the meter's title only."""
    client = here.signed_on("operator", general=True)
    answer = client.line.ask(client.sealed(GET, 3, Style.GENERAL_GLO), 2)
    message = parse(answer)
    key, setup = client.machine.profile.setup.unicast, client.machine.profile.setup
    assert key is not None and setup.peer_title == message.title == here.meter.system_title
    nonce = message.counter.to_bytes(4, "big")
    with pytest.raises(Forged):
        key.handle.open(message.sc, setup.own_title + nonce, message.body)
    assert key.handle.open(message.sc, setup.peer_title + nonce, message.body)[:4] == bytes.fromhex(
        "C401C100"
    )
