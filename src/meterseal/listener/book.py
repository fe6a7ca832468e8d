"""Whose pushes can be opened: credentials of meters by system title, at hand or from a folder of files."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from meterseal.credentials import Credentials, RoleCredentials
from meterseal.crypto import AgreementPoint, GcmKey, VerifyingKey, WrappingKey, suite
from meterseal.errors import ConfigurationError, MetersealError
from meterseal.framing.hdlc import on_device
from meterseal.keys.counters import ReceiveCounter, SendCounter, key_id
from meterseal.net.url import Url, on_hdlc, peer_of
from meterseal.security import Context, KeyInUse, SecuritySetup
from meterseal.security.context import Counted
from meterseal.security.directory import Directory
from meterseal.security.steps import Steps
from meterseal.state import CounterStore, FileCounters

MOST: Final = 200_000
"""Files of a folder that are looked at."""

LOOK_EVERY: Final = 5.0
"""Seconds between two looks for new files, for each thousand of them; an unknown title makes it look.

The files of a title that is known are looked at each time it is asked for.
"""

Signature: TypeAlias = tuple[int, int, int]
"""Number of a file, its time in nanoseconds and its length: another one is another content."""

_log = logging.getLogger("meterseal.listener")


@dataclass(frozen=True, slots=True)
class Door:
    """One key that a meter may push under: whose it is, and the setup that opens it.

    `counters` and `counter_start` are those of the role's client, for what is sent back; `options` are the
    peer options of the role; `keys` are its credentials where they come from a file.
    """

    meter: str
    role: str
    client: int
    setup: SecuritySetup
    counters: CounterStore | None = None
    counter_start: int | None = None
    options: frozenset[str] = frozenset()
    keys: RoleCredentials | None = None

    def check_lent(self) -> None:
        """Raises Expired for keys that were lent until earlier, however long they have been in here."""
        if self.keys is not None:
            self.keys.check_lent(self.role, datetime.now(UTC))

    def context(self, minimum: int, window: int) -> Context:
        """What a push of the meter is held against; what is sealed for others is handed on."""
        return Context(
            self.setup, self.setup.peer_title, minimum=minimum, general=True, window=window,
            options=self.options, carrying=True,
        )  # fmt: skip

    def prepare(self) -> None:
        """Have the role's own private keys at hand.  Raises ConfigurationError for a file that is no good."""
        if isinstance(self.setup.directory, _Later):
            self.setup.directory.load()

    def rank(self, client: Any, recipient: bytes) -> tuple[bool, bool]:
        """The lower, the likelier this door is the one: by whom the push is for, then by its client SAP."""
        return recipient not in (b"", self.setup.own_title), self.client != client

    @property
    def key(self) -> KeyInUse:
        """The key with its counter."""
        return self.setup.key()


class Called(NamedTuple):
    """A meter that is asked over HDLC for what waits for a client.

    Both SAPs, the physical address (None: its address is one octet long), octets of its address (0: as short
    as it gets).
    """

    client: int
    server: int
    lower: int | None
    size: int

    @property
    def number(self) -> int:
        """The server's number on the line."""
        return self.server if self.lower is None else on_device(self.server, self.lower)


class Doors:
    """Doors by system title, out of credentials that are put here; floors are those of `store`.

    Keys that come again keep their counters.
    """

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._doors: dict[bytes, dict[Path, list[Door]]] = {}
        self._counters: dict[str, ReceiveCounter] = {}

    def __len__(self) -> int:
        return len(self._doors)

    def find(self, title: bytes, now: float) -> list[Door]:
        """The doors of a meter, empty for an unknown one."""
        del now
        return self._of(title)

    def callable_at(self, where: Url, now: float) -> Iterable[Called]:
        """The meters that can be asked on a line with HDLC: of these, none."""
        del where, now
        return ()

    def put(self, path: Path, credentials: Credentials, sending: CounterStore | None) -> None:
        """Take in what somebody holds of a meter, which goes by the stem of `path`.

        `sending` has the counters of its roles' clients, for what is sent back.
        """
        meter = credentials.meter
        if meter.system_title is None:
            _log.warning("%s names no system title: its pushes cannot be told from others", path.name)
            return
        doors = []
        for name, role in credentials.roles.items():
            guek = role.octets("guek")
            if guek is None:
                continue
            role.check_lent(name, datetime.now(UTC))
            handle = GcmKey(guek, role.octets("gak") or b"")
            counter = self._counter(key_id(handle.kcv, meter.system_title, "rx"))
            setup = SecuritySetup(suite(meter.suite), role.client_system_title or b"", meter.system_title)
            setup.unicast = KeyInUse(handle, SendCounter(0, 0), counter[1], counter[0])
            self._in_layers(setup, credentials, role)
            doors.append(
                Door(path.stem, name, role.client, setup, sending, role.counter_start, role.peer, role)
            )
        if doors:
            self._doors.setdefault(meter.system_title, {})[path] = doors

    def _of(self, title: bytes) -> list[Door]:
        files = self._doors.get(title)
        return [] if files is None else [door for doors in files.values() for door in doors]

    def _in_layers(self, setup: SecuritySetup, credentials: Credentials, role: RoleCredentials) -> None:
        """What it takes for pushes in layers: the KEK, counters of fresh keys, certificates when needed."""
        kek = role.octets("kek")
        setup.master = None if kek is None else WrappingKey(kek)
        titles = setup.peer_title or b"", setup.own_title
        name, counter = self._counter(f"fresh-{'-'.join(title.hex().upper() for title in titles)}-rx")
        setup.fresh = Counted(SendCounter(0, 0), counter, name)
        if setup.suite.curve is not None:
            setup.directory = _Later(setup, credentials, role)

    def _counter(self, name: str) -> tuple[str, ReceiveCounter]:
        """The one counter of a key and title, however many roles and files have that key."""
        if name not in self._counters:
            self._counters[name] = ReceiveCounter(self._store.received(name) or 0)
        return name, self._counters[name]


