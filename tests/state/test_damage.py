"""State that somebody or something changed: found, named, and never taken for a fresh start (C08)."""

from __future__ import annotations

import shutil
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import StateDamaged
from meterseal.state import FileCounters, Journal
from meterseal.state.log import encode, parse
from tests.state.conftest import KEY, PEER

FLIPS = (0x01, 0x20, 0xFF)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A folder with some history: KEY stands at 31, PEER at 5."""
    folder = tmp_path / "used"
    store = FileCounters(folder)
    for _ in range(3):
        store.reserve(KEY, 10, start=1)
    store.note_received(PEER, 5)
    store.sync()
    return folder


def outcome(folder: Path) -> int | str:
    """The first value of a new process's block, or the text of the refusal."""
    try:
        return FileCounters(folder).reserve(KEY, 10, start=1)[0]
    except StateDamaged as damaged:
        return str(damaged)


def refused(result: int | str) -> bool:
    """True for a refusal that says where, why and how to mend it."""
    return (
        isinstance(result, str)
        and "counters.log" in result
        and "To mend it" in result
        and "counter_start" in result
    )


def test_C08_every_octet_of_the_log_changed(used: Path, tmp_path: Path) -> None:
    octets = (used / "counters.log").read_bytes()
    for position in range(len(octets)):
        for flip in FLIPS:
            folder = tmp_path / "copy"
            shutil.copytree(used, folder)
            changed = bytearray(octets)
            changed[position] ^= flip
            (folder / "counters.log").write_bytes(changed)
            assert refused(outcome(folder)), (position, flip)
            assert (folder / "counters.log").read_bytes() == changed  # nothing is mended behind one's back
            shutil.rmtree(folder)


def test_C08_every_octet_of_the_mark_changed(used: Path, tmp_path: Path) -> None:
    """One changed octet leaves the other slot: the counters go on; never do they go back."""
    octets = (used / "counters.mark").read_bytes()
    for position in range(len(octets)):
        folder = tmp_path / str(position)
        shutil.copytree(used, folder)
        changed = bytearray(octets)
        changed[position] ^= 0x01
        (folder / "counters.mark").write_bytes(changed)
        assert outcome(folder) == 31
    for both in (bytes(len(octets)), b"", octets[:-1], octets + b"\n", b"\xff" * len(octets)):
        (used / "counters.mark").write_bytes(both)
        assert refused(outcome(used))


def test_C08_truncated_at_each_length(used: Path, tmp_path: Path) -> None:
    octets = (used / "counters.log").read_bytes()
    for length in range(len(octets)):
        folder = tmp_path / str(length)
        shutil.copytree(used, folder)
        (folder / "counters.log").write_bytes(octets[:length])
        assert refused(outcome(folder)), length


@pytest.mark.parametrize("name", ["counters.log", "counters.mark"])
def test_C08_a_file_deleted(name: str, used: Path) -> None:
    (used / name).unlink()
    result = outcome(used)
    assert refused(result)
    assert "missing" in str(result)


def test_C08_the_lock_file_deleted_is_no_harm(used: Path) -> None:
    (used / "counters.lock").unlink()
    assert outcome(used) == 31


def test_C08_an_old_version_of_the_log(tmp_path: Path) -> None:
    folder, store = tmp_path / "state", FileCounters(tmp_path / "state")
    versions = []
    for _ in range(6):
        store.reserve(KEY, 10, start=1)
        versions.append((folder / "counters.log").read_bytes())
    for version in versions[:-1]:
        (folder / "counters.log").write_bytes(version)
        assert refused(outcome(folder))
    (folder / "counters.log").write_bytes(versions[-1])
    assert outcome(folder) == 61


