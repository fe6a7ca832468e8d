"""One sign-on at a time with the same peer, in the whole process.

With the old HLS mechanisms (2, 3, 4) nothing but the secret is in a proof, so what one sign-on answers
could be asked of another that runs beside it, under whatever address; those are kept apart by the secret.
All others are by address and SAPs.
"""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock

from meterseal.association import ClientProfile

_guard = Lock()
_running: set[Hashable] = set()


def names(profile: ClientProfile, url: str) -> frozenset[Hashable]:
    """What a sign-on must not share with another that runs; empty where nothing is proved in passes."""
    if profile.scheme.passes != 4:
        return frozenset()
    peer: Hashable = (url, profile.client_sap, profile.server_sap)
    if profile.scheme.needs_titles:
        return frozenset({peer})
    # The salted hash tells secrets apart without keeping one here.
    return frozenset({peer, ("secret", hash(profile.secret))})


def enter(keys: frozenset[Hashable]) -> bool:
    """Begin, unless one of the names is in use."""
    with _guard:
        if _running & keys:
            return False
        _running.update(keys)
        return True


def leave(keys: frozenset[Hashable]) -> None:
    """The sign-on has ended, one way or the other."""
    with _guard:
        _running.difference_update(keys)
