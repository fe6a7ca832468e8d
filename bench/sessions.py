"""A client as a process: `python -m bench.sessions WHICH CREDENTIALS`, WHICH of `CLIENTS`.

Told `session`, it signs on, reads one register GETS times, releases; it answers with the processor time and
the wall time of the reads and the values that it saw.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.processes import answer, orders
from meterseal import Credentials, MemoryCounters, sync
from meterseal.codec.data import decode
from meterseal.cosem.obis import Obis

GETS = 100
CLASS, NAME = 3, Obis("1.0.15.8.0.255")
SLOT = 10_000
"""Counters that one session may use; the next one begins above them."""


@dataclass
class Spent:
    """Processor and wall seconds of the reads, and what was read."""

    cpu: float
    wall: float
    values: list[int]


def reads(get: Callable[[], int]) -> Spent:
    """Read, and measure it."""
    get()  # the first one may have something to set up
    before, start = _cpu(), time.perf_counter()
    values = [get() for _ in range(GETS)]
    return Spent(_cpu() - before, time.perf_counter() - start, values)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ours(credentials: Credentials, role: str, first: int) -> Spent:
    """The synchronous twin; attribute by descriptor, as A-XDR."""
    alone = Credentials(credentials.meter, {role: _role(credentials, role, first)})
    with sync.connect(credentials=alone, role=role, counters=MemoryCounters()) as meter:
        return reads(lambda: int(decode(meter.get(CLASS, NAME, 2))))


def _role(credentials: Credentials, role: str, first: int) -> Any:
    return replace(credentials.role(role), counter_start=first)


def _house(credentials: Credentials) -> Any:
    host, _, port = (credentials.meter.url or "").removeprefix("tcp://").rpartition(":")
    return SimpleNamespace(address=(host, int(port)), credentials=credentials)


def gurux(credentials: Credentials, role: str, first: int) -> Spent:
    """The peer's own requests and parsing; its examples' kind of read loop over a socket."""
    from gurux_dlms.objects import GXDLMSRegister

    from tests.peers import gurux as peer

    client = peer.make(_role(credentials, role, first))
    with peer.connected(_house(credentials), client) as talk:
        talk.sign_on()
        register = GXDLMSRegister(str(NAME))
        found = reads(lambda: int(talk.ask(client.read(register, 2)).value))
        talk.release()
        return found


def dlms_cosem(credentials: Credentials, role: str, first: int) -> Spent:
    """The peer's own client, transport and connection."""
    from tests.peers import cosem as peer

    client = peer.make(_house(credentials), _role(credentials, role, first))
    with peer.connected(client):
        client.associate()
        wanted = peer.attribute(CLASS, str(NAME))
        found = reads(lambda: int(decode(bytes(client.get(wanted)))))
        client.release_association()
        return found


def bare(credentials: Credentials, role: str, first: int) -> Spent:
    """A socket and cipher calls, and nothing of what makes a client: no checks but the tag's."""
    from meterseal.crypto import GcmKey
    from meterseal.keys.counters import ReceiveCounter, SendCounter
    from meterseal.security import KeyInUse
    from tests.hostile.raw import Line
    from tests.meter.world import Client

    given = credentials.role(role)
    guek, gak = given.octets("guek"), given.octets("gak")
    assert guek is not None and gak is not None and given.client_system_title is not None
    key = KeyInUse(GcmKey(guek, gak), SendCounter(first, first + SLOT), ReceiveCounter())
    world = SimpleNamespace(credentials=credentials, key=lambda name: key)
    line = Line(_house(credentials).address[1])
    signed = Client(world, role, line).sign_on()
    found = reads(_bare_get(line.socket, guek, gak, given, signed.machine.server_title, count(first + 100)))
    line.close()
    return found


def _bare_get(socket: Any, guek: bytes, gak: bytes, given: Any, meter: Any, counters: Any) -> Any:
    encrypt, aad = AESGCM(guek).encrypt, b"\x30" + gak
    plain = bytes.fromhex("C001C1000301000F0800FF0200")
    own, sap = given.client_system_title, given.client.to_bytes(2, "big")
    head = b"\x00\x01" + sap + b"\x00\x01\x00\x20\xc8\x1e\x30"

    def get() -> int:
        counter = next(counters).to_bytes(4, "big")
        socket.sendall(head + counter + encrypt(own + counter, plain, aad)[:-4])
        octets = socket.recv(4096)
        while len(octets) < 8 or len(octets) < 8 + int.from_bytes(octets[6:8], "big"):
            octets += socket.recv(4096)
        nonce, body, tag = meter + octets[11:15], octets[15:-12], octets[-12:]
        text = encrypt(nonce, body, None)[:-16]
        if encrypt(nonce, text, aad)[-16:-4] != tag:
            raise ValueError("the tag is wrong")
        return int.from_bytes(text[5:], "big")

    return get


CLIENTS: dict[str, Callable[[Credentials, str, int], Spent]] = {
    "ours": ours,
    "gurux": gurux,
    "dlms_cosem": dlms_cosem,
    "bare": bare,
}
"""Each has a role of its own, so that no counter is used twice."""


def main() -> None:
    """Do as told."""
    which, path = sys.argv[1:]
    credentials = Credentials.load(path)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # a peer speaks there all the time
        for at, _ in enumerate(orders(), 1):
            spent = CLIENTS[which](credentials, which.replace("_", "-"), at * SLOT)
            answer({"cpu": spent.cpu, "wall": spent.wall, "values": spent.values})


if __name__ == "__main__":
    main()
