"""The gateway prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Malformed, Misuse, Truncated
from meterseal.framing import gateway
from meterseal.framing.gateway import Prefix
from tests.framing.captures import APDU
from tests.mutate import hammer, truncations

SEEDS = [
    gateway.encode(Prefix(True, 0, b"12345678"), APDU),
    gateway.encode(Prefix(False, 7, b""), APDU),
    gateway.encode(Prefix(True, 255, bytes(255)), APDU),
]


def test_layout() -> None:
    assert SEEDS[0] == bytes.fromhex("E60008") + b"12345678" + APDU
    assert Prefix(True, 3, b"12").length == 5
    assert Prefix(True, 3, b"12").answer() == Prefix(False, 3, b"12")


@given(st.booleans(), st.integers(0, 255), st.binary(max_size=255), st.binary(min_size=1))
def test_any_prefix_comes_back(request: bool, network: int, address: bytes, rest: bytes) -> None:
    prefix, apdu = Prefix(request, network, address), b"\xc0" + rest
    assert gateway.decode(gateway.encode(prefix, apdu)) == (prefix, apdu)


def test_E08_a_prefix_in_a_prefix_is_refused() -> None:
    inner = gateway.encode(Prefix(True, 0, b"1"), APDU)
    with pytest.raises(Misuse, match="already"):
        gateway.encode(Prefix(True, 0, b"2"), inner)
    with pytest.raises(Malformed, match="inside"):
        gateway.decode(b"\xe6\x00\x012" + inner)


def test_fields_out_of_range_are_misuse() -> None:
    for prefix in (Prefix(True, 256, b""), Prefix(True, -1, b""), Prefix(True, 0, bytes(256))):
        with pytest.raises(Misuse):
            gateway.encode(prefix, APDU)


def test_other_octets_are_refused() -> None:
    with pytest.raises(Malformed, match="E6 or E7"):
        gateway.decode(APDU)
    with pytest.raises(Truncated, match="APDU"):
        gateway.decode(b"\xe6\x00\x02ab")  # an address and nothing behind it


def test_F01_every_truncation_within_the_prefix_is_truncated() -> None:
    for seed, prefix in truncations(SEEDS):
        if len(prefix) <= len(seed) - len(APDU):
            with pytest.raises(Truncated):
                gateway.decode(prefix)


@pytest.mark.slow
def test_F02_mutated_prefixes() -> None:
    assert {"value", "truncated", "malformed"} == set(hammer(gateway.decode, SEEDS))
