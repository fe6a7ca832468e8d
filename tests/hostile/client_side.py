"""A client against a meter that lies: the helpers of the client's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from meterseal import net, sync
from meterseal.apdu.acse import Aare
from meterseal.apdu.ciphered import parse
from meterseal.apdu.initiate import InitiateResponse
from meterseal.association import DEFAULT_CONFORMANCE
from tests.client.fake_meter import Alter, Exchange, FakeMeter

AARE, RLRQ = 0x61, 0x62
READ = (3, "1.0.1.8.0.255", 2)
VALUE = bytes.fromhex("060001E240")
INITIATE_RESPONSE = InitiateResponse(None, 6, DEFAULT_CONFORMANCE, 4096, 7).encode()


@contextmanager
def signed_on(fake: FakeMeter, role: str | None = None, **arguments: Any) -> Iterator[sync.Meter]:
    """The client's association with a fake meter, in memory."""
    known: dict[str, Any] = {
        "credentials": fake.credentials(),
        "counters": fake.counters,
        "line": net.blocking_loopback(fake.factory),
    }
    with sync.connect(role=role, **known | arguments) as meter:
        yield meter


class Requests:
    """What the client sent, and other answers for some of it: `changes` by the number of the request."""

    def __init__(self, changes: dict[int, Alter] | None = None) -> None:
        self.sent: list[bytes] = []
        self.changes = changes or {}

    def __call__(self, exchange: Exchange) -> list[bytes] | None:
        self.sent.append(exchange.request)
        change = self.changes.get(exchange.number)
        return None if change is None else change(exchange)

    @property
    def counters(self) -> list[int]:
        """The invocation counters of the ciphered requests, release left out."""
        return [parse(octets).counter for octets in self.sent if octets[0] not in (0x60, RLRQ)]


def aare(**changes: Any) -> Alter:
    """The meter's AARE with some fields changed; a callable value gets the exchange."""

    def change(exchange: Exchange) -> list[bytes]:
        message = Aare.decode(exchange.reply)
        made = {name: value(exchange) if callable(value) else value for name, value in changes.items()}
        return [message.replace(**made).encode()]

    return change


def instead(*octets: bytes) -> Alter:
    """These APDUs in place of the answer."""
    return lambda exchange: list(octets)


def before(make: Callable[[Exchange], bytes]) -> Alter:
    """A forged APDU, and the genuine answer behind it."""
    return lambda exchange: [make(exchange), exchange.reply]


def sealed(plain: bytes, applied: int = 3) -> Alter:
    """A plain APDU under the association's own keys, in place of the answer."""
    return lambda exchange: [exchange.seal(plain, applied)]
