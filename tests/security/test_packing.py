"""Compression under protection: when it is done, and what of it is refused unopened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meterseal.crypto.v44 import compress
from meterseal.errors import Malformed, Misuse, TooWeak
from meterseal.security import Style, protect, unprotect
from meterseal.security.packing import COMPRESSION, check_packed, pack, parameters_of, unpack
from tests.security.parties import BOTH, CLIENT, METER, both, party, refused

AUTHENTICATED, ENCRYPTED, COMPRESSED = 0x10, 0x20, 0x80
LONG, SHORT = b"A" * 300, bytes.fromhex("C001C100080000010000FF0200")
PACKING = COMPRESSION["packet-default"]


@pytest.mark.parametrize("name", COMPRESSION)
def test_what_gets_shorter_is_compressed_and_comes_back(name: str) -> None:
    c = party(CLIENT, METER, compression=COMPRESSION[name])
    sc, packed = pack(c, AUTHENTICATED | ENCRYPTED | 1, LONG)
    assert sc == COMPRESSED | AUTHENTICATED | ENCRYPTED | 1 and len(packed) < len(LONG)
    assert unpack(c, sc, packed) == LONG
    assert unpack(c, sc & ~COMPRESSED, packed) == packed


@pytest.mark.parametrize(
    ("suite_id", "sc", "compression", "apdu"),
    [
        (1, AUTHENTICATED, PACKING, SHORT),  # not shorter
        (1, AUTHENTICATED, None, LONG),  # off
        (0, AUTHENTICATED, PACKING, LONG),  # suite 0 has none
        (1, ENCRYPTED, PACKING, LONG),  # nothing would say that it is whole
    ],
)
def test_otherwise_it_goes_as_it_is(suite_id: int, sc: int, compression: object, apdu: bytes) -> None:
    c = party(CLIENT, METER, suite_id, compression=compression)
    assert pack(c, sc, apdu) == (sc, apdu)


SC = COMPRESSED | AUTHENTICATED
OPTION = frozenset({"compress_service_specific"})


@pytest.mark.parametrize(
    ("suite_id", "sc", "compression", "fits", "options"),
    [
        (1, SC, PACKING, True, frozenset()),
        (2, SC | ENCRYPTED, PACKING, True, frozenset()),
        (1, SC, PACKING, False, OPTION),
        (0, AUTHENTICATED, None, False, frozenset()),
        (0, ENCRYPTED, None, True, frozenset()),
    ],
)
def test_compression_where_it_was_agreed(
    suite_id: int, sc: int, compression: object, fits: bool, options: frozenset[str]
) -> None:
    c = party(METER, CLIENT, suite_id, compression=compression, options=options)
    check_packed(c, sc, *([] if fits else ["glo-get"]))


@pytest.mark.parametrize(
    ("suite_id", "sc", "compression", "fits", "error", "text"),
    [
        (1, SC, PACKING, False, Malformed, "90: compression is not for glo-get"),
        (1, SC, None, True, Malformed, "90: compression is off in this association"),
        (0, SC, PACKING, True, Malformed, "90: compression is off in this association"),
        (1, COMPRESSED | ENCRYPTED, PACKING, True, TooWeak, "A0: compressed content without a tag"),
        (1, COMPRESSED, PACKING, True, TooWeak, "80: compressed content without a tag"),
    ],
)
def test_B07_compression_where_it_has_no_place(
    suite_id: int, sc: int, compression: object, fits: bool, error: type[Exception], text: str
) -> None:
    c = party(METER, CLIENT, suite_id, compression=compression)
    with pytest.raises(error, match=f"security control {text}"):
        check_packed(c, sc, "" if fits else "glo-get")


@pytest.mark.parametrize("name", COMPRESSION)
def test_it_is_packed_by_the_parameters_of_its_profile(name: str) -> None:
    c = party(CLIENT, METER, compression=COMPRESSION[name])
    assert pack(c, AUTHENTICATED, LONG) == (SC, compress(LONG, COMPRESSION[name]))


def test_what_a_peer_has_otherwise_stands_behind_the_name() -> None:
    assert parameters_of("packet-default") == PACKING
    found = parameters_of(" packet-default  n2=512 n7=46 c2=7 c5=8 ")
    assert found == replace(PACKING, n2=512, n7=46, c2=7, c5=8) != PACKING


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zip",
        "c5=8",
        "packet-default c5",
        "packet-default c5=",
        "packet-default c6=1",
        "packet-default c5=-8",
        "packet-default c5=8 c5=8",
        "packet-default c5=\u0668",
        "packet-default n2=1",
        "packet-default c5=99999999",
    ],
)
def test_parameters_that_are_none(text: str) -> None:
    with pytest.raises(Misuse):
        parameters_of(text)


def test_B07_a_form_of_a_service_is_packed_by_option_only() -> None:
    """Neither sent so nor taken so; the general forms are."""
    client, meter = both(compression=PACKING)
    long = b"\xc0" + LONG
    glo, general = (protect(client, long, BOTH, style) for style in (Style.GLO, Style.GENERAL_GLO))
    assert len(general) < len(long) < len(glo)
    assert unprotect(meter, glo).apdu == unprotect(meter, general).apdu == long
    client.options = OPTION
    packed = protect(client, long, BOTH, Style.GLO)
    assert len(packed) < len(long)
    refused(meter, packed, Malformed)
    with pytest.raises(Malformed, match="compression is not for glo-get-request"):
        unprotect(meter, packed)
    meter.options = OPTION
    assert unprotect(meter, packed).apdu == long


def test_what_gets_no_shorter_stays_as_it_is() -> None:
    """Of the same length compressed: nothing is gained, so nothing is said to be."""
    same = bytes.fromhex("4141414174066676")
    assert len(compress(same, PACKING)) == len(same)
    assert pack(party(CLIENT, METER, compression=PACKING), AUTHENTICATED, same) == (AUTHENTICATED, same)
