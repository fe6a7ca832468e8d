"""Dissection: captured octets, from the outside in, to one answer per APDU (design: `decode --json`).

Frames are taken off by `framing.detect`, ciphered APDUs opened with a keyring, the innermost APDU shown by
name. What cannot be opened says why and shows how far it got; what comes after it is still looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from meterseal import apdu
from meterseal.apdu import acse, ciphered, initiate
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.apdu.services import without_time_tag
from meterseal.codec.data import Data
from meterseal.codec.message import Message
from meterseal.errors import (
    DecodeError,
    Forged,
    Malformed,
    MetersealError,
    Replayed,
    UnknownKey,
    Unsupported,
)
from meterseal.framing import detect, p1
from meterseal.framing.items import DATA, LINK, P1_TELEGRAM, Item
from meterseal.probe import layered, show
from meterseal.probe import opening as opener
from meterseal.probe.keyring import EMPTY, Keyring
from meterseal.probe.opening import Frame, Opening
from meterseal.probe.resync import frames_within
from meterseal.probe.stream import Line, Stream
from meterseal.security.describe import (
    P1_APDU,
    ciphered_layer,
    framing_layer,
    party_fields,
    signed_layer,
)
from meterseal.security.layers import CIPHERING, SIGNING

Described: TypeAlias = dict[str, Any]

DATA_APDU: Final = "data"
_CIPHERING, _SIGNING = GeneralCiphering.tag[0], GeneralSigning.tag[0]
_LAYERED: Final = frozenset({_CIPHERING, _SIGNING})


@dataclass(frozen=True, slots=True)
class Dissection:
    """One APDU of a capture, or what came of it.

    `layers` from the outside in; `apdu` the standard's name of the innermost APDU (`p1-telegram` for the text
    of a customer port, `data` for bare A-XDR Data), `plain` its octets, `value` its content; all None with an
    `error`. A frame without an APDU has layers only. `opened` are octets that came out of a ciphered APDU and
    whose content did not make sense, for a person to look at; `signed` a general-signing APDU as it came.
    """

    layers: tuple[Described, ...]
    apdu: str | None = None
    plain: bytes | None = None
    value: Any = None
    error: MetersealError | None = None
    warnings: tuple[str, ...] = ()
    message: Message | None = field(default=None, repr=False)
    opened: bytes | None = field(default=None, repr=False)
    signed: bytes | None = field(default=None, repr=False)

    @property
    def is_link_only(self) -> bool:
        """True for a frame that carries no APDU."""
        return self.apdu is None and self.error is None

    def to_json(self) -> Described:
        """The object that `decode --json` writes as a line."""
        shown: Described = {
            "layers": list(self.layers),
            "apdu": self.apdu,
            "plain": None if self.plain is None else self.plain.hex().upper(),
            "value": self.value,
        }
        if self.error is not None:
            shown["error"] = {"type": self.error.kind, "message": str(self.error)}
            if isinstance(self.error, Replayed) and self.error.lowest_acceptable is not None:
                shown["error"]["lowest_acceptable"] = self.error.lowest_acceptable
        return shown


def dissect(octets: bytes, keyring: Keyring = EMPTY, *, unverified: bool = False) -> list[Dissection]:
    """Everything in `octets`, in order: one Dissection per APDU.

    Where there are frames but no APDU at all, one per frame. `unverified` shows what has a tag that cannot
    be verified because no GAK is known (`verified` is then null). Raises nothing for what the octets say.
    """
    return with_apdu(list(Dissector(keyring, unverified=unverified).feed(octets)))


def with_apdu(found: list[Dissection]) -> list[Dissection]:
    """Those with an APDU or an error; all, when there are none."""
    return [one for one in found if not one.is_link_only] or found


class Dissector:
    """Dissection of a stream that comes in pieces: titles, dedicated keys and counters last over them.

    Each piece holds whole frames; segments and blocks of one APDU are in one piece.
    `length_modulo_256` and `tagged_time` are the options of M-Bus frames and of pushes with these names.
    """

    def __init__(
        self,
        keyring: Keyring = EMPTY,
        *,
        unverified: bool = False,
        length_modulo_256: bool = False,
        tagged_time: bool = False,
    ) -> None:
        self._keyring = keyring
        self._unverified = unverified
        self._modulo, self._tagged_time = length_modulo_256, tagged_time
        self._stream = Stream()

    def feed(self, octets: bytes) -> Iterator[Dissection]:
        """What `octets` hold, frames without an APDU included."""
        items = self._unframed(octets)
        first = self._item(items[0])
        if len(items) == 1 and not first.layers and first.value is None:
            # Nothing was recognised, or an APDU by its first octet only.
            begin, items = self._picked_up(octets)
            if items:
                first = Dissection((), error=Malformed(f"{begin} octets in front of the first whole frame"))
        else:
            del items[0]
        yield first
        for item in items:
            yield self._item(item)

    def _unframed(self, octets: bytes) -> list[Item]:
        return detect.unframe(octets, self._is_apdu, length_modulo_256=self._modulo)

    def _is_apdu(self, octets: bytes) -> bool:
        return _is_apdu(self._as_the_standard(octets))

    def _as_the_standard(self, octets: bytes) -> bytes:
        """An APDU without what the options say of its sender."""
        return without_time_tag(octets) if self._tagged_time else octets

    def _picked_up(self, octets: bytes) -> tuple[int, list[Item]]:
        """Where reading can begin after all, and what is there; nothing when it cannot."""
        for begin in frames_within(octets, self._modulo):
            items = self._unframed(octets[begin:])
            if items[0].error is None:
                return begin, items
        return 0, []

    def _item(self, item: Item) -> Dissection:
        layers = tuple(framing_layer(layer) for layer in item.layers)
        whole = _Whole(layers, item, self._stream.line(item.layers))
        try:
            if item.error is not None:
                raise item.error
            if item.kind == LINK:
                return Dissection(layers)
            if item.kind == P1_TELEGRAM:
                return whole.done(
                    P1_APDU, item.payload, show.telegram(p1.decode(item.payload.rstrip(b"\r\n")))
                )
            if item.kind == DATA:
                return whole.done(DATA_APDU, item.payload, _bare_data(item.payload))
            return self._apdu(whole, item.payload)
        except MetersealError as error:
            return Dissection(
                whole.layers,
                error=error,
                warnings=whole.warnings,
                opened=whole.opened,
                signed=whole.signed,
            )

    # --- APDUs ------------------------------------------------------------------------------------

    def _apdu(self, whole: _Whole, octets: bytes) -> Dissection:
        """An APDU that is whole: opened when it is ciphered, shown when it is not."""
        plain = octets
        if plain[0] in ciphered.FORMS:
            plain = self._open(whole, plain)
        if plain[0] == _CIPHERING:
            plain = self._open_ciphering(whole, plain)
        if plain[0] == _SIGNING:
            plain = self._open_signing(whole, plain)
        whole.opened = None if whole.by is None else plain
        if plain[0] in _LAYERED:
            raise Malformed(f"{apdu.name(plain)} where an APDU of another kind belongs")
        if plain[:1] == opener.P1_MARK:
            return whole.done(P1_APDU, plain, show.telegram(p1.decode(plain)))
        plain = self._as_the_standard(plain)
        return self._message(whole, apdu.decode(plain), plain)

    def _message(self, whole: _Whole, message: Message, plain: bytes) -> Dissection:
        value = show.show(message)
        self._stream.learn(whole.line, message, whole.item.layers)
        if isinstance(message, acse.Aarq | acse.Aare | acse.Rlrq | acse.Rlre):
            inside = message.user_information
            value["user_information"] = None if inside is None else self._user_information(whole, inside)
        self._learn_dedicated(whole, message)
        return replace(whole.done(message.name, plain, value), message=message)

    def _user_information(self, whole: _Whole, octets: bytes) -> Described:
        """The xDLMS APDU inside an ACSE one: Initiate, or the error in its place."""
        whole.opened = None  # the ACSE part is in clear; what it carries is what counts
        if octets[:1] and octets[0] in ciphered.FORMS:
            octets = self._open(whole, octets)
        inner = apdu.decode(octets)
        if not isinstance(
            inner, initiate.InitiateRequest | initiate.InitiateResponse | initiate.ConfirmedServiceError
        ):
            raise Malformed(f"user-information holds {inner.name}, not an Initiate")
        self._learn_dedicated(whole, inner)
        shown: Described = show.show(inner)
        return {"apdu": inner.name} | shown

    def _learn_dedicated(self, whole: _Whole, message: Message) -> None:
        """Only out of a message that was ciphered, and proved unless the reader does without proof."""
        by = whole.by
        if not isinstance(message, initiate.InitiateRequest) or message.dedicated_key is None:
            return
        if by is not None and (by.verified or self._unverified):
            self._stream.learn_dedicated(whole.line, message.dedicated_key, by.keys)

    # --- ciphered APDUs -----------------------------------------------------------------------------

    def _open(self, whole: _Whole, octets: bytes) -> bytes:
        """The plain APDU inside a ciphered one; its layer is added whatever comes of it."""
        parsed = ciphered.parse(octets)
        frame = Frame(parsed, whole.item.layers, whole.line)
        title = next(opener.titles(frame, self._keyring, opener.candidates(frame, self._keyring)[0]), None)
        whole.layers += (ciphered_layer(frame.message, title, None),)
        return self._opened(whole, frame, {})

    def _opened(self, whole: _Whole, frame: Frame, fields: Described) -> bytes:
        """Open a frame whose layer, with `fields` of its own, is the last of the whole."""
        opener.check_shape(frame)
        opened = opener.open_frame(frame, self._keyring, self._stream, self._unverified)
        shown = ciphered_layer(frame.message, opened.title, opened.verified) | fields
        whole.layers = (*whole.layers[:-1], shown)
        whole.warnings += opened.warnings
        opener.check_inside(frame, opened.plain)
        whole.by = opened
        if not opened.verified:
            _check_content(opened.plain)
        return opened.plain

    def _open_ciphering(self, whole: _Whole, octets: bytes) -> bytes:
        """What a general-ciphering layer holds; one that protects nothing is taken off as it is."""
        whole.layers += ({"kind": CIPHERING},)
        message = GeneralCiphering.decode(octets)
        frame, layer = layered.ciphering_frame(octets, message, self._keyring, whole.item.layers, whole.line)
        fields = party_fields(layer) | {"key": layer.form}
        shown = ciphered_layer(frame.message, layer.originator, None) | fields
        whole.layers = (*whole.layers[:-1], shown)
        if frame.applied:
            layered.find_keys(frame, layer, message, self._keyring)
            return self._opened(whole, frame, fields)
        opener.check_inside(frame, frame.message.body)
        return frame.message.body

    def _open_signing(self, whole: _Whole, octets: bytes) -> bytes:
        """What a general-signing layer holds, verified where the originator's key is held."""
        whole.layers += ({"kind": SIGNING},)
        message, whole.signed = GeneralSigning.decode(octets), octets
        layer = layered.signing_layer(message)
        whole.layers = (*whole.layers[:-1], signed_layer(layer, len(message.signature), None))
        verified = layered.verify_signing(message, self._keyring)
        title = layer.originator.hex().upper()
        if verified is None:
            proved = whole.by is not None and bool(whole.by.verified)
            if not proved and not self._unverified:
                raise UnknownKey(f"no signature key of {title} is held: nothing proves what it signed")
            whole.warnings += (f"{SIGNING}: the signature was NOT verified, no key of {title} is held",)
        whole.layers = (*whole.layers[:-1], signed_layer(layer, len(message.signature), verified))
        if not message.content:
            raise Malformed(f"{SIGNING}: nothing inside")
        return message.content


