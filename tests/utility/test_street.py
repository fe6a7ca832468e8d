"""End to end in one process: utility, head-end's client, meter; reads, writes, commands, profiles, ACCESS."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from shutil import copytree

import pytest

from meterseal import Call, NotDone, Read, Value, sync
from meterseal.credentials import Credentials, identity
from meterseal.crypto.certificates import Purpose
from meterseal.errors import ConfigurationError, Refused, Withheld
from meterseal.meter import Meter, Party, load_plan, write_credentials
from meterseal.net.memory import blocking_loopback
from meterseal.state import MemoryCounters
from meterseal.utility.blocking import SealedMeter
from tests.meter.world import NOON, Timer
from tests.utility.street import UTILITY, Street, street

SUITES = [0, 1, 2]


def supply_is_off(s: Street) -> bool:
    return not s.meter.plant.connected


@pytest.mark.parametrize("suite", SUITES)
def test_the_utility_reads_and_commands_through_a_head_end(tmp_path: Path, suite: int) -> None:
    with street(tmp_path, suite) as s:
        energy = s.utility.read("1.0.1.8.0.255")
        assert isinstance(energy.value, Decimal) and energy.unit == "Wh"
        assert s.meter.plant.connected
        s.utility.call("70/0.0.96.3.10.255:1")
        assert supply_is_off(s)
        with pytest.raises(Refused):  # the operator itself may not
            s.carrier.call("70/0.0.96.3.10.255:1")
        layers = [layer["kind"] for layer in s.utility.layers]
        assert layers == ["general-ciphering", *["general-signing"] * bool(suite)]
        assert all(layer["verified"] and layer["system_title"] == s.meter.system_title.hex().upper()
                   for layer in s.utility.layers)  # fmt: skip
        assert s.utility.layers[0]["recipient"] == UTILITY.hex().upper()
        assert s.utility.missed == 0


def test_E01_rows_of_a_profile_are_not_in_what_is_carried(tmp_path: Path) -> None:
    with street(tmp_path) as s:
        rows = s.utility.profile("1.0.99.1.0.255", entries=(1, 96))
        assert len(rows) == 96
        carried = b"".join(sealed.octets for sealed in s.passed)
        for row in rows.cells[:8]:
            assert row[2].to_bytes(4, "big") not in carried and row[0] not in carried
        assert all(rows.raw[at : at + 8] not in carried for at in range(0, len(rows.raw) - 8, 8))


def test_writes_and_access_and_what_is_refused(tmp_path: Path) -> None:
    with street(tmp_path, role="manager") as s:
        s.utility.write("1/0.0.96.1.10.255:2", b"MP31", "os")
        assert s.utility.read("1/0.0.96.1.10.255:2").value == b"MP31"
        with pytest.raises(Refused, match="object-undefined"):
            s.utility.read("1/0.0.97.97.0.255:2")  # the manager may, the utility may not
        found = s.utility.access(
            [Read("3/1.0.1.8.0.255:2"), Call("8/0.0.1.0.0.255:1"), Call("70/0.0.96.3.10.255:1")]
        )
        assert isinstance(found[0], Value) and not isinstance(found[2], NotDone)


def test_long_writes_and_long_answers_go_in_sealed_blocks(tmp_path: Path) -> None:
    with street(tmp_path, role="manager", max_pdu=1024) as s:
        s.utility.write("1/0.0.96.1.10.255:2", bytes(range(256)) * 8, "os")
        assert s.utility.read("1/0.0.96.1.10.255:2").value == bytes(range(256)) * 8
        assert len(s.passed) > 8
        assert len({sealed.transaction_id for sealed in s.passed}) == len(s.passed) // 2


def test_E11_a_rogue_with_a_valid_certificate_may_do_nothing(tmp_path: Path) -> None:
    """A client of the meter, known and trusted as such, is no third party: its seal opens nothing."""
    with street(tmp_path) as s:
        rogue = s.other()
        credentials = s.credentials
        manager = credentials.role("manager")

        setup = rogue._session.setup
        setup.own_title = manager.client_system_title or b""
        identity.equip(setup, credentials, manager)

        with pytest.raises(Withheld, match="deciphering-error"):
            rogue.call("70/0.0.96.3.10.255:1")
        assert s.meter.plant.connected


def test_the_same_store_goes_on_counting(tmp_path: Path) -> None:

    with street(tmp_path) as s:
        store, credentials = MemoryCounters(), s.credentials.cut_third_party("utility")
        counters = []
        for _ in range(2):
            with SealedMeter(credentials, s.carrier.forward, counters=store) as utility:
                utility._session._now = s.utility._session._now
                utility.read("3/1.0.1.8.0.255:2")
                utility.read("3/1.0.1.8.0.255:2")
                counters.append(utility._session.counting.counted.rx.lowest)
        assert counters[1] == counters[0] + 2


def test_E02_what_passed_before_a_restart_of_the_meter_does_not_pass_again(tmp_path: Path) -> None:
    """The floor of a third party is on disk before its command is done, and holds after a kill."""
    with street(tmp_path, state=tmp_path / "state") as s:
        s.utility.call("70/0.0.96.3.10.255:1")
        kept = s.passed[0]
        copied = tmp_path / "copied"
        copytree(tmp_path / "state", copied)  # as a kill would leave it
    with street(tmp_path, state=copied) as again:
        assert supply_is_off(again)
        again.meter.plant.take_supply(again.meter.plant.supply_record(True))
        with pytest.raises(Refused, match="deciphering-error"):
            again.carrier.forward(kept)
        assert not supply_is_off(again)
        other = again.other()
        other._session._now = s.utility._session._now
        other._session.counting._start = again.meter.thirds["utility"].fresh.rx.lowest
        assert other.read("3/1.0.1.8.0.255:2").raw


def test_a_third_party_whose_certificate_was_removed_is_one_no_more(tmp_path: Path) -> None:
    with street(tmp_path) as s:
        s.utility.read("3/1.0.1.8.0.255:2")
        pairs = s.meter.pairs
        assert pairs is not None
        certificate = pairs.trust.find(UTILITY, Purpose.SIGNATURE)
        assert certificate is not None
        pairs.remove(certificate)
        s.meter.pairs_changed()
        with pytest.raises(Withheld):
            s.utility.read("3/1.0.1.8.0.255:2")


def test_E11_the_utility_of_preset_suite0_is_off_until_both_ends_switch_it_on(tmp_path: Path) -> None:
    """The preset as it is: the extension is no part of the standard, so nobody has it unasked."""
    meter = Meter(load_plan("suite0"), wall=lambda: float(NOON))
    write_credentials(meter, tmp_path / "meter.toml", "tcp://127.0.0.1:1")
    whole = Credentials.load(tmp_path / "meter.toml")
    off = whole.cut_third_party("utility")
    with pytest.raises(ConfigurationError, match="third_party_wrapped_key"):
        SealedMeter(off, lambda sealed: sealed, counters=MemoryCounters())
    here = replace(off.third_party(), peer=frozenset({"third_party_wrapped_key"}))
    line = blocking_loopback(Party(meter, Timer()).session)
    with (
        sync.link(credentials=whole.cut("operator"), counters=MemoryCounters(), line=line) as link,
        link.associate("operator") as carrier,
    ):
        one_sided = replace(off, third_parties={"utility": here})
        utility = SealedMeter(one_sided, carrier.forward, counters=MemoryCounters())
        with pytest.raises(Withheld, match="deciphering-error"):
            utility.read("3/1.0.1.8.0.255:2")
    meter.close()
