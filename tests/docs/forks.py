"""`meterseal` for pages: each command a process of its own, forked off one that has loaded the command line.

A reader's shell finds a `meterseal` in its PATH that hands its words, folder, environment and streams to the
one that forks, passes signals on, and ends as the command ends.  What is left out is the start of Python and
loading, which costs more than most commands: tests/cli and the README start the real one.
"""

from __future__ import annotations

import atexit
import gc
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NoReturn

import meterseal
from meterseal.cli import main

POSSIBLE = hasattr(os, "pidfd_open")

_STUB = """#!{python} -IS
import _socket, os, signal, sys
line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
line.connect({path!r})
told = [os.fsencode(os.getcwd()), b"%d" % len(sys.argv), *map(os.fsencode, sys.argv)]
told += [name + b"=" + value for name, value in os.environb.items()]
told = b"\\0".join(told)
rights = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
line.sendmsg([len(told).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
line.sendall(told)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: line.send(bytes((number,))))
answer = line.recv(4)
code = int.from_bytes(answer, "big", signed=True) if answer else 70  # who forks is gone
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def commands(environment: Mapping[str, str]) -> Iterator[Path]:
    """The folder in which that `meterseal` is, until the end of the block.  Only where it is `POSSIBLE`."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as door:
        door.bind(path := f"{name}/door")  # in a folder of its own: its length has a limit
        door.listen(16)
        stub = Path(name, "bin", "meterseal")
        stub.parent.mkdir()
        stub.write_text(_STUB.format(python=sys.executable, path=path))
        stub.chmod(0o755)
        with subprocess.Popen(
            [sys.executable, __file__, str(door.fileno())],
            env=environment, stdin=subprocess.DEVNULL, pass_fds=[door.fileno()],
        ) as process:  # fmt: skip
            door.close()  # when the process is gone nobody is to wait for it
            try:
                yield stub.parent
            finally:
                process.terminate()


def serve(door: socket.socket) -> dict[str, Any]:
    """Fork for everybody who comes; returns in the fork alone, with what it is to be."""
    waiting = selectors.DefaultSelector()
    waiting.register(door, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.data is None:
                line, _ = door.accept()
                asked = _asked(line)
                pid = os.fork()
                if not pid:
                    waiting.close()
                    door.close()
                    line.close()
                    return asked
                for number in asked["streams"]:
                    os.close(number)
                end = os.pidfd_open(pid)
                waiting.register(end, selectors.EVENT_READ, partial(_ended, waiting, pid, end, line))
                waiting.register(line, selectors.EVENT_READ, partial(_told, waiting, pid, line))
            else:
                key.data()


def _asked(line: socket.socket) -> dict[str, Any]:
    head, streams, _, _ = socket.recv_fds(line, 4, 3)
    left, told = int.from_bytes(head, "big"), b""
    while len(told) < left:
        told += line.recv(left - len(told))
    folder, count, *words = told.split(b"\0")
    argv, environment = words[: int(count)], words[int(count) :]
    return {
        "streams": streams, "folder": folder, "argv": [*map(os.fsdecode, argv)], "environment": environment
    }  # fmt: skip


def _told(waiting: selectors.BaseSelector, pid: int, line: socket.socket) -> None:
    """A signal came where the command was started; or whoever started it is gone."""
    number = line.recv(1)
    os.kill(pid, number[0] if number else signal.SIGKILL)
    if not number:
        waiting.unregister(line)


def _ended(waiting: selectors.BaseSelector, pid: int, end: int, line: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    waiting.unregister(end)
    os.close(end)
    if line in waiting.get_map():
        waiting.unregister(line)
        line.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    line.close()


def become(streams: list[int], folder: bytes, argv: list[str], environment: list[bytes]) -> NoReturn:
    """Run the command line as the process that this is now."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environb.clear()
    os.environb.update({name: value for name, _, value in (one.partition(b"=") for one in environment)})
    sys.argv[:] = argv
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    random.seed()
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    else:
        code = 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # taking apart what others have loaded takes longer than most commands


if __name__ == "__main__":
    for found in walk_packages(meterseal.__path__, "meterseal."):
        if "migrations" not in found.name:  # alembic loads these, and nobody else can
            import_module(found.name)
    import_module("alembic.command")
    gc.freeze()
    become(**serve(socket.socket(fileno=int(sys.argv[1]))))
