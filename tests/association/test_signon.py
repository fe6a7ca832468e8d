"""The meter's checks of an AARQ: one by one, two at a time for their order, and what each tells."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aare, Aarq
from meterseal.apdu.initiate import ConfirmedServiceError, InitiateRequest, InitiateResponse
from meterseal.association import Refusal, Reply, State, conformance
from meterseal.crypto import suite
from meterseal.errors import MetersealError
from meterseal.security import AUTHENTICATED, ENCRYPTED, Context, SecuritySetup, Style, protect, unprotect
from tests.association.pair import (
    CLIENT_CHALLENGE,
    CLIENT_TITLE,
    DEK,
    EK,
    METER_TITLE,
    Pair,
    key,
    replies,
)

BOTH = AUTHENTICATED | ENCRYPTED
Change = Callable[[Aarq], Aarq]
INITIATE = InitiateRequest(None, True, None, 6, 0x401F1D, 4096)


class Answer(NamedTuple):
    """What a refused AARQ is told: diagnostics, and the reason inside a confirmedServiceError."""

    user: int | None = 1
    provider: int | None = None
    initiate: int = 0


SECRET = Answer()
"""The one answer to all that depends on a key, secret, title, user or counter."""


class Sealer:
    """Protects Initiates with the client's keys, or with others."""

    def __init__(self, ek: bytes = EK, first: int = 1, title: bytes = CLIENT_TITLE) -> None:
        used = key(first, ek=ek)
        self.context = Context(SecuritySetup(suite(0), title, METER_TITLE, 0, used))

    def __call__(self, octets: bytes, applied: int = BOTH, style: Style = Style.GLO) -> bytes:
        return protect(self.context, octets, applied, style)


def with_initiate(applied: int = BOTH, style: Style = Style.GLO, ek: bytes = EK, **changes: Any) -> Change:
    """An AARQ with another InitiateRequest inside."""

    def change(aarq: Aarq) -> Aarq:
        octets = INITIATE.replace(**changes).encode()
        return aarq.replace(user_information=Sealer(ek)(octets, applied, style) if applied else octets)

    return change


def having(**fields: Any) -> Change:
    return lambda aarq: aarq.replace(**fields)


def sealed(octets: bytes) -> Change:
    return lambda aarq: aarq.replace(user_information=Sealer()(octets))


def spoilt(aarq: Aarq) -> Aarq:
    octets = aarq.user_information or b""
    return aarq.replace(user_information=octets[:-1] + bytes((octets[-1] ^ 1,)))


