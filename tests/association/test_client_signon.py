"""The client's checks at sign-on: what an AARE may say, and who has proved himself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterseal.apdu import acse, services
from meterseal.apdu.acse import Aare
from meterseal.apdu.common import ResultData
from meterseal.apdu.initiate import (
    InitiateResponse,
)
from meterseal.association import (
    Associated,
    Failed,
    State,
    conformance,
)
from meterseal.codec.data import Data
from meterseal.errors import (
    AuthenticationFailed,
    DecodeError,
    Malformed,
    MetersealError,
    Misuse,
    ProtectionError,
    ProtocolViolation,
    Refused,
    TooWeak,
)
from meterseal.security import AUTHENTICATED, ENCRYPTED
from tests.association.pair import (
    CLIENT_CHALLENGE,
    CLIENT_TITLE,
    METER_TITLE,
    SMALL,
    TO_CLIENT,
    TO_METER,
    Pair,
    get,
    octet_string,
    sealed,
)

BOTH = AUTHENTICATED | ENCRYPTED


def answered_by(change: Callable[[Aare, Pair], Aare], **options: Any) -> tuple[Pair, list[Any]]:
    """A sign-on in which the meter's AARE is changed on its way."""
    pair = Pair(**options)

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if octets[0] == 0x61:
            return [change(Aare.decode(octets), pair).encode()]
        return [octets]

    pair.tap = tap
    return pair, pair.sign_on()


def initiate(applied: int = BOTH, **changes: Any) -> Callable[[Aare, Pair], Aare]:
    def change(aare: Aare, pair: Pair) -> Aare:
        octets = InitiateResponse(None, 6, pair.server.negotiated, 4096, 7).replace(**changes).encode()
        return aare.replace(user_information=sealed(pair, octets, applied) if applied else octets)

    return change


def having(**fields: Any) -> Callable[[Aare, Pair], Aare]:
    return lambda aare, pair: aare.replace(**fields)


LIES: list[tuple[str, Callable[[Aare, Pair], Aare], type[MetersealError]]] = [
    ("another context", having(application_context_name=acse.context_name(1)), ProtocolViolation),
    ("no context", having(application_context_name=None), ProtocolViolation),
    ("no title", having(responding_ap_title=None), ProtocolViolation),
    ("a title of 7 octets", having(responding_ap_title=METER_TITLE[:7]), ProtocolViolation),
    ("another meter", having(responding_ap_title=b"MSL00002"), AuthenticationFailed),
    ("the client's own title", having(responding_ap_title=CLIENT_TITLE), AuthenticationFailed),
    ("no mechanism", having(mechanism_name=None), AuthenticationFailed),
    ("mechanism none", having(mechanism_name=acse.mechanism_name(0)), AuthenticationFailed),
    ("a weaker mechanism", having(mechanism_name=acse.mechanism_name(3)), AuthenticationFailed),
    ("mechanism unknown", having(mechanism_name=b"1234567"), AuthenticationFailed),
    ("accepted at once", having(user_diagnostic=0), AuthenticationFailed),
    ("no diagnostic", having(user_diagnostic=None), AuthenticationFailed),
    ("another ACSE unit", having(responder_acse_requirements=b"\x07\x00"), ProtocolViolation),
    ("no challenge", having(responding_authentication_value=None), AuthenticationFailed),
    ("a challenge of 7", having(responding_authentication_value=bytes(7)), AuthenticationFailed),
    ("a challenge of 65", having(responding_authentication_value=bytes(65)), AuthenticationFailed),
    (
        "the client's challenge",
        having(responding_authentication_value=CLIENT_CHALLENGE),
        AuthenticationFailed,
    ),
    ("no Initiate", having(user_information=None), TooWeak),
    ("an empty Initiate", having(user_information=b""), TooWeak),
    ("an Initiate in plain", initiate(0), TooWeak),
    ("an Initiate only authenticated", initiate(AUTHENTICATED), TooWeak),
    ("an Initiate only encrypted", initiate(ENCRYPTED), TooWeak),
    ("DLMS version 5", initiate(negotiated_dlms_version_number=5), ProtocolViolation),
    ("only services nobody proposed", initiate(negotiated_conformance=1 << 23), ProtocolViolation),
    (
        "another APDU inside",
        lambda aare, pair: aare.replace(user_information=sealed(pair, b"\x0e\x01\x06\x00")),
        Malformed,
    ),
    (
        "garbage inside",
        lambda aare, pair: aare.replace(user_information=b"\x28\x03\x01\x02\x03"),
        DecodeError,
    ),
]


