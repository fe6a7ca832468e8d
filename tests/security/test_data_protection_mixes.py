"""Values in layers of several parties, in any mix that is allowed: there and back, every change found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.codec import data as codec
from meterseal.errors import Malformed, MetersealError, Replayed, UnknownKey
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, Context
from meterseal.security.data_protection import Find, answered, protecting_data, unprotecting_data
from meterseal.security.layers import CIPHERING, SIGNING, Layer
from meterseal.security.parameters import Element, elements_value, read_elements
from meterseal.security.steps import settle
from tests.security.parties import BOTH, CLIENT, METER, STRANGER, floors, party

PARTIES = (CLIENT, STRANGER)
PLAIN = bytes.fromhex("0201060000002A")
FORMS = ("static", "one-pass", "wrapped", "identified")
Mix = tuple[Element, ...]


class Ends:
    """Both ends of each party's keys: `theirs` to make and open at theirs, `mine` at the meter's."""

    def __init__(self, suite: int, options: frozenset[str] = frozenset()) -> None:
        self.theirs = {title: party(title, METER, suite, options=options) for title in PARTIES}
        self.mine = {title: party(METER, title, suite, options=options) for title in PARTIES}

    def by_those(self, mix: Mix, plain: bytes) -> tuple[Mix, bytes]:
        """Each party puts its own around what it is handed."""
        made: list[Element] = []
        for one in mix:
            (done,), plain = settle(protecting_data(self.at(one.layer.originator), (one,), plain))
            made.append(done)
        return tuple(made), plain

    def at(self, title: bytes) -> Find:
        return lambda meter: self.theirs[title]

    def at_the_meter(self, title: bytes) -> Context:
        if title not in self.mine:
            raise UnknownKey("nobody here")
        return self.mine[title]

    def floors(self) -> list[tuple[int, ...]]:
        return [floors(context) for context in self.mine.values()]


def share(title: bytes, signed: bool, applied: int, form: str, transaction: bytes, other: bytes) -> Mix:
    layer = Layer(CIPHERING, title, METER, transaction, form, 0, b"", other)
    signature, cipher = Element(SIGNED, layer._replace(kind=SIGNING, form="")), Element(applied, layer)
    return (signature,) * signed + (cipher,) * bool(applied)


def mixes(applied: tuple[int, ...], suites: int) -> st.SearchStrategy[Mix]:
    forms = FORMS if suites else ("wrapped", "identified")
    parts = st.tuples(
        st.booleans() if suites else st.just(False), st.sampled_from(applied), st.sampled_from(forms),
        st.binary(max_size=9), st.binary(max_size=5),
    )  # fmt: skip
    return st.tuples(st.permutations(PARTIES), st.lists(parts, min_size=1, max_size=len(PARTIES))).map(
        lambda drawn: sum(
            (share(title, *part) for title, part in zip(drawn[0], drawn[1], strict=False)), start=()
        )
    ).filter(bool)  # fmt: skip


def at_theirs(ends: Ends, one: Element) -> Find:
    return lambda title: ends.theirs[one.layer.recipient]


def union(mix: Mix) -> int:
    bits = 0
    for one in mix:
        bits |= one.applied
    return bits


def over_the_wire(mix: Mix) -> Mix:
    return read_elements(codec.decode(codec.encode(*elements_value(mix))))


ANY = (0, AUTHENTICATED, ENCRYPTED, BOTH)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([0, 1, 2]), st.booleans())
def test_any_mix_there_and_back(data: Any, suite: int, bare: bool) -> None:
    mix = data.draw(mixes(ANY, suite))
    ends = Ends(suite, frozenset({"class30_aad"}) if bare else frozenset())
    made, octets = ends.by_those(mix, PLAIN)
    told = over_the_wire(made)
    found = settle(unprotecting_data(ends.at_the_meter, told, octets))
    assert found.plain == PLAIN and found.applied == union(mix)
    found.commit()
    if found.guards:
        with pytest.raises(Replayed):
            settle(unprotecting_data(ends.at_the_meter, told, octets))
    # The answer: the meter does all of it, in the same order, and each takes its own off from the outside.
    back, octets = settle(protecting_data(ends.at_the_meter, answered(told), PLAIN))
    for one in reversed(over_the_wire(back)):
        opened = settle(unprotecting_data(at_theirs(ends, one), (one,), octets))
        opened.commit()
        octets = opened.plain
    assert octets == PLAIN


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([0, 1]))
def test_E02_any_flipped_bit_is_refused(data: Any, suite: int) -> None:
    """Of the value, and of the parameters beside it: what is read is what was sent, or it is refused."""
    mix = data.draw(mixes((AUTHENTICATED, BOTH), suite))
    ends = Ends(suite)
    made, octets = ends.by_those(mix, PLAIN)
    parameters = codec.encode(*elements_value(made))
    before, whole = ends.floors(), parameters + octets
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    changed = bytearray(whole)
    changed[at // 8] ^= 1 << at % 8
    try:
        told = read_elements(codec.decode(bytes(changed[: len(parameters)])))
        found = settle(unprotecting_data(ends.at_the_meter, told, bytes(changed[len(parameters) :])))
    except MetersealError:
        assert ends.floors() == before
        return
    # A signature's key-info says nothing and is passed over; all else was covered.
    assert told == made and found.plain == PLAIN and at < 8 * len(parameters)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_E06_parameters_that_say_less_or_another_order_open_nothing(data: Any) -> None:
    mix = data.draw(mixes((AUTHENTICATED, BOTH), 1))
    ends = Ends(1)
    made, octets = ends.by_those(mix, PLAIN)
    before, at = ends.floors(), data.draw(st.integers(0, len(made) - 1))
    one = made[at]
    wrongs = [made[:at] + made[at + 1 :], (*made, one), made[::-1] if len(made) > 1 else ()]
    for less in (AUTHENTICATED, ENCRYPTED, BOTH):
        if one.applied not in (SIGNED, less):
            wrongs.append((*made[:at], one._replace(applied=less), *made[at + 1 :]))
    for wrong in filter(bool, wrongs):
        try:
            found = settle(unprotecting_data(ends.at_the_meter, wrong, octets))
        except MetersealError:
            pass
        else:
            assert found.plain != PLAIN or wrong == made
        assert ends.floors() == before


def test_one_partys_layers_stand_together() -> None:
    ends = Ends(1)
    (us, uc), (ds, dc) = (share(title, True, BOTH, "static", b"id", b"") for title in PARTIES)
    for wrong in ((us, ds, uc), (us, dc, uc), (uc, us), (us, us), (us, uc, ds, us), (us, uc, ds, dc, uc)):
        with pytest.raises(Malformed):
            settle(unprotecting_data(ends.at_the_meter, wrong, bytes(200)))
        with pytest.raises(Malformed):
            settle(protecting_data(ends.at_the_meter, answered(wrong), PLAIN))
    stranger = tuple(one._replace(layer=one.layer._replace(originator=b"MSLNOBOD")) for one in (us, uc))
    with pytest.raises(UnknownKey):
        settle(unprotecting_data(ends.at_the_meter, (*stranger, ds, dc), bytes(400)))