FAULTS: list[tuple[str, Change, Answer]] = [
    # In the order of the checks (acse-xdlms 2.4); shape is told, secrets are not.
    ("protocol version 2", having(protocol_version=b"\x06\x40"), Answer(None, 2)),
    ("protocol version none", having(protocol_version=b"\x07\x00"), Answer(None, 2)),
    ("protocol version cut", having(protocol_version=b"\x07"), Answer(None, 2)),
    ("context absent", having(application_context_name=None), Answer(2)),
    ("context without ciphering", having(application_context_name=acse.context_name(1)), Answer(2)),
    ("context of short names", having(application_context_name=acse.context_name(4)), Answer(2)),
    ("context unknown", having(application_context_name=acse.context_name(9)), Answer(2)),
    ("context of another tree", having(application_context_name=acse.mechanism_name(3)), Answer(2)),
    ("mechanism absent", having(mechanism_name=None), Answer(12)),
    ("mechanism none", having(mechanism_name=acse.mechanism_name(0)), Answer(11)),
    ("mechanism of another association", having(mechanism_name=acse.mechanism_name(1)), Answer(11)),
    ("mechanism unknown", having(mechanism_name=acse.mechanism_name(9)), Answer(11)),
    ("authentication unit absent", having(sender_acse_requirements=None), Answer(12)),
    ("authentication unit not set", having(sender_acse_requirements=b"\x07\x00"), Answer(12)),
    ("authentication unit cut", having(sender_acse_requirements=b"\x07"), Answer(12)),
    ("authentication unit of two bits", having(sender_acse_requirements=b"\x06\x80"), Answer(12)),
    ("title absent", having(calling_ap_title=None), Answer(3)),
    ("title of 7 octets", having(calling_ap_title=CLIENT_TITLE[:7]), Answer(3)),
    ("title of 9 octets", having(calling_ap_title=CLIENT_TITLE + b"1"), Answer(3)),
    ("title of another client", having(calling_ap_title=b"MSLHES02"), SECRET),
    ("title of the meter", having(calling_ap_title=METER_TITLE), SECRET),
    ("user unknown", having(calling_ae_invocation_id=9), SECRET),
    ("user absent", having(calling_ae_invocation_id=None), SECRET),
    ("no user-information", having(user_information=None), SECRET),
    ("empty user-information", having(user_information=b""), SECRET),
    ("Initiate in plain", with_initiate(0), SECRET),
    ("Initiate only authenticated", with_initiate(AUTHENTICATED), SECRET),
    ("Initiate only encrypted", with_initiate(ENCRYPTED), SECRET),
    ("Initiate under another key", with_initiate(ek=DEK), SECRET),
    ("Initiate with a wrong tag", spoilt, SECRET),
    ("another APDU inside", sealed(InitiateResponse(None, 6, 1, 0, 7).encode()), SECRET),
    ("half an Initiate inside", sealed(INITIATE.encode()[:-1]), SECRET),
    ("an Initiate and more inside", sealed(INITIATE.encode() + b"\0"), SECRET),
    ("version 5", with_initiate(proposed_dlms_version_number=5), Answer(initiate=1)),
    ("no service at all", with_initiate(proposed_conformance=0), Answer(initiate=2)),
    ("no service in common", with_initiate(proposed_conformance=conformance("read")), Answer(initiate=2)),
    ("PDU of 11 octets", with_initiate(client_max_receive_pdu_size=11), Answer(initiate=3)),
    ("PDU of 63 octets", with_initiate(client_max_receive_pdu_size=63), Answer(initiate=3)),
    ("dedicated key of 0 octets", with_initiate(dedicated_key=b""), SECRET),
    ("dedicated key of 15 octets", with_initiate(dedicated_key=DEK[:15]), SECRET),
    ("dedicated key of 17 octets", with_initiate(dedicated_key=DEK + b"1"), SECRET),
    ("dedicated key the global one", with_initiate(dedicated_key=EK), SECRET),
    ("no authentication value", having(calling_authentication_value=None), Answer(14)),
    ("empty challenge", having(calling_authentication_value=b""), SECRET),
    ("challenge of 7 octets", having(calling_authentication_value=bytes(7)), SECRET),
    ("challenge of 65 octets", having(calling_authentication_value=bytes(65)), SECRET),
    ("challenge seen before", having(calling_authentication_value=b"said it already!"), SECRET),
]
NAMES = [name for name, _, _ in FAULTS]
USERS = {5: "a fitter", 6: "another"}


def strict() -> Pair:
    """A meter with a user list, and a client who is on it."""
    pair = Pair(client={"user": 5}, server={"users": lambda: USERS})
    pair.server.profile.recent.append(b"said it already!")
    return pair


def good(pair: Pair) -> Aarq:
    """The AARQ that would be accepted, never sent."""
    effects = pair.client.associate(CLIENT_CHALLENGE if pair.client.profile.scheme.passes == 4 else b"")
    (octets,) = replies(effects)
    return Aarq.decode(octets)


def told(octets: bytes) -> Answer:
    """What an AARE says."""
    aare = Aare.decode(octets)
    assert aare.result == 1
    assert aare.responding_ap_title is None
    assert aare.responding_authentication_value is None
    reason = 0
    if aare.user_information is not None:
        context = Context(Pair().client.profile.setup, METER_TITLE, general=True)
        inside = _open(context, aare.user_information)
        error = ConfirmedServiceError.decode(inside)
        assert (error.service, error.error_class) == (1, 6)
        reason = error.value
    return Answer(aare.user_diagnostic, aare.provider_diagnostic, reason)


def _open(context: Context, octets: bytes) -> bytes:
    return unprotect(context, octets).apdu if octets[0] in (0x2E, 0xDB) else octets


