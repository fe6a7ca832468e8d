"""The exchange that the docs show: opened again with the keys of each party, and with nobody else's."""

from __future__ import annotations

import pytest

from docs import sealed as page
from meterseal import apdu
from meterseal.errors import MetersealError
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, unprotect
from meterseal.security.sealed import Sealed

ROW = page.load()


@pytest.mark.parametrize("way", ["request", "answer"])
def test_the_recorded_exchange_opens(way: str) -> None:
    _, sealed, inner = page.opened(ROW, way)
    assert inner.applied == AUTHENTICATED | ENCRYPTED | SIGNED
    seen = Sealed.of(sealed)
    own, other = ("utility", "meter") if way == "request" else ("meter", "utility")
    assert seen.originator.hex().upper() == ROW[own] and seen.recipient.hex().upper() == ROW[other]
    message = apdu.decode(inner.apdu)
    if way == "answer":
        assert message.result.data.raw.hex().upper() == ROW["value"]  # type: ignore[attr-defined]
        assert bytes.fromhex(ROW["value"])[1:] not in sealed + bytes.fromhex(ROW["answer"])
    else:
        assert message.attribute.instance_id == bytes.fromhex("0100010800FF")  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["request", "answer"])
def test_E01_the_head_ends_keys_open_no_more_than_the_outer_layer(way: str) -> None:
    _, sealed, _ = page.opened(ROW, way)
    end = page.carrier(ROW, *(("meter", "utility") if way == "request" else ("utility", "meter")))
    end.carrying = False
    with pytest.raises(MetersealError):
        unprotect(end, sealed)


def test_the_page_shows_all_octets() -> None:
    """Put together again, what the page lists is what was on the line."""
    for way in ("request", "answer"):
        octets, sealed, _ = page.opened(ROW, way)
        shown = [line for line in page.exchange(way).splitlines() if line[:1] in "0123456789ABCDEF"]
        assert "".join(line.split()[0] for line in shown) == octets.hex().upper()
        inner = [line for line in page.exchange(way).splitlines() if line.startswith("  ") and line[2] != " "]
        assert "".join(line.split()[0] for line in inner) == sealed.hex().upper()
