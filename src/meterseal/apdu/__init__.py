"""The sentences: every APDU is one declaration; this is the table that finds it by its tag.

`decode(octets)` gives the message, `encode()` of a message its octets, `name(octets)` the
standard's name of the service without looking further than the tags.
"""

from __future__ import annotations

from meterseal.apdu import access, acse, ciphered, initiate, services, short_names
from meterseal.codec.message import Message, decode_body
from meterseal.errors import Malformed, Truncated, Unsupported

MESSAGES: tuple[type[Message], ...] = tuple(
    declared
    for module in (acse, initiate, services, access, short_names)
    for declared in vars(module).values()
    if isinstance(declared, type)
    and issubclass(declared, Message)
    and declared.__module__ == module.__name__
    and declared.tag
)
"""Every plain APDU of the package."""

_BY_TAG: dict[int, type[Message]] = {m.tag[0]: m for m in MESSAGES if len(m.tag) == 1}
_BY_CHOICE: dict[int, type[Message]] = {m.tag[0] << 8 | m.tag[1]: m for m in MESSAGES if len(m.tag) == 2}
_FAMILIES = {m.tag[0] for m in MESSAGES if len(m.tag) == 2}
_COUNTER_ERROR = 6

UNDECODED = {
    0xDD: "general-ciphering",
    0xDF: "general-signing",
    0xE0: "general-block-transfer",
}
"""APDUs around others: they are not messages of their own (`framing.gbt` takes blocks apart)."""


def message_type(octets: bytes) -> type[Message]:
    """The declaration that the tags of `octets` ask for.  Raises Truncated, Malformed, Unsupported."""
    if len(octets) < 2:
        raise Truncated("an APDU has at least two octets")
    first = octets[0]
    found = _BY_CHOICE.get(first << 8 | octets[1]) or _BY_TAG.get(first)
    if found is None:
        if first in _FAMILIES:
            raise Malformed(f"APDU {first:02X}: unknown choice {octets[1]:02X}")
        if first in UNDECODED:
            raise Unsupported(f"{UNDECODED[first]} is not decoded here")
        if first in ciphered.FORMS:
            raise Unsupported(f"{ciphered.FORMS[first].name} must be opened first")
        raise Malformed(f"no APDU has the tag {first:02X}")
    if found.tag == b"\xd8":
        counted = len(octets) > 2 and octets[2] == _COUNTER_ERROR
        return initiate.CounterErrorResponse if counted else initiate.ExceptionResponse
    return found


def decode(octets: bytes) -> Message:
    """The message that `octets` are, all of them.  Raises DecodeError or Unsupported."""
    message: Message = decode_body(message_type(octets), octets)
    return message


def name(octets: bytes) -> str:
    """The standard's name of an APDU by its tags alone; `unknown` when there is none."""
    try:
        return message_type(octets).name
    except (Malformed, Truncated, Unsupported):
        first = octets[0] if octets else -1
        form = ciphered.FORMS.get(first)
        return form.name if form else UNDECODED.get(first, "unknown")