class Book(Doors):
    """Doors out of files.  `path` is a credentials file, or a folder of them (`*.toml`).

    A meter goes by the name of its file; several files may be about the same meter.  Of a folder a file
    that cannot be used is a warning, and the others go on.  New, changed and removed files are found without
    a restart: what a title's files hold counts from its next push on.
    """

    def __init__(self, path: Path, store: CounterStore, state: Path | None = None) -> None:
        """`state` is the folder of the clients' counters, by default that beside each file.

        Raises ConfigurationError for a file that cannot be used, and when there is nothing to open by.
        """
        super().__init__(store)
        self.path, self._state = path, state
        self._folder = path.is_dir()
        self._files: dict[Path, Signature] = {}
        self._looked = 0.0
        self._called: dict[Path, tuple[str, list[Called]]] = {}
        if self._folder:
            self._look()
        else:
            self._take_in(path, _signature(path))
        if not self._doors:
            raise ConfigurationError(f"{path}: no credentials with a system title and a guek in there")

    def find(self, title: bytes, now: float) -> list[Door]:
        """The doors of a meter by its files as they are now; for an unknown one, new files are looked for."""
        for path in list(self._doors.get(title, ())):
            self._look_at(path)
        return self._of(title) or (self._of(title) if self._looks(now) else [])

    def callable_at(self, where: Url, now: float) -> Iterable[Called]:
        """The meters that can be asked on a line: of a folder those whose files name it, or no line."""
        self._looks(now)
        here = ("", where.peer)
        return dict.fromkeys(
            one for line, found in self._called.values() if line in here or not self._folder for one in found
        )

    # --- files ----------------------------------------------------------------------------------

    def _looks(self, now: float) -> bool:
        """Look for changed files, if it is time."""
        pause = LOOK_EVERY * max(1.0, len(self._files) / 1000)
        due = now - self._looked >= pause
        if due:
            self._looked = now
            self._look()
        return due

    def _look(self) -> None:
        """Take in new and changed files, and let go of those that are gone."""
        there = self._listed()
        for path in self._files.keys() - set(there):
            self._remove(path)
        for path in there:
            self._look_at(path)

    def _look_at(self, path: Path) -> None:
        """Take in a file if it is new or changed, let go of it if it is gone."""
        known, signature = self._files.get(path), _signature(path)
        if known == signature:
            return
        if known is not None:
            self._remove(path)
        if signature is not None:
            try:
                self._take_in(path, signature)
            except MetersealError as error:
                _log.warning("%s is left out: %s", path.name, error)

    def _listed(self) -> list[Path]:
        if not self._folder:
            return [self.path]
        try:
            return sorted(self.path.glob("*.toml"))[:MOST]
        except OSError as error:
            _log.warning("%s: %s", self.path, error.strerror)
            return list(self._files)

    def _remove(self, path: Path) -> None:
        self._files.pop(path, None)
        self._called.pop(path, None)
        for files in self._doors.values():
            if path in files:
                files[path] = []  # with the title's next push it is looked at again: it may be half written

    def _take_in(self, path: Path, signature: Signature | None) -> None:
        if signature is not None:
            self._files[path] = signature
        credentials = Credentials.load(path)
        state = self._state or credentials.state_folder
        self.put(path, credentials, None if state is None else FileCounters(state))
        url = credentials.meter.url
        if url is None or on_hdlc(url) or not self._folder:
            self._called[path] = ("" if url is None else peer_of(url), _called(credentials))


def _signature(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _called(credentials: Credentials) -> list[Called]:
    """Whom to ask for pushes to the clients that hold a key."""
    meter = credentials.meter
    server, lower = meter.server_address or (meter.logical_device, None)
    size = meter.address_size or (0 if meter.server_address else 1)
    clients = [role.client for role in credentials.roles.values() if role.guek is not None]
    return [Called(client, server, None if size == 1 else lower, size) for client in clients]


class _Later:
    """The certificates and private keys of a role, read when a push first needs one: there are many meters.

    A file that cannot be used makes the pushes that need it fail, and no others.
    """

    def __init__(self, setup: SecuritySetup, credentials: Credentials, role: RoleCredentials) -> None:
        self._of = setup, credentials, role

    def load(self) -> Directory:
        """Read them; what was read takes the place of this."""
        setup, credentials, role = self._of
        import_module("meterseal.credentials.identity").equip(setup, credentials, role)
        return setup.directory

    def verifying_key(self, title: bytes) -> VerifyingKey:
        """As `Directory`."""
        return self.load().verifying_key(title)

    def introduced(self, title: bytes, certificate: bytes | None) -> VerifyingKey | Steps[VerifyingKey]:
        """As `Directory`."""
        return self.load().introduced(title, certificate)

    def agreement_point(self, title: bytes) -> AgreementPoint:
        """As `Directory`."""
        return self.load().agreement_point(title)
