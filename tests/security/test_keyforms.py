"""The keys of layers: windows and floors of their counters, and which of them are made for one message."""

from __future__ import annotations

import pytest

from meterseal.errors import Replayed
from meterseal.keys.counters import WINDOW
from meterseal.security import Style, protect, unprotect
from meterseal.security.keyforms import FORMS, is_fresh
from tests.security.parties import ALL, BOTH, FRESH, GET, MIRRORED, both, by, ciphering, refused, signing


@pytest.mark.parametrize("applied", [BOTH, ALL])
@pytest.mark.parametrize("form", ["identified", "wrapped", "general"])
def test_C11_layers_out_of_order_within_the_window_and_each_once(form: str, applied: int) -> None:
    """By the counters of the key that lasts, or by those of all fresh keys together."""
    client, meter = both(window=WINDOW)

    def made() -> bytes:
        if form == "general":
            return protect(client, GET, applied, Style.GENERAL_GLO, (signing(),))
        return by(client, form, applied)

    sent = [made() for _ in range(3)]
    for octets in (sent[2], sent[0]):
        assert unprotect(meter, octets).apdu == GET
        refused(meter, octets, Replayed)
    meter.window = 0
    refused(meter, sent[1], Replayed)


@pytest.mark.parametrize("form", MIRRORED)
def test_a_message_tells_of_the_floor_before_it(form: str) -> None:
    client, meter = both()
    first, second = (unprotect(meter, by(client, form)) for _ in range(2))
    assert (first.lowest_before, second.lowest_before) == (0, first.counter + 1)
    kept = unprotect(client, protect(meter, GET, 0, Style.LAYERED, (ciphering(form),)))
    assert (kept.lowest_before, kept.key, kept.broadcast) == (0, None, False)


def test_which_keys_are_made_for_one_message() -> None:
    assert [form for form in (*FORMS, "", "another") if is_fresh(form)] == [*FRESH, "bare"]
