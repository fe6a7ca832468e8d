"""`meterseal suites`: the figures that come with it make sense, and what is computed from them."""

from __future__ import annotations

from typing import Any

import pytest

from meterseal.cli.suites import BITS, TABLES, figures
from meterseal.crypto import SUITES
from tests.cli.shell import run

WRAPPER, TITLE, SECURITY, TAG = 8, 9, 5, 12
GENERAL = WRAPPER + 1 + TITLE + 1 + SECURITY + TAG
"""general-glo around a short APDU: wrapper, tag, title, length, security header, authentication tag."""

GET, GOT = 13, 9
"""get-request-normal of an attribute, and its answer with a double-long-unsigned."""


def row(table: str, **words: Any) -> dict[str, Any]:
    (found,) = [one for one in figures()[table] if all(one[name] == word for name, word in words.items())]
    return dict(found)


@pytest.mark.parametrize("suite", SUITES)
def test_octets_are_what_the_standard_makes_them(suite: int) -> None:
    read = row("read", suite=suite, protection="general-glo")
    assert read["octets"] == 2 * GENERAL + GET + GOT
    if not suite:
        return
    signed = row("read", suite=suite, protection="general-glo, signed")
    # Tag, transaction-id, two titles, two empty fields, length of the content, signature with its length;
    # the ciphered one around it has a longer length.
    signature = SUITES[suite].signature_length
    layer = 1 + 9 + 2 * TITLE + 2 + 1 + 1 + signature
    around = 2 * (1 if layer + max(GET, GOT) + SECURITY + TAG > 127 else 0)
    assert signed["octets"] == read["octets"] + 2 * layer + around


def test_the_figures_are_whole_and_in_order() -> None:
    found = figures()
    assert set(found) == {"measured", "plain", *TABLES}
    for table, (_, words) in TABLES.items():
        assert {one["suite"] for one in found[table]} == set(SUITES)
        for one in found[table]:
            assert set(one) == {*words, "client_us", "meter_us", "octets"}
            assert one["client_us"] > 0 and one["meter_us"] > 0 and one["octets"] > 0
    for one in found["day"]:
        if one["compression"]:
            plain = row("day", suite=one["suite"], protection=one["protection"], compression="")
            assert one["octets"] < plain["octets"] / 2
    for suite in (1, 2):
        known, sent = (row("sign_on", suite=suite, certificates=word) for word in ("known", "sent"))
        assert known["octets"] < sent["octets"]
    heavy, light = (row("sign_on", suite=suite, certificates="known") for suite in (2, 1))
    assert heavy["meter_us"] > light["meter_us"] > row("sign_on", suite=1, mechanism="gmac")["meter_us"]


def test_tables_for_people() -> None:
    ran = run("suites")
    assert ran.code == 0 and ran.err == ""
    for words in ("AES-GCM-128", "P-384", "One sign-on:", "A day of a load profile", "one core; Python"):
        assert words in ran.out
    assert "seconds" not in ran.out


def test_a_line_and_a_meter_of_ones_own() -> None:
    (plain,) = run("suites", "--json").lines()
    assert [one["id"] for one in plain["suites"]] == [*SUITES]
    (found,) = run("suites", "--baud", "9600", "--slower", "100", "--json").lines()
    for table in TABLES:
        for before, after in zip(plain[table], found[table], strict=True):
            assert after["meter_us"] == pytest.approx(100 * before["meter_us"])
            computing = (after["meter_us"] + after["client_us"]) / 1e6
            assert after["seconds"] == pytest.approx(computing + after["octets"] * BITS / 9600, abs=1e-3)
    assert "seconds" in run("suites", "--baud", "9600").out


@pytest.mark.parametrize("words", [("--baud", "0"), ("--baud", "fast"), ("--slower", "0")])
def test_what_is_no_line_and_no_meter(words: tuple[str, ...]) -> None:
    assert run("suites", *words).code == 2
