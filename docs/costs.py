"""Tables of what security suites cost, from the figures that `make bench` wrote into the package."""

from __future__ import annotations

from collections.abc import Iterable

from meterseal.cli import suites as page

Table = tuple[Iterable[object], Iterable[Iterable[object]]]
"""Heads and rows."""


def sign_on() -> Table:
    """List sign-ons."""
    return page.rows_of(page.figures(), "sign_on")


def read() -> Table:
    """List reads of a register."""
    return page.rows_of(page.figures(), "read")


def day() -> Table:
    """List reads of a day of load profile."""
    return page.rows_of(page.figures(), "day")


def measured() -> Table:
    """List when and where, and how long the messages are without any protection."""
    found = page.figures()
    at, plain = found["measured"], found["plain"]
    lengths = f"{plain['read']} octets, {plain['day']} octets"
    heads = ("measured", "on, one core", "Python", "cryptography", "a read and a day, plain")
    return heads, [(at["date"], at["machine"], at["python"], at["cryptography"], lengths)]
