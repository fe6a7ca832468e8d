"""Contexts and sealed frames for tests of protection."""

from __future__ import annotations

from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import DEDICATED, FORMS, Form
from meterseal.crypto import GcmKey, suite
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import Context, KeyInUse, SecuritySetup

OWN, PEER, OTHER = b"MSL00001", b"MSLHES01", b"MSLHES02"
EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))
GBEK, DEK = bytes(range(0x40, 0x50)), bytes(range(0x80, 0x90))
GET = bytes.fromhex("C001C100080000010000FF0200")


def in_use(ek: bytes = EK, ak: bytes = AK, first: int = 100, lowest: int = 0) -> KeyInUse:
    """A key with counters to send from `first`."""
    return KeyInUse(GcmKey(ek, ak), SendCounter(first, first + 10_000), ReceiveCounter(lowest))


def context(
    *,
    suite_id: int = 0,
    minimum: int = 0,
    general: bool = True,
    serving: bool = True,
    dedicated: bool = True,
    broadcast: bool = True,
    peer: bytes | None = PEER,
    lowest: int = 0,
) -> Context:
    """A context that has every key, as the meter sees it."""
    setup = SecuritySetup(suite(suite_id), OWN, peer, 0, in_use(lowest=lowest))
    if broadcast:
        setup.broadcast = in_use(GBEK)
    made = Context(setup, peer, minimum=minimum, general=general, serving=serving)
    if dedicated:
        made.set_dedicated(DEK)
    return made


def key_octets(form: Form, sc: int) -> bytes:
    """The key a form and SC ask for."""
    if sc & ciphered.SC_BROADCAST:
        return GBEK
    return DEK if form.key_set == DEDICATED else EK


def sealed(
    form: Form | int,
    plain: bytes,
    *,
    sc: int = 0x30,
    counter: int = 7,
    title: bytes = PEER,
    ek: bytes | None = None,
    ak: bytes = AK,
    header_title: bytes | None = None,
) -> bytes:
    """A frame as somebody with the keys would make it, whether or not it is legal."""
    row = FORMS[form] if isinstance(form, int) else form
    handle = GcmKey(key_octets(row, sc) if ek is None else ek, ak)
    iv = title + counter.to_bytes(4, "big")
    body = handle.seal(sc, iv, plain) if sc & 0x30 else plain
    return ciphered.build(row, title if header_title is None else header_title, sc, counter, body)


def counters(c: Context) -> tuple[int | None, ...]:
    """All floors of a context."""
    keys = (c.setup.unicast, c.setup.broadcast, c.dedicated)
    return tuple(None if k is None else k.rx.lowest for k in keys) + tuple(
        None if k is None else k.tx.left for k in keys
    )
