"""`meterseal keys` for key pairs and agreed keys: the authority that certifies, and the way of a slot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meterseal.cli import keys_options as given
from meterseal.cli import options, output, pki_options

if TYPE_CHECKING:
    from meterseal.authority.certifying import Certifier
    from meterseal.authority.store import Store

WAYS = ("transfer", "agreement")

Authority = Annotated[
    Path | None,
    typer.Option(
        "--authority",
        help="Folder of the authority that certifies new key pairs. Without it they are left out.",
        metavar="DIR",
    ),
]
Password = Annotated[
    str | None,
    typer.Option(
        "--authority-password", help="Password of the authority's key: @FILE or env:NAME.", metavar="K"
    ),
]
Days = Annotated[
    int | None,
    typer.Option(
        "--days", help="Days that new certificates are valid. Default: 1825.", min=1, max=36_500, metavar="N"
    ),
]


def certifier(
    folder: Path | None, password: str | None = None, days: int | None = None, by: str | None = None
) -> Certifier | None:
    """The authority of a run, opened when it certifies something; None where none was named."""
    if folder is None:
        return None
    secret = pki_options.password(password, "--authority-password")
    from meterseal.authority.certifying import Certifier
    from meterseal.authority.terms import DEVICE_DAYS

    return Certifier(folder, secret, pki_options.actor(by), DEVICE_DAYS if days is None else days)


def of_roll(certifier: Certifier | None, store: Store) -> Certifier | None:
    """The same for who has signed on in a store: an authority of its people certifies for them."""
    if certifier is None or not store.core.people:
        return certifier
    return replace(certifier, by=store.core.by, roll=store.core.name)


def due(store: Store) -> bool:
    """Whether key pairs are due."""
    from meterseal.authority import overview
    from meterseal.keys.kinds import KINDS

    certified = [kind.name for kind in KINDS.values() if kind.certified]
    return bool(overview.due(store, store.core.moment, 0, certified).count)


def way(
    how: Annotated[str, typer.Argument(metavar="WAY", help="transfer or agreement.")],
    store: given.Where,
    device: given.Device,
    kind: given.Kind,
    role: given.OneRole = "",
    kek: given.Kek = None,
    by: given.By = None,
    why: given.Why = "",
    json: options.Json = False,
) -> None:
    """Say how new keys of a slot come about: transferred under the KEK, or agreed on (suites 1 and 2).

    What opens an association is agreed on over that of another role, so that a lost answer shuts nobody out;
    where no other role may change keys it is refused.
    """
    if how not in WAYS:
        raise typer.BadParameter(f"one of {', '.join(WAYS)} is wanted", param_hint="WAY")
    with given.opened(store, kek, by) as opened:
        from meterseal.authority.store.keeping import slot_of
        from meterseal.authority.ways import set_way
        from meterseal.keys.kinds import Way

        slot = slot_of(given.title(device), role, kind)
        given.act(opened, "way")
        set_way(opened, slot, Way[how.upper()], why)
    if json:
        output.emit_json({"device": slot.device.hex().upper(), "role": slot.role or None,
                          "kind": slot.kind, "way": how})  # fmt: skip
    else:
        output.emit(f"{slot.text}: {how}")
