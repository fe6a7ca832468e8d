"""Third parties in a meter's configuration, over restarts, and in what `access` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.crypto.certificates import Purpose
from meterseal.errors import ConfigurationError
from meterseal.meter import Meter, credentials_of, load_plan
from meterseal.meter.access import access_rows

UTILITY = bytes.fromhex("4D534C5554494C31")
GOOD = '[third_parties.utility]\nsystem_title = "4D534C5554494C31"\n'
WRAPPED = "[third_parties.utility.peer]\nthird_party_wrapped_key = true\n"


def plan(folder: Path, text: str, suite: int = 1) -> Meter:
    path = folder / "meter.toml"
    path.write_text("# A configuration for a test\n" + text)
    return Meter(load_plan(f"suite{suite}", path))


@pytest.mark.parametrize(
    ("text", "suite", "cause"),
    [
        ("[third_parties.other]\n", 1, "system_title"),
        ('[third_parties.utility]\nsystem_title = "00"\n', 1, "8 octets"),
        ('[third_parties."a b"]\nsystem_title = "4D534C5554494C31"\n', 1, "letters"),
        (GOOD + 'colour = "blue"\n', 1, "unknown"),
        (GOOD + "max_age = -1\n", 1, "max_age"),
        (GOOD + f'kek = "{"11" * 16}"\n', 1, "kek"),
        (GOOD + f'kek = "{"11" * 32}"\n' + WRAPPED, 0, "16 octets"),
        (GOOD + 'certificates = ["nowhere.pem"]\n', 1, "nowhere.pem"),
        ('[third_parties.utility]\nsystem_title = "4D534C4845530002"\n', 1, "operator"),
        (GOOD + '[third_parties.other]\nsystem_title = "4D534C5554494C31"\n', 1, "utility"),
        ('[[roles.operator.rights]]\nobjects = ["0.0.1.0.0.255"]\nattributes = "read"\nfor = ["nobody"]\n', 1,
         "no third party"),
        ("third_parties = 3\n", 1, "no table"),
        (GOOD + "rights = 3\n", 1, "list of tables"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(tmp_path: Path, text: str, suite: int, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=cause):
        plan(tmp_path, text, suite)


def test_more_than_there_may_be(tmp_path: Path) -> None:
    many = "".join(f'[third_parties.u{n}]\nsystem_title = "4D534C55544900{n:02X}"\n' for n in range(17))
    with pytest.raises(ConfigurationError, match="more than 16"):
        plan(tmp_path, many)


def test_the_meters_maker_draws_what_is_missing(tmp_path: Path) -> None:
    meter = plan(tmp_path, GOOD)
    assert meter.pairs is not None
    for purpose in (Purpose.SIGNATURE, Purpose.AGREEMENT):
        assert meter.pairs.trust.find(UTILITY, purpose) is not None
    third = credentials_of(meter).third_party("utility")
    assert (third.layers, third.kek, third.signing_key) == ("one-pass", None, "files/utility-sign.key")
    wrapped = plan(tmp_path, GOOD + WRAPPED, 0)
    third = credentials_of(wrapped).third_party("utility")
    assert third.layers == "wrapped" and len(third.octets("kek") or b"") == 16


def test_the_row_of_suite_0_waits_for_its_option(tmp_path: Path) -> None:
    """Its KEK is drawn and kept, so switching on changes no key; until then nothing is opened with it."""
    folder = tmp_path / "state"
    off = Meter(load_plan("suite0"), folder)
    assert off.thirds["utility"].master is None
    kek = credentials_of(off).third_party("utility").octets("kek")
    off.close()
    (tmp_path / "on.toml").write_text(WRAPPED)
    on = Meter(load_plan("suite0", tmp_path / "on.toml"), folder)
    assert on.thirds["utility"].master is not None
    assert credentials_of(on).third_party("utility").octets("kek") == kek
    on.close()


def test_certificates_of_a_third_party_are_taken_in_once_and_stay_removed(tmp_path: Path) -> None:
    first = plan(tmp_path, GOOD)
    assert first.pairs is not None
    held = [first.pairs.trust.find(UTILITY, purpose) for purpose in (Purpose.SIGNATURE, Purpose.AGREEMENT)]
    (tmp_path / "utility.pem").write_bytes(b"".join(one.to_pem() for one in held if one is not None))
    (tmp_path / "root.pem").write_bytes(first.pairs.trust.anchors[0].to_pem())
    text = '[meter]\ntrust = ["root.pem"]\n' + GOOD + 'certificates = ["utility.pem"]\n'
    (tmp_path / "other.toml").write_text("# Another maker's anchor\n" + text)
    folder = tmp_path / "state"
    made = Meter(load_plan("suite1", tmp_path / "other.toml"), folder)
    assert made.pairs is not None
    certificate = made.pairs.trust.find(UTILITY, Purpose.SIGNATURE)
    assert certificate is not None and certificate == held[0]
    made.pairs.remove(certificate)
    made.close()
    again = Meter(load_plan("suite1", tmp_path / "other.toml"), folder)
    assert again.pairs is not None and again.pairs.trust.find(UTILITY, Purpose.SIGNATURE) is None
    again.close()
    strange = text.replace("4D534C5554494C31", "4D534C5554494C32")
    (tmp_path / "other.toml").write_text("# Somebody else's certificate\n" + strange)
    with pytest.raises(ConfigurationError, match="somebody else"):
        Meter(load_plan("suite1", tmp_path / "other.toml"))


def test_access_shows_what_a_third_party_may_do_and_through_whom(tmp_path: Path) -> None:
    text = GOOD + (
        '[[third_parties.utility.rights]]\nobjects = ["0.0.96.3.10.255", "1.0.1.8.0.255"]\n'
        'attributes = "read"\nmethods = "access"\n'
        '[[roles.operator.rights]]\nobjects = ["0.0.96.3.10.255"]\nmethods = "access"\nfor = ["utility"]\n'
    )
    meter = plan(tmp_path, text)
    rows = [row for row in access_rows(meter) if row.role.startswith("utility")]
    seen = {(row.role, row.class_id, row.member) for row in rows}
    assert ("utility by operator", 70, "method 1") in seen
    assert ("utility by operator", 3, "attribute 2") in seen
    assert ("utility by installer", 70, "method 1") not in seen
    own = [row for row in access_rows(meter, "operator") if row.role == "operator"]
    assert not any((row.class_id, row.member) == (70, "method 1") for row in own)
    assert all(row.request.startswith("authenticated+encrypted") for row in rows)
