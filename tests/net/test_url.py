"""URLs of lines."""

from __future__ import annotations

import pytest

from meterseal.errors import ConfigurationError
from meterseal.net import SCHEMES, Url, parse


@pytest.mark.parametrize(
    ("text", "url", "again"),
    [
        ("tcp://127.0.0.1:5000", Url("tcp", "127.0.0.1", 5000), None),
        ("tcp://meter", Url("tcp", "meter", 4059), "tcp://meter:4059"),
        ("tcp://meter/", Url("tcp", "meter", 4059), "tcp://meter:4059"),
        ("TCP://Meter:1", Url("tcp", "meter", 1), "tcp://meter:1"),
        ("tcp://[::1]:4059", Url("tcp", "::1", 4059), None),
        ("tcp://h:1?gateway=0/123", Url("tcp", "h", 1, "", {"gateway": "0/123"}), "tcp://h:1"),
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
        "serial://", "serial:///dev/x?parity=even",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_line(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)


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
