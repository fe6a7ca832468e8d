"""Third parties: what a client does not carry, and what a meter does not take from one, each by its cause."""

from __future__ import annotations

import pytest

from meterseal.apdu import services as s
from meterseal.apdu.common import ResultCode
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Failed, Reply, State, conformance
from meterseal.association.accessing import identity
from meterseal.association.profile import DEFAULT_CONFORMANCE
from meterseal.errors import Forged, Misuse, ProtocolViolation, Refused, TooLarge, TooWeak, Unsupported
from meterseal.security import AUTHENTICATED, ENCRYPTED, Style, protect
from meterseal.security.protection import policy_bits, text
from tests.association.pair import (
    CLOCK,
    DEK,
    READ,
    REGISTER,
    SMALL,
    SWITCH,
    TO_CLIENT,
    TO_METER,
    View,
    octet_string,
)
from tests.association.pair import get as own_get
from tests.association.thirds import BOTH, CHALLENGE, TRANSACTION, Carrier, carrier, get, switch


def test_one_request_at_a_time() -> None:
    pair = carrier()
    pair.tap = lambda direction, octets: []
    pair.run(pair.client.forward(pair.seal(get())))
    with pytest.raises(Misuse, match="under way"):
        pair.client.forward(pair.seal(get(), b"2"))
    with pytest.raises(Misuse, match="under way"):
        pair.client.request((own_get(),))


def test_only_in_an_association() -> None:
    pair = Carrier()
    with pytest.raises(Misuse, match="not associated"):
        pair.client.forward(pair.seal(get()))


def test_without_general_protection_nothing_sealed_is_carried() -> None:
    pair = carrier(client={"conformance": DEFAULT_CONFORMANCE & ~conformance("general-protection")})
    before = pair.client_state()
    with pytest.raises(Unsupported, match="general protection was not negotiated"):
        pair.client.forward(pair.seal(get()))
    assert pair.client_state() == before


def test_what_the_meter_does_not_take_at_once_is_not_sent() -> None:
    pair = carrier(server={"max_pdu": 200})
    before = pair.client_state()
    with pytest.raises(TooLarge, match=r"\d+ sealed octets, and the meter takes \d+ at once"):
        pair.client.forward(pair.seal(get()))
    assert pair.client_state() == before and pair.client.state is State.ASSOCIATED


def test_B09_an_answer_that_is_not_sealed_ends_the_request() -> None:
    pair = carrier()
    bare = s.GetResponseNormal(0xC1, ResultCode(3)).encode()

    def tap(direction: str, octets: bytes) -> list[bytes]:
        return [octets] if direction == TO_METER else [protect(pair.server.context, bare, BOTH, Style.GLO)]

    pair.tap = tap
    (effect,) = pair.run(pair.client.forward(pair.seal(get())))
    assert isinstance(effect, Failed) and isinstance(effect.error, ProtocolViolation)
    assert pair.client.state is State.ASSOCIATED


WITHOUT_BLOCKS = {"conformance": DEFAULT_CONFORMANCE & ~conformance("block-transfer-with-get-or-read")}


@pytest.mark.parametrize("suite_id", [0, 1])
def test_E05_an_answer_too_long_for_who_carries_is_told_to_who_asked_alone(suite_id: int) -> None:
    """No blocks of any form: what went wrong comes back sealed, and the next exchange works."""
    pair = carrier(suite_id, client={"max_pdu": 700}, server=WITHOUT_BLOCKS)
    pair.plant.values[REGISTER, 2] = octet_string(bytes(800)).raw
    told = pair.opened(pair.carry(pair.seal(get())))
    assert told == ExceptionResponse(1, 4)  # not allowed: the PDU is too long
    (refusal,) = pair.refusals
    assert isinstance(refusal.error, TooLarge) and refusal.during == "a request of a third party"
    assert pair.opened(pair.carry(pair.seal(get(3), b"2"))).result.data.raw == SMALL.raw


@pytest.mark.parametrize(
    ("policy", "client", "tag", "spare"),
    [
        (policy_bits(BOTH, BOTH), {}, 0xDB, 9),
        (policy_bits(BOTH, BOTH), {"dedicated_key": DEK}, 0xDC, 9),
        (policy_bits(BOTH, BOTH), {"general": True}, 0xDB, 9),
        (0, {}, 0xDD, 7),
        (policy_bits(BOTH, BOTH), {"layers": "identified"}, 0xDD, 70),  # as if key-info were at its longest
    ],
)
def test_F11_a_sealed_answer_goes_whole_where_the_carrier_takes_it_so(
    policy: int, client: dict[str, object], tag: int, spare: int
) -> None:
    """Around the seal is what the carrier's association has: never above its size, nor much below it."""
    size = 600
    pair = carrier(0, policy=policy, client={**client, "max_pdu": size})
    below, above, longest = 300, size, b""
    while below + 1 < above:
        length = (below + above) // 2
        pair.plant.values[REGISTER, 2] = octet_string(bytes(length)).raw
        answer = pair.opened(pair.carry(pair.seal(get(), length.to_bytes(8, "big"))))
        sent = pair.sent(TO_CLIENT)[-1]
        assert sent[0] == tag and len(sent) <= size
        if isinstance(answer, s.GetResponseNormal):
            below, longest = length, sent
        else:
            above = length
    assert size - spare < len(longest) <= size


