"""The shipment file of our own: JSON lines, one meter each, in the words of a credentials file.

The first line is the head, `{"format": "meterseal-shipment-1", "meters": N}`; each of the N lines behind it
`{"serial", "place", "meter": {...}, "roles": {NAME: {...}}, "files": {...}}`, with the tables of a
credentials file and its keys as hex; `files`, which may be left out, has what these tables name, by that
name, as PEM: the certificates that the meter trusts (`trust`), certificates and keys of pairs.  It travels
in an envelope (envelope.py), or stays in a file that nobody else may read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from meterseal.authority.paired import trusted
from meterseal.authority.shipment.importing import Refusal, Shipped
from meterseal.authority.shipment.rows import LARGEST, MOST_ROWS
from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError, MetersealError

FORMAT: Final = "meterseal-shipment-1"
_LONGEST: Final = 1 << 16
_FIELDS: Final = frozenset({"serial", "place", "meter", "roles"})
_FILED: Final = "files"
_MOST_FILES: Final = 100
_NAMED: Final = ("trust", "revocation_lists", "signing_certificate", "agreement_certificate")
"""What in the table of a meter names files; those that are not here are nobody's."""


def write_own(shipped: Iterable[Shipped]) -> bytes:
    """The file of these meters; it has their keys in the clear."""
    lines = [_line(one) for one in shipped]
    head = json.dumps({"format": FORMAT, "meters": len(lines)})
    return "\n".join([head, *lines, ""]).encode("utf-8")


def _line(one: Shipped) -> str:
    meter, roles = one.credentials.tables()
    told: dict[str, Any] = {"serial": one.serial, "place": one.site, "meter": meter, "roles": roles}
    if files := {name: pem.decode("ascii") for name, pem in one.credentials.held.items() if _is_pem(pem)}:
        told[_FILED] = files
    return json.dumps(told, separators=(",", ":"))


def read_own(octets: bytes) -> list[Shipped]:
    """The meters of such a file.  Raises Refusal with all that is wrong in it."""
    if len(octets) > LARGEST:
        raise Refusal([f"the file has {len(octets)} octets, {LARGEST} at most"])
    lines = octets.split(b"\n")
    head = _object(lines[0])
    count = None if head is None or head.get("format") != FORMAT else head.get("meters")
    body = lines[1:-1] if lines[-1] == b"" else lines[1:]
    if type(count) is not int or not 0 < count <= MOST_ROWS:
        raise Refusal([f"line 1: not the head of a {FORMAT} file"])
    if len(body) != count:
        raise Refusal([f"line 1 says {count} meters, and {len(body)} follow: the file is not whole"])
    found, wrong = [], []
    for number, line in enumerate(body, 2):
        try:
            found.append(_shipped(f"line {number}", line))
        except MetersealError as error:
            wrong.append(f"line {number}: {error}")
    if wrong:
        raise Refusal(wrong)
    return found


def _shipped(place: str, line: bytes) -> Shipped:
    table = _object(line)
    if table is None or set(table) - {_FILED} != _FIELDS or not isinstance(table["meter"], dict):
        raise ConfigurationError("not one meter: serial, place, meter, roles")
    serial, site = table["serial"], table["place"]
    if not all(text is None or (isinstance(text, str) and len(text) <= 64) for text in (serial, site)):
        raise ConfigurationError("serial, place: texts of up to 64 characters, or null")
    held = _held(table.get(_FILED, {}))
    meter = {name: said for name, said in table["meter"].items() if name not in _NAMED or _there(said, held)}
    made = Credentials.from_mapping({"meter": meter, "roles": table["roles"]}, held=held)
    if made.meter.system_title is None:
        raise ConfigurationError("no system_title")
    if any(one.purpose.name != "AUTHORITY" for one in trusted(made)):
        raise ConfigurationError("trust: a certificate of no authority")
    return Shipped(place, made, serial, site)


def _is_pem(octets: bytes) -> bool:
    """False for what names a key in an HSM: that stays where it is."""
    return octets.startswith(b"-----")


def _held(told: Any) -> dict[str, bytes]:
    """The files of a meter.  Raises ConfigurationError."""
    if not isinstance(told, dict) or len(told) > _MOST_FILES:
        raise ConfigurationError(f"files: a table of {_MOST_FILES} at the most")
    if not all(isinstance(pem, str) and pem.isascii() and _is_pem(pem.encode()) for pem in told.values()):
        raise ConfigurationError("files: each is a text in PEM form")
    return {name: pem.encode("ascii") for name, pem in told.items()}


def _there(named: Any, held: Mapping[str, bytes]) -> bool:
    """Whether what a table names is among the files."""
    return all(name in held for name in (named if isinstance(named, list) else [named]))


def _object(line: bytes) -> dict[str, Any] | None:
    if len(line) > _LONGEST:
        return None
    try:
        found = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no name comes twice."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError("a name comes twice")
        made[name] = value
    return made
