"""Options of `meterseal keys`, the reading of what stands in them, and how its outcomes become exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from meterseal.cli import options
from meterseal.cli.output import answering, note
from meterseal.cli.pki_options import actor
from meterseal.credentials.files import in_hsm
from meterseal.errors import ConfigurationError

if TYPE_CHECKING:
    from meterseal.authority.store import Store

AGAIN: Final = 3
"""Exit code of what has to be run again: nothing is lost, and something is left to do."""

Where = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="METERSEAL_STORE",
        help="The store: sqlite:///FILE, a path, or postgresql://... Default: $METERSEAL_STORE.",
        metavar="URL",
    ),
]
Kek = Annotated[
    str | None,
    typer.Option(
        "--kek",
        help="Storage KEK: a file, or pkcs11:... Default: $METERSEAL_STORAGE_KEK, a service manager's "
        "credential, else STORE.kek beside the store.",
        metavar="FILE",
    ),
]
Device = Annotated[str, typer.Option("--device", help="System title, 16 hex digits.", metavar="TITLE")]
MaybeDevice = Annotated[
    str | None, typer.Option("--device", help="Only this device: its system title.", metavar="TITLE")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="Only this kind of key; may be given several times.", metavar="KIND"),
]
Kind = Annotated[str, typer.Option("--kind", help="Kind of key: guek, gak, ...", metavar="KIND")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="Only keys of this role; may be given several times.", metavar="ROLE"),
]
OneRole = Annotated[
    str, typer.Option("--role", help="Role whose key it is; for a KEK it may be left out.", metavar="ROLE")
]
By = Annotated[
    str | None, typer.Option("--by", help="Who acts, for the journal. Default: the user.", metavar="WHO")
]
Why = Annotated[str, typer.Option("--why", help="Reason, for the journal.", metavar="TEXT")]
Number = Annotated[
    int | None,
    typer.Option("--key", help="Number of the key, as `keys history` shows it.", min=1, metavar="N"),
]
Timeout = Annotated[
    float, typer.Option("--timeout", help="Seconds to wait for each answer.", min=0.1, metavar="S")
]


def place(text: str | None) -> Path | str | None:
    """Where a storage KEK is: a file, or the name of a key in an HSM."""
    return None if text is None else text if in_hsm(text) else Path(text)


def title(text: str) -> bytes:
    """The octets of a title."""
    return options.system_title(text, "--device") or b""


def maybe_title(text: str | None) -> bytes | None:
    """The same where it may be left out."""
    return options.system_title(text, "--device")


@contextmanager
def opened(where: str, kek: str | None, by: str | None, *, restored: bool = False) -> Iterator[Store]:
    """A store for a command: a typed error is one line on stderr."""
    with answering():
        from_server()
        from meterseal.authority.store import open_store

        with open_store(where, place(kek), by=actor(by), restored=restored) as store:
            yield store


def from_server() -> None:
    """Raises ConfigurationError where the extra is not installed."""
    # Found and not imported: alembic is for new stores and upgrades, and takes its time.
    if not (find_spec("sqlalchemy") and find_spec("alembic")):
        raise ConfigurationError("a store needs the extra `server`: pip install 'meterseal[server]'")


def again(reasons: list[str]) -> typer.Exit:
    """Say what is left to do; the exit to raise."""
    for reason in reasons:
        note(reason)
    return typer.Exit(AGAIN)
