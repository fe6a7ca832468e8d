"""Credentials: a meter and the roles it may be spoken to in, from a file or made in a program (design 5)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from meterseal.credentials import files, named, rules, toml
from meterseal.credentials.fields import METER, NAME, PEER, ROLE, THIRD_PARTY, Where, read_table, toml_fault
from meterseal.credentials.records import MeterCredentials, RoleCredentials, ThirdPartyCredentials
from meterseal.net.url import parse as parse_url

_LONGEST_LINE: Final = 4096
"""Characters: what a parser does with one line may grow faster than the line."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A meter and the roles it may be spoken to in, and the third parties that may seal something for it.

    `path` is the file they came from, if any.  `held` are named files that are in no folder: their octets, by
    the name that a field gives them.

    Raises ConfigurationError, naming file, table and key, for what does not fit together: keys of another
    length than the suite's, what a mechanism needs and is missing, values out of range.
    """

    meter: MeterCredentials = field(default_factory=MeterCredentials)
    roles: Mapping[str, RoleCredentials] = field(default_factory=dict)
    path: Path | None = None
    third_parties: Mapping[str, ThirdPartyCredentials] = field(default_factory=dict)
    held: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", MappingProxyType(dict(self.roles)))
        where = Where(self.path)
        rules.check_meter(self.meter, where.table("meter"))
        for name, role in self.roles.items():
            rules.check_role(role, self.meter, where.table(f"roles.{name}"))
        object.__setattr__(self, "third_parties", MappingProxyType(dict(self.third_parties)))
        for name, third in self.third_parties.items():
            rules.check_third_party(third, self.meter, where.table(f"third_parties.{name}"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Credentials:
        """Read a credentials file.

        Raises ConfigurationError for anything that is not as it should be: unknown tables and keys, keys
        given twice, wrong types, wrong hex, a file that is too long, missing or no file.  Warns when others
        may read it.
        """
        path = Path(path)
        octets = files.read_private(path, "credentials", files.LARGEST)
        where = Where(path)
        try:
            text = octets.decode("utf-8-sig")
            if any(len(line) > _LONGEST_LINE for line in text.splitlines()):
                raise where.error(f"a line of more than {_LONGEST_LINE} characters")
            mapping = tomllib.loads(text)
        except UnicodeDecodeError:
            raise where.error("not UTF-8") from None
        except RecursionError:
            raise where.error("nested too deep") from None
        except ValueError as error:
            raise where.error(f"no TOML: {toml_fault(error)}") from None
        return cls.from_mapping(mapping, path)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Any],
        path: str | os.PathLike[str] | None = None,
        held: Mapping[str, bytes] | None = None,
    ) -> Credentials:
        """The same from the tables of the file as mappings; octets may be hex text or `bytes`.

        `path` says in which folder relative names are looked for, and what errors are about.
        """
        where = Where(None if path is None else Path(path))
        unknown = sorted(set(mapping) - set(_TABLES))
        if unknown:
            raise where.error(f"unknown table {unknown[0]!r}; there are {', '.join(_TABLES)}")
        meter = MeterCredentials(**read_table(mapping.get("meter", {}), METER, where.table("meter")))
        roles = {name: _role(*given) for name, given in _tables(mapping, "roles", where).items()}
        thirds = {name: _third(*given) for name, given in _tables(mapping, "third_parties", where).items()}
        return cls(meter, roles, where.path, thirds, held or {})

    def role(self, name: str | None = None) -> RoleCredentials:
        """A role by name; without one the only role there is.  Raises ConfigurationError."""
        return self.roles[self.role_name(name)]

    def role_name(self, name: str | None = None) -> str:
        """`name` if there is such a role, without one the only role's name.  Raises ConfigurationError."""
        known = ", ".join(self.roles) or "none"
        if name is None:
            if len(self.roles) != 1:
                raise Where(self.path).error(f"say which role; there are: {known}")
            return next(iter(self.roles))
        if name not in self.roles:
            raise Where(self.path).error(f"no role {name[:40]!r}; there are: {known}")
        return name

    def cut(self, role: str) -> Credentials:
        """The same meter with one role only, to hand on; files that it names are named by their whole path.

        Raises ConfigurationError for an unknown role.
        """
        return self._only({role: self.role(role)}, {})

    def cut_third_party(self, name: str) -> Credentials:
        """The same meter with one third party only, and no role.

        Raises ConfigurationError for an unknown one.
        """
        return self._only({}, {name: self.third_party(name)})

    def _only(
        self, roles: Mapping[str, RoleCredentials], thirds: Mapping[str, ThirdPartyCredentials]
    ) -> Credentials:
        if self.path is None:
            return Credentials(self.meter, roles, None, thirds, self.held)
        meter, roles, thirds = named.absolute(self.meter, roles, thirds, self.path.parent, self.held)
        return Credentials(meter, roles, None, thirds, self.held)

    def third_party(self, name: str | None = None) -> ThirdPartyCredentials:
        """A third party by name; without one the only one there is.  Raises ConfigurationError."""
        known = ", ".join(self.third_parties) or "none"
        if name is None and len(self.third_parties) == 1:
            return next(iter(self.third_parties.values()))
        if name is None or name not in self.third_parties:
            text = "say which third party" if name is None else f"no third party {name[:40]!r}"
            raise Where(self.path).error(f"{text}; there are: {known}")
        return self.third_parties[name]

    def with_copies(self, path: str | os.PathLike[str]) -> Credentials:
        """For saving as `path`: the files that are named are copied into the folder `PATH.files`.

        Raises ConfigurationError, StateUnavailable.
        """
        folder = Path() if self.path is None else self.path.parent
        whole = named.absolute(self.meter, self.roles, self.third_parties, folder, self.held)
        meter, roles, thirds = named.copied(*whole, Path(path), self.held)
        return Credentials(meter, roles, Path(path), thirds)

    def with_keys(self, role: str, keys: Mapping[str, bytes]) -> Credentials:
        """The same with new keys of a role, by name; their counters start anew.

        Raises ConfigurationError for an unknown role, and keys of another length than the suite's.
        """
        changed: dict[str, Any] = dict(keys)
        if "guek" in keys:
            changed |= {"counter_start": 1, "counter_end": None}
        return replace(self, roles={**self.roles, role: replace(self.role(role), **changed)})

    def at(self, url: str) -> Credentials:
        """The same with another URL.  Raises ConfigurationError; the file is not to blame for it."""
        parse_url(url)
        return replace(self, meter=replace(self.meter, url=url))

    def to_toml(self) -> str:
        """The text of the file.  Keys that came from files or the environment stand in it as hex."""
        return toml.text(self.meter, self.roles, self.third_parties)

    def tables(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The tables `meter` and `roles` of the file, keys and all, as its parser would give them."""
        return toml.tables(self.meter, self.roles)

    def save(self, path: str | os.PathLike[str], *, durable: bool = True) -> None:
        """Write the file, mode 0600, whole or not at all.  Raises StateUnavailable."""
        files.write_private(Path(path), self.to_toml().encode(), durable=durable)

    @property
    def state_folder(self) -> Path | None:
        """Where counters live: `FILE.state` beside the file; None without a file."""
        return None if self.path is None else files.companion(self.path, "state")


_TABLES: Final = ("meter", "roles", "third_parties")
_WHAT: Final = {"roles": "role", "third_parties": "third party"}


def _tables(mapping: Mapping[str, Any], kind: str, where: Where) -> dict[str, tuple[Any, Where]]:
    """The tables `[KIND.NAME]` by name, each with its place."""
    tables = mapping.get(kind, {})
    if not isinstance(tables, Mapping):
        raise where.error(f"{kind} is no table")
    for name in tables:
        if not NAME.fullmatch(name):
            raise where.error(
                f"the name of a {_WHAT[kind]} has 1 to 32 letters, digits, hyphens and underscores"
            )
    return {name: (table, where.table(f"{kind}.{name}")) for name, table in tables.items()}


def _role(table: Any, where: Where) -> RoleCredentials:
    return RoleCredentials(**_values(table, ROLE, where, "client", "mechanism"))


def _third(table: Any, where: Where) -> ThirdPartyCredentials:
    return ThirdPartyCredentials(**_values(table, THIRD_PARTY, where, "system_title", "layers"))


def _values(table: Any, rows: Mapping[str, Any], where: Where, *needed: str) -> dict[str, Any]:
    """The values of a table, the names of its peer options that are in force among them."""
    if not isinstance(table, Mapping):
        raise where.error("no table")
    plain = dict(table)
    options = plain.pop("peer", {})
    values = read_table(plain, rows, where)
    for name in needed:
        if name not in values:
            raise where.error("missing", name)
    switches = read_table(options, PEER, where.table(f"{where.name}.peer"))
    return {**values, "peer": frozenset(name for name, on in switches.items() if on)}
