"""Options of `meterseal keys`, the reading of what stands in them, and how its outcomes become exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import typer

from meterseal.cli import options, output
from meterseal.cli import pki_options as pki
from meterseal.cli.output import answering, note
from meterseal.cli.pki_options import actor
from meterseal.credentials.files import LARGEST_KEY, in_hsm, read_private
from meterseal.errors import ConfigurationError, Misuse, NotAllowed

if TYPE_CHECKING:
    from meterseal.authority.store import Store
    from meterseal.crypto import SigningKey

AGAIN: Final = 3
"""Exit code of what has to be run again: nothing is lost, and something is left to do."""


# --- reading ------------------------------------------------------------------------------------


def understood(option: str, read: Callable[[str], object]) -> Callable[[Any], Any]:
    """As `options.understood`, where the extra `server` reads it: without that, it is what is told."""
    return options.understood(option, lambda text: read(text) if _with_server() else None)


def store_url(text: str) -> object:
    """The URL of a store.  Raises ConfigurationError."""
    from meterseal.authority.store.database import store_url

    return store_url(text)


def campaign(text: str) -> None:
    """The name of a campaign to be.  Raises Misuse."""
    from meterseal.authority.campaign import check_name

    check_name(text)


def kind(text: str) -> object:
    """A kind of key.  Raises Misuse."""
    from meterseal.keys.kinds import kind_of

    return kind_of(text)


def title(text: str) -> bytes:
    """The octets of a title."""
    return options.system_title(text, "--device") or b""


def maybe_title(text: str | None) -> bytes | None:
    """The same where it may be left out."""
    return options.system_title(text, "--device")


# --- options ------------------------------------------------------------------------------------

Where = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="METERSEAL_STORE",
        help="The store: sqlite:///FILE, a path, or postgresql://... Default: $METERSEAL_STORE.",
        metavar="URL",
        callback=understood("--store", store_url),
    ),
]
Kek = Annotated[
    str | None,
    typer.Option(
        "--kek",
        help="Storage KEK: a file, or pkcs11:... Default: $METERSEAL_STORAGE_KEK, a service manager's "
        "credential, else STORE.kek beside the store.",
        metavar="FILE",
        callback=options.understood("--kek", options.hsm_key),
    ),
]
MakeKek = Annotated[
    bool, typer.Option("--make-kek", help="Make the new storage KEK in its HSM first, never to leave it.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="System title, 16 hex digits.",
        metavar="TITLE",
        callback=options.understood("--device", title),
    ),
]
MaybeDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Only this device: its system title.",
        metavar="TITLE",
        callback=options.understood("--device", title),
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="Only this kind of key; may be given several times.",
        metavar="KIND",
        callback=options.understood("--kind", kind),
    ),
]
Kind = Annotated[
    str,
    typer.Option(
        "--kind",
        help="Kind of key: guek, gak, ...",
        metavar="KIND",
        callback=options.understood("--kind", kind),
    ),
]
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
DeviceUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Where the device is, if not where the store says.",
        metavar="URL",
        callback=options.understood("--url", options.line),
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", help="Seconds to wait for each answer.", min=0.1, metavar="S")
]


PersonKey = Annotated[
    str | None,
    typer.Option(
        "--as",
        envvar="METERSEAL_PERSON",
        help="Who acts: a private key, PEM or pkcs11:..., whose card is on the roll of the store.",
        metavar="FILE",
        callback=options.understood("--as", options.hsm_key),
    ),
]
PersonPassword = Annotated[
    str | None,
    typer.Option(
        "--as-password",
        envvar="METERSEAL_PERSON_PASSWORD",
        help="Its password: @FILE or env:NAME.",
        metavar="K",
        show_envvar=False,
    ),
]
Approved = Annotated[
    int | None,
    typer.Option("--request", help="The approved request that this is.", min=1, metavar="N"),
]

Whole = Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The command, with all its options.")]
WHOLE: Final = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings of a command that takes another one with all its options."""


