"""Captured octets as people have them: hex of many habits, lines, wire logs, binary files; and the limit."""

from __future__ import annotations

import json

import pytest

from meterseal.errors import Malformed, TooLarge, Truncated
from meterseal.probe import MAX_INPUT, pieces
from tests.framing.captures import E450, p1_telegram
from tests.probe import samples

FRAME = bytes.fromhex("C001C100080000010000FF0200")


@pytest.mark.parametrize(
    "text",
    [
        "C001C100080000010000FF0200",
        "c001c100080000010000ff0200\n",
        "C0 01 C1 00 08 00 00 01 00 00 FF 02 00",
        "C0:01:C1:00:08:00:00:01:00:00:FF:02:00",
        "c0-01-c1-00-08-00-00-01-00-00-ff-02-00",
        "0xC0, 0x01, 0xC1, 0x00, 0x08, 0x00, 0x00, 0x01,\n0x00, 0x00, 0xFF, 0x02, 0x00,",
        "# a GET\n\nC001C10008 # the first half\n0000010000FF0200\n",
        "C001C1000\n80000010000FF0200",
        "\ufeffC001C100080000010000FF0200",
        "\r\n\tC001C100080000010000FF0200\r\n\r\n",
    ],
)
def test_hex(text: str) -> None:
    assert pieces(text.encode()) == [FRAME]


def test_lines_that_are_whole_are_pieces() -> None:
    text = f"{FRAME.hex()}\n{samples.of('rlrq-plain').hex()}\n"
    assert pieces(text.encode()) == [FRAME, samples.of("rlrq-plain")]


def test_lines_that_belong_together_are_one_piece() -> None:
    text = "\n".join(frame.hex() for frame in E450)
    assert pieces(text.encode()) == [samples.E450_OCTETS]


def test_wire_log() -> None:
    lines = [
        {"time": "2026-01-01T00:00:00Z", "connection": "a", "direction": "out", "hex": FRAME.hex()},
        {"time": "2026-01-01T00:00:01Z", "connection": "a", "direction": "in", "hex": "6303800100"},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    assert pieces(text.encode() + b"\n\n") == [FRAME, bytes.fromhex("6303800100")]


@pytest.mark.parametrize("line", ['{"hex": 5}', "{", '{"hex": "zz"}', "{}", '{"a":' * 3000, "[]\n{"])
def test_what_only_looks_like_a_wire_log(line: str) -> None:
    with pytest.raises(Malformed, match=r"line \d is no entry"):
        pieces(b"{}".join([b"", line.encode()]) if not line.startswith("{") else line.encode())


def test_binary_stays_as_it_is() -> None:
    assert pieces(samples.TIROL) == [samples.TIROL]
    assert pieces(p1_telegram()) == [p1_telegram()]
    assert pieces(FRAME + b"\n") == [FRAME + b"\n"]


def test_half_an_octet() -> None:
    with pytest.raises(Malformed, match="the last octet has only one"):
        pieces(b"C001C")


@pytest.mark.parametrize("nothing", [b"", b" \n\t", b"\xef\xbb\xbf\n"])
def test_nothing(nothing: bytes) -> None:
    with pytest.raises(Truncated):
        pieces(nothing)


def test_comments_alone() -> None:
    assert pieces(b"# nothing here") == [b"# nothing here"]  # no hex at all: taken as octets


def test_too_much() -> None:
    with pytest.raises(TooLarge):
        pieces(bytes(MAX_INPUT + 1))
