"""An append-only file of records, each with a sequence number and a CRC, and a mark beside it.

One line a record: CRC-32 (8 hex digits), sequence number, JSON.  The first line says how many
records of a compaction follow it.  The mark holds the number of the last record known to be
durable.  Together they tell what a crash leaves (a torn tail behind the mark, which nobody was
promised) from what must not be believed: a changed octet, a missing end, an older file.

The log itself takes no lock: who opens it holds one (folder.py).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

from meterseal.errors import Misuse, StateDamaged
from meterseal.state.folder import open_private, read_all, refusing, sync_file, sync_folder, write_at

Record = dict[str, Any]
"""A JSON object."""

LONGEST_RECORD: Final = 1 << 20
"""Octets of one record."""

MEND: Final = "nothing is sent under these keys until new ones are in place"

_FORMAT: Final = 1
_SLOT: Final = len("0123456789ABCDEF 01234567\n")


def encode(record: Record) -> bytes:
    """The JSON of a record, on one line of ASCII.  Raises Misuse for what is no JSON, or too long."""
    try:
        text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise Misuse(f"a record that is no JSON: {error}") from None
    if len(text) > LONGEST_RECORD:
        raise Misuse(f"a record of {len(text)} octets, {LONGEST_RECORD} at most")
    return text


def _line(sequence: int, text: bytes) -> bytes:
    body = b"%d %b" % (sequence, text)
    return b"%08X %b\n" % (crc32(body), body)


def _parse(line: bytes) -> tuple[int, Record] | None:
    """Sequence number and record of a line without its end; None when it is not what was written."""
    body = line[9:]
    if line[:9] != b"%08X " % crc32(body):
        return None
    number, _, text = body.partition(b" ")
    try:
        record = json.loads(text)
        return (int(number), record) if isinstance(record, dict) else None
    except (ValueError, RecursionError):
        return None


class Content(NamedTuple):
    """What a log file holds: its records, the number of the last, and where good lines end."""

    records: list[Record]
    last: int
    end: int
    snapshot: int
    damaged: str


class Place(NamedTuple):
    """How far a log has been read: the last record's number and line, where that ends, how many there are."""

    last: int
    line: bytes
    end: int
    length: int
    snapshot: int


def parse(octets: bytes, last: int = -1) -> Content:
    """Read a log file as far as it is good, or what is behind its record `last`.

    `damaged` is what cannot be the trace of a crash.
    """
    records: list[Record] = []
    position, snapshot = 0, 0
    while (stop := octets.find(b"\n", position)) >= 0:
        found = _parse(octets[position:stop])
        if found is None or (last >= 0 and found[0] != last + 1):
            break
        if last < 0:
            header = found[1]
            if header.get("meterseal-log") != _FORMAT or not isinstance(header.get("snapshot"), int):
                return Content([], 0, 0, 0, "its first line is not that of a log this version can read")
            snapshot = header["snapshot"]
        else:
            records.append(found[1])
        last, position = found[0], stop + 1
    damaged = ""
    if last < 0:
        damaged = "its first line is damaged"
    elif len(records) < snapshot:
        damaged = f"record {last + 1} is damaged or missing"
    elif any(_parse(line) for line in octets[position:].split(b"\n")):
        damaged = f"record {last + 1} is damaged, and there are good ones behind it"
    return Content(records, last, position, snapshot, damaged)


def distrust(content: Content, marked: int | None) -> str:
    """What of a log file and the number in its mark (None: no mark) no crash can have left; else nothing."""
    if content.damaged:
        return content.damaged
    if marked is None:
        return "the mark beside it is missing" if content.records else ""
    if content.last < marked:
        return f"it ends at record {content.last}, and {marked} had been written"
    return ""


