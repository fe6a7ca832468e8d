"""Files: whole or not at all, never over a key, and passwords that no command line shows."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path

import pytest

from meterseal.credentials import password_option
from meterseal.credentials.files import is_there, read_public, write_private, write_public
from meterseal.errors import ConfigurationError, StateUnavailable


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"first", "key", new=True)
    with pytest.raises(ConfigurationError, match="is there already, and is not written over"):
        write_private(tmp_path / "key", b"second", "key", new=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="is there already"):
        write_private(tmp_path / "link", b"second", "key", new=True)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "link"]
    write_private(tmp_path / "key", b"second", "key")
    assert (tmp_path / "key").read_bytes() == b"second"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
def test_a_new_file_that_cannot_be_made_is_not_there(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StateUnavailable, match="No space left"):
            write_private(tmp_path / "key", b"octets", "key", new=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o644), (0o022, 0o644), (0o077, 0o600), (0o777, 0o600)])
def test_H16_public_files_obey_the_umask_and_stay_ours(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_public(tmp_path / "ca.pem", b"octets", "certificate")
    finally:
        os.umask(before)
    assert (tmp_path / "ca.pem").stat().st_mode & 0o777 == mode


def test_public_files_are_read_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ca.pem").write_bytes(b"octets")
    (tmp_path / "ca.pem").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert read_public(tmp_path / "ca.pem", "certificate", 6) == b"octets"
    assert caplog.text == ""
    with pytest.raises(ConfigurationError, match="6 octets, 5 at most"):
        read_public(tmp_path / "ca.pem", "certificate", 5)
    with pytest.raises(ConfigurationError, match="no regular file"):
        read_public(tmp_path, "certificate", 6)


def test_passwords_come_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setenv("PASSWORD", "caf\u00e9")
    assert password_option("@password", tmp_path) == b"correct horse"
    assert password_option("env:PASSWORD") == "caf\u00e9".encode()
    for text in ("correct horse", "text:correct horse", "00112233", ""):
        with pytest.raises(ConfigurationError, match="@FILE or env:NAME") as refused:
            password_option(text)
        assert "horse" not in str(refused.value)
    monkeypatch.setenv("PASSWORD", " ")
    with pytest.raises(ConfigurationError, match="1 to 1023 octets, not 0"):
        password_option("env:PASSWORD")
    monkeypatch.setenv("PASSWORD", "x" * 1024)
    with pytest.raises(ConfigurationError, match="not 1024"):
        password_option("env:PASSWORD")


def test_whether_a_file_is_there_is_said_or_told_to_be_unknown(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert is_there(file, "file") and is_there(tmp_path, "folder")
    assert not is_there(tmp_path / "none", "file") and not is_there(file / "below", "file")
    with pytest.raises(ConfigurationError, match="File name too long"):
        is_there(tmp_path / ("a" * 300), "store")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names are of POSIX")
@pytest.mark.parametrize("by_link", [False, True])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, by_link: bool) -> None:
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    if by_link:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    for write in (write_private, write_public):
        with pytest.raises(ConfigurationError, match="is a device or pipe"):
            write(path, b"octets", "credentials")
    assert pipe.is_fifo() and path.is_symlink() is by_link
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted({"pipe", path.name})
