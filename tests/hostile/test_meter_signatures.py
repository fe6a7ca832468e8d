"""Sign-on by signature at meters of suites 1 and 2, on a socket: A02, A05 to A10, A13, A14, B17, D02, D20."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aare
from meterseal.association import Compute, Reply
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.crypto import AgreementKey, SigningKey, VerifyingKey, curve, random_octets
from meterseal.crypto.certificates import Certificate
from tests.hostile.aarq import first, send, stands
from tests.hostile.raw import NOT_POSSIBLE, REJECTED, Running, running
from tests.meter.world import Client

CLOCK, REGISTER = "0.0.1.0.0.255", "1.0.1.8.0.255"
GET = bytes.fromhex("C001C100080000010000FF0200")
REFUSED = bytes.fromhex("C701C1FA")


@pytest.fixture(scope="module", params=["suite1", "suite2"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter"), preset=request.param) as found:
        yield found


class Pending:
    """A client between pass 2 and pass 3, with what pass 3 is made of."""

    def __init__(self, here: Running, role: str = "operator", challenge: bytes = b"") -> None:
        self.client: Client = here.client(role)
        self.own = challenge or random_octets(32)
        self.aare = self.client.line.ask(first(self.client, self.own).encode(), self.client.sap)
        self.peer = Aare.decode(self.aare).responding_authentication_value or b""
        self.setup = self.client.machine.profile.setup
        self.title, self.meter = self.setup.own_title, here.meter.system_title

    def sign(self, *parts: bytes, key: SigningKey | None = None) -> bytes:
        return (key or self.setup.signing_key()).sign(b"".join(parts))

    def right(self) -> bytes:
        return self.sign(self.title, self.meter, self.peer, self.own)

    def reply(self, proof: bytes) -> bytes:
        """Pass 3 with this proof; the meter's answer, opened."""
        data = Data.of(proof, Tag.OCTET_STRING)
        return self.client.plain(bytes.fromhex("C301C1000F0000280000FF0101") + data.raw)


def test_pass_4_is_the_meters_signature_over_the_exchanged_roles(here: Running) -> None:
    begun = Pending(here)
    answer = begun.reply(begun.right())
    assert answer[:6] == bytes.fromhex("C701C1000100")
    proof = Data.decode(answer[6:]).value
    signer = begun.setup.verifying_key(begun.meter)
    assert isinstance(signer, VerifyingKey)
    signer.verify(proof, begun.meter + begun.title + begun.own + begun.peer)


def test_A02_only_signatures_open_an_association_by_signature(here: Running) -> None:
    for role in ("operator", "manager"):
        for named in (None, *range(7)):
            client = here.client(role)
            aarq = first(client, random_octets(32))
            name = None if named is None else acse.mechanism_name(named)
            aare = send(client, aarq.replace(mechanism_name=name))
            assert (aare.result, aare.user_diagnostic) == (1, 12 if named is None else 11)
            assert not stands(client)


def wrong_proofs(begun: Pending) -> dict[str, bytes]:
    """Proofs that are not the right one, by what is wrong with them."""
    right, on = begun.right(), begun.setup.signing_key().curve
    width, other = on.width, curve("P-384" if on.name == "P-256" else "P-256")
    return {
        "titles exchanged": begun.sign(begun.meter, begun.title, begun.peer, begun.own),
        "challenges exchanged": begun.sign(begun.title, begun.meter, begun.own, begun.peer),
        "as the meter signs (A05)": begun.sign(begun.meter, begun.title, begun.own, begun.peer),
        "the challenge alone": begun.sign(begun.peer),
        "another's title": begun.sign(b"MSLHES\x00\x03", begun.meter, begun.peer, begun.own),
        "another meter's title": begun.sign(begun.title, bytes(8), begun.peer, begun.own),
        "another challenge (A07)": begun.sign(begun.title, begun.meter, random_octets(32), begun.own),
        "another key (B17)": begun.sign(
            begun.title, begun.meter, begun.peer, begun.own, key=SigningKey.generate(on)
        ),
        "another curve (D20)": begun.sign(
            begun.title, begun.meter, begun.peer, begun.own, key=SigningKey.generate(other)
        ),
        "a bit flipped": right[:-1] + bytes((right[-1] ^ 1,)),
        "r and s exchanged": right[width:] + right[:width],
        "zeros": bytes(2 * width),
        "r of 0": bytes(width) + right[width:],
        "s of the order": right[:width] + on.order.to_bytes(width, "big"),
        "shorter": right[:-1],
        "longer": right + b"\0",
        "empty": b"",
        "DER (D02)": bytes((0x30, 2 * width - 2)) + right[: 2 * width - 2],
        "the challenge": begun.peer,
    }


def test_A05_A07_B17_D02_D20_no_other_proof_opens_it(here: Running) -> None:
    for what in wrong_proofs(Pending(here)):
        begun = Pending(here)
        assert begun.reply(wrong_proofs(begun)[what])[:4] == REFUSED, what
        assert not stands(begun.client), what
    good = Pending(here)
    assert good.reply(good.right())[:4] == bytes.fromhex("C701C100")


