"""Peer options: each name has a strict value and the one of such a peer, as files give them."""

from __future__ import annotations

import pytest

from meterseal.errors import ConfigurationError, Misuse
from meterseal.security.options import PEER_OPTIONS, peer_options, toml


@pytest.mark.parametrize("name", PEER_OPTIONS)
def test_each_of_its_two_values_and_no_other(name: str) -> None:
    option = PEER_OPTIONS[name]
    assert option.read(option.deviation) is True
    assert option.read(option.strict) is False
    wanted = f"{toml(option.deviation)} or {toml(option.strict)} is wanted"
    for wrong in (None, 0, 1, "", "yes", [option.strict], 1.0):
        with pytest.raises(Misuse, match=wanted):
            option.read(wrong)


def test_values_as_files_have_them() -> None:
    assert [toml(value) for value in (True, False, "as-printed")] == ["true", "false", '"as-printed"']


def test_options_by_name_only() -> None:
    assert peer_options(["ak_in_use", "ak_in_use"]) == {"ak_in_use"}
    assert peer_options([]) == frozenset()
    with pytest.raises(ConfigurationError, match=r"no peer option 'akinuse'; there are .*prefers_gbt"):
        peer_options(["plain_release", "akinuse"])
