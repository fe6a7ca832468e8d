"""The keys of a Security setup: as octets for the state folder, as handles for messages.

A `KeyRing` fills a `SecuritySetup`; `Master` is the KEK, which may serve several rings of a meter.
Counters are named by key check value and system title: a key that comes back goes on counting where it
stood, whoever brings it (design law 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from meterseal.crypto import GcmKey, Secret, WrappingKey, same
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.keys.kinds import GAK, GBEK, GUEK, KEK, NAMES
from meterseal.meter.store import MeterStore
from meterseal.security import KeyInUse, SecuritySetup
from meterseal.security.context import Counted


def text(octets: bytes) -> str:
    """Octets as the state folder has them."""
    return octets.hex().upper()


class Master:
    """A KEK in its place: kept under `place`, drawn at first use, replaced by key_transfer."""

    def __init__(self, place: str, octets: bytes) -> None:
        self.place = place
        self._setups: list[SecuritySetup] = []
        self.take(octets)

    def take(self, octets: bytes) -> None:
        """Put a KEK in this place, for every setup that has it."""
        self.secret, self.handle = Secret(octets), WrappingKey(octets)
        for setup in self._setups:
            setup.master = self.handle

    def serve(self, setup: SecuritySetup) -> None:
        """This setup's wrapped keys are under the KEK of this place."""
        self._setups.append(setup)
        setup.master = self.handle


class KeyRing:
    """GUEK, GBEK and GAK of one Security setup, and the `SecuritySetup` that messages use.

    `keys` are the octets by key_id.  Kept under `place`/guek and so on.
    """

    def __init__(
        self, place: str, setup: SecuritySetup, keys: Mapping[int, bytes], master: Master, store: MeterStore
    ) -> None:
        self.place, self.setup, self.master, self._store = place, setup, master, store
        self._arriving: dict[int, Secret] = {}
        self._secrets = {key_id: Secret(octets) for key_id, octets in keys.items()}
        self.on_gak: list[Callable[[bytes], None]] = []
        """Told a new GAK, to bring it beside dedicated keys."""
        master.serve(setup)
        setup.unicast = self._in_use(GUEK)
        setup.broadcast = self._in_use(GBEK)
        name = f"fresh-{place.replace('/', '-')}-{text(setup.own_title)}"
        setup.fresh = Counted(SendCounter(0, 0), ReceiveCounter(store.counters.received(name) or 0), name)

    def _in_use(self, key_id: int) -> KeyInUse:
        handle = GcmKey(self._secrets[key_id].reveal(), self._secrets[GAK].reveal())
        name = f"{handle.kcv}-{text(self.setup.own_title)}"
        return KeyInUse(
            handle, SendCounter(0, 0), ReceiveCounter(self._store.counters.received(name) or 0), name
        )

    def reveal(self, key_id: int) -> bytes:
        """The octets of a key, for a credentials file."""
        return self.master.secret.reveal() if key_id == KEK else self._secrets[key_id].reveal()

    def secrets(self) -> Iterable[Secret]:
        """All keys of the ring, its KEK among them, and those that become active with the next answer."""
        return [*self._secrets.values(), self.master.secret, *self._arriving.values()]

    def announce(self, new: Mapping[int, bytes]) -> None:
        """New keys become active when the answer is out."""
        self._arriving |= {key_id: Secret(octets) for key_id, octets in new.items()}

    def changes(self, ids: Iterable[int]) -> bool:
        """True while one of these keys has a new one that waits for its answer."""
        return not self._arriving.keys().isdisjoint(ids)

    def forget(self, new: Mapping[int, bytes]) -> None:
        """New keys do not become active after all."""
        for key_id in new:
            self._arriving.pop(key_id, None)

    def records(self, new: Mapping[int, bytes]) -> dict[str, Any]:
        """What the store keeps of new keys."""
        return {
            self.master.place if key_id == KEK else f"{self.place}/{NAMES[key_id]}": text(octets)
            for key_id, octets in new.items()
        }

    def activate(self, new: Mapping[int, bytes]) -> None:
        """Use new keys from now on, in every association of this setup; the replaced ones are destroyed.

        A new GUEK or GBEK begins with its own counters; beside a new GAK the old ones go on.
        """
        self.forget(new)
        if KEK in new:
            self.master.take(new[KEK])
        self._secrets |= {key_id: Secret(octets) for key_id, octets in new.items() if key_id != KEK}
        setup = self.setup
        setup.unicast = self._renewed(GUEK, setup.unicast, new)
        setup.broadcast = self._renewed(GBEK, setup.broadcast, new)
        if GAK in new:
            for listener in self.on_gak:
                listener(new[GAK])

    def _renewed(self, key_id: int, key: KeyInUse | None, new: Mapping[int, bytes]) -> KeyInUse | None:
        if key is None or not (key_id in new or GAK in new):
            return key
        self._store.note(key)
        old, fresh = key.handle, self._in_use(key_id)
        if key_id not in new:
            # The same EK beside a new AK: its nonces are spent all the same.
            fresh.tx, fresh.rx = key.tx, key.rx
        old.destroy()
        return fresh


def held_by_any(candidate: bytes, rings: Iterable[KeyRing]) -> bool:
    """True when some ring holds this very key, in whatever role (constant time for each)."""
    found = False
    for ring in rings:
        for secret in ring.secrets():
            found |= same(secret.reveal(), candidate)
    return found