class Curves:
    """Counts what is done with curves, by everybody in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for owner, name in (
            (VerifyingKey, "verify"),
            (SigningKey, "sign"),
            (AgreementKey, "_shared"),
            (Certificate, "check_issued_by"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **more: object) -> object:
            self.count += 1
            return real(*arguments, **more)

        return counted


def test_F24_who_has_no_key_causes_no_work_with_curves(
    here: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag of the Initiate, counters and shapes come first: a flood of strangers is refused by those."""
    recorded = first(here.client("operator"), random_octets(32))
    line = here.line()
    assert line.ask(recorded.encode(), 2)[:1] == b"\x61"
    curves = Curves(monkeypatch)
    forged = bytes(recorded.user_information or b"")
    floods = [
        recorded,  # replayed: its counter was taken
        recorded.replace(user_information=forged[:-1] + bytes((forged[-1] ^ 1,))),
        recorded.replace(user_information=bytes.fromhex("01000000065F1F0400001E1DFFFF")),
        recorded.replace(user_information=None),
        recorded.replace(calling_ae_qualifier=random_octets(800)),
        recorded.replace(calling_authentication_value=random_octets(31)),
    ]
    for aarq in floods * 20:
        line.ask(aarq.encode(), 2)
    general = [bytes.fromhex(text) for text in ("DD0000000000000000", "DF00000000000000", "DFFF", "DD")]
    for apdu in [*general, GET, bytes.fromhex("C301C1000F0000280000FF01010940") + bytes(64)] * 20:
        line.ask(apdu, 2)
    assert curves.count == 0


def test_F24_one_attempt_is_checked_once_and_a_wrong_length_not_at_all(
    here: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Pending(here)
    right = begun.right()
    proofs = [right[:-1] + bytes((right[-1] ^ number,)) for number in range(1, 21)]
    curves = Curves(monkeypatch)
    for proof in proofs:  # the first of them spends the challenge
        data = Data.of(proof, Tag.OCTET_STRING)
        sealed = begun.client.sealed(bytes.fromhex("C301C1000F0000280000FF0101") + data.raw)
        begun.client.line.ask(sealed, 2)
    assert curves.count == 1


def test_A08_nothing_is_served_between_pass_2_and_pass_3(here: Running) -> None:
    for octets in (GET, bytes.fromhex("C301C1000F0000280000FF02010901AA")):
        begun = Pending(here)
        assert begun.client.plain(octets)[:4] != bytes.fromhex("C401C100")
        answer = begun.client.line.ask(
            begun.client.sealed(b"\xc3\x01\xc1\x00\x0f\x00\x00\x28\x00\x00\xff\x01\x01\x09\x00"), 2
        )
        assert answer == NOT_POSSIBLE, "its challenge is gone"


def test_A09_a_proof_is_good_once_and_only_for_its_own_challenge(here: Running) -> None:
    begun = Pending(here)
    proof = begun.right()
    assert begun.reply(proof)[:4] == bytes.fromhex("C701C100")
    again = Pending(here)
    assert again.reply(proof)[:4] == REFUSED, "recorded at another sign-on"
    assert again.client.line.ask(again.client.sealed(GET), 2) == NOT_POSSIBLE


def test_A06_the_meters_own_proof_is_not_the_clients(here: Running) -> None:
    """Pass 4 of one sign-on as pass 3 of the next: titles and challenges stand in other places."""
    begun = Pending(here)
    theirs = Data.decode(begun.reply(begun.right())[6:]).value
    for challenge in (begun.peer, begun.own[::-1]):
        other = Pending(here, challenge=challenge)
        assert other.reply(theirs)[:4] == REFUSED


def test_A10_many_wrong_signatures_open_nothing_and_lock_nobody_out(here: Running) -> None:
    for _ in range(100):
        begun = Pending(here)
        assert begun.reply(random_octets(2 * begun.setup.signing_key().curve.width))[:4] == REFUSED
        begun.client.line.close()
    assert here.signed_on("operator").get(3, REGISTER)
    assert here.do(lambda: here.party.delays.waiting) == 0


def test_A13_challenges_of_32_octets_that_do_not_repeat(here: Running) -> None:
    seen = [Pending(here).peer for _ in range(30)]
    assert {len(challenge) for challenge in seen} == {32} and len(set(seen)) == len(seen)
    challenge = random_octets(32)
    Pending(here, challenge=challenge)
    again = here.client("operator")
    assert again.line.ask(first(again, challenge).encode(), 2) == REJECTED


@pytest.mark.parametrize("length", [1, 8, 16, 31, 32, 48, 63, 64, 65, 100])
def test_A14_a_challenge_has_32_to_64_octets(length: int, here: Running) -> None:
    client = here.client("operator")
    aarq = first(client, random_octets(32)).replace(calling_authentication_value=random_octets(length))
    assert (send(client, aarq).result == 0) == (32 <= length <= 64)


def test_B17_certificates_that_come_along(here: Running) -> None:
    """Cut, changed, of others, of the meter: one answer, and the one that is held stays."""
    client = here.client("operator")
    own = client.machine.profile.setup.certificate
    managers = here.client("manager").machine.profile.setup.certificate
    meters = here.do(lambda: here.meter.rings[1].setup.certificate)
    assert own is not None and managers is not None and meters is not None
    flipped = own[:-1] + bytes((own[-1] ^ 1,))
    for sent in (own[:-1], own + b"\0", flipped, managers, meters, b"\x30\x80", b"\0" * 1000):
        other = here.client("operator")
        aarq = first(other, random_octets(32)).replace(calling_ae_qualifier=sent)
        assert other.line.ask(aarq.encode(), 2) == REJECTED, sent[:8].hex()
    assert here.signed_on("operator").get(3, REGISTER)


def test_a_client_signs_on_without_sending_its_certificate(here: Running) -> None:
    client = here.client("operator")
    client.machine.profile.setup.certificate = None
    (aarq,) = client.machine.associate(random_octets(32))
    assert isinstance(aarq, Reply)
    (job,) = client.machine.receive(client.line.ask(aarq.octets, 2))
    assert isinstance(job, Compute)
    assert client.machine.resume(job.token, job.job())