def read_records(folder: Path, name: str, mend: str = MEND) -> list[Record]:
    """The records of a log, also while another process writes it: no lock is taken and nothing changed.

    Raises StateDamaged, StateUnavailable.
    """
    path, mark = folder / f"{name}.log", folder / f"{name}.mark"
    wrong, content = "", Content([], 0, 0, 0, "")
    for _ in range(2):  # it may just have been made, or compacted
        with refusing(f"state file {path}"):
            # In this order: a mark never names what the file behind it does not hold.
            marked = _marked(mark.read_bytes()) if mark.exists() else None
            content = parse(path.read_bytes())
        wrong = f"{mark.name} beside it is damaged" if marked == -1 else distrust(content, marked)
        if not wrong:
            break
    if wrong:
        raise StateDamaged(f"state file {path} cannot be trusted: {wrong}; {mend}")
    return content.records


def _slots(octets: bytes) -> list[int]:
    """The numbers in the two slots of a mark; -1 in the place of one that is torn."""
    return [_slot(octets[at : at + _SLOT]) for at in (0, _SLOT)]


def _slot(octets: bytes) -> int:
    number, _, check = octets.partition(b" ")
    try:
        return int(number, 16) if check == b"%08X\n" % crc32(number) else -1
    except ValueError:
        return -1


def _marked(octets: bytes) -> int:
    """The number in a mark; -1 where it cannot be read."""
    return max(_slots(octets)) if len(octets) == 2 * _SLOT else -1