@pytest.mark.parametrize(("name", "change", "error"), LIES, ids=[name for name, _, _ in LIES])
def test_an_aare_that_says_something_else_ends_the_sign_on(
    name: str, change: Callable[[Aare, Pair], Aare], error: type[MetersealError]
) -> None:
    pair, effects = answered_by(change)
    (failed,) = effects
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, error), failed.error
    assert pair.client.state is State.IDLE
    # Nothing more was said: no proof went to a liar.
    assert len(pair.sent(TO_METER)) == 1


@pytest.mark.parametrize(
    ("diagnostic", "error"), [(0, None), (14, AuthenticationFailed), (1, AuthenticationFailed)]
)
def test_without_hls_a_challenge_is_not_answered(diagnostic: int, error: type[MetersealError] | None) -> None:
    pair, (effect,) = answered_by(having(user_diagnostic=diagnostic), mechanism=0)
    if error is None:
        assert effect == Associated(None)
    else:
        assert isinstance(effect.error, error)
        assert pair.client.state is State.IDLE


def test_units_and_ids_may_be_left_out() -> None:
    _, effects = answered_by(having(responder_acse_requirements=None))
    assert effects == [Associated(None)]


REFUSALS = [
    (Aare(result=1, user_diagnostic=1), "no-reason-given", 1),
    (Aare(result=1, user_diagnostic=13), "authentication-failure", 13),
    (Aare(result=2, user_diagnostic=99), "diagnostic 99", 99),
    (Aare(result=1, provider_diagnostic=2), "no-common-acse-version", 2),
    (Aare(result=1), "diagnostic None", 0),
    (Aare(), "diagnostic None", 0),
]


MAY_BE = " (keys, password, title, client, user or counter: it does not say which)"
"""What a person is told where a meter is silent on purpose."""


@pytest.mark.parametrize(("aare", "reason", "code"), REFUSALS, ids=lambda x: str(x)[:40])
def test_a_refusal_is_told_as_the_meter_says_it(aare: Aare, reason: str, code: int) -> None:
    _, (effect,) = answered_by(lambda old, pair: aare)
    assert isinstance(effect.error, Refused)
    assert (effect.error.reason, effect.error.code) == (reason, code)
    assert effect.error.source == "association-result"
    assert effect.error.authenticated is False


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        (b"\x0e\x01\x06\x01", " (dlms-version-too-low)"),
        (b"\x0e\x01\x06\x09", " (9)"),
        (b"\x0e\x01\x00\x06", MAY_BE),
        (b"\x08\x00", MAY_BE),
        (b"\x2e\x03\x01\x02\x03", MAY_BE),
        (b"", MAY_BE),
    ],
)
def test_a_refusal_may_say_more_inside(inside: bytes, told: str) -> None:
    _, (effect,) = answered_by(lambda old, pair: Aare(result=1, user_diagnostic=1, user_information=inside))
    assert str(effect.error) == "the meter rejects the association: no-reason-given" + told


def test_a_refusal_may_say_more_inside_protected() -> None:
    pair = Pair()
    pair.server.profile.conformance = conformance("read")
    (effect,) = pair.sign_on()
    assert isinstance(effect, Failed)
    assert "(incompatible-conformance)" in str(effect.error)


# --- pass 4 -----------------------------------------------------------------------------------------


def action_response(pair: Pair, data: Data | None, code: int = 0, invoke: int = 0xC1) -> bytes:
    returned = None if data is None else ResultData(data)
    message = services.ActionResponseNormal(invoke, services.ActionResult(code, returned))
    return message.encode()


def pass_4(change: Callable[[Pair, bytes], bytes], **options: Any) -> tuple[Pair, Any]:
    """A sign-on in which the meter's answer to pass 3 is another; `change` gets the plain answer."""
    pair = Pair(**options)

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_CLIENT and octets[0] != 0x61:
            return [change(pair, octets)]
        return [octets]

    pair.tap = tap
    (effect,) = pair.sign_on()
    return pair, effect


def their_token(pair: Pair) -> bytes:
    """The proof that the client itself sent."""
    opening = pair.client._opening
    assert opening is not None
    handshake, key = opening.handshake, pair.client.profile.setup.key()
    counter = (key.tx._next - 2).to_bytes(4, "big")
    return b"\x10" + counter + key.handle.tag(0x10, CLIENT_TITLE + counter, handshake.peer_challenge)