def refused(pair: Pair, aarq: Aarq) -> bytes:
    """The AARE to an AARQ that is refused without any change of state."""
    state, negotiated, plant = pair.server.state, pair.server.negotiated, len(pair.plant.done)
    effects = pair.to_meter(aarq.encode())
    refusal, reply = effects
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, MetersealError)
    assert isinstance(reply, Reply)
    assert reply.penalty
    assert (pair.server.state, pair.server.negotiated, len(pair.plant.done)) == (state, negotiated, plant)
    assert pair.server.context.dedicated is None
    return reply.octets


def test_the_aarq_of_these_tests_is_accepted() -> None:
    pair = strict()
    (reply,) = replies(pair.to_meter(good(pair).encode()))
    assert Aare.decode(reply).result == 0
    assert pair.server.state is State.PENDING


@pytest.mark.parametrize(("name", "change", "answer"), FAULTS, ids=NAMES)
def test_each_fault_has_its_answer(name: str, change: Change, answer: Answer) -> None:
    pair = strict()
    assert told(refused(pair, change(good(pair)))) == answer


def test_secrets_all_have_one_answer_to_the_octet() -> None:
    answers = set()
    for _, change, answer in FAULTS:
        if answer == SECRET:
            pair = strict()
            answers.add(refused(pair, change(good(pair))))
    assert len(answers) == 1
    (octets,) = answers
    assert octets == Aare(None, acse.context_name(3), 1, 1).encode()


CHECKS = [  # which check finds it
    *["version"] * 3,
    *["context"] * 5,
    *["mechanism"] * 8,
    *["title"] * 5,
    *["user"] * 2,
    *["initiate"] * 10,
    *["proposal"] * 5,
    *["dedicated"] * 4,
    *["challenge"] * 5,
]


def test_of_two_faults_the_earlier_check_answers() -> None:
    assert len(CHECKS) == len(FAULTS)
    tried = 0
    for first, second in combinations(range(len(FAULTS)), 2):
        one, two = CHECKS[first], CHECKS[second]
        inside = {"initiate", "proposal", "dedicated"}
        if one == two or (one in inside and two in inside):
            continue  # both would change the same field
        pair = strict()
        aarq = FAULTS[first][1](FAULTS[second][1](good(pair)))
        assert told(refused(pair, aarq)) == FAULTS[first][2], (NAMES[first], NAMES[second])
        tried += 1
    assert tried > 500


@pytest.mark.parametrize(
    "changes",
    [
        {"proposed_dlms_version_number": 5, "proposed_conformance": 0},
        {"proposed_dlms_version_number": 5, "client_max_receive_pdu_size": 1},
        {"proposed_conformance": 0, "client_max_receive_pdu_size": 1},
        {"client_max_receive_pdu_size": 1, "dedicated_key": b""},
    ],
    ids=lambda c: "+".join(c),
)
def test_of_two_faults_in_the_initiate_the_earlier_answers(changes: dict[str, Any]) -> None:
    first = next(iter(changes))
    reasons = {"proposed_dlms_version_number": 1, "proposed_conformance": 2, "client_max_receive_pdu_size": 3}
    pair = strict()
    assert told(refused(pair, with_initiate(**changes)(good(pair)))).initiate == reasons[first]


@pytest.mark.parametrize("style", [Style.GLO, Style.GENERAL_GLO], ids=lambda s: s.name)
def test_an_initiate_error_is_protected_like_its_request(style: Style) -> None:
    pair = strict()
    octets = refused(pair, with_initiate(style=style, proposed_dlms_version_number=5)(good(pair)))
    inside = Aare.decode(octets).user_information
    assert inside is not None
    assert inside[0] == (0x2E if style is Style.GLO else 0xDB)


def test_an_initiate_error_in_plain_where_nothing_is_ciphered() -> None:
    """The conformance test: version 5 is told by 0E 01 06 01."""
    pair = Pair(mechanism=0, ciphered=False)
    aarq = good(pair).replace(user_information=INITIATE.replace(proposed_dlms_version_number=5).encode())
    assert Aare.decode(refused(pair, aarq)).user_information == bytes.fromhex("0E010601")


