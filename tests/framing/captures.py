"""Recorded frames and the seeds made of them, for the framing tests."""

from __future__ import annotations

from meterseal.framing import gateway, gbt, hdlc, mbus, wrapper
from tests.vectors import load, vector

# General block transfer in HDLC UI frames, LLC in front of the first block only: an E450 meter, recorded in
# the tests of a public decoder (Apache-2.0).
E450 = [
    bytes.fromhex(frame)
    for frame in (
        "7EA08BCEFF0313EEE1E6E700E0400001000077DB084C475A677370B1778201033000177BCA14DD298539C05BD0E9250BCB05D3"
        "3295AAD43EDA9A14E25AC843C12FC63CA7E5C42A4D53E3F6A0C9C8793C0E1D011AB0DF9B7A48A3361428240D3775A473CD4AC2"
        "238AB2594D87C7B037BB5BC130E3070770E04B9E407DA3CD42314BD87F2E08067D34A7CAB7417E",
        "7EA08BCEFF0313EEE1E040000200007A9BFF215F01815448199ABA45CBDBE44CCABAAC4EB1CB10D3F89D2FD3948408B5A45BE7"
        "C56C4AE060E994D14C112D3922F0C047DB71D047098EC576F0A98FE6A2FA51C1A99DA63ADDD6EDC6E85D37E439B45A327C4237"
        "2187E2DBD02776EF92380E5E9234D7B0DBA1DA122B0C6C4DD98E103839B3784C1606FA3320BC7E",
        "7EA030CEFF031386F8E0C0000300001F9A13717B673DB2EFCFF3A84FC53252EB8649881117E26462D5489052C89E6209C77E",
    )
]
E450_KEYS = {
    "ek": "5C316162209EBB790B52EB0E7FC5B11C",
    "ak": "92705C5C97286064EABAE38D190F87A4",
    "system_title": "4C475A677370B177",
    "sc": "30",
    "ic": "00177BCA",
}

HDLC_FRAMES = [bytes.fromhex(row["inputs"]["frame"]) for row in load("hdlc") if row["inputs"]["format3"]]
MBUS_FRAMES = [bytes.fromhex(frame) for frame in vector("tirol-push")["inputs"]["frames"]]
WRAPPER_FRAMES = [bytes.fromhex(row["inputs"]["wpdu"]) for row in load("wrapper")]

APDU = bytes.fromhex("C001C1000100002A0000FF0200")
LONG_APDU = bytes(range(0xC0, 0xC4)) + bytes(range(256)) * 2

CLIENT = hdlc.Address(16)
SERVER = hdlc.Address(1, 17)

P1_TEXT = (
    b"/XXX5TESTMETER\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(250101120000W)\r\n1-0:1.8.1(000051.775*kWh)\r\n"
    b"0-1:24.2.1(250101120000W)(00012.785*m3)\r\n!"
)
P1_OLD_TEXT = b"/ABC4OLD\r\n\r\n0-1:24.3.0(120101000000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00000.123)\r\n!\r\n"


def p1_telegram(text: bytes = P1_TEXT) -> bytes:
    """The text with its CRC, counted bit by bit."""
    state = 0
    for octet in text:
        state ^= octet
        for _ in range(8):
            state = state >> 1 ^ 0xA001 if state & 1 else state >> 1
    return text + f"{state:04X}\r\n".encode()


def p1_ciphered(size: int = 40, form: int = 2) -> bytes:
    """The shape of a ciphered telegram, `form` octets behind the first of its length; it cannot be opened."""
    length = bytes((0x80 | form,)) + size.to_bytes(form, "big") if form else bytes((size,))
    return b"\xdb\x08SAG12345" + length + b"\x30\x00\x00\x00\x01" + bytes(size - 5)


def hdlc_segments(apdu: bytes, size: int = 100) -> list[bytes]:
    """An answer in segmented I frames."""
    information = hdlc.RESPONSE + apdu
    parts = [information[pos : pos + size] for pos in range(0, len(information), size)]
    frames = []
    for number, part in enumerate(parts):
        control = hdlc.Control(hdlc.Kind.I, number == len(parts) - 1, number % 8, 1).encode()
        frames.append(hdlc.encode(hdlc.Frame(CLIENT, SERVER, control, part, number < len(parts) - 1)))
    return frames


def gbt_blocks(apdu: bytes, size: int = 60) -> list[bytes]:
    """An APDU in unconfirmed blocks."""
    parts = [apdu[pos : pos + size] for pos in range(0, len(apdu), size)]
    return [
        gbt.encode(gbt.Block(number, part, last=number == len(parts), streaming=number < len(parts)))
        for number, part in enumerate(parts, 1)
    ]


EVERYTHING = [
    *HDLC_FRAMES,
    *MBUS_FRAMES,
    b"".join(MBUS_FRAMES),
    *WRAPPER_FRAMES,
    b"".join(E450),
    b"".join(hdlc_segments(LONG_APDU)),
    b"".join(gbt_blocks(LONG_APDU)),
    b"\xe5".join(mbus.encode(LONG_APDU)),
    wrapper.encode(1, 16, gateway.encode(gateway.Prefix(True, 0, b"12345678"), APDU)),
    hdlc.COMMAND + APDU,
    gateway.encode(gateway.Prefix(False, 3, b"42"), APDU),
    p1_telegram(),
    P1_OLD_TEXT,
    p1_ciphered() * 2,
    APDU,
]
"""A seed of every kind that can be told apart."""
