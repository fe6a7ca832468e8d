"""Changes: every one makes another number, and none comes again."""

from __future__ import annotations

from meterseal.security.changes import Changes


def test_every_change_has_a_number_of_its_own() -> None:
    changes = Changes()
    seen = [changes.number]
    for _ in range(3):
        changes.note()
        seen.append(changes.number)
    assert seen == [0, 1, 2, 3]
