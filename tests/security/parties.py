"""Two parties with every kind of key, and what they send each other in layers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from meterseal.crypto import AgreementKey, GcmKey, SigningKey, WrappingKey, curve, suite
from meterseal.errors import MetersealError
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.security import (
    AUTHENTICATED,
    ENCRYPTED,
    SIGNED,
    Context,
    KeyInUse,
    SecuritySetup,
    Style,
    protect,
    unprotect,
)
from meterseal.security.directory import KnownKeys
from meterseal.security.layers import CIPHERING, SIGNING, Layer

BOTH = AUTHENTICATED | ENCRYPTED
ALL = BOTH | SIGNED
CLIENT, METER, STRANGER = b"MSLHES01", b"MSL00001", b"MSLHES02"
GET = bytes.fromhex("C001C100080000010000FF0200")
TRANSACTION = bytes.fromhex("0102030405060708")
LONGER = st.sampled_from([b"", b"\x81", b"\x82\x00", b"\x83\x00\x00", b"\x84\x00\x00\x00"])
"""What makes a length of one octet longer than it need be, put in front of it."""
CURVES = {1: "P-256", 2: "P-384"}
SIGN = {
    (id, title): SigningKey.generate(curve(name))
    for id, name in CURVES.items()
    for title in (CLIENT, METER, STRANGER)
}
AGREE = {
    (id, title): AgreementKey.generate(curve(name))
    for id, name in CURVES.items()
    for title in (CLIENT, METER, STRANGER)
}
FRESH = ("wrapped", "one-pass", "static")
MIRRORED = ("absent", "identified", *FRESH)


def party(own: bytes, peer: bytes, suite_id: int = 1, *, first: int = 100, **context: Any) -> Context:
    """One end: global keys, and in suites 1 and 2 curve keys with a directory of everybody's."""
    length = suite(suite_id).key_length
    ek, ak, gbek, kek = (bytes(range(at, at + length)) for at in (0, 0x20, 0x40, 0x60))
    setup = SecuritySetup(suite(suite_id), own, peer)
    setup.unicast = KeyInUse(GcmKey(ek, ak), SendCounter(first, first + 10_000), ReceiveCounter())
    setup.broadcast = KeyInUse(GcmKey(gbek, ak), SendCounter(1, 1), ReceiveCounter())
    setup.master = WrappingKey(kek)
    if suite_id:
        known = KnownKeys()
        setup.signing, setup.agreement = SIGN[suite_id, own], AGREE[suite_id, own]
        known.signing = {t: key.public for (id, t), key in SIGN.items() if id == suite_id}
        known.agreement = {t: key.public for (id, t), key in AGREE.items() if id == suite_id}
        setup.directory = known
    return Context(setup, peer, general=True, serving=own == METER, **context)


def both(suite_id: int = 1, **context: Any) -> tuple[Context, Context]:
    """Client and meter."""
    return party(CLIENT, METER, suite_id, **context), party(METER, CLIENT, suite_id, first=5000, **context)


def signing(transaction: bytes = TRANSACTION) -> Layer:
    """A signed layer to be made."""
    return Layer(SIGNING, b"", b"", transaction)


def ciphering(form: str = "identified", transaction: bytes = TRANSACTION) -> Layer:
    """A ciphered layer to be made."""
    return Layer(CIPHERING, b"", b"", transaction, form)


def floors(context: Context) -> tuple[int, ...]:
    """All that a refused message must not move."""
    setup = context.setup
    assert setup.unicast is not None and setup.broadcast is not None
    return (setup.unicast.rx.lowest, setup.broadcast.rx.lowest, setup.fresh.rx.lowest, len(setup.exchanges))


def by(sender: Context, form: str, applied: int = BOTH, apdu: bytes = GET, **layer: Any) -> bytes:
    """A message in a ciphered layer with the key of `form`, signed inside where `applied` says so."""
    return protect(sender, apdu, applied, Style.LAYERED, (ciphering(form, **layer), signing()))


def refused(
    context: Context, octets: bytes, error: type[MetersealError] | tuple[type[MetersealError], ...]
) -> None:
    """It is, with this error, and nothing has moved."""
    before = floors(context)
    with pytest.raises(error):
        unprotect(context, octets)
    assert floors(context) == before
