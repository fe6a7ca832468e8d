"""Makers' files as rows of cells, all bounded: CSV, XML, KEM (XML in XML encryption, perhaps in a ZIP)."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from xml.parsers import expat

from meterseal.authority.shipment.mapping import Mapping
from meterseal.crypto.transport import open_with_password
from meterseal.errors import ConfigurationError, Malformed, TooDeep, TooLarge

LARGEST: Final = 1 << 28
"""Octets of a file, and of what is unpacked from one: a million meters have a few hundred."""

MOST_ROWS: Final = 1_000_000
MOST_CELLS: Final = 200
LONGEST_CELL: Final = 8192
DEEPEST: Final = 16


class Row(NamedTuple):
    """A meter in a file: where, and its cells."""

    place: str
    cells: dict[str, str]


def rows(mapping: Mapping, octets: bytes, password: bytes | None = None) -> Iterator[Row]:
    """The meters of a file.  Raises Malformed, TooLarge, TooDeep, ConfigurationError (no password)."""
    if len(octets) > LARGEST:
        raise TooLarge(f"the file has {len(octets)} octets, {LARGEST} at most")
    for number, row in enumerate(_READERS[mapping.format](mapping, octets, password), 1):
        if number > MOST_ROWS:
            raise TooLarge(f"more than {MOST_ROWS} meters in a file")
        if len(row.cells) > MOST_CELLS or any(len(text) > LONGEST_CELL for text in row.cells.values()):
            raise TooLarge(
                f"{row.place}: more than {MOST_CELLS} cells, or one above {LONGEST_CELL} characters"
            )
        yield row


def _csv(mapping: Mapping, octets: bytes, password: bytes | None) -> Iterator[Row]:
    lines = io.StringIO(_text(octets), newline="")
    reader = csv.reader(lines, delimiter=mapping.delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) != len(names) or mapping.title not in names:
            raise Malformed(f"line 1: no column {mapping.title!r}, or a name comes twice")
        for cells in reader:
            place = f"line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(names):
                raise Malformed(f"{place}: {len(cells)} cells, line 1 names {len(names)}")
            yield Row(place, {name: cell.strip() for name, cell in zip(names, cells, strict=True)})
    except csv.Error as error:
        raise Malformed(f"line {reader.line_num}: {error}") from None


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at octet {error.start}") from None


class _Elements:
    """Goes through elements with path and text; no document type, so no entities but the five of XML."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self._text: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        for name, handler in (
            ("StartElementHandler", self._start),
            ("EndElementHandler", self._end),
            ("CharacterDataHandler", self._text.append),
            ("StartDoctypeDeclHandler", self._doctype),
        ):
            setattr(self._parser, name, handler)

    @property
    def line(self) -> int:
        """Where in the file it is."""
        return self._parser.CurrentLineNumber

    def feed(self, octets: bytes, last: bool) -> None:
        """Some of the file.  Raises Malformed, TooDeep, and what `begun` and `ended` raise."""
        try:
            self._parser.Parse(octets, last)
        except expat.ExpatError as error:
            raise Malformed(f"line {error.lineno}: {expat.errors.messages[error.code]}") from None

    def begun(self, attributes: dict[str, str]) -> None:
        """An element begins; it is the last of `path`."""

    def ended(self, text: str) -> None:
        """The element ends; `text` is what stood behind the last tag before."""

    def _doctype(self, *_: Any) -> None:
        raise Malformed("a document type in a file of keys: refused")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag.rpartition(":")[2])
        if len(self.path) > DEEPEST:
            raise TooDeep(f"line {self.line}: more than {DEEPEST} elements deep")
        self._text.clear()
        self.begun(attributes)

    def _end(self, tag: str) -> None:
        self.ended("".join(self._text))
        self._text.clear()
        self.path.pop()


class _Records(_Elements):
    """The elements named by `record`, flat."""

    def __init__(self, record: str) -> None:
        super().__init__()
        self._record = record.split("/")
        self._cells: dict[str, str] | None = None
        self._line = 0
        self._found: list[Row] = []

    def take(self) -> list[Row]:
        """Those that are complete, each once."""
        found, self._found = self._found, []
        return found

    def begun(self, attributes: dict[str, str]) -> None:
        """As in `_Elements`."""
        if self._cells is None and self.path == self._record:
            self._cells, self._line = {}, self.line
        if self._cells is not None:
            for name, value in attributes.items():
                self._put(f"{self._inner()}@{name}", value)

    def ended(self, text: str) -> None:
        """As in `_Elements`."""
        if self._cells is None:
            return
        if self.path == self._record:
            self._found.append(Row(f"line {self._line}", self._cells))
            self._cells = None
        elif text := text.strip():
            self._put(self._inner(), text)

    def _inner(self) -> str:
        return "/".join(self.path[len(self._record) :])

    def _put(self, name: str, text: str) -> None:
        assert self._cells is not None  # noqa: S101 - callers have looked
        if name in self._cells:
            raise Malformed(f"line {self.line}: {name} comes twice in one meter")
        if len(self._cells) >= MOST_CELLS:
            raise TooLarge(f"line {self._line}: more than {MOST_CELLS} cells")
        self._cells[name] = text


class _CipherValues(_Elements):
    """The text of CipherData/CipherValue, whatever stands around."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def ended(self, text: str) -> None:
        """As in `_Elements`."""
        if self.path[-2:] == ["CipherData", "CipherValue"]:
            self.found.append(text)


_CHUNK: Final = 1 << 16


def _xml(mapping: Mapping, octets: bytes, password: bytes | None) -> Iterator[Row]:
    reader = _Records(mapping.record)
    for at in range(0, len(octets), _CHUNK):
        reader.feed(octets[at : at + _CHUNK], False)
        yield from reader.take()
    reader.feed(b"", True)
    yield from reader.take()


def _kamstrup(mapping: Mapping, octets: bytes, password: bytes | None) -> Iterator[Row]:
    if octets[:2] == b"PK":
        octets = _unzipped(octets)
    if password is None:
        raise ConfigurationError("a KEM file is encrypted: say its password")
    outside = _CipherValues()
    outside.feed(octets, True)
    sealed = outside.found
    if len(sealed) != 1:
        raise Malformed(f"{len(sealed)} encrypted parts in a KEM file, not one")
    try:
        ciphertext = base64.b64decode("".join(sealed[0].split()), validate=True)
    except (ValueError, binascii.Error):
        raise Malformed("the encrypted part of the KEM file is no base64 text") from None
    try:
        yield from _xml(mapping, open_with_password(password, ciphertext), None)
    except Malformed:
        # What does not parse is the wrong password's doing far more often than anything else's.
        raise Malformed("the password is not right, or the file is not whole") from None


def _unzipped(octets: bytes) -> bytes:
    """The one KEM file of an archive; nothing is ever written anywhere.  Raises Malformed, TooLarge."""
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            wanted = [one for one in archive.infolist() if one.filename.lower().endswith((".kem", ".kem2"))]
            if len(wanted) != 1:
                raise Malformed(f"{len(wanted)} KEM files in the archive, not one")
            with archive.open(wanted[0]) as member:
                inside = member.read(LARGEST + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Malformed(f"the archive cannot be read: {type(error).__name__}") from None
    if len(inside) > LARGEST:
        raise TooLarge(f"more than {LARGEST} octets in the archive")
    return inside


_READERS: Final = {"csv": _csv, "xml": _xml, "kamstrup": _kamstrup}
