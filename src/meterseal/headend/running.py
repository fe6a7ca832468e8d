"""Running a head-end as a process: its API on a port, its journal on stderr, until a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvicorn

from meterseal.errors import ConfigurationError
from meterseal.headend.api import application
from meterseal.headend.config import Config, load
from meterseal.headend.house import HeadEnd
from meterseal.headend.journal import Journal, Lines
from meterseal.headend.tls import identified, server_context
from meterseal.net import WireLog

CONNECTIONS: Final = 1024
HEAD: Final = 16_384
"""Octets of a request's head."""

KEEP_ALIVE: Final = 30
"""Seconds that a connection without a request stays open."""

CLOSING: Final = 5
"""Seconds that requests have to end."""


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own; `ready` is set when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        self.ready.set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.servers[0].sockets[0].getsockname()[1])


class Served:
    """The API of a head-end on a port.  Used with `async with`; `url` says where."""

    def __init__(self, house: HeadEnd) -> None:
        config = house.config
        context = server_context(config.certificate, config.key, config.clients)
        self._host = config.host
        self._server = _Server(
            uvicorn.Config(
                application(house), host=config.host, port=config.port,
                ssl_context_factory=lambda config, default: context,
                http=identified(), ws="none", lifespan="off", interface="asgi3", loop="none",
                log_config=None, access_log=False, server_header=False, date_header=True, proxy_headers=False,
                limit_concurrency=CONNECTIONS, h11_max_incomplete_event_size=HEAD,
                timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=CLOSING,
            )
        )  # fmt: skip
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Served:
        server = self._server
        if not server.config.loaded:
            server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        self._work = asyncio.create_task(self._run())
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait({ready, self._work}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not server.ready.is_set():
            raise ConfigurationError(f"cannot listen on {self._host}:{server.config.port}")
        return self

    async def _run(self) -> None:
        try:
            await self._server.startup()
            if not self._server.should_exit:
                await self._server.main_loop()
        except SystemExit:
            return
        finally:
            if self._server.started:
                await self._server.shutdown()

    async def __aexit__(self, *causes: object) -> None:
        self._server.should_exit = True
        if self._work is not None:
            await self._work

    @property
    def url(self) -> str:
        """`https://HOST:PORT`."""
        return f"https://{self._host}:{self._server.port}"


async def serve_headend(
    config: str | Path | Config,
    *,
    state: str | Path | None = None,
    port: int | None = None,
    wire_log: str | Path | None = None,
    announce: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run a head-end until `stop` is set; `announce` gets the line `listening on https://HOST:PORT`,
    then one `pushes on URL` for each place where it listens for pushes.

    `state` keeps the database and the counters of all roles; without it they last as long as the call.
    Raises ConfigurationError, StateUnavailable.
    """
    plan = config if isinstance(config, Config) else load(config)
    if port is not None:
        plan = replace(plan, port=port)
    journal = Journal()
    with ExitStack() as stack:
        folder = Path(state or stack.enter_context(TemporaryDirectory(prefix="meterseal-")))
        stack.enter_context(_told_by(journal))
        wires = None if wire_log is None else stack.enter_context(WireLog(wire_log))
        async with HeadEnd(plan, folder, journal, wires) as house, Served(house) as served:
            (announce or _say)(f"listening on {served.url}")
            for url in house.pushes.urls:
                (announce or _say)(f"pushes on {url}")
            ends = {
                asyncio.create_task((stop or asyncio.Event()).wait()),
                asyncio.create_task(house.stopped()),
            }
            done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            for task in done:
                task.result()


class _told_by(ExitStack):
    """The library's and the server's warnings as lines of a journal, as long as the block lasts."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        handler = Lines(journal)
        for name in ("meterseal", "uvicorn.error"):
            logger = logging.getLogger(name)
            before = logger.handlers[:], logger.propagate
            logger.handlers, logger.propagate = [handler], False
            self.callback(_restore, logger, *before)


def _restore(logger: logging.Logger, handlers: list[logging.Handler], propagate: bool) -> None:
    logger.handlers, logger.propagate = handlers, propagate


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_headend(
    config: str | Path,
    *,
    state: str | Path | None = None,
    port: int | None = None,
    wire_log: str | Path | None = None,
) -> None:
    """Run a head-end until SIGTERM or SIGINT; arguments as of `serve_headend`."""

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        await serve_headend(config, state=state, port=port, wire_log=wire_log, stop=stop)

    asyncio.run(run())
