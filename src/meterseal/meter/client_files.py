"""PEM files beside a credentials file: what roles sign with, what they trust, the meter's certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from meterseal.credentials.files import write_private
from meterseal.crypto.certificates import Certificate
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import StateUnavailable
from meterseal.meter.manufacture import client_keys, client_place, third_place
from meterseal.meter.model import Meter
from meterseal.meter.pairs import AGREEMENT, SIGNATURE, KeyPairs, Kind, Private
from meterseal.meter.plan import RolePlan


class _Names(NamedTuple):
    """How the keys and files of one kind are called."""

    kind: Kind
    key: str
    certificate: str
    short: str


_NAMES = (
    _Names(SIGNATURE, "signing_key", "signing_certificate", "sign"),
    _Names(AGREEMENT, "agreement_key", "agreement_certificate", "agree"),
)


def of_meter(pairs: KeyPairs, folder: str) -> dict[str, Any]:
    """The keys of `[meter]` in a credentials file: names of files in `folder`."""
    named = {n.certificate: f"{folder}/meter-{n.short}.pem" for n in _NAMES if pairs.own(n.kind).certificate}
    return {"trust": (f"{folder}/root.pem",), **named}


def of_role(role: RolePlan, folder: str) -> dict[str, Any]:
    """The keys of a role that signs: names of its files in `folder`.

    Where the meter's maker did not make them, it is for the reader of the file to put them there.
    """
    return of_one(role.name, folder) if role.signs else {}


def of_one(name: str, folder: str) -> dict[str, Any]:
    """The keys of a role or a third party: names of its files in `folder`."""
    keys = {n.key: f"{folder}/{name}-{n.short}.key" for n in _NAMES}
    return keys | {n.certificate: f"{folder}/{name}-{n.short}.pem" for n in _NAMES}


def write(meter: Meter, pairs: KeyPairs, folder: Path) -> None:
    """Write all files that there are, mode 0600, into `folder` (0700).  Raises StateUnavailable."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateUnavailable(f"folder {folder}: {error.strerror or error}") from None
    for name, octets in _files(meter, pairs):
        write_private(folder / name, octets, "key file" if name.endswith(".key") else "certificate")


def _files(meter: Meter, pairs: KeyPairs) -> Iterator[tuple[str, bytes]]:
    yield "root.pem", b"".join(anchor.to_pem() for anchor in pairs.trust.anchors)
    for names in _NAMES:
        yield from _certificate(f"meter-{names.short}.pem", pairs.own(names.kind).certificate)
    for role in meter.plan.roles:
        if role.signs and role.client_system_title is not None:
            place = client_place(role.client)
            yield from _of_one(meter, pairs, role.name, place, role.client_system_title)
    for third in meter.plan.third_parties:
        yield from _of_one(meter, pairs, third.name, third_place(third.name), third.system_title)


def _of_one(
    meter: Meter, pairs: KeyPairs, name: str, place: str, title: bytes
) -> Iterator[tuple[str, bytes]]:
    keys: tuple[Private, ...] | None = client_keys(meter.store, place)
    if keys is None:
        return
    for names, key in zip(_NAMES, keys, strict=True):
        yield f"{name}-{names.short}.key", write_key(key)
        yield from _certificate(f"{name}-{names.short}.pem", pairs.trust.find(title, names.kind.purpose))


def _certificate(name: str, certificate: Certificate | None) -> Iterator[tuple[str, bytes]]:
    if certificate is not None:
        yield name, certificate.to_pem()
