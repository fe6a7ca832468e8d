"""The table of scenes, in the order in which they are played."""

from __future__ import annotations

from typing import Final

from meterseal.demo import attacks, captures, carried, lives, revoked, signed, trusted, views, years
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
        "by certificate",
        "In suite 1 client and meter sign on to each other by signatures over both titles and both "
        "challenges, with certificates that lead to one root; one of somebody's own making opens nothing.",
        signed.by_certificate,
    ),
    Scene(
        "signed disconnect",
        "The switch is thrown by a signed call and by no other: who has stolen all symmetric keys, signs "
        "with another key, or brings a call for another meter, is refused.",
        signed.disconnect,
    ),
    Scene(
        "agreed keys",
        "Client and meter agree on a new key that is in no message, out of two signed ephemeral keys; and "
        "single messages each go under a key of their own.",
        signed.agreed_keys,
    ),
    Scene(
        "compressed profile",
        "A week of the load profile is compressed before it is sealed, and goes over the wire shorter, row "
        "for row the same.",
        signed.compressed,
    ),
    Scene(
        "evidence",
        "A signed call and its signed answer, kept as files, show a third person offline who said what to "
        "whom; changed by one bit they show nothing.",
        trusted.evidence,
    ),
    Scene(
        "enrolled",
        "A meter that has nothing but a trust anchor is certified by requests of its own, against a one-time "
        "token; cut in the middle, the same command ends it, and the meter signs on.",
        trusted.enrolled,
    ),
    Scene(
        "compromised certificate",
        "Who has copied a client's private key signs on with it, until its certificate is revoked and taken "
        "off the meter: then it opens nothing, in date as it is and by the right authority; a new pair does.",
        revoked.compromised,
    ),
    Scene(
        "answer lost",
        "A meter takes a new key, and its answer is lost: both keys stay, and the next run finds out which "
        "one the meter has; then one is active, and opens the meter.",
        years.answer_lost,
    ),
    Scene(
        "old backup",
        "A meter that was put back from an old copy has keys that had been replaced: the store has kept "
        "them, finds out which, and brings in new ones; nothing that was sent before counts any more.",
        years.old_backup,
    ),
    Scene(
        "sealed past a head-end",
        "A utility reads a load profile and switches the supply off by a signed call, past a concentrator "
        "and a head-end: their files and their memory then hold neither a row nor a key of the layers.",
        carried.sealed,
    ),
    Scene(
        "hostile head-end",
        "A head-end that alters, replays, swaps or withholds what it carries is found out by the utility, "
        "which names each.",
        carried.hostile,
    ),
    Scene(
        "killed",
        "The meter process is killed and started again: the same meter with its keys, and neither side uses "
        "a counter twice or takes an old message.",
        lives.killed,
    ),
)
