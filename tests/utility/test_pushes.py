"""Pushes for the utility: sealed by the meter, found by a head-end, opened by the utility."""

from __future__ import annotations

from pathlib import Path

import pytest

from meterseal.errors import Altered, Moved, Replayed, TooWeak
from meterseal.framing.items import Item
from meterseal.listener import Book, Receiver
from meterseal.meter.orders import Order
from meterseal.security.sealed import Sealed
from meterseal.state import MemoryCounters
from tests.hostile.carrier import changed, field
from tests.utility.street import UTILITY, Street, street

PUSH = """
[[objects]]
class = 40
obis = "0.1.25.9.0.255"
version = 1
role = "operator"
push = ["40/0.1.25.9.0.255:1", "3/1.0.1.8.0.255:2", "1/0.0.96.1.10.255:2"]
destination = "tcp://127.0.0.1:4060"
layers = "{form}"
{signed}
recipient = "4D534C5554494C31"
"""


def pushed(s: Street, folder: Path, number: int = 1) -> list[Sealed]:
    """Pushes of the meter as the head-end's listener finds them inside its own layer."""
    orders: list[Order] = []
    s.meter.send = orders.append
    operator = s.credentials.cut("operator")
    operator.with_copies(folder / "operator.toml").save(folder / "operator.toml")
    receiver = Receiver(Book(folder / "operator.toml", MemoryCounters()), MemoryCounters())
    found = []
    for _ in range(number):
        s.carrier.call("40/0.1.25.9.0.255:1")
        (one,) = receiver.take([Item((), orders[-1].seal())], "meter")
        assert one.error is None and one.plain is None and one.sealed is not None, one.error
        found.append(one.sealed)
    return found


@pytest.mark.parametrize(("suite", "form"), [(0, "wrapped"), (1, "one-pass"), (2, "static")])
def test_pushes_pass_the_head_end_and_open_at_the_utility(tmp_path: Path, suite: int, form: str) -> None:
    more = PUSH.format(form=form, signed="signed = true" if suite else "")
    with street(tmp_path, suite, role="manager", more=more) as s:
        first, second, third = pushed(s, tmp_path, 3)
        assert (first.originator, first.recipient) == (s.meter.system_title, UTILITY)
        one = s.utility.push(first)
        assert one.value[0] == bytes.fromhex("0001190900FF") and one.plain not in first.octets
        assert one.layers[0]["kind"] == "general-ciphering"
        # Each once; and they may overtake each other and answers.
        s.utility.read("3/1.0.1.8.0.255:2")
        s.utility.push(third)
        assert s.utility.missed == 1
        s.utility.push(second)
        assert s.utility.missed == 0
        for again in (first, second, third):
            with pytest.raises(Replayed):
                s.utility.push(again)


def test_E02_E03_pushes_that_a_carrier_changes_or_moves(tmp_path: Path) -> None:
    more = PUSH.format(form="one-pass", signed="signed = true")
    with street(tmp_path, role="manager", more=more) as s:
        (push,) = pushed(s, tmp_path)
        for at in range(40, push.size, 11):
            with pytest.raises(Altered):
                s.utility.push(changed(push, at))
        with pytest.raises(Moved):
            s.utility.push(field(push, originator_system_title=b"MSL99999"))
        with pytest.raises(Altered):
            s.utility.push(field(push, transaction_id=b"12345678"))
        s.utility.push(push)


def test_a_push_without_a_signature_is_taken_where_that_is_said(tmp_path: Path) -> None:
    with street(tmp_path, role="manager", more=PUSH.format(form="static", signed="")) as s:
        first, second = pushed(s, tmp_path, 2)
        with pytest.raises(TooWeak):
            s.utility.push(first)
        assert s.utility.push(second, signed=False).value
