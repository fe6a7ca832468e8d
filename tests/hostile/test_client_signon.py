"""Catalogue A at the client: a meter that lies while an association is opened."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import meterseal
from meterseal import MemoryCounters, net
from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.services import ActionRequestNormal, ActionResponseNormal, ActionResult
from meterseal.client import pending
from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DecodeError,
    MetersealError,
    ProtocolViolation,
    Refused,
    TimedOut,
    TooWeak,
)
from tests.client.fake_meter import CLIENT_TITLE, Alter, Exchange, FakeMeter, Role
from tests.hostile.client_side import INITIATE_RESPONSE, Requests, aare, instead, sealed, signed_on

HLS = ["md5", "sha1", "gmac", "sha256"]
AARQ = 0x60


def refused_sign_on(role: Role, changes: dict[int, Alter], requests: int) -> MetersealError:
    """The error of a sign-on that must fail after so many requests."""
    seen = Requests(changes)
    fake = FakeMeter(role, alter=seen)
    with pytest.raises(MetersealError) as caught, signed_on(fake):
        pass
    assert len(seen.sent) == requests, "nothing is sent after the lie"
    assert not fake.done
    return caught.value


# --- A01 ------------------------------------------------------------------------------------------


def test_A01_no_password_without_the_switch() -> None:
    role = Role(mechanism="lls", policy=0)
    seen = Requests()
    fake = FakeMeter(role, alter=seen)
    with (
        pytest.raises(ConfigurationError, match="lls is weak, and off"),
        signed_on(fake, credentials=fake.credentials(allow_weak=False)),
    ):
        pass
    assert not seen.sent


def test_A01_the_password_is_on_the_wire_only_with_the_switch(caplog: pytest.LogCaptureFixture) -> None:
    role = Role(mechanism="lls", policy=0)
    seen = Requests()
    with caplog.at_level(logging.WARNING), signed_on(FakeMeter(role, alter=seen)):
        pass
    assert role.secret in seen.sent[0]
    assert "mechanism lls, which is weak" in caplog.text


@pytest.mark.parametrize("mechanism", HLS)
@pytest.mark.parametrize("diagnostic", range(15))
def test_A01_a_rejected_hls_never_becomes_lls(mechanism: str, diagnostic: int) -> None:
    role = Role(mechanism=mechanism, policy=0)
    reject = aare(result=1, user_diagnostic=diagnostic, mechanism_name=acse.mechanism_name(1))
    seen = Requests({1: reject})
    with pytest.raises(Refused), signed_on(FakeMeter(role, alter=seen)):
        pass
    assert len(seen.sent) == 1 and role.secret not in seen.sent[0]


# --- A03, A04 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", HLS)
@pytest.mark.parametrize(
    "changes",
    [
        {"mechanism_name": None},
        {"mechanism_name": acse.mechanism_name(0)},
        {"mechanism_name": acse.mechanism_name(1)},
        {"mechanism_name": acse.mechanism_name(2)},
        {"mechanism_name": acse.mechanism_name(7)},
        {"mechanism_name": b"\x60\x85\x74\x05\x08\x03\x05"},
        {"application_context_name": acse.context_name(1)},
        {"application_context_name": acse.context_name(4)},
        {"application_context_name": None},
    ],
    ids=str,
)
def test_A03_an_aare_with_less_than_was_proposed(mechanism: str, changes: dict[str, Any]) -> None:
    error = refused_sign_on(Role(mechanism=mechanism), {1: aare(**changes)}, requests=1)
    assert isinstance(error, AuthenticationFailed | ProtocolViolation)


@pytest.mark.parametrize("protection", [0, 1, 2])
def test_A03_an_initiate_response_with_less_protection(protection: int) -> None:
    def weaker(exchange: Exchange) -> bytes:
        return exchange.seal(INITIATE_RESPONSE, protection) if protection else INITIATE_RESPONSE

    assert isinstance(refused_sign_on(Role(), {1: aare(user_information=weaker)}, requests=1), TooWeak)


@pytest.mark.parametrize("mechanism", HLS)
@pytest.mark.parametrize(
    "changes",
    [
        {"user_diagnostic": 0},
        {
            "user_diagnostic": 0,
            "mechanism_name": None,
            "responding_authentication_value": None,
            "responder_acse_requirements": None,
        },
        {"user_diagnostic": None, "provider_diagnostic": 0},
        {"responding_authentication_value": None},
    ],
    ids=["diagnostic", "nothing", "provider", "challenge"],
)
def test_A04_accepted_without_the_proof(mechanism: str, changes: dict[str, Any]) -> None:
    error = refused_sign_on(Role(mechanism=mechanism), {1: aare(**changes)}, requests=1)
    assert isinstance(error, AuthenticationFailed)


# --- A05, A06 -------------------------------------------------------------------------------------


def challenge_of(exchange: Exchange) -> bytes | None:
    """The client's own challenge."""
    return Aarq.decode(exchange.request).calling_authentication_value


