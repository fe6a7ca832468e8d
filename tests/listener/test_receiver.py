"""Receiving pushes: the listener's own rule, each counter once, strangers aside (B22, C11, F18)."""

from __future__ import annotations

import json
import random
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.crypto import GcmKey
from meterseal.errors import ConfigurationError, StateUnavailable
from meterseal.framing import hdlc, mbus
from meterseal.framing.items import LINK, P1_TELEGRAM, Item, Layer
from meterseal.framing.live import LineReader
from meterseal.keys.counters import LIMIT, WINDOW, ReceiveCounter, SendCounter
from meterseal.listener import Floors, Quarantine, is_weak, preset
from meterseal.security import AUTHENTICATED, ENCRYPTED, KeyInUse, unprotect
from tests.framing.captures import p1_telegram
from tests.listener.pushes import AK, EK, OTHER_EK, TITLE, item, kinds, plain, receiver, sealed, write
from tests.probe.samples import TIROL, of

STRANGER = b"XYZ\x00\x00\x00\x00\x09"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "kitchen.toml")


def test_a_push_is_opened_by_its_title(file: Path) -> None:
    (one,) = receiver(file).take([item(sealed(5))], "here")
    assert (one.meter, one.role, one.title, one.apdu, one.plain) == (
        "kitchen", "push", TITLE, "data-notification", plain(5),
    )  # fmt: skip
    assert one.layers[1] == {
        "kind": "general-glo-ciphering", "suite": 0, "authenticated": True, "encrypted": True,
        "signed": False, "compressed": False, "broadcast": False, "system_title": TITLE.hex().upper(),
        "invocation_counter": 5, "verified": True,
    }  # fmt: skip


def test_B22_forged_pushes_change_nothing(file: Path) -> None:
    listener, good = receiver(file), sealed(9)
    forged = [good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :] for at in range(11, len(good))]
    assert "ok" not in kinds(listener.take([item(octets) for octets in forged], "here"))
    assert (
        kinds(listener.take([item(sealed(50, ek=OTHER_EK)), item(sealed(50, ak=EK))], "here"))
        == ["forged"] * 2
    )
    assert kinds(listener.take([item(good)], "here")) == ["ok"]


