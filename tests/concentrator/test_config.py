"""The concentrator's file: what it says, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.concentrator import load
from meterseal.errors import ConfigurationError

WHOLE = """
# a concentrator
[concentrator]
listen = "tcp://127.0.0.1:4060"
callers = ["10.0.0.0/8", "::1"]
timeout = 5
queue = 10
queue_of_caller = 2
connections = 100
[management]
suite = 1
[lines.cellar]
url = "hdlc+tcp://127.0.0.1:4061"
address_size = 4
[meters.first]
network = 1
address = "0A0B"
url = "tcp://127.0.0.1:4059"
system_title = "4D534C0000000001"
logical_devices = [1, 17]
[meters.second]
address = "01"
line = "cellar"
device = 17
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "concentrator.toml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    config = load(written(tmp_path, WHOLE))
    first, second = config.routes
    assert (first.key, first.url, first.servers) == ((1, b"\x0a\x0b"), "tcp://127.0.0.1:4059", (1, 17))
    assert first.title == bytes.fromhex("4D534C0000000001")
    assert second.line is not None
    assert (second.key, second.line.name, second.line.address_size, second.device) == (
        (0, b"\x01"),
        "cellar",
        4,
        17,
    )
    assert (config.listen, config.timeout, config.queue, config.connections) == (
        "tcp://127.0.0.1:4060", 5.0, 10, 100,
    )  # fmt: skip
    assert config.admits("10.9.9.9")
    assert config.admits("::1")
    assert not config.admits("11.0.0.1")
    assert not config.admits("nonsense")
    assert config.management == {"suite": 1}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[lines.cellar]", "[rows.cellar]", "unknown table 'rows'"),
        ("timeout = 5", "timeout = 0", r"\[concentrator\] timeout"),
        ("queue = 10", "queue = 'x'", r"\[concentrator\] queue"),
        ('callers = ["10.0.0.0/8", "::1"]', 'callers = ["10.0.0.0/33"]', "callers"),
        ("suite = 1", "suite = 9", r"\[management\] suite"),
        ('listen = "tcp://', 'listen = "udp://', "listen"),
        ('address = "0A0B"', 'address = "0A0"', r"\[meters.first\] address"),
        ('address = "0A0B"', f'address = "{"00" * 256}"', "255 octets"),
        ('address = "0A0B"', "", "address: missing"),
        ('url = "tcp://127.0.0.1:4059"', "", "a url of its own, or a line"),
        ("device = 17", "", "a url of its own, or a line"),
        ('url = "tcp://127.0.0.1:4059"', 'url = "tcp://127.0.0.1:4059?gateway=0/01"', "in a circle"),
        ('line = "cellar"', 'line = "attic"', "no .lines.attic"),
        ("logical_devices = [1, 17]", "logical_devices = []", "logical_devices"),
        ('network = 1\naddress = "0A0B"', 'address = "01"', "the same as of first"),
        ("device = 17", 'device = 17\nsystem_title = "4D534C0000000001"', "the same as of first"),
        ("[meters.first]", '[meters."f x"]', "a name has"),
        ("[management]", "[management", "no TOML"),
        ('url = "hdlc+tcp://127.0.0.1:4061"', "", r"\[lines.cellar\] url: missing"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigurationError, match=told):
        load(written(tmp_path, WHOLE.replace(old, new)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none.toml")
