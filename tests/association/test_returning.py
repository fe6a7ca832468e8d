"""Parties that come back say, and are told, the same as if they had never met: two roads, octet for octet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.apdu.acse import Aare, Aarq
from meterseal.association import Associated, Failed, State
from meterseal.association.opening import Opening
from meterseal.association.profile import DEFAULT_CONFORMANCE
from meterseal.association.returning import MOST, Heard, Known, Told
from meterseal.security.hls import MECHANISMS
from tests.association.pair import CLIENT_TITLE, METER_TITLE, TO_CLIENT, TO_METER, Pair, key

SOME = settings(max_examples=settings().max_examples // 3)
OTHER_TITLE = b"MSLHES02"


class Counting(Known[Any]):
    """Counts what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def find(self, octets: bytes) -> Any:
        found = super().find(octets)
        self.found += found is not None
        return found


class Nothing(Known[Any]):
    """Knows nobody."""

    def keep(self, heard: Heard, decided: Any) -> None:
        pass


Change = Callable[[int, bytes], Sequence[bytes]]
"""What arrives in place of a frame, by its number from 1."""


class Twins:
    """Two clients and their meters that are alike; only the first remember.  What is done is done to both.

    After every sign-on wires, effects, refusals and states of both are held against each other.
    """

    def __init__(self, **options: Any) -> None:
        server = options.pop("server", {})
        self.met = Counting()
        self.pairs = [Pair(server={**server, "known": known}, **options) for known in (self.met, Nothing())]
        self.number = 0
        self.frames: list[bytes] = []

    def sign_on(self, change: Change = lambda _, octets: [octets], number: int = 0) -> Any:
        """Once more, with frames changed on the way.  The last effect of the client."""
        self.number += 1
        challenge = (number or self.number).to_bytes(16, "big")
        traces = [self._trace(pair, challenge, change, at) for at, pair in enumerate(self.pairs)]
        assert traces[0] == traces[1]
        self.frames += [octets for _, octets in traces[0][0]]
        return traces[0][1][-1] if traces[0][1] else None

    def _trace(self, pair: Pair, challenge: bytes, change: Change, at: int) -> tuple[Any, ...]:
        if at:
            pair.client._opening._number = -1
        pair.client.end()
        pair.wire.clear()
        pair.refusals.clear()
        pair.tap = lambda _, octets: change(len(pair.wire), octets)
        effects = pair.sign_on(challenge)
        return pair.wire[:], [repr(e) for e in effects], [repr(e) for e in pair.refusals], self._state(pair)

    @staticmethod
    def _state(pair: Pair) -> tuple[Any, ...]:
        s, c = pair.server, pair.client
        keys = [end.profile.setup.unicast for end in (s, c)]
        counters = [(k.tx.left, k.rx.lowest, k.rx._seen) for k in keys if k is not None]
        return (
            s.state, c.state, s.negotiated, c.negotiated, s.client_max_pdu, c.server_max_pdu, c.server_title,
            s.user, s.context.peer_title, c.context.peer_title, s.context.minimum, s._parked is None,
            s._handshake is None, list(s.profile.recent), counters,
        )  # fmt: skip

    def change(self, what: Callable[[Pair], object]) -> None:
        for pair in self.pairs:
            what(pair)

    def both(self, what: Callable[[Any], object]) -> None:
        """Something to all four setups."""
        self.change(lambda pair: [what(end.profile.setup) for end in (pair.client, pair.server)])


MECHANISM = pytest.mark.parametrize("mechanism", [2, 3, 4, 5, 6])


def proving(mechanism: int) -> dict[str, Any]:
    if mechanism != 2:
        return {"mechanism": mechanism}
    own = {"manufacturer": lambda secret, challenge: (secret + challenge)[:16]}
    return {"mechanism": 2, "client": own, "server": own}


