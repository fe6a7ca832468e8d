"""What the state tests share: names of keys, lives that end by kill -9, system calls that fail."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

KEY = "0123456789-4D534C0000000001-tx"
PEER = "0123456789-4D534C0000000002-rx"

CALLS = ("open", "pwrite", "fsync", "ftruncate", "replace", "fchmod", "mkdir", "chmod", "pread")
"""The system calls by which state reaches the disk."""


class Power(BaseException):
    """The power went, at this very call."""


@contextmanager
def failing(at: int, error: int | None, *, half: bool = False, once: bool = False) -> Iterator[list[str]]:
    """Let the `at`-th of CALLS fail with `error` (None: the power goes), after writing half of it if `half`.

    With an error every later write fails the same way, as on a full or read-only disk, unless
    `once`; yields the names of the calls made.
    """
    made: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            made.append(name)
            later = error is not None and not once and len(made) > at and name != "pread"
            if len(made) - 1 == at or later:
                if half and name == "pwrite":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                if error is None:
                    raise Power
                raise OSError(error, os.strerror(error))
            return real(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield made


ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO, "read-only": errno.EROFS, "no-inode": errno.EDQUOT}


class Disk:
    """A folder on a disk that forgets: after a power cut only what was synced is sure to be there.

    File contents count from the last fsync of the file, names from the last fsync of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, int] = {}
        self._exists = False
        self._kept: list[int] = []  # open descriptors, so that no file number is used again

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what is synced."""
        real_sync, real_open = os.fsync, os.open

        def fsync(descriptor: int) -> None:
            real_sync(descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISDIR(status.st_mode):
                self._contents[status.st_ino] = os.pread(descriptor, status.st_size, 0)
            elif self.folder.exists() and os.path.samestat(status, self.folder.stat()):
                self._names = {path.name: path.stat().st_ino for path in self.folder.iterdir()}
            elif os.path.samestat(status, self.folder.parent.stat()):
                self._exists = self.folder.exists()

        def open_kept(path: Path, flags: int, mode: int = 0o777) -> int:
            descriptor = real_open(path, flags, mode)
            # Another description of the same file: a duplicate would share the lock on it.
            self._kept.append(real_open(f"/proc/self/fd/{descriptor}", os.O_PATH))
            return descriptor

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr(os, "open", open_kept)
            yield

    def power_cut(self, contents_kept: bool = False) -> None:
        """Put the folder into the state in which it comes back; `contents_kept`: only names were lost."""
        if contents_kept:
            for descriptor in self._kept:
                status = os.stat(f"/proc/self/fd/{descriptor}")
                if stat.S_ISREG(status.st_mode):
                    self._contents[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._exists:
            self.folder.mkdir(0o700)
            for name, number in self._names.items():
                (self.folder / name).write_bytes(self._contents.get(number, b""))
        for descriptor in self._kept:
            os.close(descriptor)


def live_and_die(life: Callable[[int], None], sent: Path, seconds: float, number: int = 1) -> None:
    """Run `life(descriptor of sent)` in `number` forks and kill them `seconds` after the last began.

    Each says that it runs before its life begins: what a fork takes on a busy machine is no part of the life.
    """
    begun, begin = os.pipe()
    descriptor = os.open(sent, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    children = []
    for _ in range(number):
        child = os.fork()
        if not child:
            try:
                os.write(begin, b".")
                life(descriptor)
            finally:
                os._exit(3)  # a life does not end by itself
        children.append(child)
    for _ in children:
        os.read(begun, 1)
    for one in (begun, begin, descriptor):
        os.close(one)
    time.sleep(seconds)
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def moments(least: int, enough: Callable[[], bool], seed: int = 7, most: float = 0.03) -> Iterator[float]:
    """Random times to live, from nothing to `most` seconds: so many at least, and then until there is enough.

    What a machine with much else to do leaves a process of 30 ms may be nothing at all, so each further life
    may last longer than the one before.
    """
    chance = random.Random(seed)
    for _ in range(least):
        yield chance.uniform(0, most)
    while not enough():
        most *= 1.2
        assert most < 60, "processes come to nothing here"
        yield chance.uniform(0, most)
