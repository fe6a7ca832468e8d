"""Pushes made for the tests: a meter's titles and keys, credentials for them, and what it sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meterseal.apdu.services import DataNotification
from meterseal.codec.data import Data, Tag
from meterseal.crypto import GcmKey
from meterseal.framing.items import Item, Layer
from meterseal.listener import Book, Receiver
from meterseal.state import MemoryCounters

TITLE = b"MSL\x00\x00\x00\x00\x01"
EK, AK = bytes(range(16)), bytes(range(0xD0, 0xE0))
OTHER_EK = bytes(range(0x20, 0x30))

CREDENTIALS = """[meter]
system_title = "{title}"

[roles.{role}]
client = {client}
mechanism = "none"
policy = "none"
guek = "{guek}"
gak = "{gak}"
"""


def write(path: Path, title: bytes = TITLE, *, role: str = "push", client: int = 103, ek: bytes = EK) -> Path:
    """A credentials file of one role."""
    text = CREDENTIALS.format(
        title=title.hex().upper(), role=role, client=client, guek=ek.hex().upper(), gak=AK.hex().upper()
    )
    path.touch(0o600)
    path.write_text(text)
    return path


def plain(number: int = 7) -> bytes:
    """A data-notification."""
    return DataNotification(number, b"", Data.of(number, Tag.DOUBLE_LONG_UNSIGNED)).encode()


def sealed(
    ic: int,
    *,
    inside: bytes | None = None,
    sc: int = 0x30,
    title: bytes = TITLE,
    ek: bytes = EK,
    ak: bytes = AK,
) -> bytes:
    """A general-glo push."""
    body = GcmKey(ek, ak).seal(sc, title + ic.to_bytes(4, "big"), plain(ic) if inside is None else inside)
    content = bytes((sc,)) + ic.to_bytes(4, "big") + body
    size = bytes((len(content),)) if len(content) < 128 else b"\x82" + len(content).to_bytes(2, "big")
    return b"\xdb\x08" + title + size + content


def item(octets: bytes, client: int = 103) -> Item:
    """What came in a wrapper frame from the meter's management device."""
    return Item((Layer("wrapper", {"source": 1, "destination": client}),), octets)


def receiver(path: Path, store: Any = None, **options: Any) -> Receiver:
    """A receiver with the credentials in `path`."""
    store = store or MemoryCounters()
    return Receiver(Book(path, store), store, **options)


def kinds(found: Any) -> list[str]:
    """The kind of each error, `ok` without one."""
    return ["ok" if one.error is None else one.error.kind for one in found]