def test_lent_keys_open_nothing_after_their_end_however_long_the_listener_runs(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = file.read_text()
    file.write_text(text.replace("guek =", 'not_after = "2090-01-01T00:00:00Z"\nguek =', 1))
    listener = receiver(file)
    assert kinds(listener.take([item(sealed(5))], "here")) == ["ok"]

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Later:
            return cls(2090, 1, 1, 0, 0, 1, tzinfo=tz)

    monkeypatch.setattr("meterseal.listener.book.datetime", Later)
    assert kinds(listener.take([item(sealed(6))], "here")) == ["expired"]
    assert kinds(listener.take([item(sealed(7, ek=OTHER_EK))], "here")) == ["expired"]
    monkeypatch.undo()
    assert kinds(listener.take([item(sealed(6))], "here")) == ["ok"], "and no counter moved"


@pytest.mark.parametrize("carrier", ["wrapper", "hdlc", "hdlc-segments", "m-bus"])
def test_B22_forged_and_replayed_pushes_are_refused_on_every_carrier(file: Path, carrier: str) -> None:
    """A forged one may come in front of the genuine one: it costs nothing, whatever carries it."""

    line = LineReader()

    def carried(octets: bytes) -> list[Item]:
        if carrier == "wrapper":
            return line.frame((1, 103, octets))
        if carrier == "m-bus":
            return line.feed(b"".join(mbus.encode(octets)))
        whole = hdlc.RESPONSE + octets
        cut = len(whole) // 2 if carrier == "hdlc-segments" else 0
        own = hdlc.Address(103), hdlc.Address(1)
        parts = [(whole[:cut], True), (whole[cut:], False)][not cut :]
        return line.feed(b"".join(hdlc.encode(hdlc.Frame(*own, 0x13, *part)) for part in parts))

    made, genuine = receiver(file), sealed(5)
    forged = genuine[:-1] + bytes((genuine[-1] ^ 1,))
    sent = [item for one in (forged, genuine, genuine, sealed(4), forged, sealed(6)) for item in carried(one)]
    found = list(made.take(sent, "meter"))
    assert kinds(found) == ["forged", "ok", "replayed", "replayed", "replayed", "ok"]
    assert [one.plain for one in found if one.error is not None] == [None] * 4


def test_B22_a_replayed_push_is_refused_also_after_a_restart(file: Path, tmp_path: Path) -> None:
    pushes = [item(sealed(ic)) for ic in (4, 5, 9)]
    with Floors(tmp_path / "floors") as store:
        listener = receiver(file, store)
        assert kinds(listener.take(pushes, "here")) == ["ok"] * 3
        assert kinds(listener.take(pushes, "here", window=WINDOW)) == ["replayed"] * 3
        listener.sync()
    with Floors(tmp_path / "floors") as store:
        listener = receiver(file, store)
        again = [*pushes, item(sealed(7)), item(sealed(10))]
        assert kinds(listener.take(again, "here", window=WINDOW)) == ["replayed"] * 4 + ["ok"]


@given(st.lists(st.integers(0, 150), max_size=120), st.sampled_from([0, WINDOW]))
def test_C11_each_counter_is_taken_at_most_once(
    tmp_path_factory: pytest.TempPathFactory, ics: list[int], window: int
) -> None:
    listener = receiver(write(tmp_path_factory.mktemp("book") / "m.toml"))
    taken = [
        ic for ic in ics for one in listener.take([item(sealed(ic))], "x", window=window) if not one.error
    ]
    assert len(taken) == len(set(taken))
    if not window:
        assert taken == sorted(taken)


def test_C11_shuffled_datagrams_with_20_percent_twice_all_come_once(file: Path) -> None:
    chance, ics = random.Random(22), list(range(1, 400))
    arriving = [ic for ic in ics for _ in range(1 + (chance.random() < 0.2))]
    arriving = [
        ic for _, ic in sorted((at + chance.choice([0, 0, 0, 0, 30]), ic) for at, ic in enumerate(arriving))
    ]
    found = receiver(file).take([item(sealed(ic)) for ic in arriving], "net", window=WINDOW)
    taken = [one.message.long_invoke_id_and_priority for one in found if one.message]  # type: ignore[attr-defined]
    assert sorted(taken) == ics and taken != ics


def test_the_last_counter_is_never_taken(file: Path) -> None:
    assert kinds(receiver(file).take([item(sealed(LIMIT)), item(sealed(LIMIT - 1))], "x")) == [
        "replayed",
        "ok",
    ]


# --- protection -----------------------------------------------------------------------------------

FORMS = {
    "authenticated+encrypted": sealed(1),
    "authenticated": sealed(2, sc=0x10),
    "encrypted": sealed(3, sc=0x20),
    "none": plain(),
}


@pytest.mark.parametrize(
    ("accept", "let_through"),
    [
        (AUTHENTICATED | ENCRYPTED, ["authenticated+encrypted"]),
        (AUTHENTICATED, ["authenticated+encrypted", "authenticated"]),
        (ENCRYPTED, ["authenticated+encrypted", "encrypted"]),
        (0, list(FORMS)),
    ],
)
def test_B22_required_protection_is_the_listener_s_own(
    file: Path, accept: int, let_through: list[str]
) -> None:
    listener = receiver(file, accept=accept)
    found = {name: kinds(listener.take([item(octets)], "x"))[0] for name, octets in FORMS.items()}
    assert found == {name: "ok" if name in let_through else "too-weak" for name in FORMS}
    assert is_weak(accept) == (not accept & AUTHENTICATED)


def test_a_push_without_a_tag_never_moves_the_counter(file: Path) -> None:
    listener = receiver(file, accept=ENCRYPTED)
    assert kinds(listener.take([item(sealed(4_000_000_000, sc=0x20)), item(sealed(1))], "x")) == ["ok", "ok"]
    wrong = sealed(5, sc=0x20, ek=OTHER_EK)
    (one,) = listener.take([item(wrong)], "x")
    assert one.error is not None and one.error.kind == "forged" and one.plain is None


def test_a_push_under_a_dedicated_key_is_refused_and_moves_no_counter(file: Path) -> None:
    """general-ded: that key belongs to an association and ended with it; the global key does not open it."""
    made = receiver(file)
    glo = sealed(9)
    ded = b"\xdc" + glo[1:]
    assert kinds(made.take([item(ded)], "meter")) == ["unknown-key"]
    assert kinds(made.take([item(glo)], "meter")) == ["ok"], "its counter is new still"
    assert kinds(made.take([item(b"\xdc" + sealed(10)[1:])], "meter")) == ["unknown-key"]
    door = made._book.find(TITLE, 0.0)[0]
    context = door.context(3, 0)
    context.dedicated = KeyInUse(GcmKey(OTHER_EK, AK), SendCounter(0, 0), ReceiveCounter())
    within = b"\xdc" + sealed(3, ek=OTHER_EK)[1:]
    assert unprotect(context, within).apdu == plain(3), "who has the association has its key"
    assert kinds(made.take([item(within)], "meter")) == ["unknown-key"]


def test_only_pushes_are_pushes(file: Path) -> None:
    listener = receiver(file, accept=0)
    request = bytes.fromhex("C001C1000100002A0000FF0200")
    for octets in (
        request,
        sealed(1, inside=request),
        b"\xdd\x00",
        b"\x09\x01\x00",
        b"",
        sealed(2, inside=sealed(3)),
    ):
        assert kinds(listener.take([item(octets)], "x")) != ["ok"], octets.hex()
    assert kinds(listener.take([item(sealed(9)), Item((), b"", LINK)], "x")) == ["ok"]


def test_the_key_of_the_client_that_a_push_is_for_goes_first_and_the_tag_decides(tmp_path: Path) -> None:
    write(tmp_path / "one.toml", role="first", client=1, ek=OTHER_EK)
    write(tmp_path / "two.toml", role="second", client=103)
    listener = receiver(tmp_path)
    found = [*listener.take([item(sealed(1)), item(sealed(2), 1), item(sealed(1, ek=OTHER_EK), 1)], "x")]
    assert [(one.meter, one.role) for one in found] == [
        ("two", "second"),
        ("two", "second"),
        ("one", "first"),
    ]
    assert kinds(listener.take([item(sealed(2)), item(sealed(1, ek=OTHER_EK))], "x")) == ["replayed"] * 2


# --- customer ports -------------------------------------------------------------------------------


def test_recorded_pushes(tmp_path: Path) -> None:
    key = bytes.fromhex("4D5944554D4D59474C4F42414C4B4559")
    text = write(tmp_path / "u9n.toml", bytes.fromhex("2F19229199164103"), ek=key).read_text()
    (tmp_path / "u9n.toml").write_text(text.replace(AK.hex().upper(), key.hex().upper()))
    (one,) = receiver(tmp_path / "u9n.toml").take([item(of("u9n-general-glo-datanotification"))], "x")
    assert one.error is None and one.plain is not None and one.plain.hex().upper().startswith("0F000001DB")
    assert TIROL


def test_what_is_too_weak_is_called_what_it_is(file: Path) -> None:
    """It might have been signed inside; nobody has looked, and the text says nothing of it."""
    (one,) = receiver(file).take([item(sealed(1, sc=0x20))], "x")
    assert str(one.error) == "encrypted, and pushes have to be authenticated+encrypted here"


def test_telegrams_in_clear_and_sealed(file: Path) -> None:
    clear = Item((Layer("p1", {"identification": "x", "checked": True}),), p1_telegram(), P1_TELEGRAM)
    assert kinds(receiver(file).take([clear], "x")) == ["too-weak"]
    (one,) = receiver(file, accept=0).take([clear], "x")
    assert one.apdu == "p1-telegram" and one.telegram is not None and one.telegram.checked
    (one,) = receiver(file).take([Item((), sealed(3, inside=p1_telegram().rstrip()))], "x")
    assert one.apdu == "p1-telegram" and one.plain == p1_telegram().rstrip()


def test_a_time_with_a_tag_too_many_is_an_option(file: Path) -> None:
    good = plain()
    quirk = good[:5] + b"\x09\x0c" + bytes.fromhex("07E50713010F2E2300FF8880") + good[6:]
    assert kinds(receiver(file, accept=0).take([item(quirk)], "x")) != ["ok"]
    (one,) = receiver(file, accept=0, tagged_time=True).take([item(quirk)], "x")
    assert one.error is None
    with pytest.raises(ConfigurationError):
        preset("no-such-port")


# --- strangers ------------------------------------------------------------------------------------


def test_B22_an_unknown_title_is_put_aside_by_name(file: Path, tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "unknown")
    push = sealed(1, title=STRANGER)
    (one,) = receiver(file, quarantine=quarantine).take([item(push)], "10.0.0.9:4059")
    assert one.error is not None and one.error.kind == "unknown-key" and one.plain is None
    assert one.aside == str(tmp_path / "unknown" / "58595A0000000009.jsonl")
    entry = json.loads(Path(one.aside).read_text())
    assert entry["hex"] == push.hex().upper() and entry["source"] == "10.0.0.9:4059"
    assert Path(one.aside).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_B22_many_unknown_titles_fill_what_they_may_and_no_more(
    file: Path, tmp_path: Path, count: int
) -> None:
    quarantine = Quarantine(tmp_path / "unknown", titles=50, octets=20_000)
    listener = receiver(file, quarantine=quarantine)
    push = sealed(1)
    for number in range(count):
        (one,) = listener.take([item(push[:2] + number.to_bytes(8, "big") + push[10:])], "x")
        assert one.error is not None
    files = list((tmp_path / "unknown").iterdir())
    assert len(files) == quarantine.titles <= 50
    assert sum(path.stat().st_size for path in files) <= 20_000
    assert quarantine.left_out == count - quarantine.titles
    assert kinds(listener.take([item(sealed(2))], "x")) == ["ok"]
    assert Quarantine(tmp_path / "unknown").titles == len(files)


def test_one_title_fills_its_own_file_only(file: Path, tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "unknown", octets_of_one=1000)
    listener = receiver(file, quarantine=quarantine)
    asides = [one.aside for ic in range(20) for one in listener.take([item(sealed(ic, title=STRANGER))], "x")]
    assert 1 <= sum(map(bool, asides)) < 20 and quarantine.left_out
    (one,) = listener.take([item(sealed(1, title=b"ABCDEFGH"))], "x")
    assert one.aside


def test_a_disk_that_takes_nothing_ends_nothing(file: Path, tmp_path: Path) -> None:
    (tmp_path / "unknown").write_text("no folder")
    listener = receiver(file, quarantine=Quarantine(tmp_path / "unknown"))
    (one,) = listener.take([item(sealed(1, title=STRANGER))], "x")
    assert one.error is not None and one.error.kind == "unknown-key" and not one.aside
    assert kinds(listener.take([item(sealed(2))], "x")) == ["ok"]
    with pytest.raises(StateUnavailable):
        Quarantine(tmp_path / "unknown").put(STRANGER, "x", (), b"\x00")


@given(st.binary(max_size=60))
def test_nothing_that_comes_raises(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    listener = receiver(write(tmp_path_factory.mktemp("book") / "m.toml"), accept=0)
    assert len([*listener.take([item(octets), item(b"\xdb\x08" + TITLE + octets)], "x")]) == 2
