"""Rights and policies: bits, words, and the encodings of older versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.cosem import rights as r
from meterseal.errors import Malformed, Misuse

octets = st.integers(0, 255)


@pytest.mark.parametrize("required", range(8))
@pytest.mark.parametrize("applied", range(8))
def test_more_is_accepted_and_less_is_not(applied: int, required: int) -> None:
    assert r.satisfies(applied, required) == all(applied & bit for bit in (1, 2, 4) if required & bit)


@given(octets)
def test_words_lead_back(bits: int) -> None:
    assert r.parse(r.text(bits)) == bits
    method = bits & ~r.WRITE
    assert r.parse(r.text(method, method=True), method=True) == method


def test_words() -> None:
    assert r.text(0) == r.text(0, method=True) == "none"
    assert r.text(0b01100101) == "read auth-request auth-response enc-response"
    assert r.text(0b00010001, method=True) == "access sign-request"
    for words, method in (("fly", False), ("access", False), ("read", True), ("write", True)):
        with pytest.raises(Misuse):
            r.parse(words, method=method)


def test_attribute_modes_of_every_version() -> None:
    plain, locked = r.READ | r.WRITE, r.READ | r.AUTH_REQUEST
    assert [r.attribute_mode(plain, version) for version in range(4)] == [3, 3, 3, 3]
    assert [r.attribute_mode(locked, version) for version in range(4)] == [1, 4, 4, 5]
    assert r.attribute_mode(r.AUTH_REQUEST, 1) == 0
    for version, top in ((0, 3), (1, 6), (2, 6), (3, 255)):
        for mode in range(top + 1):
            assert r.attribute_mode(r.attribute_bits(mode, version), version) == mode
        for mode in (-1, top + 1):
            with pytest.raises(Malformed):
                r.attribute_bits(mode, version)


def test_method_modes_of_every_version() -> None:
    locked = r.ACCESS | r.AUTH_REQUEST
    assert [r.method_mode(locked, version) for version in range(4)] == [True, 2, 2, 5]
    assert type(r.method_mode(locked, 0)) is bool
    assert r.method_mode(0xFF, 3) == 0xFD
    assert r.method_mode(r.AUTH_REQUEST, 2) == 0
    for version, top in ((0, 1), (1, 2), (2, 2)):
        for mode in range(top + 1):
            assert r.method_mode(r.method_bits(mode, version), version) == mode
        with pytest.raises(Malformed):
            r.method_bits(top + 1, version)
    for call in (r.attribute_mode, r.attribute_bits, r.method_mode, r.method_bits):
        with pytest.raises(Misuse):
            call(0, 4)


@given(octets)
def test_an_old_version_never_reports_a_right_that_is_not_there(bits: int) -> None:
    for version in range(4):
        seen = r.attribute_bits(r.attribute_mode(bits, version), version)
        assert seen & (r.READ | r.WRITE) == bits & (r.READ | r.WRITE)
        called = r.method_bits(r.method_mode(bits, version), version)
        assert called & r.ACCESS == bits & r.ACCESS


def test_policies_of_both_versions() -> None:
    assert [r.policy_from_wire(policy, 0) for policy in range(4)] == [0, 0x24, 0x48, 0x6C]
    for policy in range(4):
        assert r.policy_to_wire(r.policy_from_wire(policy, 0), 0) == policy
    assert r.policy_to_wire(0x24, 1) == 0x24
    for policy, version in ((4, 0), (1, 1), (2, 1), (256, 1), (0, 2)):
        with pytest.raises(Malformed):
            r.policy_from_wire(policy, version)
    for bits, version in ((0x04, 0), (0x94, 0), (0, 2)):
        with pytest.raises(Misuse):
            r.policy_to_wire(bits, version)


@given(octets, octets)
def test_activation_may_only_add(old: int, new: int) -> None:
    assert r.strengthens(old, new) == (old & new == old)
