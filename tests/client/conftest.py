"""Fixtures of the client's tests: both drivers, in memory and over TCP, behind one blocking face."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

import meterseal
from meterseal import net
from meterseal.errors import TimedOut
from tests.client.fake_meter import FakeMeter

Open = Callable[..., AbstractContextManager[Any]]
PATIENCE = (0.1, 1.0, 10.0, 60.0)
"""For what is to come before a time-out and shows only in it: it is asked again, with more time each."""


class Blocking:
    """An asyncio `Meter` or `Link` with calls that return when they are done."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target, self._runner = target, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name == "associate":
            return lambda *args, **wishes: _entered(found(*args, **wishes), self._runner)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *args, **wishes: self._runner.run(found(*args, **wishes))


@contextmanager
def _entered(manager: Any, runner: asyncio.Runner) -> Iterator[Blocking]:
    """The block of an asynchronous context manager."""

    async def leave(*causes: Any) -> Any:
        return await manager.__aexit__(*causes)

    async def enter() -> Any:
        return await manager.__aenter__()

    target = runner.run(enter())
    try:
        yield Blocking(target, runner)
    except BaseException as error:
        if not runner.run(leave(type(error), error, error.__traceback__)):
            raise
    else:
        runner.run(leave(None, None, None))


class TcpMeter:
    """A fake meter on a port of its own, served from another thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[net.Server] = []

    def serve(self, factory: net.Factory) -> str:
        """The URL of a server with this factory."""

        async def start() -> net.Server:
            return await net.serve("127.0.0.1", 0, factory)

        server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(60)
        self._servers.append(server)
        return server.url

    def close(self) -> None:
        """Stop serving."""

        async def stop() -> None:
            for server in self._servers:
                await server.close()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


def wait_for_answers(meter: Any, seconds: float) -> None:
    """From now on, on the general road and for what was asked before."""
    meter._session.timeout = meter._session._exchange.timeout = seconds


@contextmanager
def unanswered(meter: Any) -> Iterator[None]:
    """A request that gets no answer: it alone is waited for shortly, whatever else may take its time."""
    patience = meter._session.timeout
    wait_for_answers(meter, 0.05)
    with pytest.raises(TimedOut):
        yield
    wait_for_answers(meter, patience)


class Twin:
    """One way of using the client: `connect` and `link` as of `meterseal.sync`, whatever is behind them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._asynchronous, self._tcp = "asyncio" in kind, "tcp" in kind
        self._server: TcpMeter | None = None

    def connect(self, fake: FakeMeter, role: str | None = None, **arguments: Any) -> Any:
        """A context manager with the meter's association."""
        return self._open("connect", fake, arguments | {"role": role})

    def link(self, fake: FakeMeter, **arguments: Any) -> Any:
        """A context manager with the line."""
        return self._open("link", fake, arguments)

    @contextmanager
    def _open(self, name: str, fake: FakeMeter, arguments: dict[str, Any]) -> Iterator[Any]:
        arguments = {"credentials": fake.credentials(), "counters": fake.counters} | arguments
        if arguments.get("state") is not None:
            del arguments["counters"]
        if self._tcp:
            if self._server is None:
                self._server = TcpMeter()
            arguments["url"] = self._server.serve(fake.factory)
        if not self._asynchronous:
            if not self._tcp:
                arguments["line"] = net.blocking_loopback(fake.factory)
            with getattr(meterseal.sync, name)(**arguments) as opened:
                yield opened
            return
        with asyncio.Runner() as runner:

            async def make() -> Any:
                if not self._tcp:
                    arguments["line"] = net.loopback(fake.factory)
                return getattr(meterseal, name)(**arguments)

            with _entered(runner.run(make()), runner) as opened:
                yield opened

    def close(self) -> None:
        """Stop what runs."""
        if self._server is not None:
            self._server.close()


@pytest.fixture(params=["asyncio", "blocking", "asyncio-tcp", "blocking-tcp"])
def twin(request: pytest.FixtureRequest) -> Iterator[Twin]:
    """Each way of using the client."""
    made = Twin(request.param)
    yield made
    made.close()


@pytest.fixture(params=["asyncio", "blocking"])
def memory_twin(request: pytest.FixtureRequest) -> Twin:
    """Both drivers over a line in memory: for what does not depend on the line."""
    return Twin(request.param)
