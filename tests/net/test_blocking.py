"""The calling end without a loop: the same promises as with asyncio, over sockets and in memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
)
from typing import TypeAlias

import pytest

from meterseal import net
from meterseal.errors import (
    ConnectionLost,
    Malformed,
    MetersealError,
    Misuse,
    TimedOut,
    TooLarge,
)
from meterseal.framing import wrapper
from meterseal.framing.hdlc import Control, Frame, FrameReader, Kind, encode
from meterseal.net import Asking, Limits, Link, blocking
from tests.net.parties import ANSWER, APDU, SOON, Parties

OpenedTwin: TypeAlias = Callable[[], AbstractContextManager[blocking.Line]]


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A plain peer in a thread that does what the test says with each connection; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        try:
            connected, _ = listener.accept()
        except OSError:
            return
        with connected:
            connected.settimeout(SOON)
            try:
                talk(connected)
            except OSError:
                pass  # the test has hung up

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join(SOON)


def echoing(connected: socket.socket) -> None:
    reader = wrapper.WrapperReader()
    while octets := connected.recv(65_536):
        for source, destination, payload in reader.feed(octets):
            connected.sendall(wrapper.encode(destination, source, payload))


@contextmanager
def twin_over_tcp() -> Iterator[blocking.Line]:
    with listening(echoing) as url, blocking.connect(url) as line:
        yield line


@contextmanager
def twin_in_memory() -> Iterator[blocking.Line]:
    with net.blocking_loopback(Parties()) as line:
        yield line


TWINS = pytest.mark.parametrize("opened", [twin_over_tcp, twin_in_memory], ids=["tcp", "memory"])


@TWINS
def test_twin_sends_and_receives(opened: OpenedTwin) -> None:
    with opened() as line:
        for size in (1, 13, 2000, 65_535):
            line.send(16, 1, bytes(size))
            assert line.receive(SOON) == (1, 16, bytes(size))
        line.send(16, 1, b"a")
        line.send(16, 1, b"b")
        assert [line.receive()[2], line.receive(SOON)[2]] == [b"a", b"b"]
        with pytest.raises(TimedOut):
            line.receive(0)
        with pytest.raises(TimedOut):
            line.receive(0.01)
        line.send(16, 1, b"c")
        assert line.receive(SOON)[2] == b"c"


@TWINS
def test_twin_channels_get_their_own_frames_and_only_these(opened: OpenedTwin) -> None:
    with opened() as line:
        one, two = line.channel(16, 1), line.channel(2, 1)
        two.send(b"two")
        line.send(3, 1, b"none")
        one.send(b"one")
        assert [one.receive(SOON), two.receive(SOON), line.receive(SOON)] == [b"one", b"two", (1, 3, b"none")]
        with pytest.raises(Misuse, match="already"):
            line.channel(16, 1)
        one.close()
        with pytest.raises(Misuse, match="closed"):
            one.receive(SOON)
        line.send(16, 1, b"late")
        assert line.receive(SOON) == (1, 16, b"late")
        two.send(b"left")
        line.send(3, 1, b"after")
        assert line.receive(SOON) == (1, 3, b"after")
        two.close()
        two.close()
        assert line.receive(SOON) == (1, 2, b"left")


@TWINS
def test_twin_after_closing(opened: OpenedTwin) -> None:
    with opened() as line:
        line.close()
        line.close()
        assert line.is_closing
        with pytest.raises(ConnectionLost, match="at this end"):
            line.send(16, 1, APDU)
        with pytest.raises(ConnectionLost, match="at this end"):
            line.receive(SOON)
        with pytest.raises(ConnectionLost, match="at this end"):
            line.channel(1, 1)


@pytest.mark.parametrize(
    ("octets", "error", "cause"),
    [
        (b"", ConnectionLost, "closed the connection"),
        (ANSWER[:10], ConnectionLost, "inside a frame"),
        (b"\x00\x02", Malformed, "version"),
        (bytes.fromhex("000100010010FFFF"), TooLarge, "65535"),
    ],
)
def test_twin_and_peers_that_break_off(octets: bytes, error: type[MetersealError], cause: str) -> None:
    def talk(connected: socket.socket) -> None:
        connected.sendall(ANSWER + octets)

    with listening(talk) as url, blocking.connect(url, limits=Limits(apdu=1024)) as line:
        assert line.receive(SOON)[2] == APDU
        with pytest.raises(error, match=cause):
            line.receive(SOON)
        with pytest.raises(error):
            line.send(16, 1, APDU)


def test_F14_twin_and_a_frame_that_never_ends() -> None:
    done = threading.Event()

    def trickle(connected: socket.socket) -> None:
        connected.sendall(ANSWER + ANSWER[:10])
        done.wait(SOON)

    with listening(trickle) as url, blocking.connect(url, limits=Limits(frame_time=0.05)) as line:
        try:
            assert line.receive(SOON)[2] == APDU
            with pytest.raises(TimedOut, match="complete"):
                line.receive(SOON)
            assert line.is_closing
        finally:
            done.set()


def test_F14_twin_waits_as_long_as_it_said_for_single_octets() -> None:
    late = threading.Event()
    answer = wrapper.encode(1, 16, bytes(60_000))  # in single octets it would take ten minutes

    def trickle(connected: socket.socket) -> None:
        at = 0
        while not late.wait(0.01):
            connected.sendall(answer[at : at + 1])
            at += 1
        connected.sendall(answer[at:])

    with listening(trickle) as url, blocking.connect(url) as line:
        try:
            with pytest.raises(TimedOut, match="in time"):
                line.receive(0.05)
            assert not line.is_closing
            late.set()
            assert line.receive(SOON)[2] == bytes(60_000)
        finally:
            late.set()


def test_F14_twin_and_a_peer_that_never_reads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with (
            blocking.connect(url, limits=Limits(write_time=0.1)) as line,
            pytest.raises(TimedOut, match="read"),
        ):
            with pytest.raises(TimedOut):
                line.receive(0)
            for _ in range(1000):
                line.send(16, 1, bytes(60_000))


def test_F14_twin_and_a_flood_that_nobody_asked_for() -> None:
    def flood(link: Link, source: int, destination: int, payload: bytes) -> None:
        for _ in range(40):
            link.send(destination, source, bytes(60_000))

    with net.blocking_loopback(Parties(flood)) as line:
        line.send(16, 1, APDU)
        with pytest.raises(TooLarge, match="nobody"):
            line.channel(2, 1).receive(SOON)


@pytest.mark.parametrize("kind", [Kind.DM, Kind.FRMR])
def test_twin_and_a_meter_that_refuses_the_link(kind: Kind) -> None:
    def refuse(connected: socket.socket) -> None:
        reader = FrameReader()
        while octets := connected.recv(65_536):
            for frame in reader.feed(octets):
                no = Frame(frame.source, frame.destination, Control(kind, True).encode())
                connected.sendall(encode(no))

    with listening(refuse) as url, blocking.connect(f"hdlc+{url}", hdlc=Asking()) as line:
        channel = line.channel(16, 1)
        channel.send(APDU)
        with pytest.raises(ConnectionLost, match=f"refused the link with {kind.value}"):
            channel.receive(SOON)


def test_twin_and_a_connection_that_is_reset() -> None:
    def reset(connected: socket.socket) -> None:
        connected.recv(100)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with listening(reset) as url, blocking.connect(url) as line:
        line.send(16, 1, APDU)
        with pytest.raises(ConnectionLost):
            line.receive(SOON)
    with listening(reset) as url, blocking.connect(url) as line:
        line.send(16, 1, APDU)
        with pytest.raises(ConnectionLost):
            for _ in range(1000):
                line.send(16, 1, bytes(60_000))