FAKES: list[tuple[str, Callable[[Pair, bytes], bytes], type[MetersealError]]] = [
    ("success without data", lambda p, o: sealed(p, action_response(p, None)), AuthenticationFailed),
    ("no octet-string", lambda p, o: sealed(p, action_response(p, SMALL)), AuthenticationFailed),
    (
        "zeros",
        lambda p, o: sealed(p, action_response(p, octet_string(bytes(17)))),
        AuthenticationFailed,
    ),
    (
        "16 zeros",
        lambda p, o: sealed(p, action_response(p, octet_string(bytes(16)))),
        AuthenticationFailed,
    ),
    (
        "the client's own proof",
        lambda p, o: sealed(p, action_response(p, octet_string(their_token(p)))),
        MetersealError,  # its counter is low already
    ),
    ("a refusal", lambda p, o: sealed(p, action_response(p, None, 3)), Refused),
    ("plain", lambda p, o: action_response(p, octet_string(bytes(17))), TooWeak),
    (
        "only authenticated",
        lambda p, o: sealed(p, action_response(p, octet_string(bytes(17))), AUTHENTICATED),
        TooWeak,
    ),
    ("another invoke-id", lambda p, o: sealed(p, action_response(p, None, 0, 0xC2)), ProtocolViolation),
    ("another service", lambda p, o: sealed(p, b"\xc5\x01\xc1\x00"), ProtocolViolation),
    ("blocks", lambda p, o: sealed(p, bytes.fromhex("C702C1 00 00000001 01 00")), ProtocolViolation),
    ("a wrong tag", lambda p, o: o[:-1] + bytes((o[-1] ^ 1,)), ProtectionError),
    ("an error", lambda p, o: b"\xd8\x01\x01", Refused),
    ("a push", lambda p, o: bytes.fromhex("0F000000010000"), ProtocolViolation),
    ("an AARE", lambda p, o: Aare(result=0).encode(), ProtocolViolation),
]


@pytest.mark.parametrize(("name", "change", "error"), FAKES, ids=[name for name, _, _ in FAKES])
def test_core_A11_without_its_proof_a_meter_is_nobody(
    name: str, change: Callable[[Pair, bytes], bytes], error: type[MetersealError]
) -> None:
    pair, effect = pass_4(change)
    assert isinstance(effect, Failed)
    assert isinstance(effect.error, error), effect.error
    assert pair.client.state is State.IDLE
    # After pass 3 nothing went out.
    assert len(pair.sent(TO_METER)) == 2
    with pytest.raises(Misuse):
        pair.client.request([get()])


@pytest.mark.parametrize(
    ("options", "protected"),
    [({}, True), ({"mechanism": 3, "ciphered": False}, True), ({"mechanism": 3, "policy": 0}, False)],
    ids=["sealed", "a plain context", "sealed nowhere"],
)
def test_B21_a_refused_proof_is_the_meters_word_where_it_could_be_known(
    options: dict[str, Any], protected: bool
) -> None:
    """Protected, or in a context in which nothing is: there it is as good as every other answer."""
    _, effect = pass_4(
        lambda p, o: sealed(p, action_response(p, None, 3)) if not options else action_response(p, None, 3),
        **options,
    )
    error = effect.error
    assert isinstance(error, Refused) and error.authenticated is protected
    assert (error.reason, error.code, error.source) == ("read-write-denied", 3, "action-result")


@pytest.mark.parametrize("mechanism", [3, 4, 6])
def test_core_A11_the_other_mechanisms_too(mechanism: int) -> None:
    """The proof of pass 3 sent back; for the weak mechanisms the challenge alone makes the difference."""
    pair = Pair(mechanism=mechanism)
    sent: list[bytes] = []

    def tap(direction: str, octets: bytes) -> list[bytes]:
        if direction == TO_METER and octets[0] == 0xCB:
            opening = pair.client._opening
            assert opening is not None
            sent.append(opening.prove())
        if direction == TO_CLIENT and octets[0] == 0xCF:
            return [sealed(pair, action_response(pair, octet_string(sent[0])))]
        return [octets]

    pair.tap = tap
    (effect,) = pair.sign_on()
    assert isinstance(effect, Failed)
    assert isinstance(effect.error, AuthenticationFailed)
