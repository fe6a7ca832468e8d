"""The last values of a block are used: no step asks for more counters than it takes (C10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meterseal.association import Failed
from meterseal.association.profile import EVENTS, SERVER_CONFORMANCE
from meterseal.keys.counters import SendCounter
from meterseal.security import KeyInUse
from tests.association.line import LONG
from tests.association.pair import HIDDEN, SMALL, TO_CLIENT, TO_METER, Pair, call, get, put
from tests.association.test_layers import SEED, pair_in

Step = Callable[[Pair], Any]


def ask(*operations: Any, **how: Any) -> Step:
    return lambda pair: pair.run(pair.client.request(operations, **how))


def tell(pair: Pair) -> Any:
    return pair.run(pair.server.notify(get(), SMALL, bytes(12)), TO_CLIENT)


def sign_on(pair: Pair) -> Any:
    drawn = pair.client.profile.scheme.drawn
    return pair.run(pair.client.associate(bytes(range(0x10, 0x10 + drawn)), SEED))


STEPS: dict[str, Step] = {
    "a sign-on": sign_on,
    "a read": ask(get()),
    "a read that is refused": ask(get(HIDDEN)),
    "an access": ask(get(), access=True),
    "a long write": ask(put(LONG)),
    "a long call": ask(call(LONG)),
    "an event": tell,
    "the release": lambda pair: pair.release(),
}


def made(**more: Any) -> Pair:
    """Both take short APDUs, and the client hears of events."""
    client, server = more.pop("client", {}), more.pop("server", {})
    heard: list[Any] = []
    return pair_in(
        more.pop("layers", ""),
        client={"max_pdu": 500, "events": heard.append, **client},
        server={"max_pdu": 500, "conformance": SERVER_CONFORMANCE | EVENTS, **server},
        **more,
    )


def taken(pair: Pair, step: Step) -> dict[str, int]:
    """How many values of its counter a step takes at each end."""
    before = {end: lasting(pair, end).tx.left for end in ENDS}
    step(pair)
    return {end: before[end] - lasting(pair, end).tx.left for end in ENDS}


def lasting(pair: Pair, end: str) -> KeyInUse:
    return (pair.client if end == TO_METER else pair.server).profile.setup.key()


ENDS = (TO_METER, TO_CLIENT)
WAYS: list[dict[str, Any]] = [{}, {"layers": "identified"}, {"client": {"general": True}}]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_C10_no_step_asks_for_more_than_it_takes(way: dict[str, Any]) -> None:
    first, second = made(**way), made(**way)
    for name, step in STEPS.items():
        for end, count in taken(first, step).items():
            key = lasting(second, end)
            key.tx = SendCounter(key.tx._end, key.tx._end + count)
        effects = step(second)
        assert second.needs == [], name
        assert not any(isinstance(effect, Failed) for effect in effects), name
        assert [lasting(second, end).tx.left for end in ENDS] == [0, 0], name
