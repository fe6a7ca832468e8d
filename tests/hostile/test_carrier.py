"""A head-end turned hostile: every deed is found out and named, and nothing is done that was not asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meterseal.errors import Misuse, Moved, Refused, Reordered, TimedOut, Withheld
from meterseal.security.sealed import Sealed
from tests.hostile.carrier import DEEDS, LATE, Deed, Hands, honest
from tests.utility.street import Street, street

OFF, ON = "70/0.0.96.3.10.255:1", "70/0.0.96.3.10.255:2"


@pytest.fixture(scope="module", params=[0, 1])
def hands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hands]:
    """A hostile head-end between a utility and two meters of its, in suites 0 and 1."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with street(one, request.param) as s, street(two, request.param) as other:
        made = Hands(s, other)
        s.carry = made
        yield made


@pytest.fixture(autouse=True)
def begun(hands: Hands) -> None:
    """Each deed comes after an exchange that nobody disturbed, with the supply on."""
    hands.does = honest
    hands.requests.clear()
    hands.answers.clear()
    hands.street.utility.call(ON)


def supplied(s: Street) -> bool:
    return s.meter.plant.connected


@pytest.mark.parametrize("deed", DEEDS, ids=[f"{deed.id} {deed.name}" for deed in DEEDS])
def test_E02_E03_E04_every_deed_is_named(hands: Hands, deed: Deed) -> None:
    s = hands.street
    hands.does = deed.does
    with pytest.raises(deed.told) as caught:
        s.utility.call(OFF)
    assert type(caught.value) in deed.told, caught.value
    assert supplied(s) is not deed.done, "done, or not done, whatever the utility was told"
    hands.does = honest
    s.utility.call(ON)  # and it goes on from there
    assert supplied(s)


def test_E02_answers_in_another_order(hands: Hands) -> None:
    """The answer that was kept back comes in the place of the next one's."""
    s = hands.street
    kept: list[Sealed] = []

    def keep(h: Hands, sealed: Sealed) -> Sealed:
        kept.append(h.pass_on(sealed))
        raise TimedOut("nothing came")

    hands.does = keep
    with pytest.raises(Withheld):
        s.utility.read("3/1.0.1.8.0.255:2")
    hands.does = lambda h, sealed: kept[0]
    with pytest.raises(Reordered):
        s.utility.read("3/1.0.1.8.0.255:2")


def test_E02_a_request_that_was_overtaken_is_never_done(hands: Hands) -> None:
    s = hands.street
    kept: list[Sealed] = []

    def keep(h: Hands, sealed: Sealed) -> Sealed:
        kept.append(sealed)
        raise TimedOut("nothing came")

    hands.does = keep
    with pytest.raises(Withheld):
        s.utility.call(OFF)
    hands.does = honest
    s.utility.call(ON)
    with pytest.raises(Refused, match="deciphering-error"):
        s.carrier.forward(kept[0])
    assert supplied(s)


def test_E04_a_request_from_the_drawer_is_too_old(hands: Hands) -> None:
    """Sealed an hour ago: the meter says so to the utility alone, and does nothing."""
    s = hands.street
    hands.does = LATE
    with pytest.raises(Refused, match="other-reason"):
        s.utility.call(OFF)
    assert supplied(s)


def test_E04_answers_that_never_came_are_counted(hands: Hands) -> None:
    s = hands.street
    before = s.utility.missed

    def keep(h: Hands, sealed: Sealed) -> Sealed:
        h.pass_on(sealed)
        raise TimedOut("nothing came")

    hands.does = keep
    for _ in range(3):
        with pytest.raises(Withheld):
            s.utility.read("3/1.0.1.8.0.255:2")
    hands.does = honest
    s.utility.read("3/1.0.1.8.0.255:2")
    assert s.utility.missed == before + 3


def test_E05_all_that_is_wrong_inside_looks_the_same_to_the_carrier(hands: Hands) -> None:
    """One refusal for a bad tag, a replay and another meter alike."""
    s = hands.street
    said = set()
    for deed in DEEDS:
        if deed.id in ("E02", "E03") and not deed.done:
            hands.does = deed.does
            with pytest.raises(Withheld) as caught:
                s.utility.call(OFF)
            cause = caught.value.__cause__
            assert isinstance(cause, Refused)
            said.add((cause.reason, cause.code, cause.source))
    assert said == {("deciphering-error", 5, "exception-response")}


def test_E03_an_honest_client_does_not_carry_what_is_for_another_meter(hands: Hands) -> None:
    hands.does = lambda h, sealed: h.other.carrier.forward(sealed)
    with pytest.raises(Misuse, match="another meter"):
        hands.street.utility.call(OFF)


def test_E01_nothing_of_what_passed_is_in_the_carriers_hands(hands: Hands, tmp_path: Path) -> None:
    """Octets, texts and representations of all that it holds have neither the value nor its OBIS name."""
    s = hands.street
    found = s.utility.read("1.0.1.8.0.255")
    held = b"".join(one.octets for one in (*hands.requests, *hands.answers))
    shown = "".join(f"{one!r}{one}" for one in (*hands.requests, *hands.answers))
    assert found.raw[1:] not in held and bytes.fromhex("0100010800FF") not in held
    assert found.raw.hex() not in shown.lower() and str(found.value) not in shown


def test_E12_lengths_say_nothing_that_is_compressed(hands: Hands) -> None:
    """What an attacker chooses and what is secret go out at their own length: nothing is compressed."""
    s = hands.street
    lengths = set()
    for guess in ("1/0.0.96.1.10.255:2",) * 3:
        for text in (b"A" * 40, b"MP30" * 10, bytes(range(40))):
            hands.requests.clear()
            with pytest.raises(
                Refused
            ):  # the operator may not write it: the request has its length all the same
                s.utility.write(guess, text, "os")
            lengths.add(hands.requests[-1].size)
    assert len(lengths) == 1


def test_moved_says_between_whom(hands: Hands) -> None:
    deed = next(one for one in DEEDS if one.name == "the answer of another meter")
    hands.does = deed.does
    with pytest.raises(Moved, match=hands.other.meter.system_title.hex().upper()):
        hands.street.utility.call(OFF)
