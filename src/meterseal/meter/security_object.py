"""Security setup (class 64), versions 0 and 1: policy, titles, key_transfer, key_agreement, certificates.

Both ways to new keys check every item before any key changes, and let the new ones work only when the
answer has gone out under the old ones (security 8, 12; classes 5).  Keys that were transferred are kept on
disk before the answer: the client has them.  Keys that were agreed on are kept after it: until the client has
the answer it cannot know them, and then a meter that comes up from a power cut must not use them either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from meterseal.codec.types import Array, MixedArray, Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.cosem.rights import PROTECTION, policy_from_wire, policy_to_wire, strengthens
from meterseal.crypto import is_blank, kcv, same
from meterseal.errors import ConnectionLost, Forged, Malformed, MetersealError, Misuse
from meterseal.keys.kinds import KEK, NAMES
from meterseal.meter.keyring import KeyRing, held_by_any
from meterseal.meter.objects import (
    OTHER_REASON,
    TEMPORARY_FAILURE,
    TYPE_UNMATCHED,
    Asker,
    CosemObject,
    Denied,
    Value,
)
from meterseal.meter.store import MeterStore
from meterseal.security import key_agreement
from meterseal.security.agreement import Parties
from meterseal.security.options import NEW_KEYS_LATER
from meterseal.security.steps import Steps

if TYPE_CHECKING:
    from meterseal.meter.pairs import KeyPairs

FIRST: Final = Obis("0.0.43.0.0.255")
"""Name of Security setups; group E is the client SAP of the role."""

_ITEMS: Final = Array(Structure((Tag.ENUM, Tag.OCTET_STRING)))
"""What key_agreement takes and returns."""


class SecuritySetupObject(CosemObject):
    """The Security setup of one role, in one logical device.

    `rings` gives all key rings of the meter: no key may be there twice.  `pairs` are its key pairs and
    certificates, None in suite 0.  `on_key_change`, `on_policy` and `on_pairs` tell the party what happened,
    `on_failure` why something did not, after its answer.
    """

    def __init__(
        self,
        obis: Obis,
        version: int,
        ring: KeyRing,
        store: MeterStore,
        rings: Callable[[], Iterable[KeyRing]],
        *,
        pairs: KeyPairs | None = None,
        on_key_change: Callable[[KeyRing], None] = lambda ring: None,
        on_policy: Callable[[KeyRing], None] = lambda ring: None,
        on_pairs: Callable[[], None] = lambda: None,
        on_failure: Callable[[str], None] = lambda cause: None,
    ) -> None:
        super().__init__(64, obis, version)
        self.ring, self._store, self._rings = ring, store, rings
        self._on_key_change, self._on_policy, self._on_failure = on_key_change, on_policy, on_failure
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
        if version >= 1 and pairs is not None:
            # Loads the backend's X.509 part, which meters of suite 0 do without.
            from meterseal.meter.certificate_methods import CertificateMethods

            methods = CertificateMethods(pairs, on_pairs)
            self.readers[6] = methods.certificates
            self.callers |= {3: self._key_agreement, **methods.callers}

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

    # --- new keys ---------------------------------------------------------------------------

    def _key_transfer(self, asker: Asker, items: list[tuple[int, bytes]]) -> None:
        self._check_ids("key_transfer", items)
        new: dict[int, bytes] = {}
        for key_id, blob in items:
            try:
                new[key_id] = self.ring.master.handle.unwrap(blob)
            except Forged as error:
                raise Denied(OTHER_REASON, f"key_transfer: {NAMES[key_id]}: {error}") from error
            self._check_key("key_transfer", key_id, new)
        self._store.keep(self.ring.records(new))
        self.ring.announce(new)
        asker.after.append(lambda answered: self._activate_keys(asker, new))

    def _key_agreement(self, asker: Asker, items: list[tuple[int, bytes]]) -> Steps[Value]:
        self._check_ids("key_agreement", items)
        setup, client = self.ring.setup, _title(asker)
        parties, options = Parties(client, setup.own_title), asker.association.profile.options
        try:
            signer, signing = setup.verifying_key(client), setup.signing_key()
            answers, new = yield partial(
                key_agreement.answer, setup.suite, items, signer, signing, parties, options
            )
        except MetersealError as error:
            raise Denied(OTHER_REASON, f"key_agreement: {error}") from error
        self._check_ids("key_agreement", items)  # others were served meanwhile
        for key_id in new:
            self._check_key("key_agreement", key_id, new)
        self.ring.announce(new)
        asker.after.append(lambda answered: self._keep_agreed(asker, new, answered))
        return answers, _ITEMS

    def _keep_agreed(self, asker: Asker, new: dict[int, bytes], answered: bool) -> None:
        """The answer is out, and new keys may work; if it is not, or the disk fails, the old ones go on."""
        try:
            if not answered:
                raise ConnectionLost("the answer to key_agreement did not go out")
            self._store.keep(self.ring.records(new))
        except MetersealError as error:
            self.ring.forget(new)
            self._on_failure(f"agreed keys are dropped, the old ones stay: {error}")
        else:
            self._activate_keys(asker, new)

    def _activate_keys(self, asker: Asker, new: dict[int, bytes]) -> None:
        """The answer is out: new keys work from now on, or once the association of such a peer has ended."""

        def activate() -> None:
            self.ring.activate(new)
            self._on_key_change(self.ring)

        if NEW_KEYS_LATER in asker.association.profile.options:
            asker.ending.append(activate)
        else:
            activate()

    def _check_ids(self, method: str, items: list[tuple[int, bytes]]) -> None:
        """Raises Denied; the wire learns nothing of the cause."""
        if not items:
            raise Denied(TYPE_UNMATCHED, f"{method} without a key")
        known = [key_id for key_id in NAMES if self.version >= 1 or key_id != KEK]
        ids = [key_id for key_id, _ in items]
        if len(set(ids)) < len(ids) or not set(ids) <= set(known):
            raise Denied(OTHER_REASON, f"{method}: a key id twice, or none of {known}")
        if self.ring.changes(ids):
            raise Denied(TEMPORARY_FAILURE, f"{method}: another change of these keys is being answered")

    def _check_key(self, method: str, key_id: int, new: dict[int, bytes]) -> None:
        key, length = new[key_id], self.ring.setup.suite.key_length
        if len(key) != length:
            raise Denied(OTHER_REASON, f"{method}: {NAMES[key_id]} of {len(key)} octets, not {length}")
        if is_blank(key):
            raise Denied(OTHER_REASON, f"{method}: {NAMES[key_id]} is all zeros: nobody has drawn it")
        if held_by_any(key, self._rings()):
            raise Denied(OTHER_REASON, f"{method}: {NAMES[key_id]} {kcv(key)} is in use already")
        if sum(same(key, other) for other in new.values()) > 1:
            raise Denied(OTHER_REASON, f"{method}: {NAMES[key_id]} {kcv(key)} is in the list twice")


def _title(asker: Asker) -> bytes:
    """Who calls: the client whose title and signature the agreement is made with."""
    title = asker.association.profile.setup.peer_title
    if asker.live is not None:
        title = asker.live.context.peer_title or title
    if title is None:
        raise Denied(OTHER_REASON, "key_agreement: the client has no system title")
    return title


def _signed(bits: int) -> bool:
    return bool(bits & 0x90)
