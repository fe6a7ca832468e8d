"""Single requests signed among others: beyond the policy, for one exchange and its answer."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.association import Associated, Confirmed, Failed
from meterseal.codec.data import Data, Tag
from meterseal.errors import Misuse, TooWeak
from meterseal.security import SIGNED
from meterseal.security.protection import policy_bits
from tests.association.pair import Pair, call, get, put
from tests.association.test_layers import ALL, SEALED, SEED, SIGN_REQUEST, associated_in, pair_in, with_right


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
