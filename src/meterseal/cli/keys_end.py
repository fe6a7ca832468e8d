"""`meterseal keys destroy`, `retire`: how the life of a key, or of a device, comes to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import options, output
from meterseal.errors import Misuse

if TYPE_CHECKING:
    from meterseal.authority.store import Store
    from meterseal.keys.lifecycle import Record


@given.takes_two
def destroy(
    store: given.Where,
    device: given.Device,
    kind: given.Kind,
    number: Annotated[
        int, typer.Option("--key", help="Number of the key, as `keys history` shows it.", min=1, metavar="N")
    ],
    why: given.Why = "",
    role: given.OneRole = "",
    kek: given.Kek = None,
    by: given.By = None,
    json: options.Json = False,
) -> None:
    """Take a key's material away for good. Only one that was replaced, and never a device's last."""
    with given.opened(store, kek, by) as opened:
        from meterseal.keys.lifecycle import Verb

        record = chosen(opened, given.title(device), role, kind, number)
        about = {"devices": [device.upper()], "role": role, "kind": kind, "key": record.id, "kcv": record.kcv}
        given.act(opened, "destroy", about, why)
        shown(opened, opened.keys.apply(Verb.DESTROY, record, why), json)


def retire(
    store: given.Where,
    device: given.Device,
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
) -> None:
    """Take a device out of service; its last keys may be destroyed then."""
    with given.opened(store, kek, by) as opened:
        given.act(opened, "retire")
        opened.keys.retire(given.title(device), why)


IN_USE: Final = ("active",)
MARKED_TOO: Final = ("active", "compromised")
MARKED_FIRST: Final = ("compromised", "active")
"""States of the key that is meant where no number is said, in this order."""


def chosen(
    store: Store, title: bytes, role: str, kind: str, number: int | None, states: Sequence[str] = IN_USE
) -> Record:
    """The key that is meant: by its number, else the newest of the slot in the first of these states."""
    from meterseal.authority.store.keeping import slot_of
    from meterseal.keys.lifecycle import State, find

    slot = slot_of(title, role, kind)
    held = store.keys.slot(slot)
    if number is not None:
        record = next((one for one in held if one.id == number), None)
    else:
        found = (find(held, State(state)) for state in states)
        record = next((one for one in found if one is not None), None)
    if record is None:
        raise Misuse(f"{slot.text}: no {'active key' if number is None else f'key {number}'} there")
    return record


def shown(store: Store, record: Record, json: bool) -> None:
    """A key as it is now."""
    from meterseal.cli import keys_pages

    found = store.keys.find(record.id)
    if json:
        output.emit_json({"key": keys_pages.key(found)})
    else:
        keys_pages.listed([found])
