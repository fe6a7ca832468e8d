"""Sign-on at the meter over a socket: A02, A08 to A10, A12 to A16."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aare
from meterseal.association import Associated, Failed, State
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.crypto import random_octets
from meterseal.meter.delays import Delays
from meterseal.security import Style, protect
from tests.hostile.aarq import first, proof_of, send, stands
from tests.hostile.raw import DECIPHERING, NOT_POSSIBLE, REJECTED, Running, running
from tests.meter.world import Client, call

REGISTER, CLOCK, POINT = "1.0.1.8.0.255", "0.0.1.0.0.255", "0.0.96.1.10.255"
SECRET = "text:a secret of twenty.."
MECHANISMS = {0: "none", 1: "lls", 3: "md5", 4: "sha1", 5: "gmac", 6: "sha256"}


def roles_of_every_mechanism() -> str:
    text = ""
    for number, name in MECHANISMS.items():
        text += (
            f'[roles.m{number}]\nclient = {40 + number}\nmechanism = "{name}"\nallow_weak = true\n'
            f'client_system_title = "4D534C48455300{40 + number:02X}"\n'
        )
        if number in (1, 3, 4, 6):
            text += f'secret = "{SECRET}"\n'
        text += f'[[roles.m{number}.rights]]\nobjects = ["0.0.40.0.0.255", "{CLOCK}"]\nattributes = "read"\n'
    return text


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter"), roles_of_every_mechanism()) as found:
        yield found


def pending(here: Running, role: str = "operator") -> tuple[Client, bytes]:
    """A client between pass 2 and pass 3, and the pass 3 that it would send."""
    client = here.client(role)
    return client, proof_of(client, client.line.ask(first(client).encode(), client.sap))


def test_A02_only_the_mechanism_of_the_association_opens_it(here: Running) -> None:
    for role, mine in [(f"m{n}", n) for n in MECHANISMS] + [("operator", 5), ("public", 0)]:
        for named in (None, *range(8)):
            client = here.client(role)
            aarq = first(client, random_octets(16) if mine > 1 else b"")
            unit, value = aarq.sender_acse_requirements, aarq.calling_authentication_value
            changed = aarq.replace(
                mechanism_name=None if named is None else acse.mechanism_name(named),
                sender_acse_requirements=unit or acse.AUTHENTICATION_UNIT,
                calling_authentication_value=value or random_octets(16),
            )
            aare = send(client, changed)
            right = named == mine or (named is None and mine == 0)
            assert (aare.result == 0) == right, (role, named)
            if not right:
                # The mechanism is shape, and told: 11 for another one, 12 for none.
                assert aare.user_diagnostic == (12 if named is None else 11)
                assert not stands(client)


def test_A08_nothing_is_served_between_pass_2_and_pass_3(here: Running) -> None:
    get = bytes.fromhex("C001C100080000010000FF0200")
    requests = [
        get,
        bytes.fromhex("C002C100000001"),
        bytes.fromhex("C003C101") + get[3:],
        bytes.fromhex("C101C100080000010000FF0200090C") + bytes(12),
        bytes.fromhex("C102C100080000010000FF020001000000010109"),
        bytes.fromhex("C301C100080000010000FF03010F00"),
        bytes.fromhex("C301C1000F0000280000FF02010901AA"),
        bytes.fromhex("C302C100000001"),
        bytes.fromhex("C306C1010000000101AA"),
    ]
    others = [bytes((tag, *bytes(8))) for tag in range(256) if tag not in (0x60, 0x62, 0xC0, 0xC1, 0xC3)]
    for octets in requests:
        for sealed in (True, False):
            client, proof = pending(here)
            before = here.counters()
            frame = client.sealed(octets) if sealed else octets
            answer = client.line.ask(frame, 2)
            assert b"\xc4\x01\xc1\x00" not in client.opened(answer), (sealed, octets.hex())
            # A request that is none but the reply ends the sign-on: its challenge is gone.
            assert client.line.ask(proof, 2) == NOT_POSSIBLE
            assert sealed or here.counters() == before
    client, proof = pending(here)
    for octets in others:
        assert client.line.ask(octets, 2)[0] == 0xD8
    Data.decode(unwrapped(client, client.line.ask(proof, 2)))  # noise that is no request has ended nothing


def unwrapped(client: Client, answer: bytes) -> bytes:
    """The Data of a successful answer of pass 4."""
    plain = client.opened(answer)
    assert plain[:6] == bytes.fromhex("C701") + plain[2:3] + bytes.fromhex("000100"), plain.hex()
    return plain[6:]


def test_A09_pass_3_is_good_once_and_only_for_its_own_challenge(here: Running) -> None:
    client, proof = pending(here)
    assert client.line.ask(proof, 2)[0] == 0xCF
    assert client.line.ask(proof, 2)[:3] == bytes.fromhex("D80106"), "replayed in the association it opened"
    again, own = pending(here)
    assert again.line.ask(proof, 2)[:3] == bytes.fromhex("D80106"), "replayed into another sign-on"
    assert again.line.ask(own, 2)[0] == 0xCF, "which has not suffered"
    # The token alone, in a fresh frame: the counter inside is an old one.
    stale, _ = pending(here)
    token = _token(client, proof)
    request = call(15, "0.0.40.0.0.255", 1, token, Tag.OCTET_STRING)
    refused = stale.plain(_action(request.data))
    assert refused[:4] == bytes.fromhex("C701C1FA")
    assert not stands(stale)


def _action(data: Data | None) -> bytes:
    assert data is not None
    return bytes.fromhex("C301C1000F0000280000FF0101") + data.raw


def _token(client: Client, proof: bytes) -> bytes:
    """The 17 octets of the token inside a frame of pass 3 (the client's own key opens it)."""
    key = client.machine.profile.setup.unicast
    assert key is not None
    title = client.machine.profile.setup.own_title
    counter = proof[3:7]
    plain = key.handle.open(proof[2], title + counter, proof[7:])
    assert plain[13:15] == b"\x09\x11"
    return plain[15:]


def test_A09_a_second_try_on_the_same_association_finds_no_challenge(here: Running) -> None:
    client, proof = pending(here)
    wrong = client.plain(_action(Data.of(bytes(17), Tag.OCTET_STRING)))
    assert wrong[:4] == bytes.fromhex("C701C1FA")
    assert client.line.ask(proof, 2) == NOT_POSSIBLE


def test_A10_a_thousand_wrong_attempts_open_nothing_and_lock_nobody_out(here: Running) -> None:
    line = here.line()
    before = here.counters()
    for number in range(500):
        client = here.client("m6", line)
        aare = line.ask(first(client).encode(), client.sap)
        assert Aare.decode(aare).result == 0
        client.machine.receive(aare)
        answer = line.ask(_action(Data.of(random_octets(32), Tag.OCTET_STRING)), client.sap)
        assert answer[:4] == bytes.fromhex("C701C1FA"), "one wrong proof ends it"
        guess = first(here.client("m1", line), b"").replace(
            calling_authentication_value=b"guess%03d" % number
        )
        refused = Aare.decode(line.ask(guess.encode(), 41))
        assert (refused.result, refused.user_diagnostic) == (1, 1)
    assert here.counters() == before
    assert here.signed_on("m6", line).get(8, CLOCK)
    assert here.do(lambda: here.party.delays.waiting) == 0


def test_A10_each_failure_waits_twice_as_long(tmp_path: Path) -> None:
    """The delays themselves, as the meter asks for them; the owner from elsewhere does not wait."""
    with running(tmp_path) as meter:
        asked: list[float | None] = []

        class Noted(Delays):
            def failed(self, source: str, sap: int, now: float) -> float | None:
                asked.append(super().failed(source, sap, now))
                return 0.0

        meter.do(lambda: setattr(meter.party, "delays", Noted()))
        line = meter.line("127.0.0.2")
        for _ in range(8):
            assert (
                line.ask(first(meter.client("operator")).replace(calling_ap_title=bytes(8)).encode(), 2)
                == REJECTED
            )
        assert asked == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        assert meter.signed_on("operator").get(3, REGISTER)


def test_A12_only_one_security_control_is_right_in_a_token(here: Running) -> None:
    for sc in range(256):
        client = here.client("m5")
        aare = client.line.ask(first(client).encode(), client.sap)
        key, setup = client.machine.profile.setup.unicast, client.machine.profile.setup
        challenge = Aare.decode(aare).responding_authentication_value
        assert key is not None and challenge is not None
        counter = key.tx.take().to_bytes(4, "big")
        # The tag is right for this very security control.
        token = bytes((sc,)) + counter + key.handle.tag(sc, setup.own_title + counter, challenge)
        answer = client.line.ask(_action(Data.of(token, Tag.OCTET_STRING)), client.sap)
        assert answer[:4] == bytes.fromhex("C701C1") + (b"\x00" if sc == 0x10 else b"\xfa"), hex(sc)


def test_A13_challenges_do_not_repeat(here: Running) -> None:
    line = here.line()
    seen = set()
    for _ in range(300):
        client = here.client("operator", line)
        aare = Aare.decode(line.ask(first(client).encode(), 2))
        challenge = aare.responding_authentication_value
        assert challenge is not None and len(challenge) == 16
        seen.add(challenge)
    assert len(seen) == 300
    drawn = {here.meter.draw(16) for _ in range(100_000)}
    assert len(drawn) == 100_000


def test_A13_a_client_that_repeats_a_challenge_is_refused(here: Running) -> None:
    challenge = random_octets(16)
    client = here.client("operator")
    assert send(client, first(client, challenge)).result == 0
    again = here.client("operator")
    assert again.line.ask(first(again, challenge).encode(), 2) == REJECTED


@pytest.mark.parametrize("length", [*range(12), 16, 63, 64, 65, 66, 100, 127, 200])
def test_A14_a_challenge_has_8_to_64_octets(length: int, here: Running) -> None:
    client = here.client("operator")
    aarq = first(client).replace(calling_authentication_value=random_octets(length) if length else b"")
    assert (send(client, aarq).result == 0) == (8 <= length <= 64)


def test_A14_a_challenge_that_is_none_is_refused(here: Running) -> None:
    client = here.client("operator")
    aarq = first(client)
    absent = send(client, aarq.replace(calling_authentication_value=None))
    assert (absent.result, absent.user_diagnostic) == (1, 14)
    octets = aarq.encode()
    at = octets.index(b"\xac\x12\x80\x10")
    for form in (
        b"\xac\x12\x81\x10",
        b"\xac\x12\x82\x10",
        b"\xac\x12\xa0\x10",
        b"\xac\x12\x04\x10",
        b"\xac\x12\x80\x0f",
    ):
        wrong = octets[:at] + form + octets[at + 4 :]
        assert here.line().ask(wrong, 2) == REJECTED


def test_A15_an_association_belongs_to_its_connection(here: Running) -> None:
    owner = here.signed_on("operator")
    thief = here.client("operator")
    before = here.counters()
    get = bytes.fromhex("C001C100080000010000FF0200")
    for octets in (get, b"\x00", bytes.fromhex("62 03 800100"), bytes.fromhex("C8 03 300000")):
        assert thief.line.ask(octets, 2) == NOT_POSSIBLE
    assert here.counters() == before
    # Even what the owner has made himself: on another connection there is no association for it.
    frame = owner.sealed(get)
    assert thief.line.ask(frame, 2) == NOT_POSSIBLE
    assert here.counters() == before
    assert owner.line.ask(frame, 2)[0] == 0xCC
    second = here.signed_on("operator", thief.line)
    for _ in range(3):
        assert owner.get(3, REGISTER) and second.get(3, REGISTER)
    second.line.close()
    assert owner.get(3, REGISTER)


def test_A16_an_AARQ_on_an_open_association(here: Running) -> None:
    owner = here.signed_on("operator", dedicated_key=random_octets(16))
    before = here.counters()
    refused = first(here.client("operator")).replace(calling_ap_title=b"MSLHES99")
    assert owner.line.ask(refused.encode(), 2) == REJECTED
    assert owner.get(3, REGISTER), "an AARQ that does not hold changes nothing"
    assert here.counters()[3] == before[3]
    old = owner.machine.context.dedicated
    anew = here.client("operator", owner.line)
    aare = owner.line.ask(first(anew).encode(), 2)
    assert Aare.decode(aare).result == 0
    assert old is not None
    frame = protect(owner.machine.context, bytes.fromhex("C001C100080000010000FF0200"), 3, Style.DED)
    assert owner.line.ask(frame, 2) == DECIPHERING, "the dedicated key went with the old association"
    assert anew.line.ask(proof_of(anew, aare), 2)[0] == 0xCF
    answer = anew.line.ask(anew.sealed(bytes.fromhex("C001C100080000010000FF0200")), 2)
    assert answer[0] == 0xCC


def test_A16_AARQ_RLRQ_AARQ_go_on_counting(here: Running) -> None:
    line = here.line()
    floors = []
    for _ in range(5):
        client = here.signed_on("operator", line)
        client.get(3, REGISTER)
        client.release()
        assert client.machine.state is State.IDLE
        floors.append(here.counters()[2][0])
        assert line.ask(bytes.fromhex("C001C100080000010000FF0200"), 2) == NOT_POSSIBLE
    assert floors == sorted(set(floors))


def test_a_good_sign_on_is_still_one(here: Running) -> None:
    """What the refusals above are held against: every role opens when nothing is wrong."""
    for role in here.credentials.roles:
        effects = here.client(role).try_sign_on()
        assert any(isinstance(e, Associated) for e in effects), role
        assert not any(isinstance(e, Failed) for e in effects)
