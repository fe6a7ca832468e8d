"""A meter's configuration in TOML: a preset, and a file of one's own over it.

A file is merged over the preset: tables key by key; `[[objects]]` and `[[roles.NAME.rights]]` are added
behind the preset's, and an object or right named again replaces what was there.  Everything is checked
before anything is built; an error names file, table and key.  Names of files are relative to the file.

| table | keys |
| --- | --- |
| `[meter]` | `suite` (0, 1, 2), `system_title`, `device_name`, `firmware`, `kek`, `trust` (PEM files of trust anchors), `seed` and `roof` (W peak) of the household, `time_zone` (minutes east of UTC), `daylight_saving`, `clock_offset` (s), `days` (of load profile at the first start), `without` (roles of the preset to leave out), `physical_address` (17) and `address_sizes` ([1, 2, 4]) on HDLC |
| `[logical_devices.SAP]` | `name` (at most 16 characters) |
| `[[objects]]` | `class`, `obis`, `logical_device` (1); classes 1, 3, 4: `source`, or `type` and `value` (a text for octet-strings is hex), `writable`, `scaler`, `unit`; class 5: `source` (an energy), `period` (s), `periods`, `scaler`, `unit`; class 7: `columns` (`CLASS/OBIS:ATTRIBUTE`), `capture_period` (s), `entries`, or `events` (`"standard"`, `"security"`, `"disconnect"`) with one column, the code; class 9: `scripts`, by number a list of `CLASS/OBIS:ATTRIBUTE = TYPE:VALUE` and `CLASS/OBIS:METHOD(TYPE:VALUE)`; class 18: `block_size`, `largest` (octets); class 30: `required_protection`; class 40: `version` (1), `role` (whose keys seal), `push` (`CLASS/OBIS:ATTRIBUTE`, `#N` for an element of a structure), `destination` (`tcp://` or `udp://HOST:PORT`, or `hdlc`: the own line), `blocks` (octets: longer pushes go out in unconfirmed blocks), `interval` (s), `windows` (pairs of times), `randomisation` (s), `retries`, `repetition_delay` (s, or `[least, per cent, most]`), `confirmed`, `layers`, `signed` and `recipient` (protection of its own), `writable`; class 70: `control_mode`; classes 20, 22, 23, 41, 42, 71: `attributes` by name, `writable` |
| `[roles.NAME]` | `client` (SAP), `logical_devices` ([1]), `mechanism`, `policy` (`"authenticated+encrypted"`, or `{ request = ..., response = ... }`), `ciphered` (as the policy), `client_system_title`, `guek`, `gak`, `gbek`, `kek`, `secret`, `certificates` (PEM files), `single`, `report_counter`, `pre_established`, `association_version` (0 to 3), `setup_version` (0, 1), `max_pdu`, `compression`, `services`, `allow_weak`, `broadcast` (what the broadcast key may do: `CLASS/OBIS:ATTRIBUTE`, `CLASS/OBIS:METHOD()`) |
| `[roles.NAME.peer]` | peer options by name |
| `[[roles.NAME.rights]]` | `objects` (names, `*` and `1-4` for groups), `class`, `attributes` and `methods` (a right for all, or by index and `all`), `hide`, `for` (third parties: only for what the role carries for them) |
| `[third_parties.NAME]` | `system_title`, `certificates` (PEM files), `kek` and `max_age` (s); `peer` and `rights` as of a role |
| `[roles.NAME.users.ID]` | `name`, `objects` (what of the role's view is left), `allow` (of `read`, `write`, `access`) |

Keys are hex, `@FILE` or `env:NAME`; a secret may also be `text:PASSWORD`.  Keys that are left out are drawn
at the first start.  A file with a `guek` needs a state folder: without one its counters would start anew.
Rights are the words of `cosem.rights`: `read`, `write`, `access`, `auth-request`, `enc-response` and so on.
"""  # noqa: E501 - a table row is a line

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from meterseal.cosem.rights import ACCESS, READ, WRITE, policy_to_wire
from meterseal.crypto import suite
from meterseal.errors import ConfigurationError, Misuse
from meterseal.meter.config_objects import read_object
from meterseal.meter.config_third import check_third_parties, read_third_parties
from meterseal.meter.fields import DEVICE, GRANT, METER, ROLE, USER
from meterseal.meter.plan import MeterPlan, RolePlan
from meterseal.meter.readers import Place, check_name, number, read_table
from meterseal.meter.view import Grant, User
from meterseal.security.protection import AUTHENTICATED, SIGNED, of_request, of_response

