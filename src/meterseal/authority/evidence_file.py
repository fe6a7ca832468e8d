"""The file of evidence: one JSON object that holds everything but the verifier's anchors.

| key            | holds                                                                              |
|----------------|------------------------------------------------------------------------------------|
| `format`       | `meterseal-evidence`                                                               |
| `version`      | 1                                                                                  |
| `apdu`         | the general-signing APDU as it was signed, hex                                     |
| `certificates` | DER in base64, the signer's first, each next one the issuer of the one before      |
| `lists`        | revocation lists, DER in base64                                                    |
| `kept`         | `at` (ISO 8601, UTC), `by`, `note`: the keeper's own statement                     |
| `time_stamp`   | an RFC 3161 TimeStampToken of the octets of `apdu`, DER in base64; null: none      |
| `peer`         | peer options of the signature: `{}`, or `{"content_length_signed": false}`         |

All keys are there and no others.  Nothing in the file is believed for being in it: `evidence.verify`.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from meterseal.authority.evidence import CONTENT_LENGTH, Evidence, Kept, as_utc
from meterseal.cosem.texts import moment_text
from meterseal.crypto.certificates import LONGEST_CHAIN, Certificate
from meterseal.crypto.revocation import RevocationList
from meterseal.errors import CertificateRefused, Malformed, Misuse, TooLarge

FORMAT: Final = "meterseal-evidence"
VERSION: Final = 1

LARGEST_EVIDENCE: Final = 8 << 20
"""Octets of a file; lists that were kept are most of it."""

_KEYS: Final = ("format", "version", "apdu", "certificates", "lists", "kept", "time_stamp", "peer")
_KEPT: Final = ("at", "by", "note")
_LONGEST_TEXT: Final = 1000
_MOST_LISTS: Final = 2 * LONGEST_CHAIN

T = TypeVar("T")


def write_evidence(evidence: Evidence) -> bytes:
    """The file, UTF-8 text.  Raises Misuse for what a file cannot hold."""
    kept = evidence.kept
    if len(kept.by) > _LONGEST_TEXT or len(kept.note) > _LONGEST_TEXT:
        raise Misuse(f"the keeper's name and note have at most {_LONGEST_TEXT} characters each")
    if len(evidence.certificates) > LONGEST_CHAIN or len(evidence.lists) > _MOST_LISTS:
        raise Misuse(f"at most {LONGEST_CHAIN} certificates and {_MOST_LISTS} revocation lists are kept")
    stamp = evidence.time_stamp
    shown = {
        "format": FORMAT,
        "version": VERSION,
        "apdu": evidence.apdu.hex().upper(),
        "certificates": [_base64(one.der) for one in evidence.certificates],
        "lists": [_base64(one.der) for one in evidence.lists],
        "kept": {"at": moment_text(as_utc(kept.at)), "by": kept.by, "note": kept.note},
        "time_stamp": None if stamp is None else _base64(stamp),
        "peer": dict.fromkeys(sorted(evidence.options), False),
    }
    text = json.dumps(shown, indent=2).encode("ascii") + b"\n"
    if len(text) > LARGEST_EVIDENCE:
        raise Misuse(f"evidence of {len(text)} octets, above {LARGEST_EVIDENCE}: keep fewer revocation lists")
    return text


def read_evidence(octets: bytes) -> Evidence:
    """What a file holds, nothing of it verified.  Raises Malformed, TooLarge, CertificateRefused."""
    if len(octets) > LARGEST_EVIDENCE:
        raise TooLarge(f"evidence of {len(octets)} octets, above {LARGEST_EVIDENCE}")
    found = _object(_json(octets), _KEYS, "evidence")
    if found["format"] != FORMAT:
        raise Malformed(f"evidence names another format than {FORMAT}")
    if type(found["version"]) is not int or found["version"] != VERSION:
        raise Malformed(f"evidence of another version than {VERSION}")
    kept = _object(found["kept"], _KEPT, "kept")
    stamp = found["time_stamp"]
    certificates = _each(found["certificates"], "certificates", LONGEST_CHAIN, Certificate)
    if not certificates:
        raise Malformed("evidence without a certificate")
    return Evidence(
        _hex(found["apdu"]),
        certificates,
        Kept(_moment(kept["at"]), _text(kept["by"], "by"), _text(kept["note"], "note")),
        _each(found["lists"], "lists", _MOST_LISTS, RevocationList),
        None if stamp is None else _octets(stamp, "time_stamp"),
        _options(found["peer"]),
    )


def _json(octets: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Malformed("evidence with a key that comes twice")
        return found

    try:
        return json.loads(octets.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("evidence is a JSON object, and this is none") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _object(value: Any, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(keys):
        raise Malformed(f"{what} has the keys {', '.join(keys)}, all of them and no others")
    return value


def _each(value: Any, what: str, most: int, read: Callable[[bytes], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise Malformed(f"{what} is a list of at most {most}")
    made = []
    for number, one in enumerate(value, 1):
        try:
            made.append(read(_octets(one, what)))
        except CertificateRefused as error:
            raise CertificateRefused(f"{what}, number {number}: {error}") from None
    return tuple(made)


def _octets(value: Any, what: str) -> bytes:
    try:
        octets = b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        octets = b""
    # One text for the same octets: base64 leaves bits open at its end.
    if not octets or _base64(octets) != value:
        raise Malformed(f"{what} holds octets in base64")
    return octets


def _hex(value: Any) -> bytes:
    try:
        octets = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        octets = b""
    if not octets or octets.hex().upper() != value:
        raise Malformed("apdu holds octets in upper-case hex")
    return octets


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.strptime(value if isinstance(value, str) else "", "%Y-%m-%dT%H:%M:%S%z")
        if moment_text(moment) == value:
            return moment
    except (ValueError, OverflowError):
        pass
    raise Malformed("kept.at is a moment in UTC, as 2026-11-25T12:00:00Z")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise Malformed(f"kept.{what} is text of at most {_LONGEST_TEXT} characters")
    return value


def _options(value: Any) -> frozenset[str]:
    if value not in ({}, {CONTENT_LENGTH: False}) or any(one is not False for one in value.values()):
        raise Malformed(f'peer is {{}} or {{"{CONTENT_LENGTH}": false}}')
    return frozenset(value)


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")
