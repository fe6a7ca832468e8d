"""A gateway for tests: takes the prefix off, asks the device behind it, puts the prefix on the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meterseal.framing import gateway
from meterseal.framing.gateway import Prefix
from meterseal.net import Factory, Handler, Link

Cheat = Callable[[Prefix, bytes], list[bytes]]
"""The right prefix of an answer, and its APDU: what goes out in their place."""


def honest(prefix: Prefix, apdu: bytes) -> list[bytes]:
    """As a gateway does it."""
    return [gateway.encode(prefix, apdu)]


class Gateway:
    """A factory for a listening end; `devices` are the parties behind it, by network and address."""

    def __init__(self, devices: dict[tuple[int, bytes], Factory]) -> None:
        self.devices = devices
        self.cheat: Cheat = honest
        self.asked: list[tuple[Prefix, bytes]] = []

    def __call__(self, link: Link) -> Handler:
        return _Near(self, link)


class _Near:
    """One connection: devices get a connection of their own each, when they are first asked."""

    def __init__(self, gateway: Gateway, link: Link) -> None:
        self._gateway, self._link = gateway, link
        self._behind: dict[tuple[int, bytes], Handler] = {}

    def received(self, source: int, destination: int, payload: bytes) -> None:
        prefix, apdu = gateway.decode(payload)
        self._gateway.asked.append((prefix, apdu))
        key = prefix.network, prefix.address
        if key in self._gateway.devices:
            if key not in self._behind:
                back = _Back(self._link, prefix.answer(), self._gateway)
                self._behind[key] = self._gateway.devices[key](back)
            self._behind[key].received(source, destination, apdu)

    def parted(self, source: int, destination: int, cause: Exception | None) -> None:
        for handler in self._behind.values():
            handler.parted(source, destination, cause)

    def closed(self, cause: Exception | None) -> None:
        for handler in self._behind.values():
            handler.closed(cause)


class _Back:
    """The link as a device behind the gateway has it."""

    def __init__(self, link: Link, prefix: Prefix, gateway: Gateway) -> None:
        self._link, self._prefix, self._gateway = link, prefix, gateway

    def send(self, source: int, destination: int, payload: bytes) -> None:
        for octets in self._gateway.cheat(self._prefix, payload):
            self._link.send(source, destination, octets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)