PRESETS: Final = {"suite0": ("suite0",), "suite1": ("suite0", "suite1"), "suite2": ("suite0", "suite2")}
"""The presets by name, each as the files that it is made of, merged one over the other."""

LARGEST: Final = 1 << 20
"""Octets of a configuration file."""

_TABLES: Final = ("meter", "logical_devices", "objects", "roles", "third_parties")
_ADDED: Final = ("objects", "rights")
_MOST_ROLES, _MOST_OBJECTS = 64, 2_000


def load_plan(
    preset: str = "suite0",
    config: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
) -> MeterPlan:
    """The plan of a preset, with a configuration file over it; `trust` is a PEM file of anchors for both.

    Raises Unsupported for what comes with a later version, ConfigurationError for everything else.
    """
    mapping, place = _preset(preset)
    if config is not None:
        path = Path(config)
        place = Place(str(path), path.parent)
        mapping = _merged(mapping, _toml(_file(path), place), place)
    if trust is not None:
        anchors = {"meter": {"trust": [str(Path(trust).absolute())]}}
        mapping = _merged(mapping, anchors, place)
    return plan_from(mapping, preset, place)


def check_preset(name: str) -> None:
    """Raises ConfigurationError where no preset has this name."""
    if name not in PRESETS:
        raise ConfigurationError(f"no preset {name[:40]!r}; there are {', '.join(PRESETS)}")


def _preset(name: str) -> tuple[dict[str, Any], Place]:
    check_preset(name)
    place = Place(f"preset {name}")
    mapping: dict[str, Any] = {}
    for part in PRESETS[name]:
        octets = (resources.files(__package__) / f"{part}.toml").read_bytes()
        mapping = _merged(mapping, _toml(octets, place), place)
    return mapping, place


