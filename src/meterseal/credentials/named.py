"""The files that credentials name: where they are, and copies of them to hand on with a role."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from meterseal.credentials.files import companion, in_hsm, read_private, write_private
from meterseal.credentials.records import MeterCredentials, RoleCredentials, ThirdPartyCredentials
from meterseal.errors import StateUnavailable

_METER: Final = {"signing_certificate": "meter-sign.pem", "agreement_certificate": "meter-agree.pem"}
_ROLE: Final = {
    "signing_key": "sign.key",
    "signing_certificate": "sign.pem",
    "agreement_key": "agree.key",
    "agreement_certificate": "agree.pem",
}
"""Fields that name a file, with what a copy of it is called; a role's begins with the role's name."""

_THIRD: Final = {**_ROLE, "tls_key": "tls.key", "tls_certificate": "tls.pem", "head_end": "head-end.pem"}
"""The same of a third party."""

_LARGEST: Final = 1 << 16
_LARGEST_LIST: Final = 1 << 26

Record = TypeVar("Record", MeterCredentials, RoleCredentials, ThirdPartyCredentials)
Roles = Mapping[str, RoleCredentials]
ThirdParties = Mapping[str, ThirdPartyCredentials]
Named = tuple[MeterCredentials, Roles, ThirdParties]


def absolute(
    meter: MeterCredentials, roles: Roles, thirds: ThirdParties, folder: Path, held: Collection[str] = ()
) -> Named:
    """The same with every name of a file, so far relative to `folder`, as a whole path; `held` have none."""

    def whole(name: str, copy: str) -> str:
        return name if name in held else str((folder / name).absolute())

    return _renamed(meter, roles, thirds, whole)


def copied(
    meter: MeterCredentials, roles: Roles, thirds: ThirdParties, path: Path, held: Mapping[str, bytes]
) -> Named:
    """The same with copies of the files, and of what is `held`, in the folder `PATH.files`, mode 0600 each.

    Raises ConfigurationError for a file that is not there, StateUnavailable where a copy cannot be written.
    """
    folder = companion(path, "files")

    def copy(name: str, new: str) -> str:
        largest = _LARGEST_LIST if new.startswith("crl-") else _LARGEST
        what = "private key" if new.endswith(".key") else "certificate"
        octets = held[name] if name in held else read_private(Path(name), what, largest)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateUnavailable(f"folder {folder}: {error.strerror or error}") from None
        write_private(folder / new, octets, "file")
        return f"{folder.name}/{new}"

    return _renamed(meter, roles, thirds, copy)


def _renamed(
    meter: MeterCredentials, roles: Roles, thirds: ThirdParties, rename: Callable[[str, str], str]
) -> Named:
    trust = tuple(rename(name, _root(number)) for number, name in enumerate(meter.trust))
    lists = tuple(rename(name, f"crl-{number}.pem") for number, name in enumerate(meter.revocation_lists, 1))
    described = replace(_with(meter, _METER, rename), trust=trust, revocation_lists=lists)
    kept = {name: _with(role, _called(name, _ROLE), rename) for name, role in roles.items()}
    others = {name: _with(third, _called(name, _THIRD), rename) for name, third in thirds.items()}
    return described, kept, others


def _called(name: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {field: f"{name}-{copy}" for field, copy in fields.items()}


def _with(record: Record, fields: dict[str, str], rename: Callable[[str, str], str]) -> Record:
    named = {field: getattr(record, field) for field in fields}
    found: dict[str, Any] = {
        field: rename(name, fields[field])
        for field, name in named.items()
        if name is not None and not in_hsm(name)
    }
    return replace(record, **found)


def _root(number: int) -> str:
    return "root.pem" if number == 0 else f"root-{number + 1}.pem"
