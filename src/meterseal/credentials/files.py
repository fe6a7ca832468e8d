"""Files that hold secrets: read whole within a bound, written so that nobody else sees them."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from meterseal.crypto import random_octets
from meterseal.errors import ConfigurationError, StateUnavailable

LARGEST: Final = 1 << 18
"""Octets of a credentials file; a file with a few roles has two thousand."""

LARGEST_KEY: Final = 4096
"""Octets of a file with one key in it."""

_HSM: Final = "pkcs11:"

_OTHERS: Final = 0o077
_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

_log = logging.getLogger("meterseal.credentials")


def in_hsm(name: str) -> bool:
    """True for what names a key in an HSM (RFC 7512), and no file."""
    return name.startswith(_HSM)


def companion(path: Path, ending: str) -> Path:
    """What belongs to a file and stands beside it, under its name: `FILE.state`, `FILE.files`."""
    return path.parent / f"{path.name}.{ending}"


def is_there(path: Path, what: str) -> bool:
    """True when there is something of that name.

    Raises ConfigurationError where the system does not say: a folder that may not be looked into, a name too
    long.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {error.strerror or error}") from None
    return True


def read_private(path: Path, what: str, largest: int) -> bytes:
    """The octets of a file; warns when others than its owner may read it.

    Raises ConfigurationError for a file that is missing, longer than `largest`, or no regular file: a pipe
    or a device would be read for ever.
    """
    return _read(path, what, largest, private=True)


def read_public(path: Path, what: str, largest: int) -> bytes:
    """As `read_private`, for what everybody may read."""
    return _read(path, what, largest, private=False)


def _read(path: Path, what: str, largest: int, private: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAITING)
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {error.strerror or error}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{what} {path} is no regular file")
        if status.st_size > largest:
            raise ConfigurationError(f"{what} {path} has {status.st_size} octets, {largest} at most")
        if private and os.name == "posix" and status.st_mode & _OTHERS:
            _log.warning("%s %s can be read by others: chmod 600 %s", what, path, path)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            octets = file.read(largest + 1)
    except OSError as error:
        raise ConfigurationError(f"{what} {path}: {error.strerror or error}") from None
    finally:
        os.close(descriptor)
    if len(octets) > largest:
        raise ConfigurationError(f"{what} {path} is longer than {largest} octets")
    return octets


def write_private(
    path: Path, octets: bytes, what: str = "credentials", *, new: bool = False, durable: bool = True
) -> None:
    """Put a file in place whole or not at all, mode 0600 from its first moment on.

    What was there under the name is replaced; where that is a link, the link is, and not what it leads to.
    With `new` nothing may be there: a key that is written over is gone.  Not `durable`: the disk gets it when
    it likes, and a crash before that may leave nothing of it.  Raises StateUnavailable, and
    ConfigurationError for what is there: with `new` anything, else what is no file.
    """
    _write(path, octets, what, 0o600, new=new, durable=durable)


def write_public(path: Path, octets: bytes, what: str) -> None:
    """As `write_private`, readable for whom the umask lets.  Raises StateUnavailable, ConfigurationError."""
    _write(path, octets, what, 0o644)


def _write(
    path: Path, octets: bytes, what: str, mode: int, *, new: bool = False, durable: bool = True
) -> None:
    _see_that_a_file_may_stand_at(path, what)
    beside = path.parent / f".{path.name[:200]}.{random_octets(6).hex()}.new"
    put = os.link if new else os.replace
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, mode)
        try:
            _fill(descriptor, octets, durable)
            put(beside, path)
        finally:
            os.close(descriptor)
            with suppress(OSError):  # a link leaves the first name, as does what fails
                os.unlink(beside)
        try:
            if durable:
                sync_folder(path.parent)
        except OSError:
            if new:
                with suppress(OSError):
                    os.unlink(path)
            raise
    except FileExistsError:
        raise ConfigurationError(f"{what} {path} is there already, and is not written over") from None
    except OSError as error:
        raise StateUnavailable(f"{what} {path}: {error.strerror or error}") from None


def _see_that_a_file_may_stand_at(path: Path, what: str) -> None:
    """Who may replace /dev/null would have a file there afterwards, for the whole machine."""
    with suppress(OSError):  # nothing is there, or what is wrong comes out when it is written
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ConfigurationError(f"{what} {path} is a device or pipe, and is not replaced by a file")


def _fill(descriptor: int, octets: bytes, durable: bool) -> None:
    if os.name == "posix":
        # The umask may have taken our own bits away.
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | 0o600)
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]
    if durable:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