def _file(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ConfigurationError(f"{path} is no file")
        with path.open("rb") as file:
            octets = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    if len(octets) > LARGEST:
        raise ConfigurationError(f"{path} is longer than {LARGEST} octets")
    return octets


def _toml(octets: bytes, place: Place) -> dict[str, Any]:
    try:
        return tomllib.loads(octets.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise place.error("not UTF-8") from None
    except RecursionError:
        raise place.error("nested too deep") from None
    except ValueError as error:
        at = str(error).rfind("(at ")
        raise place.error(f"no TOML {str(error)[at:] if at >= 0 else ''}".strip()) from None


def _merged(
    below: Mapping[str, Any], above: Mapping[str, Any], place: Place, key: str = ""
) -> dict[str, Any]:
    """`above` over `below`: tables merge, the lists of `_ADDED` are joined, everything else is replaced."""
    result = dict(below)
    for name, value in above.items():
        under = result.get(name)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            result[name] = _merged(under, value, place, name)
        elif name in _ADDED and isinstance(under, list) and isinstance(value, list):
            result[name] = [*under, *map(_numbered, value, range(1, len(value) + 1))]
        elif isinstance(under, Mapping | list) and not isinstance(value, Mapping | list) and name in _TABLES:
            raise place.error("no table", name)
        else:
            result[name] = value
    return result


_NUMBER: Final = "\0"
"""Where a table of a list keeps its number in its own file, for error texts."""


def _numbered(table: Any, number: int) -> Any:
    return {**table, _NUMBER: number} if isinstance(table, Mapping) else table


def _number_of(table: Any, otherwise: int) -> tuple[Any, int]:
    """A table without its number, and the number."""
    if not isinstance(table, Mapping):
        return table, otherwise
    plain = {key: value for key, value in table.items() if key != _NUMBER}
    return plain, table.get(_NUMBER, otherwise)


def plan_from(mapping: Mapping[str, Any], name: str, place: Place) -> MeterPlan:
    """The plan of a whole configuration as mappings.  Raises ConfigurationError, Unsupported."""
    unknown = [table for table in mapping if table not in _TABLES]
    if unknown:
        raise place.error(f"unknown; known are {', '.join(_TABLES)}", repr(str(unknown[0])[:40]))
    meter = read_table(mapping.get("meter", {}), METER, place.inside("meter"))
    without = meter.pop("without", ())
    tables = _table(mapping.get("roles", {}), place.inside("roles"))
    missing = [role for role in without if role not in tables]
    if missing:
        raise place.inside("meter").error(f"no role {missing[0][:40]!r}", "without")
    roles = [_role(role, table, place) for role, table in tables.items() if role not in without]
    thirds = _table(mapping.get("third_parties", {}), place.inside("third_parties"))
    objects = mapping.get("objects", [])
    if not isinstance(objects, list):
        raise place.error("a list of tables is wanted: [[objects]]", "objects")
    devices = _devices(mapping.get("logical_devices", {}), place)
    plan = MeterPlan(
        name=name,
        logical_devices=devices,
        objects=tuple(read_object(table, place) for table, place in _numbers(objects, place)),
        roles=tuple(roles),
        third_parties=tuple(read_third_parties(thirds, place, _grants)),
        **meter,
    )
    _check(plan, place)
    return plan


def _table(value: Any, place: Place) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise place.error("no table")
    return value


def _numbers(tables: list[Any], place: Place) -> Iterator[tuple[Any, Place]]:
    """Each table with its place: its number in the file that it is from."""
    for count, numbered in enumerate(tables, 1):
        table, at = _number_of(numbered, count)
        yield table, place.inside(f"objects {at}")


def _devices(value: Any, place: Place) -> dict[int, str]:
    devices = {1: ""}
    for text, table in _table(value, place.inside("logical_devices")).items():
        here = place.inside(f"logical_devices.{text[:20]}")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 0x3FFF:
            raise here.error("a server SAP is a number from 1 to 16383")
        devices[int(text)] = read_table(table, DEVICE, here).get("name", "")
    return devices


# --- roles --------------------------------------------------------------------------------------


def _role(name: str, table: Any, place: Place) -> RolePlan:
    place = place.inside(f"roles.{name[:32]}")
    values = read_table(table, ROLE, place, "client", "mechanism")
    check_name(name, place)
    weak = values.pop("allow_weak", False)
    policy = values.get("policy", 0)
    values.setdefault("ciphered", bool(policy))
    for old, new in (("peer", "options"), ("services", "conformance")):
        if old in values:
            values[new] = values.pop(old)
    values["broadcast"] = frozenset(values.get("broadcast", ()))
    values["grants"] = _grants(values.pop("rights", []), place)
    values["users"] = _users(values.get("users", {}), place)
    role = RolePlan(name=name, **values)
    _check_role(role, weak, place)
    return role


def _grants(value: Any, place: Place) -> tuple[Grant, ...]:
    if not isinstance(value, list):
        raise place.error("a list of tables is wanted", "rights")
    grants = []
    for count, numbered in enumerate(value, 1):
        table, at = _number_of(numbered, count)
        given = read_table(table, GRANT, place.inside(f"{place.table}.rights {at}"), "objects")
        only = frozenset(given.pop("for", ()))
        grants.append(Grant(class_id=given.pop("class", None), third_parties=only, **given))
    return tuple(grants)


_ALLOW: Final = {"read": READ, "write": WRITE, "access": ACCESS}


def _users(value: Any, place: Place) -> dict[int, User]:
    users = {}
    for text, table in _table(value, place.inside(f"{place.table}.users")).items():
        here = place.inside(f"{place.table}.users.{text[:8]}")
        try:
            identity = number(0, 255)(int(text) if text.isascii() and text.isdigit() else None, here)
        except Misuse as error:
            raise here.error(str(error)) from None
        given = read_table(table, USER, here, "name")
        allow = given.pop("allow", tuple(_ALLOW))
        unknown = [word for word in allow if word not in _ALLOW]
        if unknown:
            raise here.error(f"{unknown[0][:20]!r} is none of {', '.join(_ALLOW)}", "allow")
        bits = sum(_ALLOW[word] for word in set(allow) if word != "access")
        users[identity] = User(attributes=bits, methods=ACCESS if "access" in allow else 0, **given)
    return users


def _check_role(role: RolePlan, weak: bool, place: Place) -> None:
    """What has to fit together inside a role."""
    scheme = role.scheme
    for protection in (of_request(role.policy), of_response(role.policy)):
        if protection and not protection & AUTHENTICATED and not weak:
            raise place.error("encryption alone is weak: say allow_weak = true to have it", "policy")
    if scheme.weak and not weak:
        raise place.error(f"{scheme.name} is weak: say allow_weak = true to have it", "mechanism")
    if role.policy and not role.ciphered:
        raise place.error("false, and the policy asks for protection", "ciphered")
    if (role.keyed or scheme.needs_titles) and role.client_system_title is None:
        raise place.error("missing", "client_system_title")
    if scheme.needs_secret and role.secret is None:
        raise place.error(f"missing: mechanism {scheme.name} cannot do without", "secret")
    if role.pre_established and not of_request(role.policy) & AUTHENTICATED:
        raise place.error("only with a policy that has requests authenticated", "pre_established")
    if role.users and role.association_version < 2:
        raise place.error("a user list needs association_version 2 or 3", "users")
    try:
        policy_to_wire(role.policy, role.setup_version)
    except Misuse as error:
        raise place.error(str(error), "setup_version") from None


def _check_without_curve(role: RolePlan, place: Place) -> None:
    """What needs keys on a curve is not for suite 0."""
    if role.scheme.needs_keys:
        raise place.error(f"{role.scheme.name} is for suites 1 and 2", "mechanism")
    if (of_request(role.policy) | of_response(role.policy)) & SIGNED:
        raise place.error("signatures are for suites 1 and 2", "policy")
    if any((of_request(bits) | of_response(bits)) & SIGNED for grant in role.grants for bits in grant.bits):
        raise place.error("signatures are for suites 1 and 2", "rights")
    if role.certificates:
        raise place.error("suite 0 has no certificates", "certificates")


def _check(plan: MeterPlan, place: Place) -> None:
    """What has to fit together between tables."""
    if len(plan.roles) > _MOST_ROLES or len(plan.objects) > _MOST_OBJECTS:
        raise place.error(f"more than {_MOST_ROLES} roles or {_MOST_OBJECTS} objects")
    for role in plan.roles:
        here = place.inside(f"roles.{role.name}")
        if unknown := set(role.logical_devices) - set(plan.logical_devices):
            raise here.error(f"there is no logical device {min(unknown)}", "logical_devices")
        if plan.system_title is not None and role.client_system_title == plan.system_title:
            raise here.error("the same as the meter's: every party has its own", "client_system_title")
        if suite(plan.suite).curve is None:
            _check_without_curve(role, here)
    if plan.trust and suite(plan.suite).curve is None:
        raise place.inside("meter").error("suite 0 has no certificates", "trust")
    _distinct([(role.client, f"roles.{role.name}", "client") for role in plan.roles], place)
    named = [
        (secret.reveal(), f"roles.{role.name}", name)
        for role in plan.roles
        for name in ("guek", "gak", "gbek", "kek")
        if (secret := getattr(role, name)) is not None
    ]
    named += [(one.kek.reveal(), f"third_parties.{one.name}", "kek") for one in plan.third_parties if one.kek]
    if plan.kek is not None:
        named.append((plan.kek.reveal(), "meter", "kek"))
    wanted = suite(plan.suite).key_length
    for octets, table, key in named:
        if len(octets) != wanted:
            text = f"a key of suite {plan.suite} has {wanted} octets, not {len(octets)}"
            raise place.inside(table).error(text, key)
    _distinct(named, place)
    check_third_parties(plan, place)
    for held in plan.objects:
        if held.logical_device not in plan.logical_devices:
            here = place.inside(f"objects: {held.class_id}/{held.obis}")
            raise here.error(f"there is no logical device {held.logical_device}", "logical_device")


def _distinct(items: Iterable[tuple[object, str, str]], place: Place) -> None:
    seen: dict[object, tuple[str, str]] = {}
    for value, table, key in items:
        if value in seen:
            other, other_key = seen[value]
            raise place.inside(table).error(f"the same as [{other}] {other_key}", key)
        seen[value] = table, key
