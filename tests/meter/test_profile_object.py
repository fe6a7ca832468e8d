"""Load profile and event log: rows, selections, time that goes by, clocks that are set, what is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.common import SelectiveAccess
from meterseal.association import Confirmed, Reply
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Tag
from meterseal.cosem.buffer import Row, select
from meterseal.cosem.profile import Column, complete_rows
from meterseal.cosem.selection import CLOCK_COLUMN, ByEntry, ByRange, CaptureObject
from meterseal.cosem.times import DateTime
from meterseal.meter.plant import Moment
from meterseal.meter.profile_object import TURN, LoadProfile
from meterseal.security.steps import settle
from tests.meter.world import NOON, Client, World, read, world

PROFILE, CLOCK = "1.0.99.1.0.255", "0.0.1.0.0.255"
COLUMNS = 4


def rows_of(client: Client, selection: ByRange | ByEntry | None = None) -> Any:
    access = None
    if selection is not None:
        access = SelectiveAccess(selection.selector, Data.of(*selection.parameter()))
    outcome = client.one(read(7, PROFILE, 2, access))
    assert outcome.code == 0 and outcome.data is not None, outcome
    return codec.decode(outcome.data)


def moment(row: tuple[Any, ...]) -> int:
    return int(DateTime.from_octets(row[0]).to_datetime().timestamp())


def at(seconds: int) -> DateTime:
    return DateTime.from_datetime(datetime.fromtimestamp(seconds, UTC))


def test_months_of_quarters_are_there_and_agree_with_the_registers() -> None:
    client = world().signed_on("operator")
    rows = rows_of(client)
    assert len(rows) == client.get(7, PROFILE, 7) == client.get(7, PROFILE, 8) == 11520
    times = [moment(row) for row in rows]
    assert times == list(range(NOON - 11519 * 900, NOON + 1, 900))
    assert rows[-1][2:] == (client.get(3, "1.0.1.8.0.255"), client.get(3, "1.0.2.8.0.255"))
    assert all(a[2] <= b[2] and a[3] <= b[3] for a, b in pairwise(rows))
    columns = [Column(CaptureObject.from_value(item)) for item in client.get(7, PROFILE, 3)]
    assert complete_rows(rows[:10], columns) == rows[:10], "every row is complete"


def test_rows_come_as_time_goes_by() -> None:
    here = world()
    client = here.signed_on("operator")
    before = rows_of(client, ByEntry(11519, 0))
    here.pass_time(2 * 900 + 10)
    after = rows_of(client, ByEntry(11517, 0))
    assert after[:2] == before
    assert [moment(row) for row in after[2:]] == [NOON + 900, NOON + 1800]


def test_selection_by_range_takes_both_ends() -> None:
    client = world().signed_on("operator")
    start, end = NOON - 40 * 900, NOON - 30 * 900
    rows = rows_of(client, ByRange(at(start), at(end)))
    assert [moment(row) for row in rows] == list(range(start, end + 1, 900))
    energy = CaptureObject.from_value(client.get(7, PROFILE, 3)[2])
    assert rows_of(client, ByRange(at(start), at(end), columns=(energy,))) == [(row[2],) for row in rows]
    assert rows_of(client, ByRange(at(NOON + 1), at(NOON + 9_000))) == []


def test_a_range_in_the_clocks_own_face_and_with_open_fields() -> None:
    client = world().signed_on("operator")
    whole_day = DateTime.from_text("2025-07-14")
    rows = rows_of(client, ByRange(whole_day, whole_day))
    assert len(rows) == 96
    assert {DateTime.from_octets(row[0]).date.text() for row in rows} == {"2025-07-14"}
    local = rows_of(
        client, ByRange(DateTime.from_text("2025-07-14T06:00:00"), DateTime.from_text("2025-07-14T07:00:00"))
    )
    assert [DateTime.from_octets(row[0]).hour for row in local] == [6, 6, 6, 6, 7]


def test_a_column_that_is_not_captured_is_refused() -> None:
    client = world().signed_on("operator")
    other = CaptureObject.from_value((3, b"\1\0\1\7\0\xff", 2, 0))
    for selection in (
        ByRange(at(0), at(NOON), columns=(other,)),
        ByRange(0, 9, restricting=other, bound_type=Tag.DOUBLE_LONG_UNSIGNED),
    ):
        access = SelectiveAccess(1, Data.of(*selection.parameter()))
        assert client.one(read(7, PROFILE, 2, access)).code == 0x0D


def test_entries_count_from_one_and_0_is_none_as_a_column_that_is_not_captured() -> None:
    client = world().signed_on("operator")
    for entries in ((0, 1), (0, 0), (2, 1), (1, 1, 0, 1), (1, 1, 2, 1), (1, 1, 99)):
        access = SelectiveAccess(2, Data.of(*ByEntry(*entries).parameter()))
        assert client.one(read(7, PROFILE, 2, access)).code == 0x0D
    assert rows_of(client, ByEntry(4_000_000_000, 0)) == []


def test_selectors_that_are_none() -> None:
    client = world().signed_on("operator")
    for selector, value in ((0, 0), (3, 0), (1, 0), (2, 0), (255, 1)):
        access = SelectiveAccess(selector, Data.of(value, Tag.UNSIGNED))
        assert client.one(read(7, PROFILE, 2, access)).code == 0x0C
    good = SelectiveAccess(2, Data.of(*ByEntry().parameter()))
    assert client.one(read(3, "1.0.1.8.0.255", 2, good)).code == 0x0C


@given(
    start=st.integers(NOON - 130 * 86_400, NOON + 86_400),
    length=st.integers(-900, 40 * 900),
    deviation=st.sampled_from([None, 0, -60, -120, 330]),
)
def test_the_rows_looked_at_are_enough(start: int, length: int, deviation: int | None) -> None:
    """The narrowing by time finds what a search through all rows finds."""
    profile = _PROFILE
    low, high = (
        _with_deviation(at(seconds - (deviation or 0) * 60), deviation) for seconds in (start, start + length)
    )
    selection = ByRange(low, high)
    rows = profile.rows()
    near = select([rows[at] for at in profile._near(rows, selection)], profile.columns, selection)
    assert near == select(_ALL, profile.columns, selection)


# --- long answers -------------------------------------------------------------------------------


class Counted:
    """A profile whose rows are counted as they are made, and a time in which only the test goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here, self.profile, self.count = _HERE, _PROFILE, 0
        monkeypatch.setattr(self.profile, "entries", 1000)
        make = self.profile._make
        self.todo: deque[Callable[[], object]] = deque()

        def counted(moment: Moment) -> Row:
            self.count += 1
            return make(moment)

        def later(delay: float, callback: Callable[..., object], *given: Any) -> Any:
            assert delay == 0.0
            self.todo.append(partial(callback, *given))

        monkeypatch.setattr(self.profile, "_make", counted)
        self.client, self.other = (self.here.signed_on(role) for role in ("operator", "manager"))
        monkeypatch.setattr(self.here.timer, "call_later", later)

    def ask(self, selection: SelectiveAccess | None) -> None:
        """The client asks for the buffer; whatever comes of it has to wait for its turn."""
        (effect,) = self.client.machine.request((read(7, PROFILE, 2, selection),))
        assert isinstance(effect, Reply)
        self.client.line.handler.received(self.client.sap, 1, effect.octets)

    def turns(self) -> Iterator[int]:
        """The rows made in each turn, after it."""
        while self.todo:
            before = self.count
            self.todo.popleft()()
            yield self.count - before


