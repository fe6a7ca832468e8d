"""URLs of lines."""

from __future__ import annotations

import pytest

from meterseal.errors import ConfigurationError
from meterseal.framing.gateway import Prefix
from meterseal.framing.hdlc import Parameters
from meterseal.net import SCHEMES, Url, parse
from meterseal.net.url import peer_of


@pytest.mark.parametrize(
    ("text", "url", "again"),
    [
        ("tcp://127.0.0.1:5000", Url("tcp", "127.0.0.1", 5000), None),
        ("tcp://meter", Url("tcp", "meter", 4059), "tcp://meter:4059"),
        ("tcp://meter/", Url("tcp", "meter", 4059), "tcp://meter:4059"),
        ("TCP://Meter:1", Url("tcp", "meter", 1), "tcp://meter:1"),
        ("tcp://[::1]:4059", Url("tcp", "::1", 4059), None),
        ("tcp://h:1?gateway=0/1234", Url("tcp", "h", 1, "", {"gateway": "0/1234"}), "tcp://h:1"),
        ("tcp://h:1?gateway=1/text:SN%2F1", Url("tcp", "h", 1, "", {"gateway": "1/text:SN/1"}), "tcp://h:1"),
        ("udp://h:1", Url("udp", "h", 1), None),
        ("hdlc+tcp://h:1", Url("hdlc+tcp", "h", 1), None),
        ("serial:///dev/ttyUSB0?baud=9600", Url("serial", path="/dev/ttyUSB0", options={"baud": "9600"}), "serial:///dev/ttyUSB0"),
    ],
)  # fmt: skip
def test_parts(text: str, url: Url, again: str | None) -> None:
    assert parse(text) == url
    assert str(url) == (again or text)


@pytest.mark.parametrize(
    "text",
    [
        "", "127.0.0.1:4059", "http://h", "tcp:h", "tcp://", "tcp://:4059", "tcp://h:65536", "tcp://h:-1", "tcp://h:x",
        "tcp://h/path", "tcp://h#part", "tcp://h?baud=1", "tcp://h?gateway=1&gateway=2", "tcp://[::1", "serial://host/dev",
        "serial://", "serial:///dev/x?parity=even", "tcp://\0:1", "tcp://h\n:1", "\ttcp://h", "tcp://h?gateway=1/\r",
        "serial:///dev/%00", "serial:///dev/x\n",
    ],
)  # fmt: skip
def test_F20_what_is_no_url_of_a_line(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)


@pytest.mark.parametrize(
    ("option", "prefix", "peer"),
    [
        ("0/", Prefix(True, 0, b""), "0/"),
        ("007/0aFF", Prefix(True, 7, b"\x0a\xff"), "7/0AFF"),
        ("255/text:SN%2F1", Prefix(True, 255, b"SN/1"), "255/534E2F31"),
        ("1/" + 255 * "00", Prefix(True, 1, bytes(255)), "1/" + 255 * "00"),
    ],
)
def test_a_device_behind_a_gateway(option: str, prefix: Prefix, peer: str) -> None:
    url = parse(f"tcp://h:1?gateway={option}")
    assert url.gateway == prefix
    assert url.peer == peer_of(f"tcp://h:1?gateway={option}") == f"tcp://h:1?gateway={peer}"


@pytest.mark.parametrize(
    "option", ["", "1", "256/", "-1/", "x/", "²/", "1/0", "1/xx", "1/" + 256 * "00", "/00"]
)
def test_E08_what_is_no_device_behind_a_gateway(option: str) -> None:
    with pytest.raises(ConfigurationError, match="gateway=NETWORK/ADDRESS"):
        parse(f"tcp://h?gateway={option}")


def test_sizes_of_hdlc() -> None:
    assert parse("hdlc+tcp://h").parameters() is None
    assert parse("hdlc+tcp://h").parameters(Parameters()) == Parameters()
    assert parse("serial:///dev/x?frame_size=128&window=1").parameters() == Parameters(128, 128, 1, 1)
    assert parse("hdlc+tcp://h?window=3").parameters() == Parameters(2030, 2030, 3, 3)
    assert parse("hdlc+tcp://h?frame_size=200").parameters(Parameters()) == Parameters(200, 200, 1, 1)


@pytest.mark.parametrize(
    "option",
    ["frame_size=0", "frame_size=2031", "frame_size=x", "frame_size=", "window=0", "window=8", "window=²"],
)  # fmt: skip
def test_sizes_that_hdlc_does_not_have(option: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(f"hdlc+tcp://h?{option}")


def test_a_peer_goes_by_one_name_however_it_is_reached() -> None:
    assert peer_of("serial:///dev/x?baud=300&form=7E1") == "serial:///dev/x"
    assert peer_of("tcp://Meter") == peer_of("tcp://meter:4059/") == "tcp://meter:4059"
    assert peer_of("a line of its own") == "a line of its own"


def test_I08_a_secret_in_a_url_is_refused_and_not_repeated() -> None:
    for text in ("tcp://user:hunter2@h", "tcp://hunter2@h", "serial://hunter2@/dev/x"):
        with pytest.raises(ConfigurationError) as caught:
            parse(text)
        assert "hunter2" not in str(caught.value)


def test_schemes_are_a_table() -> None:
    assert {name: scheme.supported for name, scheme in SCHEMES.items()} == {
        "tcp": True,
        "udp": True,
        "hdlc+tcp": True,
        "han+tcp": False,
        "serial": True,
    }
    assert {name for name, scheme in SCHEMES.items() if scheme.hdlc} == {"hdlc+tcp", "serial"}
