"""A CA when things break: system calls that fail, processes that are killed, two of them at once (H16)."""

from __future__ import annotations

import errno
import os
import sys
from itertools import count
from pathlib import Path

import pytest

from meterseal.authority import CertificateAuthority, look
from meterseal.crypto.certificates import Purpose, verify_chain
from meterseal.crypto.revocation import Reason
from meterseal.errors import ConfigurationError, StateUnavailable
from tests.authority.house import START, numbered, opened, root, title
from tests.state.conftest import ERRORS, failing, live_and_die, moments


@pytest.mark.parametrize("half", [False, True], ids=["nothing", "half"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_every_system_call_may_fail_while_issuing(error: int, half: bool, tmp_path: Path) -> None:
    """A typed error; what was handed out is in the index, and the next ones go on."""
    folder, out = tmp_path / "root", set[bytes]()
    with root(folder):
        pass
    for at in count():
        before = len(look(folder))
        with failing(at, error, half=half) as made:
            try:
                with opened(folder) as ca:
                    out.add(ca.issue(numbered(2 * at), title(2 * at), Purpose.SIGNATURE).serial)
            except (StateUnavailable, ConfigurationError) as refused:
                assert os.strerror(error) in str(refused)
        register = look(folder)
        assert out <= {one.serial for one in register}
        assert len(register) - before in (0, 1)
        with opened(folder) as ca:
            out.add(ca.issue(numbered(2 * at + 1), title(2 * at + 1), Purpose.SIGNATURE).serial)
        if len(made) <= at:
            break
    assert at > 8


def test_every_system_call_may_fail_while_a_list_is_made(tmp_path: Path) -> None:
    folder, numbers = tmp_path / "root", list[int]()
    with root(folder) as ca:
        ca.revoke(ca.issue(numbered(1), title(1), Purpose.SIGNATURE).serial, Reason.SUPERSEDED)
    for at in count():
        with failing(at, errno.ENOSPC) as made:
            try:
                with opened(folder) as ca:
                    numbers.append(ca.revocation_list().number)
            except (StateUnavailable, ConfigurationError) as refused:
                assert os.strerror(errno.ENOSPC) in str(refused)
        with opened(folder) as ca:
            numbers.append(ca.revocation_list().number)
        if len(made) <= at:
            break
    assert numbers == sorted(set(numbers)) and at > 12


def is_there(folder: Path) -> bool:
    try:
        return look(folder).authority is not None
    except ConfigurationError:
        return False


def test_every_system_call_may_fail_while_one_is_founded(tmp_path: Path) -> None:
    for at in count():
        folder = tmp_path / str(at)
        with failing(at, errno.EROFS) as made:
            try:
                with root(folder):
                    pass
            except (StateUnavailable, ConfigurationError) as refused:
                assert os.strerror(errno.EROFS) in str(refused)
        if not is_there(folder):
            with root(folder):  # nothing is in the way
                pass
        with opened(folder) as ca:
            ca.issue(numbered(1), title(1), Purpose.SIGNATURE)
        assert len(look(folder)) == 1
        if len(made) <= at:
            break
    assert at > 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with root(folder) as ca:
        entry = ca.issue(numbered(1), title(1), Purpose.SIGNATURE)
    for path in (*folder.iterdir(), folder):
        path.chmod(path.stat().st_mode & 0o555)
    try:
        assert list(look(folder)) == [entry]
        with pytest.raises(StateUnavailable):
            opened(folder)
    finally:
        folder.chmod(0o700)


def test_a_folder_on_a_disk_that_is_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    with root(folder) as ca:
        entry = ca.issue(numbered(1), title(1), Purpose.SIGNATURE)
    with failing(0, errno.EROFS, once=False), pytest.raises(StateUnavailable, match="Read-only"):
        opened(folder)
    assert list(look(folder)) == [entry]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_kill_9_while_issuing(tmp_path: Path) -> None:
    """What left the process is in the index, each serial number once, and the chain of the last one holds."""
    folder, sent = tmp_path / "root", tmp_path / "sent"
    with root(folder) as ca:
        anchor = ca.certificate
        first = ca.issue(numbered(0), title(0), Purpose.SIGNATURE)

    def life(descriptor: int) -> None:
        serial = first.serial
        while True:
            with opened(folder) as ca:
                serial = list(ca.register)[-1].serial
                entry = ca.renew(serial, None, same_key=True)
                os.write(descriptor, entry.serial.hex().encode() + b"\n")

    def enough() -> bool:
        return sent.read_bytes().count(b"\n") > 10

    for number, moment in enumerate(moments(32, enough, most=0.06)):
        live_and_die(life, sent, moment, number=1 + number % 2)
    told = [bytes.fromhex(line.decode()) for line in sent.read_bytes().split()]
    register = look(folder)
    assert len(set(told)) == len(told)
    assert set(told) <= {one.serial for one in register}
    assert len(register) <= 1 + len(told) + 2 * (number + 1)  # a life leaves one that nobody was told of
    *_, last = register
    assert verify_chain(last.certificate, [], [anchor], START)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_two_processes_at_once(tmp_path: Path) -> None:
    """They take turns: all certificates of both are there."""
    folder = tmp_path / "root"
    with root(folder):
        pass
    children = []
    for party in range(2):
        child = os.fork()
        if not child:
            code = 1
            try:
                for number in range(10):
                    with opened(folder) as ca:
                        at = 100 * party + number
                        ca.issue(numbered(at), title(at), Purpose.SIGNATURE)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    titles = {one.title for one in look(folder)}
    assert titles == {title(100 * party + number) for party in range(2) for number in range(10)}


def test_a_sub_that_was_not_finished(tmp_path: Path) -> None:
    """The authority above knows it, its own folder does not: it is revoked there and made anew."""
    with root(tmp_path / "root") as top:
        with failing(13, errno.ENOSPC), pytest.raises(StateUnavailable):
            CertificateAuthority.sub(tmp_path / "sub", "Sub", top)
        for entry in list(top.register):
            top.revoke(entry.serial, Reason.CESSATION_OF_OPERATION)
        with CertificateAuthority.sub(tmp_path / "sub", "Sub", top) as sub:
            assert look(tmp_path / "sub").authority == sub.certificate
