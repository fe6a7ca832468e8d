"""Sign-on by signature (mechanism 7): both curves, keys known or brought along, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq
from meterseal.association import Associated, Compute, Failed, Reply, State
from meterseal.crypto import SigningKey, VerifyingKey, curve
from meterseal.errors import AuthenticationFailed, CertificateRefused, MetersealError, UnknownKey
from meterseal.keys.introduced import Introduced as Held
from meterseal.security.directory import KnownKeys
from meterseal.security.steps import Steps
from tests.association.pair import (
    CLIENT_TITLE,
    METER_TITLE,
    SIGNING,
    TO_CLIENT,
    TO_METER,
    Pair,
    associated,
    get,
    replies,
)

SUITES = pytest.mark.parametrize("suite_id", [1, 2])


class Introduced(KnownKeys):
    """Takes the key that a party brings along, as a party would after it has checked the certificate."""

    def __init__(self, trusted: dict[bytes, bytes]) -> None:
        super().__init__()
        self.trusted = trusted
        self.brought: list[bytes | None] = []

    def introduced(self, title: bytes, certificate: bytes | None) -> VerifyingKey | Steps[VerifyingKey]:
        self.brought.append(certificate)
        if certificate is None:
            return self.verifying_key(title)
        if self.trusted.get(title) != certificate:
            raise CertificateRefused("not that party's")
        return VerifyingKey(curve("P-256"), certificate)


class InSteps(Introduced):
    """The same where the certificate takes curve work."""

    def introduced(self, title: bytes, certificate: bytes | None) -> Steps[VerifyingKey]:
        key: VerifyingKey = yield partial(super().introduced, title, certificate)
        return key


KINDS = pytest.mark.parametrize("kind", [Introduced, InSteps])


def bringing(kind: type[Introduced] = Introduced) -> tuple[Pair, Introduced, Introduced]:
    pair = Pair(mechanism=7, suite_id=1)
    client, meter = pair.client.profile.setup, pair.server.profile.setup
    ours, theirs = SIGNING[1]
    client.certificate, meter.certificate = ours.public.octets, theirs.public.octets
    trusted = {CLIENT_TITLE: ours.public.octets, METER_TITLE: theirs.public.octets}
    client.directory, meter.directory = kind(trusted), kind(trusted)
    return pair, client.directory, meter.directory


@SUITES
@pytest.mark.parametrize("ciphered", [True, False], ids=["ciphered", "plain"])
def test_sign_on(suite_id: int, ciphered: bool) -> None:
    pair = associated(mechanism=7, suite_id=suite_id, ciphered=ciphered)
    assert pair.outcomes(get())[0].code == 0
    aarq, aare = Aarq.decode(pair.sent(TO_METER)[0]), Aare.decode(pair.sent(TO_CLIENT)[0])
    assert aarq.mechanism_name == aare.mechanism_name == acse.mechanism_name(7)
    assert len(aarq.calling_authentication_value or b"") == 32
    assert len(aare.responding_authentication_value or b"") == 32
    assert aarq.calling_ae_qualifier is None and aare.responding_ae_qualifier is None


@KINDS
def test_certificates_travel_in_the_ae_qualifiers(kind: type[Introduced]) -> None:
    pair, client, meter = bringing(kind)
    assert pair.sign_on() == [Associated(None)]
    aarq, aare = Aarq.decode(pair.sent(TO_METER)[0]), Aare.decode(pair.sent(TO_CLIENT)[0])
    assert meter.brought == [aarq.calling_ae_qualifier] == [SIGNING[1][0].public.octets]
    assert client.brought == [aare.responding_ae_qualifier] == [SIGNING[1][1].public.octets]


def test_certificates_stay_at_home_where_nothing_is_signed() -> None:
    pair = Pair(mechanism=5, suite_id=1)
    for end, key in zip((pair.client, pair.server), SIGNING[1], strict=True):
        end.profile.setup.certificate = key.public.octets
    assert pair.sign_on() == [Associated(None)]
    aarq, aare = Aarq.decode(pair.sent(TO_METER)[0]), Aare.decode(pair.sent(TO_CLIENT)[0])
    assert aarq.calling_ae_qualifier is None and aare.responding_ae_qualifier is None


class Holding(InSteps):
    """Holds what came along once its owner has proved to have the key."""

    def __init__(self, trusted: dict[bytes, bytes]) -> None:
        super().__init__(trusted)
        self.held: list[bytes] = []

    def introduced(self, title: bytes, certificate: bytes | None) -> Steps[VerifyingKey]:
        key = yield from super().introduced(title, certificate)
        return Held(key, lambda: self.held.append(title))


def test_A10_a_certificate_is_held_once_its_owner_has_proved_himself() -> None:
    """At the meter after pass 3, at the client after pass 4; who only sends one along changes nothing."""
    pair, client, meter = bringing(Holding)
    assert isinstance(client, Holding) and isinstance(meter, Holding)
    seen = []

    def watched(direction: str, octets: bytes) -> list[bytes]:
        seen.append((octets[0], len(meter.held), len(client.held)))
        return [octets]

    pair.tap = watched
    assert pair.sign_on() == [Associated(None)]
    assert [(tag, *held) for tag, *held in seen] == [(0x60, 0, 0), (0x61, 0, 0), (0xCB, 0, 0), (0xCF, 1, 0)]
    assert (meter.held, client.held) == ([CLIENT_TITLE], [METER_TITLE])
    pair, *ends = bringing(Holding)
    forged = [bytes(64)]
    pair.tap = lambda direction, octets: forged if direction == TO_METER and octets[0] == 0xCB else [octets]
    assert isinstance(pair.sign_on()[0], Failed)
    assert not any(end.held for end in ends if isinstance(end, Holding))


def test_D20_a_known_key_of_another_curve_signs_nobody_on() -> None:
    pair = Pair(mechanism=7, suite_id=1)
    known = pair.server.profile.setup.directory
    assert isinstance(known, KnownKeys)
    known.signing[CLIENT_TITLE] = SIGNING[2][0].public
    refused(pair, MetersealError)
    assert [type(one.error) for one in pair.refusals] == [UnknownKey]


def state(pair: Pair) -> str:
    return pair.server.state.value


@SUITES
def test_curve_work_is_handed_out(suite_id: int) -> None:
    """Verifying and signing are jobs of the party; meanwhile the association takes nothing.

    At the meter both are one.
    """
    pair = Pair(mechanism=7, suite_id=suite_id)
    (aarq,) = replies(pair.client.associate(bytes(range(32))))
    (aare,) = replies(pair.server.receive(aarq))
    (sign,) = pair.client.receive(aare)
    assert isinstance(sign, Compute)
    assert pair.client.receive(aare) == []
    (pass3,) = replies(pair.client.resume(sign.token, sign.job()))
    (both,) = pair.server.receive(pass3)
    assert isinstance(both, Compute) and state(pair) == "non-associated"
    assert pair.server.receive(pass3) == []  # waits behind it
    assert pair.server.resume(both.token + 1, None) == []
    effects = pair.server.resume(both.token, both.job())
    assert state(pair) == "associated"
    pass4 = next(e.octets for e in effects if isinstance(e, Reply))
    (check,) = pair.client.receive(pass4)
    assert isinstance(check, Compute) and pair.client.state is State.PENDING
    assert pair.client.resume(check.token, check.job()) == [Associated(None)]


def refused(pair: Pair, error: type[MetersealError]) -> None:
    (effect,) = pair.sign_on()
    assert isinstance(effect, Failed), effect
    assert isinstance(effect.error, error), effect.error
    assert pair.client.state is State.IDLE


def stranger() -> SigningKey:
    return SigningKey.generate(curve("P-256"))


def test_B17_a_client_with_another_key_is_refused() -> None:
    pair = Pair(mechanism=7, suite_id=1)
    pair.client.profile.setup.signing = stranger()
    refused(pair, MetersealError)
    assert pair.server.state is State.IDLE
    assert isinstance(pair.refusals[0].error, AuthenticationFailed)


def test_B17_a_meter_with_another_key_is_refused() -> None:
    pair = Pair(mechanism=7, suite_id=1)
    pair.server.profile.setup.signing = stranger()
    refused(pair, AuthenticationFailed)


class Watched:
    """A signature key that notes how often it is asked."""

    def __init__(self, key: SigningKey) -> None:
        self.key, self.curve, self.asked = key, key.curve, 0

    def sign(self, message: bytes) -> bytes:
        self.asked += 1
        return self.key.sign(message)


@pytest.mark.parametrize("left", [True, False], ids=["", "no counters left"])
@pytest.mark.parametrize("genuine", [True, False])
def test_F24_the_meter_signs_for_who_has_proved_himself(genuine: bool, left: bool) -> None:
    """And reserves counters for nobody else."""
    pair = Pair(mechanism=7, suite_id=1)
    setup: Any = pair.server.profile.setup
    setup.signing = watched = Watched(setup.signing)
    if not genuine:
        pair.client.profile.setup.signing = stranger()

    def tap(sender: str, octets: bytes) -> list[bytes]:
        while sender == TO_METER and octets[0] != 0x60 and not left and setup.unicast.tx.left:
            setup.unicast.tx.take()
        return [octets]

    pair.tap = tap
    effects = pair.sign_on()
    assert watched.asked == genuine and bool(pair.needs) == (genuine and not left)
    if genuine:
        assert effects == [Associated(None)]
    else:
        (refusal,) = pair.refusals
        assert (type(refusal.error), refusal.during) == (AuthenticationFailed, "pass 3")
        assert pair.sent(TO_CLIENT)[-1][0] == (0xCF if left else 0xD8)


@KINDS
def test_D11_a_certificate_of_somebody_else_is_refused(kind: type[Introduced]) -> None:
    pair, _, _ = bringing(kind)
    pair.client.profile.setup.certificate = stranger().public.octets
    refused(pair, MetersealError)
    assert isinstance(pair.refusals[0].error, CertificateRefused)
    pair, _, _ = bringing(kind)
    pair.server.profile.setup.certificate = stranger().public.octets
    refused(pair, CertificateRefused)


def test_I02_what_is_wrong_with_a_certificate_is_not_told() -> None:
    """Unknown client, bad certificate, bad title: one answer, octet for octet."""

    def nobody(pair: Pair) -> None:
        pair.server.profile.setup.directory = KnownKeys()

    def wrong(pair: Pair) -> None:
        pair.client.profile.setup.certificate = stranger().public.octets

    def title(pair: Pair) -> None:
        pair.tap = lambda sender, octets: [octets.replace(CLIENT_TITLE, b"MSLHES99")]

    answers = set()
    for spoil in (nobody, wrong, title):
        pair, _, _ = bringing()
        spoil(pair)
        pair.sign_on()
        answers.add(pair.sent(TO_CLIENT)[0])
    assert len(answers) == 1
    assert Aare.decode(answers.pop()).user_diagnostic == 1


Tap = Callable[[str, bytes], list[bytes]]


def test_A05_A06_A07_reflection() -> None:
    """Titles and challenges are under the signature in an order that tells the roles apart."""
    seen: list[bytes] = []

    def echo(sender: str, octets: bytes) -> list[bytes]:
        if sender == TO_METER:
            seen.append(octets)
        elif len(seen) == 2:  # the answer to pass 3: the client's own proof comes back
            return [octets[:-64] + seen[1][-64:]]
        return [octets]

    pair = Pair(mechanism=7, suite_id=1, ciphered=False)
    pair.tap = echo
    refused(pair, AuthenticationFailed)


@pytest.mark.parametrize("length", [0, 1, 8, 16, 31, 65])
def test_A14_challenges_of_other_lengths(length: int) -> None:
    def cut(sender: str, octets: bytes) -> list[bytes]:
        if octets[:1] == b"\x60":
            value = (bytes(range(65)) * 2)[:length]
            return [Aarq.decode(octets).replace(calling_authentication_value=value).encode()]
        return [octets]

    pair = Pair(mechanism=7, suite_id=1, ciphered=False)
    pair.tap = cut
    refused(pair, MetersealError)
    assert isinstance(pair.refusals[0].error, AuthenticationFailed)


def test_a_key_that_is_destroyed_while_it_signs_on_ends_the_sign_on() -> None:
    pair = Pair(mechanism=7, suite_id=1)
    pair.client.profile.setup.signing = key = stranger()

    def tap(sender: str, octets: bytes) -> list[bytes]:
        key.destroy()
        return [octets]

    pair.tap = tap
    refused(pair, UnknownKey)
    assert len(pair.sent(TO_METER)) == 1, "no proof went out"


def test_without_an_own_key_there_is_no_sign_on() -> None:
    pair = Pair(mechanism=7, suite_id=1)
    pair.client.profile.setup.signing = None
    with pytest.raises(UnknownKey):
        pair.sign_on()
    assert not pair.wire
    pair = Pair(mechanism=7, suite_id=1)
    pair.server.profile.setup.signing = None
    refused(pair, MetersealError)
    assert pair.server.state is State.IDLE


@SUITES
def test_A09_every_bit_of_a_proof_counts(suite_id: int) -> None:
    width = 2 * SIGNING[suite_id][0].curve.width
    for bit in range(0, 8 * width, 61):
        pair = Pair(mechanism=7, suite_id=suite_id, ciphered=False)

        def flip(sender: str, octets: bytes, bit: int = bit) -> list[bytes]:
            if octets[0] != 0xC3:
                return [octets]
            changed = bytearray(octets)
            changed[len(octets) - width + bit // 8] ^= 1 << bit % 8
            return [bytes(changed)]

        pair.tap = flip
        refused(pair, MetersealError)
        assert pair.server.state is State.IDLE


def everything(pair: Any) -> None:
    assert pair.outcomes(get())[0].code == 0


def test_another_sign_on_on_the_same_pair() -> None:
    pair = associated(mechanism=7, suite_id=1)
    pair.release()
    assert pair.sign_on(bytes(range(40, 72))) == [Associated(None)]
    everything(pair)
