"""general-ciphering and general-signing: layers with parties of their own around any APDU (security 4, 6).

Both begin with the same five fields, whose octets, lengths included, are covered by the tag of the
one and the signature of the other.  What is inside, and with which key, is for `security` to say.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from meterseal.codec.message import Message
from meterseal.codec.octets import read_length
from meterseal.codec.parts import U8, OctetString, write_octets

GUEK, GBEK = 0, 1
"""key_id of an identified key: global unicast, global broadcast encryption key."""

MASTER_KEY = 0
"""kek_id of a wrapped key: the master key, which is the only one."""

ONE_PASS, STATIC_UNIFIED = b"\x01", b"\x02"
"""key_parameters of an agreed key: C(1e,1s) and C(0e,2s)."""


_FIELDS: Final = 5

_USUAL: Final = Struct(">B8sB8sB8sBB").pack


def fields(
    transaction_id: bytes, originator: bytes, recipient: bytes, date_time: bytes, other_information: bytes
) -> bytes:
    """The five fields with their length octets, which tag or signature cover."""
    if len(transaction_id) == len(originator) == len(recipient) == 8 and not date_time + other_information:
        return _USUAL(8, transaction_id, 8, originator, 8, recipient, 0, 0)  # nearly all
    parts = transaction_id, originator, recipient, date_time, other_information
    return b"".join(map(write_octets, parts))


class IdentifiedKey(Message, tag=b"\x00"):
    """Key-Info: one of the keys that both ends hold."""

    key_id: U8


class WrappedKey(Message, tag=b"\x01"):
    """Key-Info: the key itself, wrapped."""

    kek_id: U8
    key_ciphered_data: OctetString


class AgreedKey(Message, tag=b"\x02"):
    """Key-Info: what it takes to agree on the key.

    `key_ciphered_data` is the signed ephemeral public key with C(1e,1s), empty with C(0e,2s).
    """

    key_parameters: OctetString
    key_ciphered_data: OctetString


KeyInfo = IdentifiedKey | WrappedKey | AgreedKey


class GeneralCiphering(Message, tag=b"\xdd"):
    """A ciphered layer.  The content is SC, invocation counter and body, as in every ciphered form."""

    transaction_id: OctetString
    originator_system_title: OctetString
    recipient_system_title: OctetString
    date_time: OctetString
    other_information: OctetString
    key_info: IdentifiedKey | WrappedKey | AgreedKey | None
    ciphered_content: OctetString

    def header(self) -> bytes:
        """The five fields with their length octets, as they enter the additional data."""
        return fields(*self[:_FIELDS])

    def header_in(self, octets: bytes) -> bytes:
        """The same as it came in `octets`, which this was decoded from: lengths may be longer than needed."""
        return octets[1 : _end_of(octets, _FIELDS)]


class GeneralSigning(Message, tag=b"\xdf"):
    """A signed layer.  The signature is R || S."""

    transaction_id: OctetString
    originator_system_title: OctetString
    recipient_system_title: OctetString
    date_time: OctetString
    other_information: OctetString
    content: OctetString
    signature: OctetString

    def signed(self, *, content_length: bool = True) -> bytes:
        """The octets under the signature: all from behind the tag to the end of the content.

        Without `content_length` the length octets of the content are left out (a peer option).
        """
        return fields(*self[:_FIELDS]) + (write_octets(self.content) if content_length else self.content)

    def signed_in(self, octets: bytes, *, content_length: bool = True) -> bytes:
        """The same as it came in `octets`, which this was decoded from: lengths may be longer than needed."""
        if content_length:
            return octets[1 : _end_of(octets, _FIELDS + 1)]
        return octets[1 : _end_of(octets, _FIELDS)] + self.content


def _end_of(octets: bytes, count: int) -> int:
    """Where the first `count` octet-strings behind the tag end."""
    at = 1
    for _ in range(count):
        size, at = read_length(octets, at, len(octets))
        at += size
    return at
