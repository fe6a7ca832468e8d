"""E01 on the routes that pass no API: what a head-end sees of class 30, of its answers and of its errors."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from meterseal.errors import Refused
from tests.utility.test_protected import protecting


def test_E01_rows_of_a_profile_are_not_in_what_a_head_end_calls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Parameters, values, answers, refusals and the log of who calls: 0 hits."""
    with caplog.at_level(logging.DEBUG), protecting(tmp_path) as here:
        rows = here.utility.profile("1.0.99.1.0.255", entries=(1, 48))
        energy = here.utility.read("3/1.0.1.8.0.255:2")
        with pytest.raises(Refused):
            here.utility.read("3/1.0.99.99.0.255:2")
        seen = b"".join(data + (answer or b"") for _, data, answer in here.calls)
        seen += caplog.text.encode()
    assert len(rows) == 48
    canaries = [rows.raw[at : at + 12] for at in range(0, len(rows.raw) - 12, 12)]
    canaries += [row[2].to_bytes(4, "big") for row in rows.cells]
    canaries += [energy.raw, b"object-undefined"]
    forms = [form for one in canaries for form in (one, one.hex().encode(), one.hex().upper().encode())]
    assert not [form for form in forms if form in seen]
    assert bytes((1, 0, 99, 1, 0, 255)) in seen, "which objects are asked for stands outside (docs)"
