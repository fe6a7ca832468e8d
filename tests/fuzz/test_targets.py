"""Every fuzz target in short: seeds, corpus and some hundred mutated inputs; what the plays assert."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fuzz import corpus
from fuzz.script import FATES, Script, written
from fuzz.target import Target, both_ways
from fuzz.targets import BY_NAME, TARGETS, conversations
from fuzz.targets.conversations import Watched, conversation
from meterseal.errors import MetersealError
from tests.association.pair import TO_METER
from tests.mutate import hammer

COUNT = 300
TOTAL = 2_000_000
"""Octets of the whole corpus at most."""

each = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Refusals by the thousand are what is played here."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_names_are_names_of_folders_and_one_each() -> None:
    assert len(BY_NAME) == len(TARGETS)
    assert all(name == name.lower() and name.replace("-", "").isalnum() for name in BY_NAME)


@each
def test_F02_seeds_and_corpus(target: Target) -> None:
    """No input that was ever kept does more than a typed error, and seeds are mostly good."""
    good = 0
    for octets in corpus.beginnings(target):
        try:
            target.run(octets)
        except MetersealError:
            continue
        good += octets in target.seeds
    assert good >= max(1, len(target.seeds) / 2)


@each
def test_F02_mutated_inputs(target: Target) -> None:
    count = COUNT // 5 if target.stateful else COUNT
    assert hammer(target.run, corpus.beginnings(target), count=count, rng=len(target.name)).total() == count


def test_the_corpus_is_small_and_named_by_what_is_in_it() -> None:
    assert {place.name for place in corpus.FOLDER.iterdir()} <= BY_NAME.keys()
    total = 0
    for path in corpus.FOLDER.glob("*/*"):
        octets = path.read_bytes()
        assert path.name == corpus.name(octets) and len(octets) <= corpus.LARGEST, path
        total += len(octets)
    assert 0 < total < TOTAL


# --- what the targets find ----------------------------------------------------------------------------


def test_a_frame_that_nobody_made_is_found_when_it_is_believed() -> None:
    pair = Watched(Script(written(0, 0, 0, 0, 0, 0)))
    pair.anew()
    frame = pair.client.request(conversations.REQUESTS[0]())[0].octets  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="nobody made it"):
        pair.deliver(TO_METER, frame)


def test_a_frame_that_is_believed_twice_is_found() -> None:
    pair = Watched(Script(b""))
    pair.anew()
    pair.ask_for(conversations.REQUESTS[0]())
    before = pair.server.profile.setup.unicast
    assert before is not None
    before.rx.lowest = 0
    frame = pair.wire_of(TO_METER)[-1]
    with pytest.raises(AssertionError, match="believed twice"):
        pair.deliver(TO_METER, frame)


def test_what_reads_otherwise_when_it_is_written_is_found() -> None:
    run = both_ways(lambda octets: octets[1:], lambda value: bytes(value) + b"x")  # type: ignore[call-overload]
    with pytest.raises(AssertionError, match="written as"):
        run(b"abc")


def test_the_whole_play_goes_through() -> None:
    """The seeds of a conversation reach every service: otherwise what is mutated is nothing."""
    pair = Watched(Script(conversations.TARGETS[0].seeds[0]))
    pair.anew()
    while pair.script.goes_on:
        pair.step()
    services = {operation.service.name for operation, _ in pair.view.asked}
    assert services == {"GET", "SET", "ACTION"}
    assert conversation(b"")


# --- scripts ------------------------------------------------------------------------------------------


def test_a_script_reads_what_was_written_and_then_decides_for_the_first() -> None:
    script = Script(written(7, b"abc", 1, 9) + b"\xffthe rest")
    assert (script.octet(), script.part()) == (7, b"abc")
    assert script.choose("xyz") == "y" and script.choose("xyz") == "x"
    assert script.goes_on
    assert script.part() == b"the rest"
    assert Script(b"").goes_on is False
    assert (script.octet(), script.part(), script.choose("xyz")) == (0, b"", "x")
    assert Script(b"\x05ab").part() == b"ab"


@pytest.mark.parametrize(
    ("fate", "more", "arrives"),
    [
        (0, b"", [b"frame"]),
        (1, b"", []),
        (2, b"", [b"frame", b"frame"]),
        (3, b"\x01\x20", [b"fRame"]),
        (3, b"\xff\x20", [b"framE"]),
        (4, b"\x03", [b"fra"]),
        (5, b"\x01!", [b"frame!"]),
        (6, b"\x01!", [b"!"]),
        (7, b"\x01!", [b"!", b"frame"]),
        (8, b"\x01!", [b"frame", b"!"]),
    ],
)
def test_fates(fate: int, more: bytes, arrives: list[bytes]) -> None:
    assert FATES[fate](Script(more), b"frame") == arrives


def test_a_fate_of_nothing() -> None:
    assert FATES[3](Script(b"\x01\x20"), b"") == [b""]
