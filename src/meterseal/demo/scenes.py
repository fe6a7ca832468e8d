"""The table of scenes, in the order in which they are played."""

from __future__ import annotations

from typing import Final

from meterseal.demo import attacks, captures, lives, views
from meterseal.demo.scene import Scene

SCENES: Final = (
    Scene(
        "three roles at once",
        "Operator, installer and manager are signed on to one meter at the same time, on one connection, and "
        "each sees its own view and no other.",
        views.three_roles,
    ),
    Scene(
        "refused",
        "What a role may not see or do the meter refuses, under protection, and the association goes on.",
        views.refused,
    ),
    Scene(
        "protected",
        "A reading crosses the wire encrypted and authenticated: the operator's keys open it, the "
        "installer's do not, and no counter is used twice.",
        views.protected,
    ),
    Scene(
        "other role's keys",
        "The operator's keys open nothing under the installer's address, and the answer does not tell why.",
        views.other_keys,
    ),
    Scene(
        "bit flipped",
        "A message with any one bit changed on the wire is refused at either end and changes nothing: the "
        "untouched one is taken afterwards.",
        attacks.bit_flipped,
    ),
    Scene(
        "replayed",
        "A recorded message is refused when it comes again: within its association, in a new connection, and "
        "at the client.",
        attacks.replayed,
    ),
    Scene(
        "downgrade",
        "Nobody on the wire can talk either end into less protection.",
        attacks.downgraded,
    ),
    Scene(
        "dedicated key",
        "A session under a key of its own: it travels inside the protected sign-on, and the messages after "
        "it open with that key and not with the global one.",
        lives.dedicated_key,
    ),
    Scene(
        "captured frames",
        "Frames recorded at meters of several makers and grids open with their published keys.",
        captures.field_frames,
    ),
    Scene(
        "key transfer",
        "The manager replaces the operator's key, wrapped under the KEK: from the answer on the old key is "
        "dead, in open associations too, and the new one counts anew.",
        lives.key_transfer,
    ),
    Scene(
        "killed",
        "The meter process is killed and started again: the same meter with its keys, and neither side uses "
        "a counter twice or takes an old message.",
        lives.killed,
    ),
)
