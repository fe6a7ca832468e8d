"""A head-end at home: certificates of all parties, meters that answer by a script, callers."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from meterseal.credentials import Credentials, MeterCredentials, RoleCredentials
from meterseal.crypto import SigningKey, curve
from meterseal.crypto.certificates import Purpose
from meterseal.crypto.curves import TlsKey
from meterseal.crypto.issuing import Authority, Validity
from meterseal.crypto.keyfiles import write_key
from meterseal.errors import MetersealError
from meterseal.headend import Config, HeadEnd, MeterEntry, Served, Utility
from meterseal.headend.journal import Journal
from meterseal.headend.tls import fingerprint
from meterseal.security.sealed import Sealed

NOW = datetime.now(UTC)
VALID = Validity(NOW - timedelta(days=3), NOW + timedelta(days=30))
METERS = {f"m{at}": bytes.fromhex(f"4D534C00000000{at:02X}") for at in (1, 2, 3)}
TITLES = {"north": b"MSLUTI01", "south": b"MSLUTI02"}
SOON = 30.0


@dataclass(frozen=True)
class Party:
    """A certificate and its key, as files."""

    pem: bytes
    key: bytes
    der: bytes

    def files(self, folder: Path, name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key)
        key.chmod(0o600)
        return certificate, key


@cache
def authority(name: str) -> Authority:
    return Authority.root(SigningKey.generate(curve("P-256")), name, VALID)


def party(title: bytes, root: str = "root") -> Party:
    """A party with a TLS certificate of a root; the same each time."""
    return _party(title, root)


@cache
def _party(title: bytes, root: str) -> Party:
    key = TlsKey.generate(curve("P-256"))
    made = authority(root).issue(key.public, title, Purpose.TLS, VALID)
    return Party(made.to_pem(), write_key(key), made.der)


def sealed_for(
    meter: bytes, utility: bytes = TITLES["north"], content: bytes = b"\x30\0\0\0\1sealed"
) -> bytes:
    """What looks sealed, from the outside; that is all that a head-end sees."""
    fields = (b"\1\2\3\4\5\6\7\x08", utility, meter, b"", b"")
    head = b"".join(bytes((len(one),)) + one for one in fields)
    return b"\xdd" + head + b"\x00" + bytes((len(content),)) + content


@dataclass
class FakeMeter:
    """An association of a head-end with a meter that answers by a script, and remembers what came."""

    title: bytes
    answer: Callable[[Sealed], Awaitable[bytes]] | None = None
    sign_on_error: MetersealError | None = None
    values: list[Any] = field(default_factory=list)
    asked: list[Sealed] = field(default_factory=list)
    signed_on: int = 0
    is_open: bool = False
    is_lost: bool = False
    counters_left: int = 1000

    async def forward(self, sealed: Sealed) -> Sealed:
        self.asked.append(sealed)
        if self.answer is not None:
            return Sealed.of(await self.answer(sealed))
        return Sealed.of(sealed_for(sealed.originator, self.title))

    async def read_many(self, objects: Any) -> list[Any]:
        return self.values

    def drop(self) -> None:
        self.is_open = False


class Home(HeadEnd):
    """A head-end whose meters are fakes."""

    fakes: dict[bytes, FakeMeter]

    @asynccontextmanager
    async def sign_on(self, meter: MeterEntry) -> AsyncIterator[Any]:
        fake = self.fakes[meter.title]
        fake.signed_on += 1
        if fake.sign_on_error is not None:
            raise fake.sign_on_error
        fake.is_open, fake.is_lost = True, False
        try:
            yield fake
        finally:
            fake.is_open = False


def config(folder: Path, rate: int = 10_000, **changes: Any) -> Config:
    """Two utilities: north has m1 and m2, south has m3; an observer."""
    certificate, key = party(b"MSLHES01").files(folder, "headend")
    root = folder / "root.pem"
    root.write_bytes(authority("root").certificate.to_pem())
    role = RoleCredentials(client=16, mechanism="none")

    def utility(name: str, *meters: str) -> Utility:
        prints = frozenset({fingerprint(party(TITLES[name]).der)})
        titles = frozenset(METERS[one] for one in meters)
        return Utility(
            name=name, fingerprints=prints, titles=frozenset({TITLES[name]}), meters=titles, rate=rate
        )

    meters = tuple(
        MeterEntry(
            name=name,
            title=title,
            credentials=Credentials(
                MeterCredentials(url="tcp://127.0.0.1:1", system_title=title), {"public": role}
            ),
            role="public",
        )
        for name, title in METERS.items()
    )
    made = Config(
        certificate=certificate,
        key=key,
        clients=(root,),
        linger=0.05,
        utilities=(utility("north", "m1", "m2"), utility("south", "m3")),
        observers=frozenset({fingerprint(party(b"MSLOBS01").der)}),
        meters=meters,
    )
    return replace(made, **changes)


class Place:
    """What a test sees: the head-end, its fakes, its journal, callers by name."""

    def __init__(self, house: Home, folder: Path, stack: AsyncExitStack, journal: io.StringIO) -> None:
        self.house, self.folder, self._stack, self._journal = house, folder, stack, journal
        self.url = ""

    @property
    def fakes(self) -> dict[bytes, FakeMeter]:
        return self.house.fakes

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._journal.getvalue().splitlines()]

    @property
    def journal(self) -> str:
        return self._journal.getvalue()

    async def caller(self, title: bytes | None, root: str = "root", **headers: str) -> httpx.AsyncClient:
        """A client with the certificate of a title; None: with none at all."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self.folder / "headend.pem")
        if title is not None:
            name = f"{title.decode()}-{root}"
            context.load_cert_chain(*party(title, root).files(self.folder, name))
        client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=8),
            base_url=self.url,
            verify=context,
            timeout=SOON,
            headers=headers,
            trust_env=False,
        )
        return await self._stack.enter_async_context(client)


@asynccontextmanager
async def home(folder: Path, *, api: bool = True, **changes: Any) -> AsyncIterator[Place]:
    """A head-end that runs."""
    async with AsyncExitStack() as stack:
        journal = io.StringIO()
        house = Home(config(folder, **changes), folder / "state", Journal(journal))
        house.fakes = {title: FakeMeter(title) for title in METERS.values()}
        await stack.enter_async_context(house)
        place = Place(house, folder, stack, journal)
        if api:
            served = await stack.enter_async_context(Served(house))
            place.url = served.url
        yield place


async def settled(house: HeadEnd) -> None:
    """Wait until no request is open."""
    async with asyncio.timeout(SOON):
        while house._live:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