@dataclass(slots=True)
class Who:
    """Who acts, as said before the command: the key, its password, the request.

    `asking`: the command is not done, a request for it is filed; `json`: and shown to a program.  `family`:
    the group of the command.
    """

    key: str | None = None
    password: str | None = None
    request: int | None = None
    asking: bool = False
    json: bool = False
    family: str = "keys"

    def signing_key(self) -> SigningKey:
        """The private key.  Raises NotAllowed where none was named."""
        if self.key is None:
            raise NotAllowed("this is for somebody on the roll: say who you are (`keys --as KEY`)")
        return person_key(self.key, self.password)


def person_key(name: str, password: str | None) -> SigningKey:
    """The private key of a person, from a file or an HSM."""
    from meterseal.crypto import SigningKey

    if in_hsm(name):
        from meterseal.credentials.hsm import private_key

        found = private_key(name, SigningKey)
        assert isinstance(found, SigningKey)  # noqa: S101 - what was asked for
        return found
    from meterseal.crypto.keyfiles import read_key

    pem = read_private(Path(name), "private key", LARGEST_KEY)
    return read_key(pem, SigningKey, pki.password(password, "--as-password"))


_who: Final[ContextVar[Who]] = ContextVar("who")


def acting(one: Who) -> None:
    """Who acts in the command that follows."""
    _who.set(one)


def who() -> Who:
    """Who acts."""
    return _who.get()


def act(store: Store, deed: str, about: Mapping[str, Any] | None = None, why: str = "") -> None:
    """Before something is changed: who does it, with the right to; or a request that is filed and ends here.

    `about`: what exactly is done, as a second person reads it.  In a store without a roll nothing is asked.
    """
    one, told = who(), dict(about or {})
    if not store.core.people:
        if one.asking or one.request is not None:
            raise Misuse("nobody is on the roll of this store: nothing has to be asked for")
        return
    if not one.asking:
        store.people.sign_on(one.signing_key(), deed, told, one.request)
        return
    number = store.people.ask(one.signing_key(), deed, told, why)
    if one.json:
        output.emit_json({"request": number, "deed": deed, "about": told})
    else:
        output.emit(f"request {number}: another person approves it (`keys approve {number}`); then")
        output.emit(f"`{one.family} --request {number}` with the same command does it")
    raise typer.Exit


_Command = TypeVar("_Command", bound=Callable[..., Any])


def takes_two(command: _Command) -> _Command:
    """Mark a command that may take a second person: it can be asked for, and the others are not begun."""
    command.takes_two = True  # type: ignore[attr-defined]
    return command


def ask_for(ctx: typer.Context, command: list[str]) -> None:
    """Run another command of the group that `ctx` is in as far as `act`, which files a request and ends."""
    one = who()
    one.asking, one.json = True, "--json" in command
    group = cast(Any, ctx.parent)  # of which the asking one is a command
    first, found, words = group.command.resolve_command(group, list(command))
    name, last, behind = first, found, words
    while behind and (below := getattr(last, "commands", {}).get(behind[0])):
        name, last, behind = f"{name} {behind[0]}", below, behind[1:]
    if not hasattr(last, "commands") and not hasattr(last.callback, "takes_two"):
        with answering():
            raise Misuse(f"`{one.family} {name}` takes no second person")
    with found.make_context(first, words, parent=group) as inner:
        found.invoke(inner)


def place(text: str | None) -> Path | str | None:
    """Where a storage KEK is: a file, or the name of a key in an HSM."""
    return None if text is None else text if in_hsm(text) else Path(text)


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
    if not _with_server():
        raise ConfigurationError("a store needs the extra `server`: pip install 'meterseal[server]'")


def _with_server() -> bool:
    # Found and not imported: alembic is for new stores and upgrades, and takes its time.
    return find_spec("sqlalchemy") is not None and find_spec("alembic") is not None


def again(reasons: list[str]) -> typer.Exit:
    """Say what is left to do; the exit to raise."""
    for reason in reasons:
        note(reason)
    return typer.Exit(AGAIN)
