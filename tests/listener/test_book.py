"""Credentials by title: files, folders, changes, and files that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meterseal.errors import ConfigurationError, Expired
from meterseal.listener import Book
from meterseal.listener.book import LOOK_EVERY
from meterseal.state import MemoryCounters
from tests.listener.pushes import OTHER_EK, TITLE, write

OTHER = b"MSL\x00\x00\x00\x00\x02"


def test_a_folder_by_title(tmp_path: Path) -> None:
    write(tmp_path / "one.toml")
    write(tmp_path / "two.toml", OTHER)
    book = Book(tmp_path, MemoryCounters())
    assert len(book) == 2
    assert [door.meter for door in book.find(TITLE, 0)] == ["one"]
    assert [door.meter for door in book.find(OTHER, 0)] == ["two"]
    assert book.find(b"nobody..", 0) == []


def test_a_bad_file_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "one.toml")
    (tmp_path / "bad.toml").write_text("[meter]\nsystem_title = 5\n")
    (tmp_path / "nameless.toml").write_text("[meter]\nsuite = 0\n")
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    book = Book(tmp_path, MemoryCounters())
    assert len(book) == 1
    assert "bad.toml is left out" in caplog.text and "nameless.toml names no system title" in caplog.text


def test_keys_that_were_lent_are_left_out_after_their_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "one.toml")
    write(tmp_path / "lent.toml", OTHER)
    text = (tmp_path / "lent.toml").read_text()
    (tmp_path / "lent.toml").write_text(
        text.replace("guek =", 'not_after = "2020-01-01T00:00:00Z"\nguek =', 1)
    )
    book = Book(tmp_path, MemoryCounters())
    assert len(book) == 1 and "lent.toml is left out" in caplog.text and "lent until" in caplog.text
    with pytest.raises(Expired):
        Book(tmp_path / "lent.toml", MemoryCounters())


def test_nothing_to_open_by_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(ConfigurationError):
            Book(path, MemoryCounters())


def test_new_changed_and_removed_files_are_found(tmp_path: Path) -> None:
    write(tmp_path / "one.toml")
    book = Book(tmp_path, MemoryCounters())
    write(tmp_path / "two.toml", OTHER)
    assert book.find(OTHER, 1.0) == []  # looked a moment ago
    assert len(book.find(OTHER, LOOK_EVERY)) == 1
    before = book.find(OTHER, 0)[0].key.handle.kcv
    write(tmp_path / "two.toml", OTHER, ek=OTHER_EK)
    os.utime(tmp_path / "two.toml", ns=(1, 1))
    (tmp_path / "one.toml").unlink()
    assert book.find(b"nobody..", 2 * LOOK_EVERY) == []
    assert book.find(OTHER, 0)[0].key.handle.kcv != before and book.find(TITLE, 0) == []


def test_what_becomes_of_a_known_meters_files_counts_from_its_next_push_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = write(tmp_path / "one.toml")
    for book in (Book(tmp_path, MemoryCounters()), Book(one, MemoryCounters())):
        (before,) = book.find(TITLE, 0)
        assert book.find(TITLE, 0) == [before]
        write(tmp_path / "new.toml", ek=OTHER_EK).replace(one)  # as long as before, at once: another file
        os.utime(one, ns=(1, 1))
        (after,) = book.find(TITLE, 0)
        assert after.key.handle.kcv != before.key.handle.kcv
        one.write_text("[meter]\nsystem_title = 5\n")
        assert book.find(TITLE, 0) == [] and "one.toml is left out" in caplog.text
        write(one)
        (again,) = book.find(TITLE, 0)
        assert again.key.rx is before.key.rx  # the counters go on
        one.unlink()
        assert book.find(TITLE, 0) == []
        write(one)
        assert len(book.find(TITLE, 0)) == 1


def test_a_key_in_several_files_has_one_counter(tmp_path: Path) -> None:
    write(tmp_path / "one.toml", role="a")
    write(tmp_path / "two.toml", role="b")
    first, second = Book(tmp_path, MemoryCounters()).find(TITLE, 0)
    assert first.key.rx is second.key.rx and first.key.key_id == second.key.key_id