@pytest.mark.parametrize(
    ("selection", "rows"),
    [
        (None, 1000),
        (ByRange(at(0), at(NOON)), 1000),
        (ByRange(at(NOON - 599 * 900), at(NOON), columns=(CLOCK_COLUMN,)), 600),
        (ByEntry(2, 700, 2, 3), 699),
        (ByEntry(400, 0), 601),
    ],
    ids=["whole", "range", "column", "entries", "last"],
)
def test_a_long_profile_is_made_a_few_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch, selection: Any, rows: int
) -> None:
    long = Counted(monkeypatch)
    given = (
        None if selection is None else SelectiveAccess(selection.selector, Data.of(*selection.parameter()))
    )
    long.ask(given)
    assert long.count == TURN and not long.client.line.arrived
    for number, made in enumerate(long.turns()):
        assert made <= TURN and (number or long.other.get(8, CLOCK)), "another is served between two turns"
    assert rows <= long.count <= rows + 2, "each row is made once, and none that is not asked for"
    (answer,) = long.client.line.answers()
    effects = long.client.machine.receive(answer)
    while isinstance(effects[0], Reply):
        long.client.line.handler.received(long.client.sap, 1, effects[0].octets)
        (answer,) = long.client.line.answers()
        effects = long.client.machine.receive(answer)
    (done,) = effects
    assert isinstance(done, Confirmed) and done.outcomes[0].data is not None
    everything = list(long.profile.rows())
    asked_for = select(everything, long.profile.columns, selection or ByEntry())
    assert codec.decode(done.outcomes[0].data) == asked_for and len(asked_for) == rows


def test_frames_behind_a_long_profile_come_in_their_turn_and_a_closed_line_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = Counted(monkeypatch)
    long.ask(None)
    turns = long.turns()
    assert [next(turns) for _ in range(3)] == [TURN] * 3
    client = long.client
    client.line.handler.received(client.sap, 1, client.sealed(bytes.fromhex("C001C100080000010000FF0200")))
    assert not client.line.arrived, "it waits behind the profile"
    client.line.abort()
    assert list(turns) == [0] and not client.line.arrived, "nobody waits for it any more"


def _with_deviation(face: DateTime, deviation: int | None) -> DateTime:
    octets = face.to_octets()
    raw = 0x8000 if deviation is None else deviation & 0xFFFF
    return DateTime.from_octets(octets[:9] + raw.to_bytes(2, "big") + octets[11:])