def test_E05_nothing_is_done_of_which_nobody_could_be_told() -> None:
    """No sealed answer fits, and by blocks it does not go: the switch is not thrown."""
    pair = carrier(1, client={"max_pdu": 128})
    error = pair.refused(pair.seal(switch()))
    assert isinstance(error, Refused) and error.reason == "pdu-too-long" and not error.authenticated
    (refusal,) = pair.refusals
    assert isinstance(refusal.error, TooLarge) and "128 octets, and not by blocks" in str(refusal.error)
    assert not pair.plant.done
    assert pair.outcomes(own_get())[0].data == SMALL.raw


def test_what_is_sealed_is_known_by_its_exchange() -> None:
    assert identity(Carrier().seal(get())) == TRANSACTION


def test_A05_a_third_party_does_not_finish_a_clients_sign_on() -> None:
    """Its request comes before the client's proof: refused to it, and the client may still go on."""
    pair = Carrier()
    pair.tap = lambda direction, octets: [octets] if octets[0] in (0x60, 0x61) else []
    pair.run(pair.client.associate(CHALLENGE[: pair.client.profile.scheme.drawn], bytes(8)))
    assert pair.server.state is State.PENDING
    carried = protect(pair.client.context, pair.seal(switch()).octets, BOTH, Style.GENERAL_GLO)
    sent = len(pair.sent(TO_CLIENT))
    pair.tap = lambda direction, octets: [octets] if direction == TO_METER else []
    pair.run([Reply(carried)])
    (refusal,) = pair.refusals
    assert isinstance(refusal.error, ProtocolViolation) and "not for third parties" in str(refusal.error)
    assert len(pair.sent(TO_CLIENT)) == sent + 1
    after: object = pair.server.state
    assert after is State.PENDING and not pair.plant.done


@pytest.mark.parametrize("applied", [AUTHENTICATED, ENCRYPTED])
def test_E02_what_whoever_carries_it_could_read_or_change_is_not_opened(applied: int) -> None:
    pair = carrier(1)
    weak = protect(pair.utility, switch(), applied, Style.LAYERED, pair.layers()[:1])
    pair.tap = lambda direction, octets: [octets] if direction == TO_METER else []
    pair.run([Reply(protect(pair.client.context, weak, BOTH, Style.GENERAL_GLO))])
    (refusal,) = pair.refusals
    error = refusal.error
    assert isinstance(error, Forged) and isinstance(error.__cause__, TooWeak)
    assert f" is only {text(applied)}" in str(error) or f" only {text(applied)}, a third" in str(error)
    assert not pair.plant.done


def test_B19_a_right_of_the_third_party_may_ask_for_its_own_signature() -> None:
    pair = carrier(1, signed=False)
    pair.limits.rights[(True, 70, SWITCH, 1)] = 1 | 16
    assert pair.opened(pair.carry(pair.seal(switch()))).outcome.result == 0x0D
    assert not pair.plant.done


def test_E11_what_the_association_may_only_when_it_carries() -> None:
    """Rights of its own for what it carries: not for the client itself, and not beyond the third party's."""
    pair = carrier()
    member = (False, 8, CLOCK, 2)
    pair.view.rights[member], pair.limits.rights[member] = 0, READ
    extra = View()
    extra.rights[member] = READ
    assert pair.opened(pair.carry(pair.seal(get(2, CLOCK, 8)))).result.code == 3
    pair.third.extra = extra
    assert pair.opened(pair.carry(pair.seal(get(2, CLOCK, 8), b"2"))).result.data.raw == SMALL.raw
    assert pair.outcomes(own_get(CLOCK, 2, 8))[0].code == 3
    pair.limits.rights[member] = 0
    assert pair.opened(pair.carry(pair.seal(get(2, CLOCK, 8), b"3"))).result.code == 3


def test_E11_rights_of_its_own_are_joined_with_those_that_it_adds() -> None:
    """A right to read and one to read with a signature: what both ask for is asked for."""
    pair = carrier(1, signed=False)
    member = (True, 70, SWITCH, 1)
    pair.limits.rights[member] = 1
    pair.view.rights[member] = 1 | 16
    extra = View()
    extra.rights[member] = 1
    pair.third.extra = extra
    assert pair.opened(pair.carry(pair.seal(switch()))).outcome.result == 0x0D
    pair.view.rights[member], extra.rights[member] = 0, None
    assert pair.opened(pair.carry(pair.seal(switch(), b"2"))).outcome.result == 3
    pair.view.rights[member], extra.rights[member] = None, 1
    assert pair.opened(pair.carry(pair.seal(switch(), b"3"))).outcome.result == 0
