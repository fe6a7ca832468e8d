"""Who signs on: passwords, users, titles, dedicated keys."""

from __future__ import annotations

import pytest

from meterseal.apdu import acse
from meterseal.apdu.acse import Aare
from meterseal.association import Associated, Refusal
from meterseal.security import AUTHENTICATED, ENCRYPTED
from tests.association.pair import (
    CLIENT_TITLE,
    DEK,
    METER_TITLE,
    PASSWORD,
    Pair,
    associated,
    get,
    replies,
    single,
)
from tests.association.test_signon import INITIATE, SECRET, USERS, Sealer, good, refused, told, with_initiate

# --- passwords and users ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"", b"1234567", b"12345679", b"123456789", PASSWORD.swapcase() + b"\0"])
def test_a_wrong_password_is_refused(value: bytes) -> None:
    pair = Pair(mechanism=1, ciphered=False)
    assert told(refused(pair, good(pair).replace(calling_authentication_value=value))) == SECRET


def test_the_right_password_opens() -> None:
    pair = associated(mechanism=1, ciphered=False)
    assert pair.server.user is None


def test_no_password_is_told() -> None:
    pair = Pair(mechanism=1, ciphered=False)
    assert told(refused(pair, good(pair).replace(calling_authentication_value=None))).user == 14


@pytest.mark.parametrize("user", [5, 6])
def test_the_user_is_known_to_the_rights(user: int) -> None:
    pair = associated(client={"user": user}, server={"users": lambda: USERS})
    assert [e for _, e in pair.events if isinstance(e, Associated)] == [Associated(user)] * 2
    pair.outcomes(get())
    assert pair.view.asked[-1][1] == user
    pair.release()
    assert pair.server.user is None


def test_without_a_list_nobody_is_taken_for_a_user() -> None:
    pair = associated(client={"user": 5})
    assert pair.server.user is None


def test_core_A20_dedicated_keys_are_for_one_association() -> None:
    pair = associated(client={"dedicated_key": DEK})
    pair.release()
    fresh = Pair(
        client={"dedicated_key": DEK}, server={"dedicated_before": pair.server.profile.dedicated_before}
    )
    assert told(refused(fresh, good(fresh))) == SECRET


@pytest.mark.parametrize("applied", [0, AUTHENTICATED, ENCRYPTED])
def test_core_A20_a_dedicated_key_needs_an_initiate_that_hides_and_proves_it(applied: int) -> None:
    pair = Pair(policy=0)
    assert told(refused(pair, with_initiate(applied, dedicated_key=DEK)(good(pair)))) == SECRET


def test_a_ciphered_initiate_has_no_place_in_a_plain_context() -> None:
    pair = Pair(mechanism=0, ciphered=False)
    aarq = good(pair).replace(user_information=Sealer()(INITIATE.encode()))
    assert told(refused(pair, aarq)) == SECRET


@pytest.mark.parametrize(
    ("title", "cause"),
    [(METER_TITLE, "the meter's own system title"), (b"MSLHES02", "not the one of this Security setup")],
)
@pytest.mark.parametrize("mechanism", [0, 3, 5])
def test_a_wrong_title_is_wrong_even_where_nothing_is_sealed(
    mechanism: int, title: bytes, cause: str
) -> None:
    pair = Pair(mechanism=mechanism, policy=0)
    effects = pair.to_meter(good(pair).replace(calling_ap_title=title).encode())
    assert cause in str(single(effects, Refusal).error)


def test_a_meter_may_learn_the_title_of_its_client() -> None:
    pair = Pair()
    pair.server.profile.setup.peer_title = None
    pair.server.end()
    assert pair.sign_on() == [Associated(None)]
    assert pair.server.context.peer_title == CLIENT_TITLE


def test_the_lowest_mechanism_may_be_named_and_asks_for_no_unit() -> None:
    pair = Pair(mechanism=0)
    (reply,) = replies(pair.to_meter(good(pair).replace(mechanism_name=acse.mechanism_name(0)).encode()))
    assert Aare.decode(reply).result == 0
