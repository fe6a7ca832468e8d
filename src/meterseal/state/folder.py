"""The folder that state lives in: private to its owner, synced, and locked while somebody writes."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from meterseal.errors import ConfigurationError, StateLocked, StateUnavailable, Unsupported

if sys.platform != "win32":
    import fcntl

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_OTHERS_WRITE, _OTHERS_ANY = 0o022, 0o077
_PAUSE = 0.005


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn what the file system refuses into StateUnavailable that says what was being done."""
    try:
        yield
    except OSError as error:
        raise StateUnavailable(f"{what}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make sure that `folder` is there and that nobody else can write in it (mode 0700 when made here).

    The folder above it must be there.  Raises StateUnavailable, and ConfigurationError for a folder
    with something in it that others may write in.
    """
    if sys.platform == "win32":
        raise Unsupported("state in files needs a POSIX system; hand over a counter store of your own")
    with refusing(f"state folder {folder}"):
        try:
            folder.mkdir(_FOLDER_MODE)
        except FileExistsError:
            mode = folder.stat().st_mode
            if mode & _OTHERS_ANY and not any(folder.iterdir()):
                folder.chmod(_FOLDER_MODE)
            elif mode & _OTHERS_WRITE:
                raise ConfigurationError(
                    f"state folder {folder} can be written by others: chmod 700 {folder}"
                ) from None
            return
        folder.chmod(_FOLDER_MODE)  # the umask may have taken our own bits away


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read and write, whatever the umask; follows no link."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, _FILE_MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o777 != _FILE_MODE:
            os.fchmod(descriptor, _FILE_MODE)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def make_private(path: Path) -> None:
    """Make a file that only its owner may read and write, or see that the one there is such a file.

    What is there is not opened: a database holds its locks by process, and the process loses them with any
    descriptor of the file that it closes.  Raises OSError.
    """
    try:
        new_private(path)
    except FileExistsError:
        keep_private(path)


def new_private(path: Path) -> None:
    """Make a file that only its owner may read and write, where there is none.  Raises OSError."""
    os.close(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))


def keep_private(path: Path) -> None:
    """As `make_private`, of a file that is there."""
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a link or no file")
    if stat.S_IMODE(mode) != _FILE_MODE:
        path.chmod(_FILE_MODE)
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` as durable as the files behind them."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> None:
    """Make what was written durable, through the drive's own cache where the system needs to be told."""
    os.fsync(descriptor)
    if sys.platform == "darwin":
        with suppress(OSError):  # not every file system knows it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def write_at(descriptor: int, octets: bytes, position: int) -> None:
    """Write all of `octets` at `position`."""
    view = memoryview(octets)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written


def read_all(descriptor: int, position: int = 0) -> bytes:
    """Everything in an open file from `position` on."""
    size, parts = os.fstat(descriptor).st_size, []
    while position < size:
        part = os.pread(descriptor, size - position, position)
        if not part:
            break
        parts.append(part)
        position += len(part)
    return b"".join(parts)


class FolderLock:
    """An exclusive lock on a folder: between processes, and between two users in one process.

    The lock file stays: taking it away would let two hold different files of the same name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / f"{name}.lock"
        self._descriptor = -1

    def acquire(self, patience: float = 0.0, *, sign: bool = False) -> None:
        """Take the lock, waiting at most `patience` seconds; `sign` leaves our process id for others to see.

        Raises StateLocked naming folder and process, StateUnavailable.
        """
        deadline = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= deadline:
                raise StateLocked(f"state folder {self._folder} is in use by {self._holder()}")
            time.sleep(_PAUSE)
        if sign:
            with suppress(OSError):  # only a hint for whoever finds it locked; a full disk must not matter
                os.ftruncate(self._descriptor, 0)
                write_at(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _try(self) -> bool:
        with refusing(f"lock {self._path}"):
            descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Somebody may have taken the file away between opening and locking it.
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    self._descriptor = descriptor
                    return True
            except (BlockingIOError, FileNotFoundError):
                pass
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)
            return False

    def _holder(self) -> str:
        with suppress(OSError, ValueError):
            return f"process {int(self._path.read_text(encoding='ascii'))}"
        return "another process"