def test_C08_an_old_version_from_before_a_compaction(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.commit({"n": 1}, {"n": 2})
        before = (tmp_path / "journal.log").read_bytes()
        journal.compact([{"n": 2}])
        after = (tmp_path / "journal.log").read_bytes()
    (tmp_path / "journal.log").write_bytes(before)
    with pytest.raises(StateDamaged, match="had been written"):
        Journal(tmp_path)
    for length in range(len(after)):
        (tmp_path / "journal.log").write_bytes(after[:length])
        with pytest.raises(StateDamaged):
            Journal(tmp_path)
    (tmp_path / "journal.log").write_bytes(after)
    with Journal(tmp_path) as journal:
        assert journal.records() == [{"n": 2}]


def test_C08_a_compacted_log_cut_short_that_no_mark_knows_of_yet(tmp_path: Path) -> None:
    """Killed between the new file and its mark, and then damaged."""
    with Journal(tmp_path) as journal:
        journal.commit({"n": 1}, {"n": 2})
        mark = (tmp_path / "journal.mark").read_bytes()
        journal.compact([{"n": 2}])
    octets = (tmp_path / "journal.log").read_bytes()
    for length in range(len(octets)):
        (tmp_path / "journal.log").write_bytes(octets[:length])
        (tmp_path / "journal.mark").write_bytes(mark)
        with pytest.raises(StateDamaged):
            Journal(tmp_path)


def test_the_mark_keeps_the_number_before(tmp_path: Path) -> None:
    """A torn write of one slot leaves the other."""
    for life in range(4):
        with Journal(tmp_path) as journal:
            for number in range(1 + 3 * life, 4 + 3 * life):
                journal.commit({"n": number})
                slots = (tmp_path / "journal.mark").read_bytes().split(b"\n")
                assert {int(slot[:16], 16) for slot in slots if slot} == {number, number - 1}


@pytest.mark.parametrize("tail", [b"0", b"00000000 6 {", b"\0" * 4096, b"\xff\n\n\n", b"\n", b"{}\n" * 99])
def test_a_torn_tail_is_cut_off(tail: bytes, used: Path) -> None:
    """What a crash leaves of a write nobody was promised."""
    log = used / "counters.log"
    octets = log.read_bytes()
    log.write_bytes(octets + tail)
    assert outcome(used) == 31
    assert log.read_bytes().startswith(octets)
    assert parse(log.read_bytes()).end == len(log.read_bytes())
    assert outcome(used) == 41


def test_good_records_behind_a_bad_one_are_damage_and_not_a_torn_tail(used: Path) -> None:
    log = used / "counters.log"
    lines = log.read_bytes().splitlines(keepends=True)
    for tail in (lines[-1], lines[1], b"torn\n" + lines[2]):
        log.write_bytes(b"".join(lines) + tail)
        assert refused(outcome(used))
    log.write_bytes(b"".join(lines))
    assert outcome(used) == 31


@pytest.mark.parametrize(
    "first",
    [b"", b"\n", b"garbage\n", b"00000000 0 {}\n", b'{"meterseal-log":1,"snapshot":0}\n'],
)
def test_a_file_that_is_no_log(first: bytes, used: Path) -> None:
    (used / "counters.log").write_bytes(first)
    assert refused(outcome(used))


def test_a_record_nested_deeper_than_json_is_read_is_damage(used: Path) -> None:
    """Its check sum holds: whoever wrote it wanted it read."""
    log = used / "counters.log"
    last = int(log.read_bytes().splitlines()[-1].split()[1])
    deep = b'%d {"deep":%b%b}' % (last + 1, b"[" * 50_000, b"]" * 50_000)
    behind = b'%d {"key":"x"}' % (last + 2)
    for body in (deep, behind):
        log.write_bytes(log.read_bytes() + b"%08X %b\n" % (crc32(body), body))
    assert refused(outcome(used))


def test_a_log_of_a_later_format_is_refused_by_name(tmp_path: Path) -> None:
    with Journal(tmp_path, "other") as journal:
        journal.commit({"meterseal-log": 2, "snapshot": 0})
    later = (tmp_path / "other.log").read_bytes().splitlines(keepends=True)[1]
    assert "this version can read" in parse(later).damaged


records = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20) | st.none(), max_size=4),
    max_size=8,
)


@given(records, st.data())
def test_parsing_any_octets_gives_a_prefix_or_damage(
    written: list[dict[str, object]], data: st.DataObject
) -> None:
    """Records read are always records written, in order from the first, whatever happened to the file."""
    from meterseal.state.log import _line

    texts = [encode({"meterseal-log": 1, "snapshot": 0}), *map(encode, written)]
    octets = b"".join(_line(number, text) for number, text in enumerate(texts))
    whole = parse(octets)
    assert (whole.records, whole.damaged, whole.end) == (written, "", len(octets))
    assert whole.last == len(written)
    position = data.draw(st.integers(0, len(octets)))
    junk = data.draw(st.binary(max_size=12))
    spliced = octets[:position] + junk + octets[position + data.draw(st.integers(0, 5)) :]
    found = parse(spliced)
    assert found.records == written[: len(found.records)]
    assert found.damaged or found.last == len(found.records)


@given(st.binary(max_size=300))
def test_parsing_noise(octets: bytes) -> None:
    assert parse(octets).damaged
    assert parse(octets).records == []
