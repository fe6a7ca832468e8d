"""The keys of a meter's configuration: one row each, with the reader that checks and converts its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from meterseal.apdu.initiate import CONFORMANCE_BITS
from meterseal.association.profile import conformance
from meterseal.cosem import rights
from meterseal.cosem.obis import Member, Obis, parse_member, parse_object
from meterseal.cosem.selection import CaptureObject
from meterseal.cosem.shapes import LEAVES, Leaf
from meterseal.cosem.units import unit_number
from meterseal.credentials.fields import compression
from meterseal.crypto import SUITES
from meterseal.errors import Misuse
from meterseal.meter.events import LOGS
from meterseal.meter.plant import SOURCES
from meterseal.meter.readers import (
    Place,
    Reader,
    anything,
    certificates,
    flag,
    key,
    many,
    number,
    read_table,
    secret,
    short,
    title,
    words,
)
from meterseal.meter.view import ALL, Pattern
from meterseal.security.hls import BY_NAME
from meterseal.security.options import PEER_OPTIONS, PeerOption
from meterseal.security.protection import from_text, policy_bits


def _suite(value: Any, place: Place) -> int:
    if type(value) is not int or value not in SUITES:
        raise Misuse(f"a suite is one of {', '.join(map(str, SUITES))}")
    return value


def _mechanism(value: Any, place: Place) -> int:
    known = [name for name in BY_NAME if name != "manufacturer"]
    if value not in known:
        raise Misuse(f"a mechanism is one of {', '.join(known)}")
    return BY_NAME[value].number


def _policy(value: Any, place: Place) -> int:
    """`authenticated+encrypted` both ways, or `{ request = "...", response = "..." }`."""
    if isinstance(value, Mapping):
        if set(value) != {"request", "response"}:
            raise Misuse("a table with request and response is wanted")
        both = [from_text(words(value[way], place)) for way in ("request", "response")]
    else:
        both = [from_text(words(value, place))] * 2
    return policy_bits(*both)


def _services(value: Any, place: Place) -> int:
    names = many(words)(value, place)
    unknown = [name for name in names if name not in CONFORMANCE_BITS]
    if unknown:
        raise Misuse(f"{unknown[0]!r} is no service; there are {', '.join(CONFORMANCE_BITS)}")
    return conformance(*names)


def _obis(value: Any, place: Place) -> Obis:
    return Obis(words(value, place))


def _pattern(value: Any, place: Place) -> Pattern:
    return Pattern.of(words(value, place))


def _column(value: Any, place: Place) -> CaptureObject:
    address = parse_object(words(value, place))
    if address.class_id is None:
        raise Misuse(f"{value!r}: write CLASS/OBIS:ATTRIBUTE")
    return CaptureObject(address.class_id, address.obis, address.member)


def _member(value: Any, place: Place) -> tuple[int, Obis, int, int]:
    """`3/1.0.1.8.0.255:2`, with `#N` for the N-th element of a structure."""
    text, mark, index = words(value, place).partition("#")
    if mark and (not index.isascii() or not index.isdigit() or not 1 <= int(index[:6]) <= 0xFFFF):
        raise Misuse(f"{value!r}: behind # stands which element of a structure, from 1")
    column = _column(text, place)
    return column.class_id, column.obis, column.attribute, int(index[:6]) if mark else 0


def _operation(value: Any, place: Place) -> Member:
    """`8/0.0.1.0.0.255:2` for an attribute, `8/0.0.1.0.0.255:6()` for a method."""
    return parse_member(words(value, place))


def _type(value: Any, place: Place) -> Leaf:
    leaf = LEAVES.get(value) if isinstance(value, str) else None
    if leaf is None or leaf.tag is None:
        raise Misuse(f"a type is one of {', '.join(word for word, known in LEAVES.items() if known.tag)}")
    return leaf


def _source(value: Any, place: Place) -> str:
    if value not in SOURCES:
        raise Misuse(f"a source is one of {', '.join(SOURCES)}")
    return str(value)


def _events(value: Any, place: Place) -> bool | str:
    if isinstance(value, bool) or value in LOGS:
        return bool(value) if isinstance(value, bool) else str(value)
    raise Misuse(f"an event log is one of {', '.join(LOGS)}")


def _by_number(value: Any, place: Place) -> dict[str, tuple[Any, ...]]:
    if not isinstance(value, Mapping):
        raise Misuse("a table by number is wanted")
    return {str(number): many(words)(items, place) for number, items in value.items()}


def _unit(value: Any, place: Place) -> int:
    return value if type(value) is int and 0 <= value <= 255 else unit_number(words(value, place))


def _rights(method: bool) -> Reader:
    """A right for every member, or a table by index, `all` for every other one."""

    def read(value: Any, place: Place) -> dict[int, int]:
        table = value if isinstance(value, Mapping) else {"all": value}
        return {
            ALL if index == "all" else _index(index): rights.parse(words(text, place), method=method)
            for index, text in table.items()
        }

    return read


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 127:
        raise Misuse(f"{text[:20]!r} is no index: write 1 to 127, or all")
    return int(text)


def _deviation(option: PeerOption) -> Reader:
    return lambda value, place: option.read(value)


def peer(value: Any, place: Place) -> frozenset[str]:
    """A table of peer options: the names of those that are in force."""
    rows = {name: _deviation(option) for name, option in PEER_OPTIONS.items()}
    switches = read_table(value, rows, place.inside(f"{place.table}.peer"))
    return frozenset(name for name, on in switches.items() if on)


def _address_size(value: Any, place: Place) -> int:
    if type(value) is not int or value not in (1, 2, 4):
        raise Misuse("an HDLC address has 1, 2 or 4 octets")
    return value


METER: Final[dict[str, Reader]] = {
    "suite": _suite,
    "system_title": title,
    "device_name": short(13),
    "firmware": short(16),
    "kek": key,
    "trust": certificates,
    "seed": number(0, 2**63),
    "roof": number(0, 100_000),
    "time_zone": number(-720, 840),
    "daylight_saving": flag,
    "clock_offset": number(-(10**9), 10**9),
    "days": number(1, 1_500),
    "without": many(words),
    "physical_address": number(1, (1 << 14) - 1),
    "address_sizes": many(_address_size),
}
"""Table `[meter]`."""

DEVICE: Final[dict[str, Reader]] = {"name": short(16)}
"""Tables `[logical_devices.SAP]`."""

OBJECT: Final[dict[str, Reader]] = {
    "logical_device": number(1, 0x3FFF),
    "class": number(1, 0xFFFF),
    "obis": _obis,
    "type": _type,
    "value": anything,
    "source": _source,
    "scaler": number(-128, 127),
    "unit": _unit,
    "writable": flag,
    "columns": many(_column),
    "capture_period": number(60, 86_400),
    "entries": number(1, 1_000_000),
    "events": _events,
    "control_mode": number(0, 6),
    "period": number(60, 86_400),
    "periods": number(1, 96),
    "scripts": _by_number,
    "block_size": number(1, 0xFFFF),
    "largest": number(1, 1 << 22),
    "attributes": anything,
    "version": number(0, 2),
    "role": words,
    "push": many(_member),
    "destination": words,
    "blocks": number(32, 0xFFFF),
    "interval": number(1, 86_400 * 31),
    "windows": anything,
    "randomisation": number(0, 0xFFFF),
    "retries": number(0, 0xFF),
    "repetition_delay": anything,
    "confirmed": flag,
    "layers": words,
    "signed": flag,
    "recipient": title,
    "required_protection": _policy,
}
"""Tables `[[objects]]`."""

ROLE: Final[dict[str, Reader]] = {
    "client": number(1, 0xFF),
    "logical_devices": many(number(1, 0x3FFF)),
    "mechanism": _mechanism,
    "ciphered": flag,
    "policy": _policy,
    "client_system_title": title,
    "guek": key,
    "gak": key,
    "gbek": key,
    "kek": key,
    "secret": secret,
    "certificates": certificates,
    "single": flag,
    "report_counter": flag,
    "pre_established": flag,
    "association_version": number(0, 3),
    "setup_version": number(0, 1),
    "max_pdu": number(256, 0xFFFF),
    "compression": compression,
    "services": _services,
    "allow_weak": flag,
    "peer": peer,
    "users": anything,
    "rights": anything,
    "broadcast": many(_operation),
}
"""Tables `[roles.NAME]`."""

GRANT: Final[dict[str, Reader]] = {
    "objects": many(_pattern),
    "class": number(1, 0xFFFF),
    "attributes": _rights(False),
    "methods": _rights(True),
    "hide": flag,
    "for": many(words),
}
"""Tables `[[roles.NAME.rights]]`."""

USER: Final[dict[str, Reader]] = {
    "name": short(32),
    "objects": many(_pattern),
    "allow": many(words),
}
"""Tables `[roles.NAME.users.ID]`."""