@MECHANISM
@pytest.mark.parametrize("general", [False, True])
def test_who_comes_back_is_known_by_both_ends(
    mechanism: int, general: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[bool] = []
    known = Opening.known

    def noted(self: Opening, octets: bytes) -> Any:
        found = known(self, octets)
        accepted.append(found is not None)
        return found

    monkeypatch.setattr(Opening, "known", noted)
    options = proving(mechanism)
    here = Twins(**{**options, "client": {**options.get("client", {}), "general": general}})
    for _ in range(3):
        assert here.sign_on() == repr(Associated(None))
    assert here.met.found == 2
    assert accepted == [False, False, True, False, True, False]
    assert here.pairs[0].release() and here.pairs[0].client.state is State.IDLE


@pytest.mark.parametrize("suite_id", [1, 2])
def test_signatures_come_back_too(suite_id: int) -> None:
    known = Counting()
    pair = Pair(mechanism=7, suite_id=suite_id, server={"known": known})
    for number in range(3):
        pair.client.end()
        assert pair.sign_on(bytes((number,)) * 32) == [Associated(None)]
    assert known.found == 2


@pytest.mark.parametrize(
    "options",
    [
        {"ciphered": False},
        {"policy": 0},
        {"policy": 0x24},
        {"mechanism": 1},
        {"mechanism": 0},
    ],
)
def test_what_is_not_sealed_or_not_challenged_is_not_kept(options: dict[str, Any]) -> None:
    here = Twins(**options)
    for _ in range(3):
        assert here.sign_on() == repr(Associated(None))
    assert not here.met.found


def test_a_dedicated_key_is_not_kept() -> None:
    here = Twins()
    for number in range(3):
        dedicated = bytes((number + 1,)) * 16
        on_profile("client", dedicated_key=dedicated)(here)
        assert here.sign_on() == repr(Associated(None))
    assert not here.met._kept and here.pairs[0].client._opening._told is None


def policy(bits: int) -> Callable[[Twins], None]:
    return lambda here: here.both(lambda setup: setattr(setup, "policy", bits))


def rekey(here: Twins) -> None:
    def change(pair: Pair) -> None:
        pair.client.profile.setup.unicast, pair.server.profile.setup.unicast = (
            key(first, ek=b"another key 16..") for first in (1, 0x1000)
        )

    here.change(change)


def on_profile(end: str, **fields: Any) -> Callable[[Twins], None]:
    def change(pair: Pair) -> None:
        for name, value in fields.items():
            setattr(getattr(pair, end).profile, name, value)

    return lambda here: here.change(change)


CHANGES: dict[str, Callable[[Twins], None]] = {
    "stronger policy": policy(0x6C),
    "weaker policy": policy(0x24),
    "key": rekey,
    "client's title": lambda here: here.change(
        lambda pair: setattr(pair.client.profile.setup, "own_title", OTHER_TITLE)
    ),
    "title asked for": lambda here: here.change(
        lambda pair: setattr(pair.server.profile.setup, "peer_title", OTHER_TITLE)
    ),
    "conformance": on_profile("server", conformance=DEFAULT_CONFORMANCE & ~1),
    "proposal": on_profile("client", conformance=DEFAULT_CONFORMANCE & ~1),
    "size": on_profile("client", max_pdu=512),
    "meter's size": on_profile("server", max_pdu=600),
    "user list": on_profile("server", users=lambda: {7: "somebody"}),
    "user": on_profile("client", user=7),
    "secret": on_profile("server", secret=lambda: b"another secret.."),
    "form": on_profile("client", general=True),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("mechanism", [5, 6])
def test_a_change_takes_effect_on_the_very_next_sign_on(name: str, mechanism: int) -> None:
    here = Twins(mechanism=mechanism)
    here.sign_on()
    here.sign_on()
    found = here.met.found
    assert found == 1
    CHANGES[name](here)
    here.sign_on()
    assert here.met.found == found + (name in ("user list", "secret") and 0)
    here.sign_on()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_after_the_first_sign_on_leaves_nothing_to_be_known_by(name: str) -> None:
    here = Twins()
    here.sign_on()
    CHANGES[name](here)
    here.sign_on()
    here.sign_on()


def test_what_has_changed_since_a_message_was_made_leaves_nothing_to_be_cast() -> None:
    pair = Pair()
    pair.sign_on(bytes(16))
    setup = pair.client.profile.setup
    told = Told(setup, pair.wire[0][1], Aarq, b"", CLIENT_TITLE)
    setup.policy = 0x24
    assert setup.unicast is not None
    left = setup.unicast.tx.left
    assert told.again(bytes(16)) is None and setup.unicast.tx.left == left


def test_a_key_that_is_destroyed_under_what_is_known_knows_nobody() -> None:
    here = Twins()
    here.sign_on()
    here.sign_on()
    here.both(lambda setup: setup.unicast.handle.destroy() if setup.own_title == METER_TITLE else None)
    assert here.sign_on().startswith("Failed")
    assert here.met.found == 1


def test_A11_the_clients_own_challenge_in_an_aare_that_is_known() -> None:
    """All but the challenge is as it was before, and the Initiate verifies."""
    here = Twins()
    here.sign_on()
    here.sign_on()

    def reflected(number: int, octets: bytes) -> Sequence[bytes]:
        if number != 2:
            return [octets]
        given = Aare.decode(octets).responding_authentication_value
        assert given is not None
        return [octets.replace(given, here.number.to_bytes(16, "big"))]

    assert "challenge" in here.sign_on(reflected)
    assert here.sign_on() == repr(Associated(None))


def test_C01_an_aarq_that_came_before_is_refused_as_on_the_other_road() -> None:
    here = Twins()
    here.sign_on()
    here.sign_on()
    first = here.frames[0]
    assert here.sign_on(lambda number, octets: [first] if number == 1 else [octets]).startswith("Failed")
    assert here.sign_on() == repr(Associated(None))


def test_A13_a_challenge_that_came_before_is_refused_as_on_the_other_road() -> None:
    here = Twins()
    here.sign_on(number=77)
    here.sign_on()
    assert here.sign_on(number=77).startswith("Failed")
    assert here.sign_on() == repr(Associated(None))


def test_only_the_latest_clients_are_known() -> None:
    here = Twins()
    for size in range(100, 100 + 2 * MOST):
        on_profile("client", max_pdu=size)(here)
        here.sign_on()
    assert len(here.met._kept) == MOST


def test_clients_with_other_titles_are_known_beside_each_other() -> None:
    known = Counting()
    pair = Pair(server={"known": known})
    pair.server.profile.setup.peer_title = None
    other = Pair()
    other.client.profile.setup.own_title = OTHER_TITLE
    other.client.profile.setup.unicast = pair.client.profile.setup.unicast
    other.server = pair.server
    for number in range(6):
        one = (pair, other)[number % 2]
        one.client.end()
        assert one.sign_on(bytes((number,)) * 16) == [Associated(None)]
        assert pair.server.context.peer_title == (CLIENT_TITLE, OTHER_TITLE)[number % 2]
    assert known.found == 4


FRAMES = st.integers(1, 4)
MUTATION = st.one_of(
    st.tuples(st.just("flip"), FRAMES, st.integers(0, 200), st.integers(1, 255)),
    st.tuples(st.just("cut"), FRAMES, st.integers(1, 40), st.just(0)),
    st.tuples(st.just("add"), FRAMES, st.integers(1, 3), st.just(0)),
    st.tuples(st.just("twice"), FRAMES, st.just(0), st.just(0)),
    st.tuples(st.just("earlier"), FRAMES, st.integers(0, 40), st.just(0)),
)
STEPS = st.lists(
    st.none() | MUTATION | st.tuples(st.just("change"), st.sampled_from(sorted(CHANGES))),
    min_size=2,
    max_size=7,
)


def mutated(frames: list[bytes], how: tuple[Any, ...]) -> Change:
    kind, which, at, bits = how

    def change(number: int, octets: bytes) -> Sequence[bytes]:
        if number != which:
            return [octets]
        if kind == "flip":
            place = at % len(octets)
            return [octets[:place] + bytes((octets[place] ^ bits,)) + octets[place + 1 :]]
        if kind == "cut":
            return [octets[:-at]]
        if kind == "add":
            return [octets + bytes(at)]
        if kind == "twice":
            return [octets, octets]
        return [frames[at % len(frames)]]

    return change


@SOME
@given(STEPS, st.sampled_from([5, 6]), st.booleans())
def test_the_short_road_equals_the_long_one(
    steps: list[tuple[Any, ...] | None], mechanism: int, datagrams: bool
) -> None:
    here = Twins(mechanism=mechanism, datagrams=datagrams)
    here.sign_on()
    here.sign_on()
    for step in steps:
        if step is None:
            here.sign_on()
        elif step[0] == "change":
            CHANGES[step[1]](here)
        else:
            here.sign_on(mutated(here.frames[:], step))
    here.sign_on()


def test_every_bit_of_what_both_ends_know() -> None:
    here = Twins(mechanism=5)
    here.sign_on()
    here.sign_on()
    for number, direction in ((1, TO_METER), (2, TO_CLIENT)):
        size = len(here.frames[number - 1])
        for place in range(number, 8 * size, 23):
            effect = here.sign_on(mutated(here.frames, ("flip", number, place // 8, 1 << place % 8)))
            assert effect is not None and effect.startswith("Failed"), (direction, place)
    assert here.sign_on() == repr(Associated(None))


def test_what_is_known_of_a_client_holds_no_password_and_no_key() -> None:
    assert {row.number for row in MECHANISMS.values() if row.passes == 1} == {1}
    here = Twins(mechanism=1)
    here.sign_on()
    here.sign_on()
    assert not here.met._kept and here.pairs[0].client._opening._told is None
    assert Aarq.decode(here.frames[0]).calling_authentication_value == b"12345678"
    assert not isinstance(here.sign_on(), Failed)
