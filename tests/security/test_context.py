"""Contexts, protection words and peer options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import GcmKey
from meterseal.errors import ConfigurationError, KeyLength, UnknownKey
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import PEER_OPTIONS, KeyInUse, peer_options
from meterseal.security.protection import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    from_text,
    of_control,
    of_request,
    of_response,
    policy_bits,
    text,
)
from tests.security.keys import DEK, EK, context


@pytest.mark.parametrize("length", [0, 1, 8, 15, 17, 24, 32])
def test_a_dedicated_key_has_the_length_of_the_suite(length: int) -> None:
    c = context(dedicated=False)
    with pytest.raises(KeyLength, match=f"{length} octets, the suite has 16"):
        c.set_dedicated(bytes(length))
    assert c.dedicated is None


def test_a_dedicated_key_is_not_the_global_key() -> None:
    c = context(dedicated=False)
    with pytest.raises(UnknownKey, match="is the global key"):
        c.set_dedicated(EK)
    assert c.dedicated is None


def test_G08_a_dedicated_key_is_not_blank() -> None:
    c = context(dedicated=False)
    with pytest.raises(UnknownKey, match="all zeros"):
        c.set_dedicated(bytes(16))
    assert c.dedicated is None


def test_a_dedicated_key_has_counters_of_its_own_and_dies() -> None:
    c = context(dedicated=False)
    made = c.set_dedicated(DEK)
    assert made is c.dedicated
    assert (made.tx.take(), made.rx.lowest) == (0, 0)
    c.exclusive_dedicated = True
    c.drop_dedicated()
    left: object = c.dedicated
    assert (left, c.exclusive_dedicated) == (None, False)
    with pytest.raises(UnknownKey, match="destroyed"):
        made.handle.seal(0x30, bytes(12), b"x")
    c.drop_dedicated()


def test_a_key_is_kept_on_disk_under_its_name_or_not_at_all() -> None:
    counted = SendCounter.unlimited(), ReceiveCounter()
    assert KeyInUse(GcmKey(EK), *counted, "name").key_id == "name"
    assert KeyInUse(GcmKey(EK), *counted).key_id == ""


@given(st.integers(0, 7), st.integers(0, 7))
def test_policy_bits_hold_both_directions(request: int, response: int) -> None:
    bits = policy_bits(request, response)
    assert (of_request(bits), of_response(bits)) == (request, response)
    assert bits & 3 == 0
    assert bits <= 0xFF


def test_the_scale_of_the_standard() -> None:
    """security 14: request 4 authenticated, 8 encrypted, 16 signed; response 32, 64, 128."""
    assert policy_bits(AUTHENTICATED, 0) == 4
    assert policy_bits(ENCRYPTED, 0) == 8
    assert policy_bits(SIGNED, 0) == 16
    assert policy_bits(0, AUTHENTICATED | ENCRYPTED | SIGNED) == 32 + 64 + 128
    assert [of_control(sc) for sc in (0x00, 0x10, 0x20, 0x30, 0x71, 0xB2)] == [0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize("bits", range(8))
def test_words_come_back(bits: int) -> None:
    assert from_text(text(bits)) == bits


@pytest.mark.parametrize("words", ["", "authenticated+", "Encrypted", "none+encrypted", "secure"])
def test_other_words_are_refused_by_name(words: str) -> None:
    with pytest.raises(ConfigurationError, match="is none of authenticated, encrypted, signed"):
        from_text(words)


def test_peer_options_by_name_only() -> None:
    assert peer_options([]) == frozenset()
    assert peer_options(["plain_release"]) == {"plain_release"}
    with pytest.raises(ConfigurationError, match="no peer option 'plain-release'"):
        peer_options(["plain_release", "plain-release"])
    assert all(PEER_OPTIONS.values())


def test_every_change_of_a_setup_is_counted_and_nothing_else() -> None:
    c = context()
    changes = c.setup.changes
    before = changes.number
    for at, (name, value) in enumerate({"policy": 4, "peer_title": None, "unicast": None}.items(), 1):
        setattr(c.setup, name, value)
        assert changes.number == before + at
    c.peer_title = None
    assert changes.number == before + 3


@pytest.mark.parametrize("policy", [0x6C, 0x04, 0xFC, 0x00])
def test_what_a_policy_asks_follows_it(policy: int) -> None:
    setup = context().setup
    setup.policy = policy
    assert setup.asks_of_request == of_request(policy)
    assert setup.asks_of_response == of_response(policy)


def test_which_key_is_missing_is_said_by_its_name() -> None:
    setup = context().setup
    for ask, name in (
        (setup.signing_key, "this end has no digital signature key"),
        (setup.agreement_key, "this end has no key agreement key"),
        (lambda: setup.verifying_key(b"MSLHES01"), "no signature key of 4D534C4845533031 is known here"),
        (
            lambda: setup.agreement_point(b"MSLHES01"),
            "no key agreement key of 4D534C4845533031 is known here",
        ),
    ):
        with pytest.raises(UnknownKey, match=f"^{name}$"):
            ask()


def test_protection_in_words() -> None:
    for bits, words in ((0, "none"), (1, "authenticated"), (3, "authenticated+encrypted"), (4, "signed")):
        assert text(bits) == words and from_text(words) == bits