@dataclass(slots=True)
class _Whole:
    """One item under dissection: the layers so far, and what opened the last of them."""

    layers: tuple[Described, ...]
    item: Item
    line: Line
    by: Opening | None = None
    warnings: tuple[str, ...] = ()
    opened: bytes | None = None
    signed: bytes | None = None

    def done(self, name: str, plain: bytes, value: Any) -> Dissection:
        """The answer when all went well."""
        return Dissection(self.layers, name, plain, value, warnings=self.warnings, signed=self.signed)


def _check_content(plain: bytes) -> None:
    """What no tag has proved must at least parse, and the error must tell nothing of it."""
    try:
        if plain[:1] == opener.P1_MARK:
            p1.decode(plain)
        elif plain[0] not in apdu.UNDECODED:
            apdu.decode(plain)
    except (DecodeError, Unsupported):
        pass
    else:
        return
    del plain
    raise Forged(
        "nothing proves what is inside, and it makes no sense: wrong key, wrong system title, "
        "or changed on the way"
    )


def _is_apdu(octets: bytes) -> bool:
    """The answer that `framing.detect` asks for, where a tag alone leaves a choice."""
    try:
        apdu.decode(octets)
    except DecodeError:
        return False
    except Unsupported:
        # Known by name only: then it is Data if it parses as that.
        return not _is_data(octets)
    return True


def _is_data(octets: bytes) -> bool:
    try:
        Data.decode(octets)
    except DecodeError:
        return False
    return True


def _bare_data(octets: bytes) -> Any:
    """The value of bare Data; an APDU tag in front makes both readings part of the error."""
    try:
        return show.data(Data.decode(octets))
    except DecodeError as error:
        if apdu.name(octets) == "unknown":
            raise
        as_data = error
    raise type(as_data)(f"as {apdu.name(octets)}: {_apdu_cause(octets)}; as Data: {as_data}")


def _apdu_cause(octets: bytes) -> str:
    try:
        return f"{apdu.decode(octets).name} after all"
    except (DecodeError, Unsupported) as error:
        return str(error)