def _profile_of(here: World) -> LoadProfile:
    held = here.meter.devices[1].objects[7, b"\1\0\x63\1\0\xff"]
    assert isinstance(held, LoadProfile)
    return held


_HERE = world()
_PROFILE = _profile_of(_HERE)
_ALL = list(_PROFILE.rows())


def test_a_clock_set_forward_and_back_leaves_a_gap_and_a_repetition(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    operator, installer = here.signed_on("operator"), here.signed_on("installer")
    here.pass_time(900)
    shown = at(NOON + 900 + 3_000)
    assert installer.set(8, CLOCK, 2, shown.to_octets(), Tag.OCTET_STRING) == 0
    assert moment((operator.get(8, CLOCK),)) == NOON + 3_900
    here.pass_time(900)
    assert [moment(row) - NOON for row in rows_of(operator, ByEntry(11519, 0))] == [900, 4_500]
    assert rows_of(operator, ByEntry(11520, 0))[0][1] & 0x20, "the row says that the clock was adjusted"
    assert installer.call(8, CLOCK, 6, -900, Tag.LONG) == 0
    here.pass_time(900)
    last = [moment(row) - NOON for row in rows_of(operator, ByEntry(11518, 0))]
    assert last == [900, 4_500, 4_500]
    here.restart()
    again = here.signed_on("operator")
    assert [moment(row) - NOON for row in rows_of(again, ByEntry(11518, 0))] == last
    assert moment((again.get(8, CLOCK),)) == NOON + 2_700 + 3_000 - 900


def test_period_entries_reset_and_capture_are_kept(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    manager = here.signed_on("manager")
    assert manager.set(7, PROFILE, 4, 59, Tag.DOUBLE_LONG_UNSIGNED) == 0xFA
    assert manager.set(7, PROFILE, 4, 300, Tag.LONG_UNSIGNED) == 0x0C
    assert manager.set(7, PROFILE, 4, 300, Tag.DOUBLE_LONG_UNSIGNED) == 0
    assert manager.get(7, PROFILE, 7) == 0, "another period empties the buffer"
    here.pass_time(650)
    assert manager.call(7, PROFILE, 2) == 0
    here.pass_time(300)
    assert [moment(row) - NOON for row in rows_of(manager)] == [300, 600, 650, 900]
    assert manager.set(7, PROFILE, 8, 2, Tag.DOUBLE_LONG_UNSIGNED) == 0
    assert [moment(row) - NOON for row in rows_of(manager)] == [650, 900]
    here.restart()
    again = here.signed_on("manager")
    assert (again.get(7, PROFILE, 4), again.get(7, PROFILE, 8)) == (300, 2)
    assert [moment(row) - NOON for row in rows_of(again)] == [650, 900]
    assert again.call(7, PROFILE, 1) == 0
    assert rows_of(again) == []


def test_what_is_switched_off_uses_nothing(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    manager = here.signed_on("manager")
    here.pass_time(100)
    assert manager.call(70, "0.0.96.3.10.255", 1) == 0
    used = manager.get(3, "1.0.1.8.0.255"), manager.get(3, "1.0.2.8.0.255")
    assert manager.get(3, "1.0.1.7.0.255") == manager.get(3, "1.0.2.7.0.255") == 0
    here.pass_time(86_400)
    here.restart()
    manager = here.signed_on("manager")
    assert (manager.get(3, "1.0.1.8.0.255"), manager.get(3, "1.0.2.8.0.255")) == used
    assert manager.call(70, "0.0.96.3.10.255", 2) == 0
    here.pass_time(86_400)
    assert manager.get(3, "1.0.1.8.0.255") > used[0]
    rows = rows_of(manager, ByEntry(11520 - 2 * 96 - 5, 0))
    assert all(a[2] <= b[2] and a[3] <= b[3] for a, b in pairwise(rows))


def test_the_event_log_names_what_went_wrong() -> None:
    here = world()
    manager = here.signed_on("manager")
    wrong = here.client("operator")
    wrong.machine.profile.setup.own_title = b"MSLHES99"
    wrong.try_sign_on()
    here.timer.advance(1)
    assert [code for _, code in manager.get(7, "0.0.99.98.1.255")] == [46]
    assert manager.get(1, "0.0.96.11.1.255") == 46
    frame = settle(manager.machine._sealed(bytes.fromhex("C001C100010000600B01FF0200")))
    assert manager.line.ask(frame, 1)[0] == 0xCC
    assert manager.line.ask(frame, 1)[:3] == bytes.fromhex("D80106"), "replay"
    assert manager.line.ask(frame[:-1] + bytes((frame[-1] ^ 1,)), 1)[:3] == bytes.fromhex("D80106")
    assert [code for _, code in manager.get(7, "0.0.99.98.1.255")] == [46, 50, 50]
    assert manager.call(7, "0.0.99.98.1.255", 1) == 0
    assert [code for _, code in manager.get(7, "0.0.99.98.1.255")] == [255]
