"""Layers with parties of their own, as values: what they say besides their content (security 4, 6, 7).

| layer             | proves                 | its key                          | answered by             |
|-------------------|------------------------|----------------------------------|-------------------------|
| general-signing   | who wrote it, for whom | the originator's signature key   | parties swapped,        |
| general-ciphering | as its SC says         | what key-info says (keyforms.py) | same transaction-id     |

One party signs first and then ciphers, so of both the signed layer is the inner one (security 7).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from meterseal.apdu import ciphered
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.crypto import Suite
from meterseal.errors import Malformed, TooLarge

SIGNING, CIPHERING = "general-signing", "general-ciphering"
SIGNED_TAG, CIPHERED_TAG = GeneralSigning.tag[0], GeneralCiphering.tag[0]

LAYERED: Final = frozenset({SIGNED_TAG, CIPHERED_TAG})
"""Tags of the layers with parties of their own."""

PROTECTED: Final = LAYERED | frozenset(ciphered.FORMS)
"""Tags of everything that is opened first."""

NEVER_SIGNED: Final = PROTECTED | frozenset(range(0x60, 0x64)) | {0xE0, 0xE6, 0xE7}
"""Tags that may not stand inside a signed APDU: protected ones, ACSE, blocks, gateway prefixes."""

NEVER_INSIDE: Final = NEVER_SIGNED - {SIGNED_TAG}
"""Tags that may not stand inside a ciphered APDU: who signs does so first."""

LONGEST_TRANSACTION: Final = 64
"""Octets of a transaction-id that are taken; 8 and 9 are usual."""

_DATE_TIMES: Final = (0, 12)
_TITLES: Final = (0, 8)


class Layer(NamedTuple):
    """One layer as it came, or as it is to be made.

    `form` names the key of a ciphered layer (a row of `keyforms.FORMS`), `sc` is the security control
    octet that it came with.  Where a layer is to be made the originator is this end, and the protection
    is said apart.
    """

    kind: str
    originator: bytes
    recipient: bytes
    transaction_id: bytes = b""
    form: str = ""
    sc: int = 0
    date_time: bytes = b""
    other_information: bytes = b""

    def answered(self) -> Layer:
        """The layer of the answer: the same kind and key, toward where it came from (security 7)."""
        return Layer(self.kind, self.recipient, self.originator, self.transaction_id, self.form)


Layers = tuple[Layer, ...]
"""Layers from the outside in."""


def answered(layers: Layers) -> Layers:
    """The layers of the answer to a message that came in these."""
    return tuple(layer.answered() for layer in layers)


def find(layers: Iterable[Layer], kind: str) -> Layer | None:
    """The layer of this kind."""
    for layer in layers:
        if layer.kind is kind:
            return layer
    return None


def check_fields(layer: Layer) -> None:
    """The lengths that a layer's own fields may have.  Raises Malformed, TooLarge."""
    if len(layer.originator) not in _TITLES or len(layer.recipient) not in _TITLES:
        raise Malformed(f"{layer.kind}: a system title has 8 octets")
    if len(layer.date_time) not in _DATE_TIMES:
        raise Malformed(f"{layer.kind}: a date-time of {len(layer.date_time)} octets, not 12")
    if len(layer.transaction_id) > LONGEST_TRANSACTION:
        raise TooLarge(f"{layer.kind}: a transaction-id above {LONGEST_TRANSACTION} octets")


def overhead(layers: Layers, suite: Suite) -> int:
    """Octets that these layers add to an APDU at most."""
    each = 1 + 2 * 9 + 3 + 5  # tag, titles, lengths of the other fields, length of the content
    proof = {
        SIGNING: 2 + suite.signature_length,
        # Key-info at its longest, security header, tag.
        CIPHERING: 8 + max(suite.public_length + suite.signature_length, suite.wrapped_length) + 5 + 12,
    }
    return sum(
        each + len(one.transaction_id) + len(one.date_time) + len(one.other_information) + proof[one.kind]
        for one in layers
    )
