"""Pushes out of APDUs: the key found by system title, protection and counter held against the own rule.

No input or output but the counters' store.  What a push is let through by is never the sender's say: the
protection that is required is the listener's, and a counter that came before is refused, also after a
restart, for the floor of every push is durable before the push is handed on (design 5, B22).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from meterseal import apdu
from meterseal.apdu import services, short_names
from meterseal.codec.message import Message
from meterseal.errors import (
    ConfigurationError,
    DecodeError,
    Expired,
    Forged,
    MetersealError,
    ProtectionError,
    ProtocolViolation,
    Replayed,
    StateUnavailable,
    TooWeak,
    UnknownKey,
    Unsupported,
)
from meterseal.framing import p1
from meterseal.framing.items import LINK, P1_TELEGRAM, Item
from meterseal.listener.book import Called, Door, Doors
from meterseal.listener.outside import Outside, is_protected, outside, signed_inside
from meterseal.listener.presets import STRONG
from meterseal.listener.quarantine import Quarantine
from meterseal.net.url import Url
from meterseal.security import AUTHENTICATED, SIGNED, Opened, unprotect
from meterseal.security.describe import P1_APDU, framing_layer
from meterseal.security.protection import NONE, text
from meterseal.security.sealed import TAG as SEALED_TAG
from meterseal.security.sealed import Sealed
from meterseal.state import CounterStore

_PUSHES: Final = (
    services.DataNotification,
    services.EventNotificationRequest,
    short_names.InformationReportRequest,
)
_P1_MARK: Final = b"/"
_CARRIERS: Final = frozenset({"wrapper", "hdlc", "m-bus"})
_NO_CLOCK: Final = 0.0


@dataclass(slots=True, eq=False)
class Received:
    """One push, or why what came is none.

    `meter` and `role` name the credentials that opened it, `title` the sender.  `plain` is the push itself;
    `message` its declaration, or `telegram` for the text of a customer port.  With an `error` the rest is as
    far as it got, and `aside` says where an unknown meter's push was put.  `sealed` is a push for somebody
    else: then there is no `plain`.
    """

    source: str
    layers: tuple[dict[str, Any], ...]
    apdu: str | None = None
    plain: bytes | None = None
    message: Message | None = None
    telegram: p1.Telegram | None = None
    meter: str | None = None
    role: str | None = None
    title: bytes | None = None
    error: MetersealError | None = None
    aside: str = ""
    sealed: Sealed | None = None
    door: Door | None = field(default=None, repr=False)


class Receiver:
    """Opens what comes, by the keys of a book.

    `accept` is the least protection of a push (AUTHENTICATED | ENCRYPTED).  Floors are kept in `store`.
    `tagged_time` is the peer option of that name.
    """

    def __init__(
        self,
        book: Doors,
        store: CounterStore,
        *,
        accept: int = STRONG,
        quarantine: Quarantine | None = None,
        tagged_time: bool = False,
    ) -> None:
        self._book, self._store, self._accept = book, store, accept
        self._quarantine, self._tagged_time = quarantine, tagged_time
        self._dirty = False

    def take(
        self, items: Iterable[Item], source: str, *, window: int = 0, now: float = _NO_CLOCK
    ) -> Iterator[Received]:
        """What became of each item.  `window` is how far counters may come out of order on this line.

        Nothing of it may be handed on before `sync`.  Raises nothing for what the items hold.
        """
        for item in items:
            if item.kind == LINK and item.error is None:
                continue
            received = Received(source, tuple(framing_layer(layer) for layer in item.layers))
            try:
                self._take(received, item, window, now)
            except MetersealError as error:
                received.error = error
            yield received

    def callable_at(self, where: Url, now: float) -> Iterable[Called]:
        """The meters of the book that can be asked on a line with HDLC."""
        return self._book.callable_at(where, now)

    def sync(self) -> None:
        """Make the floors of all that was taken durable.  Raises what the store raises."""
        if self._dirty:
            self._store.sync()
            self._dirty = False

    # --- one item -------------------------------------------------------------------------------

    def _take(self, received: Received, item: Item, window: int, now: float) -> None:
        if item.error is not None:
            raise item.error
        octets = item.payload
        if item.kind == P1_TELEGRAM:
            octets = octets.rstrip(b"\r\n")
        if is_protected(octets):
            octets = self._open(received, item, window, now)
            if received.sealed is not None:
                return
        elif octets[:1] and octets[0] in apdu.UNDECODED:
            raise Unsupported(f"{apdu.UNDECODED[octets[0]]} is not opened by this version")
        elif self._accept:
            raise TooWeak(f"in clear, and pushes have to be {text(self._accept)} here")
        self._read(received, octets)

    def _read(self, received: Received, plain: bytes) -> None:
        """What is inside: a push, or the text of a customer port."""
        if plain[:1] == _P1_MARK:
            received.telegram = p1.decode(plain)
            received.apdu, received.plain = P1_APDU, plain
            return
        if self._tagged_time:
            plain = services.without_time_tag(plain)
        message = apdu.decode(plain)
        if not isinstance(message, _PUSHES):
            raise ProtocolViolation(f"a {message.name} is no push")
        received.apdu, received.plain, received.message = message.name, plain, message

    # --- ciphered -------------------------------------------------------------------------------

    def _open(self, received: Received, item: Item, window: int, now: float) -> bytes:
        """What is inside; what is sealed for somebody else goes into `received` as such."""
        around = outside(item.payload)
        received.title = around.title or None
        received.layers += (around.shown,)
        if not around.title:
            raise UnknownKey("the push does not say whose it is: no system title in front")
        doors = self._book.find(around.title, now)
        if not doors:
            self._put_aside(received, item.payload, around.title)
        self._check_protection(around.applied, beside=SIGNED)  # that may still be inside
        door, opened = self._through_doors(doors, item, around, window)
        received.door, received.meter, received.role = door, door.meter, door.role
        signed = signed_inside(opened.layers, door.setup.suite.signature_length)
        if around.applied & AUTHENTICATED or SIGNED & opened.applied:
            proved = {**around.shown, "verified": True}
            inside = signed if around.applied else ()
            received.layers = (*received.layers[:-1], proved, *inside)
        self._check_protection(opened.applied)
        self._note(door, opened)
        if opened.apdu[:1] == SEALED_TAG:
            received.sealed, received.apdu = Sealed.of(opened.apdu), Sealed.name
            received.layers += (outside(opened.apdu).shown,)
        return opened.apdu

    def _check_protection(self, applied: int, beside: int = 0) -> None:
        if self._accept & ~(applied | beside):
            raise TooWeak(f"{text(applied)}, and pushes have to be {text(self._accept)} here")

    def _put_aside(self, received: Received, octets: bytes, title: bytes) -> None:
        cause = f"no credentials for system title {title.hex().upper()}"
        if self._quarantine is not None:
            try:
                received.aside = self._quarantine.put(title, received.source, received.layers, octets)
            except StateUnavailable as error:
                raise UnknownKey(f"{cause}, and it could not be put aside: {error}") from error
        raise UnknownKey(cause)

    def _through_doors(
        self, doors: list[Door], item: Item, around: Outside, window: int
    ) -> tuple[Door, Opened]:
        """Open by the first key that fits, that of whom it is for first.

        Raises what the others had against it: a counter that came before tells most, then a wrong tag, then
        keys whose loan has ended.
        """
        client = _client(item)
        causes: list[MetersealError] = []
        for door in sorted(doors, key=lambda door: door.rank(client, around.recipient)):
            context = door.context(self._accept, window)
            try:
                door.check_lent()
                if around.layered:
                    door.prepare()
                opened = unprotect(context, item.payload)
                if not around.applied & AUTHENTICATED and not opened.applied & SIGNED:
                    _check_sense(opened.apdu)
            except (ProtectionError, DecodeError, Unsupported, ConfigurationError, Expired) as error:
                causes.append(error)
            else:
                return door, opened
        raise min(causes, key=_rank)

    def _note(self, door: Door, opened: Opened) -> None:
        """Keep the floor of the counters that the push moved."""
        if opened.applied & AUTHENTICATED:
            counted = opened.key or door.setup.fresh
            self._store.note_received(counted.key_id, counted.rx.lowest)
            self._dirty = True


_RANKS: Final = (Replayed, Forged, Expired)


def _rank(error: MetersealError) -> int:
    return next((rank for rank, kind in enumerate(_RANKS) if isinstance(error, kind)), len(_RANKS))


def _client(item: Item) -> Any:
    """The SAP that a push is for, by its carrier."""
    carrier = next((layer for layer in item.layers if layer.kind in _CARRIERS), None)
    return None if carrier is None else carrier.fields.get("destination")


def _check_sense(plain: bytes) -> None:
    """Without a tag only the content tells a right key from a wrong one; the error tells nothing of it."""
    try:
        if plain[:1] == _P1_MARK:
            p1.decode(plain)
        else:
            apdu.decode(plain)
    except (DecodeError, Unsupported):
        pass
    else:
        return
    del plain
    raise Forged("nothing proves what is inside, and it makes no sense: wrong key, or changed on the way")


WEAK: Final = "pushes are taken that nobody has to have proved: anybody on the line can write or repeat them"
"""The warning that goes with an `accept` without authentication."""


def is_weak(accept: int) -> bool:
    """True when pushes without a tag, or without any protection, are let through."""
    return accept == NONE or not accept & AUTHENTICATED
