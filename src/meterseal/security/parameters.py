"""Protection parameters: layers that a COSEM value asks for, or says of itself (classes 6 and 8).

| protection_type | layer              | key_info                                                       |
|-----------------|--------------------|----------------------------------------------------------------|
| 0, 1, 2         | general-ciphering  | 0 identified, 1 wrapped, 2 agreed: the rows of `keyforms`      |
| 3               | general-signing    | says nothing: whatever stands there is passed over             |

Of several elements the first is applied first, so it is the innermost layer (the sheet's reading).
Layers may be those of several parties: each adds its own around what it was handed, as with APDUs
(security 7), so the elements of one stand together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from meterseal.apdu.general import GUEK, MASTER_KEY, ONE_PASS, STATIC_UNIFIED
from meterseal.codec.types import Array, MixedArray, Structure, Tag, Type
from meterseal.errors import Malformed, UnknownKey
from meterseal.security.layers import CIPHERING, SIGNING, Layer, Layers, check_fields
from meterseal.security.protection import AUTHENTICATED, ENCRYPTED, SIGNED

MOST_ELEMENTS: Final = 6
"""Elements of one value: a signature and a cipher of each of three parties."""

_TYPES: Final = (AUTHENTICATED, ENCRYPTED, AUTHENTICATED | ENCRYPTED, SIGNED)
"""protection_type -> what it applies."""

_GBEK: Final = 1
_KEYS: Final[dict[str, tuple[int, Any, Type]]] = {
    "identified": (0, GUEK, Tag.ENUM),
    "broadcast": (0, _GBEK, Tag.ENUM),
    "wrapped": (1, (MASTER_KEY, b""), Structure((Tag.ENUM, Tag.OCTET_STRING))),
    "one-pass": (2, (ONE_PASS, b""), Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))),
    "static": (2, (STATIC_UNIFIED, b""), Structure((Tag.OCTET_STRING, Tag.OCTET_STRING))),
}
"""Form -> key_info_type and key_info_options without the data of a key, and the options' type."""

_FORMS: Final = {
    (kind, options[0] if isinstance(options, tuple) else options): form
    for form, (kind, options, _) in _KEYS.items()
}


class Element(NamedTuple):
    """One protection_parameters_element: what it applies, the layer, and the key's data that it carries.

    `key_data` is the wrapped key or the signed ephemeral one; empty where the layer is still to be made.
    """

    applied: int
    layer: Layer
    key_data: bytes = b""

    def value(self) -> tuple[Any, Type]:
        """The element as a COSEM value with its type."""
        _, originator, recipient, transaction, form, _, _, other = self.layer
        kind, options, type_ = _KEYS[form or "identified"]
        if isinstance(options, tuple):
            options = (options[0], self.key_data)
        fields = (transaction, originator, recipient, other, (kind, options))
        types = Structure((*(Tag.OCTET_STRING,) * 4, Structure((Tag.ENUM, type_))))
        return (_TYPES.index(self.applied), fields), Structure((Tag.ENUM, types))


def elements_value(elements: Sequence[Element]) -> tuple[Any, Type]:
    """Elements as the array that an attribute or a parameter holds, with its type."""
    made = [one.value() for one in elements]
    types = tuple(type_ for _, type_ in made)
    alike = len(set(types)) == 1
    return [value for value, _ in made], Array(types[0]) if alike else MixedArray(types)


def read_elements(value: Any) -> tuple[Element, ...]:
    """The elements of a decoded array.

    Raises Malformed, TooLarge for what is none, UnknownKey for a key that there is not.
    """
    if not isinstance(value, list | tuple) or len(value) > MOST_ELEMENTS:
        raise Malformed(f"protection parameters are an array of at most {MOST_ELEMENTS} elements")
    return tuple(_element(one) for one in value)


def _element(value: Any) -> Element:
    try:
        kind, (transaction, originator, recipient, other, (key_kind, options)) = value
        octets = (transaction, originator, recipient, other)
        if type(kind) is not int or not all(isinstance(one, bytes) for one in octets):
            raise TypeError
        applied = _TYPES[kind] if 0 <= kind < len(_TYPES) else 0
    except (TypeError, ValueError):
        raise Malformed("no element of protection parameters") from None
    if not applied:
        raise Malformed(f"there is no protection_type {kind}")
    form, data = ("", b"") if applied == SIGNED else _key(key_kind, options)
    layer = Layer(
        SIGNING if applied == SIGNED else CIPHERING, originator, recipient, transaction, form, 0, b"", other
    )
    check_fields(layer)
    return Element(applied, layer, data)


def _key(kind: Any, options: Any) -> tuple[str, bytes]:
    first, data = options if isinstance(options, list | tuple) and len(options) == 2 else (options, b"")
    if not isinstance(data, bytes) or not isinstance(first, int | bytes) or not isinstance(kind, int):
        raise Malformed("key_info_options of another type")
    form = _FORMS.get((kind, first))
    if form is None:
        raise UnknownKey("key_info asks for a key that there is not")
    return form, data


def layers_of(elements: Sequence[Element]) -> tuple[int, Layers]:
    """What the elements of one party apply, and their layers from the outside in.

    Raises Malformed for layers that do not go together: twice the same, or ciphered first and then signed.
    """
    kinds = [one.layer.kind for one in elements]
    if kinds not in ([], [SIGNING], [CIPHERING], [SIGNING, CIPHERING]):
        raise Malformed("one party signs first and then ciphers, each at most once")
    applied = 0
    for one in elements:
        applied |= one.applied
    return applied, tuple(one.layer for one in reversed(elements))


class Share(NamedTuple):
    """What one party has to do with a value: its elements, the first applied first, and what they apply."""

    title: bytes
    applied: int
    elements: tuple[Element, ...]


def shares(elements: Sequence[Element], whose: Callable[[Layer], bytes]) -> tuple[Share, ...]:
    """The elements by party, `whose` layer each is, the innermost party first.

    Raises Malformed where one party's do not stand together, or are not a signature and then a cipher.
    """
    found = []
    for title, group in groupby(elements, key=lambda one: whose(one.layer)):
        own = tuple(group)
        found.append(Share(title, layers_of(own)[0], own))
    if len({share.title for share in found}) != len(found):
        raise Malformed("one party's layers stand together: each adds its own around what it was handed")
    return tuple(found)


def originator_of(layer: Layer) -> bytes:
    """Whose a layer is that came."""
    return layer.originator


def recipient_of(layer: Layer) -> bytes:
    """Whose a layer is that is to be made for somebody."""
    return layer.recipient
