"""Security setup (class 64), versions 0 and 1, for suite 0: policy, titles, key_transfer.

key_transfer checks every item before any key changes, keeps the new keys on disk before it answers, and
lets them work only when the answer has gone out under the old ones (security 8; classes 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from meterseal.codec.types import MixedArray, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.rights import PROTECTION, policy_from_wire, policy_to_wire, strengthens
from meterseal.crypto import kcv, same
from meterseal.errors import Forged, Malformed, Misuse
from meterseal.meter.keyring import KEK, NAMES, KeyRing, held_by_any
from meterseal.meter.objects import OTHER_REASON, TYPE_UNMATCHED, Asker, CosemObject, Denied
from meterseal.meter.store import MeterStore

FIRST: Final = Obis("0.0.43.0.0.255")
"""Name of Security setups; group E is the client SAP of the role."""


class SecuritySetupObject(CosemObject):
    """The Security setup of one role, in one logical device.

    `rings` gives all key rings of the meter: no key may be there twice.  `on_key_change` and
    `on_policy` tell the party what has happened.
    """

    def __init__(
        self,
        obis: Obis,
        version: int,
        ring: KeyRing,
        store: MeterStore,
        rings: Callable[[], Iterable[KeyRing]],
        *,
        on_key_change: Callable[[KeyRing], None] = lambda ring: None,
        on_policy: Callable[[KeyRing], None] = lambda ring: None,
    ) -> None:
        super().__init__(64, obis, version)
        self.ring, self._store, self._rings = ring, store, rings
        self._on_key_change, self._on_policy = on_key_change, on_policy
        setup = ring.setup
        self.readers |= {
            2: lambda asker: (self._policy_on_wire(), Tag.ENUM),
            3: lambda asker: (setup.suite.id, Tag.ENUM),
            4: lambda asker: (setup.peer_title or b"", Tag.OCTET_STRING),
            5: lambda asker: (setup.own_title, Tag.OCTET_STRING),
        }
        if version >= 1:
            self.readers[6] = lambda asker: ([], MixedArray(()))
        self.callers |= {1: self._activate, 2: self._key_transfer}

    def _policy_on_wire(self) -> int:
        try:
            return policy_to_wire(self.ring.setup.policy, self.version)
        except Misuse as error:
            raise Denied(OTHER_REASON, str(error)) from error

    def _activate(self, asker: Asker, policy: int) -> None:
        try:
            bits = policy_from_wire(policy, self.version)
        except Malformed as error:
            raise Denied(OTHER_REASON, str(error)) from error
        setup = self.ring.setup
        if not strengthens(setup.policy & PROTECTION, bits):
            raise Denied(OTHER_REASON, "a security policy can only be strengthened")
        if _signed(bits) and setup.suite.curve is None:
            raise Denied(OTHER_REASON, "signatures are not for this suite")
        self._store.keep({f"{self.ring.place}/policy": bits})
        setup.policy = bits
        self._on_policy(self.ring)

    def _key_transfer(self, asker: Asker, items: list[tuple[int, bytes]]) -> None:
        new = self._unwrapped(items)
        self._store.keep(self.ring.records(new))
        self.ring.announce(new)

        def activate() -> None:
            self.ring.activate(new)
            self._on_key_change(self.ring)

        asker.after.append(activate)

    def _unwrapped(self, items: list[tuple[int, bytes]]) -> dict[int, bytes]:
        """The new keys, every one of them checked.  Raises Denied; the wire learns nothing of the cause."""
        if not items:
            raise Denied(TYPE_UNMATCHED, "key_transfer without a key")
        known = [key_id for key_id in NAMES if self.version >= 1 or key_id != KEK]
        new: dict[int, bytes] = {}
        for key_id, blob in items:
            if key_id not in known or key_id in new:
                raise Denied(OTHER_REASON, f"key_transfer: key id {key_id} twice, or none of {known}")
            try:
                new[key_id] = self.ring.master.handle.unwrap(blob)
            except Forged as error:
                raise Denied(OTHER_REASON, f"key_transfer: {NAMES[key_id]}: {error}") from error
            self._check(key_id, new)
        return new

    def _check(self, key_id: int, new: dict[int, bytes]) -> None:
        key, length = new[key_id], self.ring.setup.suite.key_length
        if len(key) != length:
            raise Denied(OTHER_REASON, f"key_transfer: {NAMES[key_id]} of {len(key)} octets, not {length}")
        if held_by_any(key, self._rings()):
            raise Denied(OTHER_REASON, f"key_transfer: {NAMES[key_id]} {kcv(key)} is in use already")
        if sum(same(key, other) for other in new.values()) > 1:
            raise Denied(OTHER_REASON, f"key_transfer: {NAMES[key_id]} {kcv(key)} is in the list twice")


def _signed(bits: int) -> bool:
    return bool(bits & 0x90)
