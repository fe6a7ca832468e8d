"""What a client polls is known before it comes; what is not that request is looked at as any other."""

from __future__ import annotations

import pytest

from meterseal.association import Refusal, Reply
from meterseal.errors import ProtocolViolation
from meterseal.security.prepared import Unsealing
from tests.association.twins import ATTRIBUTES, twins

POLLS: dict[str, tuple[list[tuple[int, int]], bool]] = {
    "one attribute, always one invoke-id": ([(0, 0xC1)] * 4, True),
    "one attribute, the next invoke-id": ([(0, 0xC0 | n) for n in range(16)], True),
    "backwards, without priority": ([(0, 0x40 | 15 - n) for n in range(16)], True),
    "three attributes in turn": ([(n % 3, 0xC0 | n % 16) for n in range(48)], True),
    "nothing that could be guessed": ([(n * n % 3, 0xC0 | n * n % 16) for n in range(30)], False),
}
"""What a client that polls asks for in turn: attribute and invoke-id; and whether that can be guessed."""


@pytest.mark.parametrize("kind", POLLS)
def test_what_a_client_polls_takes_one_call_of_the_cipher(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, guessed = POLLS[kind]
    here = twins()
    opened: list[bytes] = []
    kept = Unsealing.open

    def spied(unsealing: Unsealing, octets: bytes, likely: bytes = b"") -> tuple[bytes, int] | None:
        found = kept(unsealing, octets, likely)
        if found is None or found[0] is not likely:
            opened.append(octets)
        return found

    monkeypatch.setattr(Unsealing, "open", spied)
    for which, invoke in asked * 2:
        here.get(which, invoke)
    before, opened[:] = here.short, []
    for which, invoke in asked:
        here.get(which, invoke)
    assert here.short == before + len(asked)
    assert opened == [] if guessed else len(opened) > len(asked) // 2


def test_B01_what_is_expected_and_has_another_bit_is_refused_as_on_the_long_road() -> None:
    here = twins()
    for _ in range(3):
        here.get()
    server, unicast = here.pairs[0].server, here.pairs[0].server.profile.setup.unicast
    assert unicast is not None and server._track is not None
    assert server._track.likely == b"\xc0\1\xc1" + ATTRIBUTES[0]
    octets = here.seal(b"\xc0\1\xc1" + ATTRIBUTES[0])
    before = unicast.rx.lowest
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        assert server.repeat(bytes(changed)) is None and unicast.rx.lowest == before
        (answer,) = here.both(bytes(changed))
        assert answer[0] == 0xD8
        here.change(lambda pair: pair.server._settled([]))  # as after any other message
    short = here.short
    here.both(octets)
    assert here.short == short + 1
    here.both(octets)
    assert here.short == short + 1, "once"


def test_another_request_than_the_one_expected_is_answered_for_what_it_is() -> None:
    here = twins()
    for _ in range(3):
        here.get()
    here.get(2)
    here.get(0)
    here.get(1)
    here.get(3)
    assert here.short == 4


def test_what_came_next_and_is_forgotten_takes_the_other_road() -> None:
    here = twins()
    for which in (0, 1) * 4:
        here.get(which)
    track, short = here.pairs[0].server._track, here.short
    assert track is not None and track.likely[3:] == ATTRIBUTES[0]
    track.known.pop(ATTRIBUTES[0])
    here.get(0)
    assert here.short == short
    here.get(1)
    assert here.short == short + 1


def test_an_answer_that_waits_for_its_time_keeps_reads_behind_it() -> None:
    here = twins()
    server = here.pairs[0].server
    server._settled([Reply(b"", penalty=False)])
    assert server._ready is not None
    server._ready = None
    server._settled([Refusal(ProtocolViolation("no"), "signing on"), Reply(b"", penalty=True)])
    assert server._ready is None
    here.get()
    here.get()
    assert here.short == 1