@pytest.mark.parametrize("policy", [0, 3])
@pytest.mark.parametrize("mechanism", HLS)
def test_A05_the_clients_challenge_given_back(mechanism: str, policy: int) -> None:
    reflect = aare(responding_authentication_value=challenge_of)
    error = refused_sign_on(Role(mechanism=mechanism, policy=policy), {1: reflect}, requests=1)
    assert isinstance(error, AuthenticationFailed) and "own challenge" in str(error)


@pytest.mark.parametrize(
    ("title", "cause"),
    [
        (CLIENT_TITLE, "own system title"),
        (b"MSL\x00\x00\x00\x00\x09", "not the expected"),
        (b"MSL\x00\x00\x00\x00", "no system title of 8"),
        (b"MSL\x00\x00\x00\x00\x00\x01", "no system title of 8"),
        (None, "no system title of 8"),
    ],
)
@pytest.mark.parametrize("mechanism", ["gmac", "sha256"])
def test_A06_another_title_than_the_meters(mechanism: str, title: bytes | None, cause: str) -> None:
    lie = aare(responding_ap_title=title, responding_authentication_value=challenge_of)
    error = refused_sign_on(Role(mechanism=mechanism, policy=0), {1: lie}, requests=1)
    assert isinstance(error, AuthenticationFailed | ProtocolViolation) and cause in str(error)


@pytest.mark.parametrize("known", [True, False])
def test_A06_the_clients_own_title_even_where_none_is_expected(known: bool) -> None:
    seen = Requests({1: aare(responding_ap_title=CLIENT_TITLE)})
    fake = FakeMeter(Role(mechanism="sha256", policy=0), alter=seen)
    credentials = fake.credentials()
    if not known:
        credentials = meterseal.Credentials(type(credentials.meter)(url="tcp://x"), credentials.roles)
    with (
        pytest.raises(AuthenticationFailed, match="own system title"),
        signed_on(fake, credentials=credentials),
    ):
        pass
    assert len(seen.sent) == 1


# --- A07 ------------------------------------------------------------------------------------------


class Relay:
    """A meter that knows no secret: it asks one sign-on what it has to answer to the other."""

    def __init__(self) -> None:
        self.first: net.Link | None = None
        self.asked = b""

    def factory(self, link: net.Link) -> net.Handler:
        return _RelayLine(self, link)


class _RelayLine:
    def __init__(self, relay: Relay, link: net.Link) -> None:
        self.relay, self.link = relay, link

    def received(self, source: int, destination: int, payload: bytes) -> None:
        relay = self.relay
        if payload[0] == AARQ:
            asked = Aarq.decode(payload).calling_authentication_value or b""
            challenge = bytes(range(16)) if relay.first is None else relay.asked
            if relay.first is None:
                relay.first, relay.asked = self.link, asked
            self.link.send(destination, source, _accepting(challenge))
        elif relay.first is not self.link and relay.first is not None:
            proof = ActionRequestNormal.decode(payload).parameters
            answer = ActionResponseNormal(0xC1, ActionResult(0, acse_data(proof)))
            relay.first.send(destination, source, answer.encode())
            self.link.close()

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        """Nothing to do."""

    def closed(self, cause: Exception | None) -> None:
        """Nothing to do."""


def acse_data(proof: Data | None) -> Any:
    """The proof as the data of an action result."""
    from meterseal.apdu.common import ResultData

    assert proof is not None
    return ResultData(proof)


def _accepting(challenge: bytes) -> bytes:
    return Aare(
        application_context_name=acse.context_name(1),
        result=0,
        user_diagnostic=14,
        responder_acse_requirements=acse.AUTHENTICATION_UNIT,
        mechanism_name=acse.mechanism_name(3),
        responding_authentication_value=challenge,
        user_information=INITIATE_RESPONSE,
    ).encode()


async def _attacked(timeout: float) -> list[BaseException | None]:
    """Two sign-ons with one secret, to two addresses of the relay; the error of each, None for success."""
    relay = Relay()
    fake = FakeMeter(Role(mechanism="md5", policy=0))

    async def sign_on(port: int) -> None:
        async with meterseal.connect(
            credentials=fake.credentials().at(f"tcp://127.0.0.1:{port}"),
            counters=MemoryCounters(),
            line=net.loopback(relay.factory),
            timeout=timeout,
        ) as meter:
            meter.drop()

    done = await asyncio.gather(sign_on(1), sign_on(2), return_exceptions=True)
    return list(done)


async def test_A07_one_session_is_not_asked_for_the_answer_to_another() -> None:
    first, second = await _attacked(0.2)
    assert isinstance(first, TimedOut) and isinstance(second, MetersealError)