def test_without_counters_an_initiate_error_is_left_out() -> None:
    pair = strict()
    tx = pair.server.profile.setup.key().tx
    while tx.left:
        tx.take()
    assert told(refused(pair, with_initiate(proposed_dlms_version_number=5)(good(pair)))) == Answer(1)


ACCEPTED: list[tuple[str, Change]] = [
    ("version written out", having(protocol_version=b"\x07\x80")),
    ("version among others", having(protocol_version=b"\x06\xc0")),
    ("called title", having(called_ap_title=b"anything")),
    ("called qualifier", having(called_ae_qualifier=b"\0")),
    ("called ids", having(called_ap_invocation_id=1, called_ae_invocation_id=-1)),
    ("calling AP id", having(calling_ap_invocation_id=77)),
    ("calling qualifier", having(calling_ae_qualifier=b"no certificate")),
    ("user without a list", having(calling_ae_invocation_id=200)),
    ("implementation information", having(implementation_information=b"\x04\x01\x41")),
    ("version 7", with_initiate(proposed_dlms_version_number=7)),
    ("no limit of size", with_initiate(client_max_receive_pdu_size=0)),
    ("smallest size", with_initiate(client_max_receive_pdu_size=64)),
    ("quality of service", with_initiate(proposed_quality_of_service=-5)),
    ("general form", with_initiate(style=Style.GENERAL_GLO)),
    ("dedicated key", with_initiate(dedicated_key=DEK)),
    ("challenge of 8", having(calling_authentication_value=bytes(8))),
    ("challenge of 64", having(calling_authentication_value=bytes(64))),
]


@pytest.mark.parametrize(("name", "change"), ACCEPTED, ids=[name for name, _ in ACCEPTED])
def test_what_a_meter_lets_pass(name: str, change: Change) -> None:
    pair = Pair()
    (reply,) = replies(pair.to_meter(change(good(pair)).encode()))
    aare = Aare.decode(reply)
    assert (aare.result, aare.user_diagnostic) == (0, 14)
    assert aare.responding_ap_title == METER_TITLE
    assert (aare.responding_ae_qualifier, aare.responding_ap_invocation_id) == (None, None)
    assert aare.responding_ae_invocation_id is None
    assert aare.user_information is not None
    context = Context(pair.client.profile.setup, METER_TITLE, general=True)
    response = InitiateResponse.decode(unprotect(context, aare.user_information).apdu)
    assert response.negotiated_dlms_version_number == 6
    assert response.vaa_name == 7


@pytest.mark.parametrize("mechanism", [0, 1, 3, 4])
def test_a_title_is_given_only_where_it_is_needed(mechanism: int) -> None:
    pair = Pair(mechanism=mechanism, ciphered=False)
    (reply,) = replies(pair.to_meter(good(pair).encode()))
    aare = Aare.decode(reply)
    assert aare.responding_ap_title is None
    assert aare.user_diagnostic == (14 if mechanism > 1 else 0)
    assert (aare.mechanism_name is None) is (mechanism < 2)
    assert (aare.responding_authentication_value is None) is (mechanism < 2)


@pytest.mark.parametrize("mechanism", [5, 6])
def test_titles_are_needed_for_these_even_in_plain(mechanism: int) -> None:
    pair = Pair(mechanism=mechanism, ciphered=False)
    aarq = good(pair)
    assert told(refused(pair, aarq.replace(calling_ap_title=None))).user == 3
    (reply,) = replies(pair.to_meter(aarq.encode()))
    assert Aare.decode(reply).responding_ap_title == METER_TITLE


@pytest.mark.parametrize("octets", ["60", "6000", "6080", "60FF", "6003A10109", "60038001", "6002BE00"])
def test_an_aarq_that_is_no_ber_gets_an_aare_all_the_same(octets: str) -> None:
    pair = Pair()
    _, reply = pair.to_meter(bytes.fromhex(octets))
    assert isinstance(reply, Reply)
    assert reply.penalty
    assert Aare.decode(reply.octets).result == 1
    assert pair.server.state is State.IDLE
