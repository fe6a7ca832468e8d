"""The file of evidence: read and written the same, and refused by name with any one fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.authority.evidence import CONTENT_LENGTH, Kept
from meterseal.authority.evidence_file import read_evidence, write_evidence
from meterseal.errors import (
    CertificateRefused,
    DecodeError,
    MetersealError,
    Misuse,
    TooLarge,
)
from tests.authority.signers import (
    AT,
    a_file,
    a_stamped_file,
    house,
    kept,
)

# --- the file -------------------------------------------------------------------------------------


def shown() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(a_stamped_file())
    return made


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def changed(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(shown: dict[str, Any]) -> None:
        at: Any = shown
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value

    return change


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a key is missing": lambda shown: shown.pop("peer"),
    "a key too many": changed("more", value=1),
    "another format": changed("format", value="x"),
    "another version": changed("version", value=2),
    "version true": changed("version", value=True),
    "lower-case hex": lambda shown: shown.update(apdu=shown["apdu"].lower()),
    "hex with a space": lambda shown: shown.update(apdu=f"{shown['apdu']} "),
    "no octets": changed("apdu", value=""),
    "apdu a number": changed("apdu", value=1),
    "no certificate": changed("certificates", value=[]),
    "certificates a text": changed("certificates", value="x"),
    "five certificates": lambda shown: shown.update(certificates=shown["certificates"] * 2),
    "a certificate that is none": changed("certificates", 0, value="AAAA"),
    "no base64": changed("certificates", 0, value="A*"),
    "base64 with loose bits": changed("time_stamp", value="AB=="),
    "kept without a moment": changed("kept", value={"by": "", "note": ""}),
    "a moment without a zone": changed("kept", "at", value="2026-11-25T12:00:00"),
    "a moment of another zone": changed("kept", "at", value="2026-11-25T12:00:00+01:00"),
    "a moment of no day": changed("kept", "at", value="2026-02-30T12:00:00Z"),
    "a moment that is none": changed("kept", "at", value=0),
    "a note without end": changed("kept", "note", value="x" * 1001),
    "a note that is none": changed("kept", "note", value=None),
    "lists that are none": changed("lists", 0, value="AAAA"),
    "a peer option by another name": changed("peer", value={"algorithm_id": False}),
    "a peer option with the strict value": changed("peer", value={CONTENT_LENGTH: True}),
    "a peer option of 0": changed("peer", value={CONTENT_LENGTH: 0}),
    "peer a list": changed("peer", value=[]),
    "a stamp that is a list": changed("time_stamp", value=[]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_F20_files_with_one_fault(fault: str) -> None:
    file = shown()
    FAULTS[fault](file)
    with pytest.raises((DecodeError, CertificateRefused)):
        read_evidence(text(file))


@pytest.mark.parametrize(
    "octets",
    [b"", b"{", b"[]", b"\xff", b"{}", b"[" * 100_000, b'{"format": NaN}', b'{"kept": 1, "kept": 1}'],
)
def test_F20_what_is_no_file_of_evidence(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        read_evidence(octets)


def test_F20_files_without_end() -> None:
    with pytest.raises(TooLarge):
        read_evidence(bytes(9 << 20))
    for broken in (Kept(AT, "x" * 1001), Kept(AT, "", "x" * 1001), Kept(datetime(2026, 1, 1))):
        with pytest.raises(Misuse):
            write_evidence(replace(kept(), kept=broken))
    with pytest.raises(Misuse):
        write_evidence(replace(kept(), lists=(house().crl(1, AT),) * 9))


def test_the_right_file_is_read_and_written_the_same() -> None:
    assert write_evidence(read_evidence(text(shown()))) == a_stamped_file()


@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(0, 255))
def test_F02_changed_files_are_read_or_refused_by_name(extra: bytes, place: int, value: int) -> None:
    octets = bytearray(a_file())
    octets[place % len(octets)] = value
    try:
        found = read_evidence(bytes(octets[: len(octets) - len(extra)]) + extra)
    except MetersealError:
        return
    assert read_evidence(write_evidence(found)) == found
