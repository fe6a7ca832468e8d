"""Trust anchors of a store: which it knows, and that it takes two to bring in another (keys 7).

An anchor that a device of the store has was agreed on before; one more device with it takes one person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, select

from meterseal.authority.store import schema
from meterseal.authority.store.keystore import Act, KeyStore
from meterseal.crypto.hashes import digest_of
from meterseal.errors import NotAllowed

DEED: Final = "trust-anchor"


def anchors(settings: Mapping[str, Any]) -> frozenset[str]:
    """The anchors of `Device.settings`, each as SHA-256 of the certificate, hex."""
    told = settings.get("meter", {}).get("anchors", ())
    return frozenset(digest_of(bytes.fromhex(der)).hex().upper() for der in told)


def strange(store: KeyStore, connection: Connection, settings: Mapping[str, Any]) -> list[str]:
    """Those of them that no settings of the store have; settings that it did not write do not count."""
    found = set(anchors(settings))
    if found:
        p = schema.profiles.c
        for row in connection.execute(select(p.mark, p.body).where(p.body.contains('"anchors"'))):
            if store.mark(row.body.encode()) == row.mark:
                found -= anchors(json.loads(row.body))
    return sorted(found)


def admit(act: Act, changed: list[str]) -> None:
    """Raises NotAllowed where who has signed on did so for no request that names these anchors."""
    if act.session is None or not changed:
        return
    act.only(DEED)
    if not set(changed) <= set((act.session.about or {}).get("anchors", ())):
        raise NotAllowed(f"trust anchor {changed[0]} is no part of what {act.by} asked for")
