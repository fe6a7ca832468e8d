"""Sealed exchanges past a client that takes little at once: whole by blocks; errors for who asked alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.association import DEFAULT_CONFORMANCE
from meterseal.association.base import ACSE_TAGS
from meterseal.association.profile import BLOCKS
from meterseal.client.plan import make_plan
from meterseal.errors import Refused, Withheld
from tests.utility.street import Street, street

PROFILE, ROWS = "1.0.99.1.0.255", 96
NO_BLOCKS = """
[roles.operator]
services = ["general-protection", "get", "set", "action", "selective-access", "multiple-references"{more}]
"""
_SERVICE_BLOCKS = ', "block-transfer-with-get-or-read"'


def longest(s: Street) -> int:
    """Octets of the longest APDU that has come to the client, without the sign-on's certificates."""
    return max(len(octets) for octets in s.came if octets[0] not in ACSE_TAGS)


@pytest.mark.parametrize(("suite", "size"), [(0, 128), (1, 300), (2, 128)])
def test_a_large_profile_comes_whole_through_a_small_client(tmp_path: Path, suite: int, size: int) -> None:
    with street(tmp_path, suite, max_pdu=size) as s:
        rows = s.utility.profile(PROFILE, entries=(1, ROWS))
        assert len(rows) == ROWS
        assert longest(s) <= size
        kinds = [layer["kind"] for layer in s.utility.layers]
        assert kinds == ["general-ciphering", *["general-signing"] * bool(suite)]
        assert s.utility.missed == 0
        s.utility.call("70/0.0.96.3.10.255:1")
        assert not s.meter.plant.connected


def test_a_large_profile_in_sealed_blocks_of_the_service(tmp_path: Path) -> None:
    """No general block transfer at the meter: each block is sealed for itself, and asked for by who reads."""
    more = NO_BLOCKS.format(more=_SERVICE_BLOCKS)
    with street(tmp_path, 0, max_pdu=300, more=more) as s:
        rows = s.utility.profile(PROFILE, entries=(1, ROWS))
        assert len(rows) == ROWS and longest(s) <= 300
        assert len(s.passed) > 2 * 5


def test_E05_an_answer_that_is_too_long_is_told_to_who_asked_alone(tmp_path: Path) -> None:
    """No blocks of any form: the head-end sees one more sealed answer, and not what was wrong with it."""
    with street(tmp_path, 1, max_pdu=700, more=NO_BLOCKS.format(more="")) as s:
        with pytest.raises(Refused) as caught:
            s.utility.profile(PROFILE, entries=(1, ROWS))
        assert caught.value.reason == "pdu-too-long" and caught.value.authenticated
        assert s.passed[-1].originator == s.meter.system_title
        assert s.utility.read("3/1.0.1.8.0.255:2").raw  # the exchange is over, the next one works


def test_nothing_is_done_of_which_nobody_could_be_told(tmp_path: Path) -> None:
    """No sealed answer fits, and no blocks were agreed: refused by its size, before the switch is thrown."""
    with street(tmp_path, 1, max_pdu=128, more=NO_BLOCKS.format(more=_SERVICE_BLOCKS)) as s:
        with pytest.raises(Withheld):
            s.utility.call("70/0.0.96.3.10.255:1")
        assert s.meter.plant.connected
        assert s.carrier.read("8/0.0.1.0.0.255:2").raw


def test_only_small_clients_ask_for_blocks_unasked(tmp_path: Path) -> None:
    with street(tmp_path, 0) as s:
        for role, size, asked in (("operator", 511, True), ("operator", 512, False), ("public", 128, False)):
            profile = make_plan(s.credentials, role, {"max_pdu": size}).profile(None, None)
            assert profile.proposed == DEFAULT_CONFORMANCE | (BLOCKS if asked else 0)
