"""Single requests signed among others: beyond the policy, for one exchange and its answer."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.apdu import services
from meterseal.apdu.initiate import ExceptionResponse
from meterseal.association import Associated, Confirmed, Failed, State
from meterseal.association.proving import REPLYING
from meterseal.codec.data import Data, Tag
from meterseal.errors import Misuse, Refused, TooWeak
from meterseal.security import SIGNED, Style, protect
from meterseal.security.protection import policy_bits
from tests.association.line import METHOD
from tests.association.pair import TO_METER, Pair, call, get, put
from tests.association.test_layers import (
    ALL,
    SEALED,
    SEED,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    associated_in,
    pair_in,
    with_right,
)


@pytest.mark.parametrize("form", ["", "identified", "one-pass"])
def test_one_request_signed_among_others(form: str) -> None:
    """Beyond the policy, for one exchange and its answer; the next one goes as before."""
    pair = with_right(associated_in(form), 1 | SIGN_REQUEST)
    seen: list[int] = []
    check = pair.client._check_protection

    def noted(opened: Any) -> None:
        seen.append(opened.applied)
        check(opened)

    pair.client._check_protection = noted  # type: ignore[method-assign]
    for added, code in ((0, 0x0D), (SIGNED, 0), (0, 0x0D), (SIGNED, 0)):
        (found,) = pair.run(pair.client.request([call()], added=added))
        assert isinstance(found, Confirmed) and found.outcomes[0].code == code
    assert seen == [SEALED, ALL, SEALED, ALL]
    assert len(pair.plant.done) == 2


def test_a_long_request_signed_among_others() -> None:
    long = Data.of(bytes(3000), Tag.OCTET_STRING)
    pair = associated_in(client={"max_pdu": 900}, server={"max_pdu": 900})
    pair.view.rights[False, 8, put(long).instance, 2] = 3 | SIGN_REQUEST
    assert pair.outcomes(put(long))[0].code == 0x0D
    (found,) = pair.run(pair.client.request([put(long)], added=SIGNED))
    assert isinstance(found, Confirmed) and found.outcomes[0].code == 0
    assert all(len(octets) <= 900 for _, octets in pair.wire[2:])


def test_A19_no_answer_grows_beyond_what_the_client_takes_by_its_layers() -> None:
    """Not even one that says no more than that there is no such transfer: it is told without them."""
    pair = associated_in(client={"max_pdu": 128})
    for message in (
        services.ActionRequestNormal(0xC1, METHOD, None),
        services.GetRequestNext(0xC1, 1),
        services.ActionRequestNextPblock(0xC1, 1),
    ):
        octets = protect(pair.client.context, message.encode(), ALL, Style.GENERAL_GLO)
        pair.run(pair.to_meter(octets), "meter")
    assert pair.sent("meter")[-3:] == [ExceptionResponse(1, 4).encode()] * 3
    assert pair.plant.done == [], "better nothing than something of which nobody can be told"


def test_what_a_signed_request_needs() -> None:
    pair = pair_in()
    pair.run(pair.client.associate(bytes(range(16))))
    with pytest.raises(Misuse, match="8 random octets"):
        pair.client.request([call()], added=SIGNED)
    assert pair.outcomes(get())[0].code == 0
    plain = Pair(suite_id=1, ciphered=False, mechanism=7)
    plain.sign_on()
    with pytest.raises(Misuse, match="without ciphering"):
        plain.client.request([call()], added=SIGNED)


def test_B20_unsigned_answers() -> None:
    """A signed request answered unsigned: too weak, but for a peer that is known to sign nothing."""
    odd = {"options": frozenset({"unsigned_answers"})}
    for more, by_policy in ((None, False), (None, True), (odd, False), (odd, True)):
        policy = policy_bits(ALL, ALL) if by_policy else policy_bits(SEALED, SEALED)
        pair = pair_in(policy=policy, client=more or {})
        pair.server.profile.setup.policy = policy_bits(SEALED, SEALED)
        pair.server.profile.setup.signing = None
        found = pair.run(pair.client.associate(bytes(range(16)), SEED))
        if isinstance(found[0], Associated):
            found = pair.run(pair.client.request([call()], added=SIGNED))
        if more is None:
            assert isinstance(found[0], Failed) and isinstance(found[0].error, TooWeak)
        else:
            assert isinstance(found[0], Confirmed) and found[0].outcomes[0].code == 0


@pytest.mark.parametrize("mechanism", [5, 7])
@pytest.mark.parametrize("form", ["", "identified", "one-pass"])
def test_B16_pass_3_is_signed_where_the_right_to_it_says_so(form: str, mechanism: int) -> None:
    """reply_to_HLS_authentication is a method with a right like any other, both ways."""
    for asked, signs, stands, answered in (
        (0, False, True, SEALED),
        (SIGN_REQUEST, False, False, SEALED),
        (SIGN_REQUEST, True, True, ALL),
        (SIGN_REQUEST | SIGN_RESPONSE, True, True, ALL),
        (SIGN_RESPONSE, False, True, ALL),
    ):
        pair = pair_in(form, mechanism=mechanism)
        pair.view.rights[True, REPLYING.class_id, REPLYING.instance, REPLYING.member] = 1 | asked
        pair.client.profile.signs_proof = signs
        seen: list[int] = []
        check = pair.client._check_protection

        def noted(opened: Any, check: Any = check, seen: list[int] = seen) -> None:
            seen.append(opened.applied)
            check(opened)

        pair.client._check_protection = noted  # type: ignore[method-assign]
        challenge = bytes(range(pair.client.profile.scheme.drawn))
        (found,) = pair.run(pair.client.associate(challenge, SEED))
        assert seen == [answered]
        if stands:
            assert found == Associated(None)
            # And what comes after goes as the policy says.
            assert pair.outcomes(get())[0].code == 0
            assert pair.sent(TO_METER)[-1][0] == (0xDD if form else 0xC8) and SIGNED & ~sum(seen[1:])
        else:
            assert isinstance(found, Failed) and isinstance(found.error, Refused)
            assert found.error.code == 0x0D and pair.server.state is State.IDLE


def test_a_context_without_ciphering_carries_no_signed_proof() -> None:
    plain = Pair(suite_id=1, ciphered=False, mechanism=7)
    plain.client.profile.signs_proof = True
    (found,) = plain.sign_on()
    assert isinstance(found, Failed) and isinstance(found.error, Misuse)


@pytest.mark.parametrize("bits", [SIGN_RESPONSE, SEALED << 5, 0x20, 0x40])
def test_B20_a_right_that_no_answer_here_can_keep_to_is_none(bits: int) -> None:
    """Without ciphering, or in suite 0 without a signature: refused, and not answered with less."""
    plain = Pair(suite_id=1, ciphered=False, mechanism=7)
    bare = Pair(suite_id=0)
    for pair in (plain, bare):
        pair.sign_on()
        keeps = pair is bare and not bits & SIGN_RESPONSE
        pair.view.rights[False, 3, get().instance, 2] = 3 | bits
        pair.view.rights[True, 70, call().instance, 1] = 1 | bits
        codes = [pair.outcomes(one)[0].code for one in (get(), call())]
        assert codes == [0 if keeps else 0x0D] * 2
        assert len(pair.plant.done) == keeps
