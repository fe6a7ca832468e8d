"""`meterseal pki` under the roll of a store: who makes an authority, who lets it certify; what takes two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from meterseal.cli import keys_options as keys
from meterseal.cli import pki_options as given
from meterseal.cli.output import answering
from meterseal.errors import Misuse

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="The store on whose roll is who acts (--as): sqlite:///FILE, a path, ...",
        metavar="URL",
        callback=keys.understood("--store", keys.store_url),
    ),
]


@dataclass(frozen=True, slots=True)
class Warrant:
    """Who acts, and under the roll of which store; None: nobody's."""

    by: str
    roll: str | None = None


@contextmanager
def acting(
    where: str | None,
    kek: str | None,
    by: str | None,
    deed: str,
    why: str,
    about: Mapping[str, Any],
    *,
    whole: bool = False,
) -> Iterator[Warrant]:
    """Somebody acts, signed on in the store and noted in its journal; without a store whoever says so.

    `whole`: what is done in the block is noted when it is through, or not at all; a request is used up by
    that alone.
    """
    if where is None:
        with answering():
            if keys.who().asking or keys.who().request is not None:
                raise Misuse("on whose roll? Say --store")
        yield Warrant(given.actor(by))
        return
    with keys.opened(where, kek, by) as store:
        if not store.core.people:
            raise Misuse("nobody is on the roll of this store: leave --store out")
        keys.act(store, deed, about, why)
        warrant = Warrant(store.core.by, store.core.name)
        if whole:
            with store.core.acting(why) as act:
                act.note(deed, **about)
                yield warrant
            return
        with store.core.acting(why) as act:
            act.note(deed, **about)
        yield warrant


def ask(ctx: typer.Context, command: keys.Whole) -> None:
    """Ask for what takes two: `pki ask init --store ...`. Nothing is done yet.

    Another person approves it within a week (`keys approve N`); then `pki --request N` with the same command
    does it, once, within a day.
    """
    keys.ask_for(ctx, command)
