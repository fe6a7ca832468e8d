"""Benchmarks of framing: an HDLC frame made and checked, against the peer's own two functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gurux_dlms.GXByteBuffer import GXByteBuffer
from gurux_dlms.GXDLMS import GXDLMS
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from gurux_dlms.GXReplyData import GXReplyData

from bench.case import Case, Pair, equal
from meterseal.framing.hdlc import Address, Frame, decode, encode

FRAME_OCTETS = 283
INFORMATION = FRAME_OCTETS - 11  # with addresses of one octet each
LLC = b"\xe6\xe7\x00"
CLIENT, SERVER = Address(16), Address(1)
FIRST = 0x30  # the first answer of a link: N(R) 1, final, N(S) 0


def settings(server: bool) -> GXDLMSSettings:
    """One end of the peer's, with frames long enough not to be cut."""
    made = GXDLMSSettings(server, None)
    made.clientAddress, made.serverAddress, made.serverAddressSize = 16, 1, 1
    made.hdlc.maxInfoTX = made.hdlc.maxInfoRX = 2030
    return made


def hdlc_frame() -> Pair:
    """A frame of 283 octets with fresh information: encoded, then found whole and both check sums right.

    Ours gives both the octets and the APDU in them, and so does the peer's; its settings and buffers are
    made beforehand.
    """

    def inputs(count: int) -> Sequence[Any]:
        made = []
        for _ in range(count):
            information = LLC + os.urandom(INFORMATION - len(LLC))
            meter, client = settings(True), settings(False)
            client.senderFrame, client.receiverFrame = 0x10, 0x0E
            made.append((information, GXByteBuffer(information), meter, client, GXReplyData()))
        return made

    def ours(item: Any) -> tuple[bytes, bytes]:
        octets = encode(Frame(CLIENT, SERVER, FIRST, item[0]))
        return octets, decode(octets).information[3:]

    def theirs(item: Any) -> tuple[bytes, bytes]:
        _, buffer, meter, client, reply = item
        octets = GXDLMS.getHdlcFrame(meter, FIRST, buffer)
        came = GXByteBuffer(octets)
        GXDLMS.getHdlcData(False, client, came, reply, None)
        return bytes(octets), bytes(came.array()[came.position : -3])

    def agree(_: Any, mine: Any, peer: Any) -> None:
        equal(None, mine, peer)
        equal(None, len(mine[0]), FRAME_OCTETS)

    return Pair(inputs, ours, theirs, agree, calls=300, calls_theirs=10)


CASES = (Case("hdlc_frame_per_second", 20, hdlc_frame),)
