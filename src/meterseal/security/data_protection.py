"""COSEM data protection: values in layers of their own, inside whatever an association does (security 15).

A protected value is made by protection parameters (parameters.py), the first element first:

| element          | on the wire                        | what besides the value is covered         |
|------------------|------------------------------------|-------------------------------------------|
| 0, 1, 2: ciphers | SC, invocation counter, body, tag  | SC, AK, the four fields and no date-time  |
| 3: signature     | the value, then R and S            | the four fields and no date-time, lengths |

The fields are those of general-ciphering, as the Green Book has it; with the peer option `class30_aad` only
SC stands beside the value, which is what the British companion specification does.  Keys, counters and
their order are those of general-ciphering.  The answer to a value has the parameters of its request with
the parties swapped.

The layers may be between one end and several parties, each with its own keys and counters: a `Find` gives
the context toward each, by title.

The objects that a value is for stand outside of its layers, so whoever carries it could name others.  This
project's third parties therefore put a digest of them into other-information, which every layer covers, and
its meters hold it against what they are asked for: see `binding`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from meterseal.apdu.ciphered import SC_BROADCAST
from meterseal.apdu.general import (
    GUEK,
    MASTER_KEY,
    ONE_PASS,
    STATIC_UNIFIED,
    AgreedKey,
    IdentifiedKey,
    KeyInfo,
    WrappedKey,
)
from meterseal.codec.parts import write_octets
from meterseal.crypto.hashes import digest_of
from meterseal.errors import Malformed, TooWeak, UnknownKey
from meterseal.security.context import Context, Counted
from meterseal.security.keyforms import FORMS, Guard, guard
from meterseal.security.layers import Layer
from meterseal.security.packing import check_packed, pack, unpack
from meterseal.security.parameters import Element, originator_of, recipient_of, shares
from meterseal.security.protection import AUTHENTICATED, SIGNED, of_control
from meterseal.security.steps import Steps, through

Find = Callable[[bytes], Context]
"""The context toward another party by its system title; raises UnknownKey for a stranger."""


def between(context: Context) -> Find:
    """The one context there is, for layers between two parties and no other."""

    def find(title: bytes) -> Context:
        if title != context.peer_title:
            raise UnknownKey("protection parameters are between other parties than these two")
        return context

    return find


SC_ONLY: Final = "class30_aad"
"""The peer option."""

_HEADER: Final = Struct(">BI")
_NO_TIME: Final = b"\x00"
_WITH_DATA: Final[dict[str, Callable[[bytes], KeyInfo]]] = {
    "identified": lambda data: IdentifiedKey(GUEK),
    "wrapped": lambda data: WrappedKey(MASTER_KEY, data),
    "one-pass": lambda data: AgreedKey(ONE_PASS, data),
    "static": lambda data: AgreedKey(STATIC_UNIFIED, data),
}


class Unprotected(NamedTuple):
    """A value whose layers hold; its counters are not committed yet: `check` and `commit` the guards."""

    plain: bytes
    applied: int
    guards: tuple[Guard, ...]

    def commit(self) -> None:
        """Move the counters, after one more look.  Raises Replayed."""
        for one in self.guards:
            one.check()
        for one in self.guards:
            one.commit()


BOUND: Final = b"objects:"
"""How other-information begins where it says what the value is for."""


def binding(names: Iterable[tuple[Any, ...]]) -> bytes:
    """other-information for objects in their order: BOUND and 16 octets of SHA-256 over their names as text.

    A name is the fields of an object definition, or class, name and index of a method: numbers in decimal,
    octets in upper-case hex, null as nothing, each field followed by a comma and each name by a semicolon.
    """
    said = "".join(f"{''.join(_words(name))};" for name in names)
    return BOUND + digest_of(said.encode("ascii"))[:16]


def _words(part: Any) -> Iterator[str]:
    if isinstance(part, list | tuple):
        for one in part:
            yield from _words(one)
    else:
        yield f"{part.hex().upper() if isinstance(part, bytes) else '' if part is None else part},"


def bound_elsewhere(elements: Sequence[Element], names: Iterable[tuple[Any, ...]]) -> bool:
    """True where a layer says that its value is for other objects than these (E03)."""
    expected = binding(names)
    said = (one.layer.other_information for one in elements)
    return any(other.startswith(BOUND) and other != expected for other in said)


def answered(elements: Sequence[Element]) -> tuple[Element, ...]:
    """The parameters of the answer: the same layers, the other way, without the keys that came."""
    return tuple(
        Element(one.applied, one.layer.answered()._replace(other_information=one.layer.other_information))
        for one in elements
    )


def counted(find: Find, elements: Sequence[Element]) -> tuple[Counted, ...]:
    """What values in these layers count with: each takes one value.  Raises UnknownKey."""
    return tuple(_counter(find(one.layer.recipient), one.layer) for one in elements if one.layer.form)


def _counter(context: Context, layer: Layer) -> Counted:
    return context.setup.fresh if FORMS[layer.form].lasting is None else context.setup.key()


def protecting_data(
    find: Find, elements: Sequence[Element], plain: bytes
) -> Steps[tuple[tuple[Element, ...], bytes]]:
    """A value in layers toward those that `find` knows, and the elements with what they tell of their keys.

    Raises Malformed for layers that do not go together, UnknownKey for a key that is missing or for
    a layer that is not between this end and one of them.
    """
    shares(elements, recipient_of)
    made = []
    for one in elements:
        context = find(one.layer.recipient)
        _check_parties(one.layer, context.setup.own_title, context.peer_title)
        maker = _signed if one.applied == SIGNED else _ciphered
        done, plain = yield from maker(context, one, plain)
        made.append(done)
    return tuple(made), plain


def _signed(context: Context, one: Element, plain: bytes) -> Steps[tuple[Element, bytes]]:
    key, covered = context.setup.signing_key(), _covered(context, one.layer, plain)
    signature = yield lambda: key.sign(covered)
    return one, plain + signature


def _ciphered(context: Context, one: Element, plain: bytes) -> Steps[tuple[Element, bytes]]:
    form, layer = _form(one), one.layer
    counter = _counter(context, layer).tx.take()
    sc, information = pack(context, one.applied << 4 | context.setup.suite.id, plain)
    made = yield from through(form.make(context, layer))
    body = made.key.seal(sc, _iv(layer, counter), information, _fields(context, layer))
    if form.lasting is None:
        made.key.destroy(named=False)
    told = getattr(made.info, "key_ciphered_data", b"")
    return one._replace(key_data=told), _HEADER.pack(sc, counter) + body


def unprotecting_data(find: Find, elements: Sequence[Element], octets: bytes) -> Steps[Unprotected]:
    """The value in layers that those made whom `find` knows.

    Raises DecodeError, UnknownKey, KeyLength, TooWeak, Replayed, Forged, CertificateRefused.
    """
    applied = 0
    for share in shares(elements, originator_of):
        applied |= share.applied
    guards: list[Guard] = []
    for one in reversed(elements):
        context = find(one.layer.originator)
        _check_parties(one.layer, context.peer_title, context.setup.own_title)
        if one.applied == SIGNED:
            octets = yield from _verified(context, one, octets)
        else:
            octets, found = yield from _deciphered(context, one, octets)
            guards += [found] if one.applied & AUTHENTICATED else []
    return Unprotected(octets, applied, tuple(guards))


def _verified(context: Context, one: Element, octets: bytes) -> Steps[bytes]:
    size = context.setup.suite.signature_length
    if not size or len(octets) <= size:
        raise Malformed("a signed value is longer than its signature")
    plain, signature = octets[:-size], octets[-size:]
    signer = context.setup.verifying_key(one.layer.originator)
    covered = _covered(context, one.layer, plain)
    yield lambda: signer.verify(signature, covered)
    return plain


def _deciphered(context: Context, one: Element, octets: bytes) -> Steps[tuple[bytes, Guard]]:
    form, layer = _form(one), one.layer
    if len(octets) < _HEADER.size:
        raise Malformed(f"a protected value of {len(octets)} octets has no security header")
    sc, counter = _HEADER.unpack_from(octets)
    if sc & 0x0F != context.setup.suite.id or sc & SC_BROADCAST:
        raise UnknownKey(f"security control {sc:02X}: another suite or key than the parameters say")
    if of_control(sc) != one.applied:
        raise TooWeak(f"security control {sc:02X} is not the protection that the parameters say")
    check_packed(context, sc)
    info = _WITH_DATA[layer.form](one.key_data)
    judge = guard(context, layer, info, counter)
    judge.check()
    key: Any = yield from through(form.find(context, layer, info))
    try:
        plain = key.open(sc, _iv(layer, counter), octets[_HEADER.size :], _fields(context, layer))
    finally:
        if form.lasting is None:
            key.destroy(named=False)
    return unpack(context, sc, plain), judge


def _form(one: Element) -> Any:
    if one.layer.form not in _WITH_DATA:
        raise UnknownKey(f"no value is protected under a key that is {one.layer.form}")
    return FORMS[one.layer.form]


def _check_parties(layer: Layer, originator: bytes | None, recipient: bytes | None) -> None:
    if not originator or (layer.originator, layer.recipient) != (originator, recipient):
        raise UnknownKey("protection parameters are between other parties than these two")


def _iv(layer: Layer, counter: int) -> bytes:
    return layer.originator + counter.to_bytes(4, "big")


def _fields(context: Context, layer: Layer) -> bytes:
    """What stands beside SC and AK in the additional data; nothing with the peer option."""
    if SC_ONLY in context.options:
        return b""
    before = map(write_octets, (layer.transaction_id, layer.originator, layer.recipient))
    return b"".join(before) + _NO_TIME + write_octets(layer.other_information)


def _covered(context: Context, layer: Layer, plain: bytes) -> bytes:
    """What a signature covers: as in general-signing, or the value alone with the peer option."""
    return plain if SC_ONLY in context.options else _fields(context, layer) + write_octets(plain)