class Log:
    """One log file and its mark, open for appending.

    `mend` is told to whoever finds it damaged.
    """

    def __init__(self, folder: Path, name: str, mend: str = MEND) -> None:
        self._folder = folder
        self._path = folder / f"{name}.log"
        self._new_path = folder / f"{name}.new"
        self._mark_path = folder / f"{name}.mark"
        self._mend = mend
        self._file = self._mark_file = -1
        self._slot = 0
        self._last = self._end = 0
        self._line = b""
        # True while nothing has been appended since file, mark or folder got their names: whoever gave
        # them may have been killed before the names were durable, and none or older ones come back.
        self._fresh = False
        # True while octets of a failed write may stand behind the end.
        self._littered = False
        self.snapshot = self.length = 0
        """Records of the compaction that the file begins with, and all that there are."""

    def load(self) -> list[Record]:
        """Open the log, new when there has been none, and return its records in order.

        A torn tail that was never promised is cut off.  Raises StateDamaged, StateUnavailable.
        """
        with refusing(f"state file {self._path}"):
            marked = self._open_mark()
            if not self._path.exists():
                if marked is not None:
                    raise self._damage("it is missing")
                self._replace([], 0)
                self._make_mark()
                return []
            self._file = open_private(self._path, os.O_RDWR)
            octets = read_all(self._file)
            content = parse(octets)
            if wrong := distrust(content, marked):
                raise self._damage(wrong)
            if marked is None:
                self._last = content.last  # killed while it was being made
                self._make_mark()
            if content.end < len(octets):
                os.ftruncate(self._file, content.end)
            self._last, self._end = content.last, content.end
            self._line = octets[octets.rfind(b"\n", 0, content.end - 1) + 1 : content.end]
            self.length, self.snapshot = len(content.records), content.snapshot
            self._fresh = self.length == self.snapshot
        return content.records

    @property
    def place(self) -> Place:
        """How far it has been read and written."""
        return Place(self._last, self._line, self._end, self.length, self.snapshot)

    def follow(self, place: Place) -> list[Record] | None:
        """Open a log that has been read before, and return the records that came since.

        None, with nothing open, when its file is not the same one grown longer: then it has to be loaded.  No
        two lines are equal, for each has a number of its own.  Raises StateUnavailable.
        """
        with refusing(f"state file {self._path}"):
            marked = self._open_mark()
            if marked is None or not self._path.exists():
                self.close()
                return None
            self._file = open_private(self._path, os.O_RDWR)
            octets = read_all(self._file, place.end - len(place.line))
            since = parse(octets[len(place.line) :], place.last)
            if not octets.startswith(place.line) or distrust(since, marked):
                self.close()
                return None
            grown = len(place.line) + since.end
            self._last, self._end = since.last, place.end - len(place.line) + grown
            self._line = octets[octets.rfind(b"\n", 0, grown - 1) + 1 : grown]
            self.length, self.snapshot = place.length + len(since.records), place.snapshot
            self._fresh = self.length == self.snapshot
            if grown < len(octets):
                os.ftruncate(self._file, self._end)
        return since.records

    def commit(self, texts: list[bytes]) -> None:
        """Append encoded records, durably, all or none.

        Raises StateUnavailable; the log is then as it was before, unless the disk refuses even to take
        back what was written and the process ends before it does: then they may be there after all.
        """
        self._check_usable()
        if not texts:
            return
        lines = [_line(self._last + 1 + number, text) for number, text in enumerate(texts)]
        octets = b"".join(lines)
        with refusing(f"state file {self._path}"):
            self._take_back()
            if self._fresh:
                sync_folder(self._folder)
                sync_folder(self._folder.parent)
            self._littered = True
            try:
                write_at(self._file, octets, self._end)
                sync_file(self._file)
            except OSError:
                with suppress(OSError):  # or before the next write, or at the next opening
                    self._take_back()
                raise
        self._littered = self._fresh = False
        self._last, self._line = self._last + len(texts), lines[-1]
        self._end, self.length = self._end + len(octets), self.length + len(texts)
        self._mark()

    def replace(self, texts: list[bytes]) -> None:
        """Compaction: put a new file with these encoded records in place of all that there is.

        Raises StateUnavailable; whichever file is then in place says the same.
        """
        self._check_usable()
        with refusing(f"state file {self._path}"):
            self._replace(texts, self._last + 1)
        self._mark()

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._file, self._mark_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._mark_file = -1

    def _check_usable(self) -> None:
        if self._file < 0:
            raise Misuse(f"state file {self._path} is not open")

    def _take_back(self) -> None:
        if self._littered:
            os.ftruncate(self._file, self._end)
            self._littered = False

    def _replace(self, texts: list[bytes], sequence: int) -> None:
        header = encode({"meterseal-log": _FORMAT, "snapshot": len(texts)})
        lines = [_line(sequence + number, text) for number, text in enumerate([header, *texts])]
        octets = b"".join(lines)
        file = open_private(self._new_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            write_at(file, octets, 0)
            sync_file(file)
            os.replace(self._new_path, self._path)
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._fresh, self._littered = file, True, False
        self._last, self._line, self._end = sequence + len(texts), lines[-1], len(octets)
        self.length = self.snapshot = len(texts)
        # Before any mark names these records: a mark must never be more durable than they are.
        sync_folder(self._folder)

    # --- the mark: two slots written in turn, so that a torn write leaves the other one ---------

    def _open_mark(self) -> int | None:
        """The number in the mark, None when there is no mark."""
        try:
            self._mark_file = open_private(self._mark_path, os.O_RDWR)
        except FileNotFoundError:
            return None
        octets = read_all(self._mark_file)
        marked = _marked(octets)
        if marked < 0:
            raise self._damage(f"{self._mark_path.name} beside it is damaged")
        self._slot = _slots(octets).index(marked)
        return marked

    def _slot_octets(self) -> bytes:
        number = b"%016X" % self._last
        return b"%b %08X\n" % (number, crc32(number))

    def _make_mark(self) -> None:
        new = self._mark_path.with_suffix(".mark-new")
        file = open_private(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            write_at(file, self._slot_octets() * 2, 0)
            sync_file(file)
            os.replace(new, self._mark_path)
        except OSError:
            os.close(file)
            raise
        self._mark_file = file

    def _mark(self) -> None:
        # Not synced, and its failure is none of the commit's: the log is durable, and a mark that
        # is behind only sees less.
        with suppress(OSError):
            write_at(self._mark_file, self._slot_octets(), (1 - self._slot) * _SLOT)
            self._slot = 1 - self._slot

    def _damage(self, what: str) -> StateDamaged:
        self.close()
        return StateDamaged(f"state file {self._path} cannot be trusted: {what}; {self._mend}")
