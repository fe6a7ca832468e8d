"""The text of a credentials file: a small emitter for the few TOML values that it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from meterseal.credentials.fields import METER, ROLE, THIRD_PARTY
from meterseal.credentials.records import MeterCredentials, RoleCredentials, ThirdPartyCredentials
from meterseal.crypto import Secret
from meterseal.security import protection
from meterseal.security.options import PEER_OPTIONS
from meterseal.security.options import toml as option_value

_HEAD = "# Credentials of meterseal: the keys in this file speak for you. Keep its mode at 0600."
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def text(
    meter: MeterCredentials,
    roles: Mapping[str, RoleCredentials],
    third_parties: Mapping[str, ThirdPartyCredentials],
) -> str:
    """The whole file; fields with their default value are left out."""
    lines = [_HEAD, "[meter]", *_lines(_meter(meter))]
    for name, role in roles.items():
        lines += ["", f"[roles.{name}]", *_lines(_role(role))]
        if role.peer:
            lines += [f"[roles.{name}.peer]", *_peer(role.peer)]
    for name, third in third_parties.items():
        lines += ["", f"[third_parties.{name}]", *_lines(_third(third))]
        if third.peer:
            lines += [f"[third_parties.{name}.peer]", *_peer(third.peer)]
    return "\n".join(lines) + "\n"


def tables(
    meter: MeterCredentials, roles: Mapping[str, RoleCredentials]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The tables `meter` and `roles` of the file: what its parser would make of the text."""
    found = {}
    for name, role in roles.items():
        found[name] = {field: _plain(value) for field, value in _role(role)}
        if role.peer:
            found[name]["peer"] = {one: PEER_OPTIONS[one].deviation for one in sorted(role.peer)}
    return {field: _plain(value) for field, value in _meter(meter)}, found


def _lines(values: Iterable[tuple[str, Any]]) -> Iterator[str]:
    return (f"{name} = {_value(value)}" for name, value in values)


def _peer(options: Iterable[str]) -> Iterator[str]:
    for name in sorted(options):
        yield f"{name} = {option_value(PEER_OPTIONS[name].deviation)}"


def _meter(meter: MeterCredentials) -> Iterator[tuple[str, Any]]:
    for name in METER:
        value = getattr(meter, name)
        if value is not None and value != ():
            yield name, value


def _role(role: RoleCredentials) -> Iterator[tuple[str, Any]]:
    for name in ROLE:
        value = role.octets(name) if isinstance(getattr(role, name), Secret) else getattr(role, name)
        if name == "policy":
            value = protection.text(role.protection)
        if value not in (None, ()) and (value is not False or name == "ciphered"):
            yield name, value


def _third(third: ThirdPartyCredentials) -> Iterator[tuple[str, Any]]:
    for name in THIRD_PARTY:
        value = third.octets(name)
        if value is not None:
            yield name, value


def _plain(value: Any) -> Any:
    """What the parser makes of `_value`."""
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | datetime):
        return f'"{_plain(value)}"'
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08X}"