async def test_A07_the_attack_works_on_sign_ons_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "enter", lambda keys: True)
    first, _ = await _attacked(60.0)
    assert first is None, "else the test above shows nothing"


async def test_A07_sign_ons_with_one_peer_wait_for_their_turn() -> None:
    fake = FakeMeter(Role(mechanism="md5", policy=0))

    async def sign_on() -> bytes:
        async with meterseal.connect(
            credentials=fake.credentials(), counters=MemoryCounters(), line=net.loopback(fake.factory)
        ) as meter:
            return await meter.get(3, "1.0.1.8.0.255", 2)

    assert len(set(await asyncio.gather(*(sign_on() for _ in range(8))))) == 1


# --- A11 ------------------------------------------------------------------------------------------


def proof_of(exchange: Exchange) -> bytes:
    """What the client sent in pass 3 (in a plain association)."""
    parameters = ActionRequestNormal.decode(exchange.request).parameters
    assert parameters is not None
    return parameters.raw


@pytest.mark.parametrize("mechanism", HLS)
@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x00",
        b"\x00\x01\x00" + Data.of(bytes(16), Tag.OCTET_STRING).raw,
        b"\x00\x01\x00" + Data.of(bytes(17), Tag.OCTET_STRING).raw,
        b"\x00\x01\x00" + Data.of(bytes(32), Tag.OCTET_STRING).raw,
        b"\x00\x01\x00" + Data.of(b"", Tag.OCTET_STRING).raw,
        b"\x00\x01\x00" + Data.of("proof", Tag.VISIBLE_STRING).raw,
        b"\x00\x01\x00\x00",
        b"\x00\x01\x01\x00",
        b"\x00\x01\x01\x03",
        b"\x03\x00",
    ],
    ids=lambda octets: octets.hex(),
)
def test_A11_pass_4_without_the_right_proof(mechanism: str, answer: bytes) -> None:
    role = Role(mechanism=mechanism, policy=0)
    error = refused_sign_on(role, {2: instead(b"\xc7\x01\xc1" + answer)}, requests=2)
    assert isinstance(error, AuthenticationFailed | Refused)


@pytest.mark.parametrize("mechanism", HLS)
def test_A11_the_clients_own_proof_given_back(mechanism: str) -> None:
    def echo(exchange: Exchange) -> list[bytes]:
        return [b"\xc7\x01\xc1\x00\x01\x00" + proof_of(exchange)]

    error = refused_sign_on(Role(mechanism=mechanism, policy=0), {2: echo}, requests=2)
    assert isinstance(error, AuthenticationFailed)


@pytest.mark.parametrize("mechanism", HLS)
def test_A11_the_right_proof_of_a_meter_that_says_no(mechanism: str) -> None:
    def no(exchange: Exchange) -> list[bytes]:
        return [exchange.reply[:3] + b"\x03" + exchange.reply[4:]]

    error = refused_sign_on(Role(mechanism=mechanism, policy=0), {2: no}, requests=2)
    assert isinstance(error, Refused) and error.code == 3


@pytest.mark.parametrize(
    "change",
    [
        instead(bytes.fromhex("C701C10000")),
        sealed(bytes.fromhex("C701C10000")),
        sealed(bytes.fromhex("C701C1000100") + Data.of(bytes(17), Tag.OCTET_STRING).raw, 1),
        sealed(bytes.fromhex("C401C100060001E240")),
        instead(bytes.fromhex("D80101")),
        instead(bytes.fromhex("C401C100060001E240")),
    ],
)
def test_A11_pass_4_in_a_ciphered_association(change: Alter) -> None:
    refused_sign_on(Role(), {2: change}, requests=2)


# --- A14 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", HLS)
@pytest.mark.parametrize("length", [0, 1, 7, 65, 127, 128, 255, 1000])
def test_A14_challenges_too_short_or_too_long(mechanism: str, length: int) -> None:
    lie = aare(responding_authentication_value=bytes(length))
    error = refused_sign_on(Role(mechanism=mechanism), {1: lie}, requests=1)
    assert isinstance(error, AuthenticationFailed)


@pytest.mark.parametrize("length", [8, 64])
def test_A14_challenges_at_the_bounds_are_answered(length: int) -> None:
    lie = aare(responding_authentication_value=bytes(length))
    # The meter knows nothing of that challenge, so the proof is refused: but it was given.
    refused_sign_on(Role(mechanism="sha256"), {1: lie}, requests=2)


def test_A14_a_challenge_that_is_no_charstring() -> None:
    def bits(exchange: Exchange) -> list[bytes]:
        return [exchange.reply.replace(b"\xaa\x12\x80\x10", b"\xaa\x12\x81\x10")]

    assert isinstance(refused_sign_on(Role(), {1: bits}, requests=1), DecodeError)
