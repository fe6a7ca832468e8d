"""The journal: lines of JSON with named fields, and nothing of what passes through (E01, G-rules of logs)."""

from __future__ import annotations

import io
import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from meterseal.headend.journal import FIELDS, Journal, Lines


def written(**fields: object) -> dict[str, object]:
    stream = io.StringIO()
    Journal(stream).info("something", **fields)
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def test_named_fields_stand_and_others_do_not() -> None:
    line = written(meter="4D534C0000000001", guek="00" * 16, sealed=b"x", outcome="answered", size=5)
    assert line["meter"] == "4D534C0000000001"
    assert (line["outcome"], line["size"], line["level"]) == ("answered", 5, "info")
    assert set(line) <= set(FIELDS)


def test_E01_octets_and_long_hex_are_told_by_their_size() -> None:
    key = "000102030405060708090A0B0C0D0E0F"
    line = written(
        cause=f"forged: {key} and {' '.join(key[at : at + 2] for at in range(0, 32, 2))}", request=b"\0\1\2"
    )
    assert key not in str(line) and "00 01 02" not in str(line)
    assert "<hex of 32 characters>" in str(line["cause"])
    assert line["request"] == "3 octets"


def test_text_is_cut() -> None:
    assert len(str(written(cause="x" * 10_000)["cause"])) == 300


@given(st.binary(min_size=16, max_size=64))
def test_E01_no_sixteen_octets_get_into_a_line_in_hex(octets: bytes) -> None:
    for text in (octets.hex(), octets.hex().upper(), octets.hex(" "), octets.hex(":")):
        assert text.lower() not in json.dumps(written(cause=f"a {text}, b", url=text)).lower()


def test_records_of_loggers_are_lines_too_and_without_tracebacks() -> None:
    stream = io.StringIO()
    handler = Lines(Journal(stream))
    try:
        raise ValueError("secret in a traceback")
    except ValueError:
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "f", 1, "broken", (), None)
        record.exc_info = None
        handler.emit(record)
        with_trace = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "again", (), None)
        handler.emit(with_trace)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["broken", "again"]
    assert "secret" not in stream.getvalue()
