"""`meterseal read`, `write`, `call`: sign on, do it, release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from meterseal.cli import options, values
from meterseal.cli.output import answering
from meterseal.client.plan import Wishes
from meterseal.cosem.obis import ObjectAddress
from meterseal.errors import Refused
from meterseal.net.wirelog import WireLog

if TYPE_CHECKING:
    from meterseal.sync import Meter

_OBJECT = "[CLASS/]OBIS[:ATTRIBUTE], for example 3/1.0.1.8.0.255:2; attribute 2 when left out."
_METHOD = "[CLASS/]OBIS:METHOD, for example 70/0.0.96.3.10.255:1."
_VALUE = (
    "As read shows it: a number, hex for octets, ISO 8601 for times, JSON for lists and structures; "
    "TYPE:VALUE (u32:5, os:0102, vs:name) where the class leaves the type open."
)


def read(
    url: options.Url,
    objects: Annotated[list[str], typer.Argument(metavar="OBJECT...", help=_OBJECT)],
    credentials: options.CredentialsFile,
    role: options.Role = None,
    policy: options.Policy = None,
    layers: options.Layers = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Sign on, read, release. Exit code 1 when any of it was refused."""
    wanted = [values.object_of(text) for text in objects]
    with (
        answering(),
        _signed_on(url, credentials, role, wire_log, state, policy=policy, layers=layers) as meter,
    ):
        found = meter.read_many(wanted)
        association = meter.described()
    values.read(wanted, found, json, association=association)


def write(
    url: options.Url,
    object: Annotated[str, typer.Argument(metavar="OBJECT", help=_OBJECT)],
    value: Annotated[str, typer.Argument(metavar="VALUE", help=_VALUE)],
    credentials: options.CredentialsFile,
    role: options.Role = None,
    policy: options.Policy = None,
    layers: options.Layers = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Sign on, write one attribute, release."""
    asked = values.object_of(object)
    with (
        answering(),
        _signed_on(url, credentials, role, wire_log, state, policy=policy, layers=layers) as meter,
    ):
        association = meter.described()
        with _reporting(asked, association, json):
            meter.write(asked, value)
    values.written(asked, value, json, association=association)


def call(
    url: options.Url,
    object: Annotated[str, typer.Argument(metavar="OBJECT", help=_METHOD)],
    credentials: options.CredentialsFile,
    parameters: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="Parameters, as VALUE of write; often none.")
    ] = None,
    role: options.Role = None,
    policy: options.Policy = None,
    layers: options.Layers = None,
    json: options.Json = False,
    wire_log: options.WireLogFile = None,
    state: options.StateFolder = None,
) -> None:
    """Sign on, call one method, release."""
    asked = values.method_of(object)
    with (
        answering(),
        _signed_on(url, credentials, role, wire_log, state, policy=policy, layers=layers) as meter,
    ):
        association = meter.described()
        with _reporting(asked, association, json, method=True):
            answer = meter.call(asked, parameters)
    values.called(asked, answer, json, association=association)


@contextmanager
def _signed_on(
    url: str,
    credentials: Path,
    role: str | None,
    wire_log: Path | None,
    state: Path | None,
    **words: str | None,
) -> Iterator[Meter]:
    """The meter, signed on; released at the end, and the wire log closed."""
    from meterseal import sync  # the other commands do without it

    log = None if wire_log is None else WireLog(wire_log)
    try:
        wishes = cast(Wishes, {name: word for name, word in words.items() if word is not None})
        with sync.connect(
            url, credentials=credentials, role=role, wire_log=log, state=state, **wishes
        ) as meter:
            yield meter
    finally:
        if log is not None:
            log.close()


@contextmanager
def _reporting(asked: ObjectAddress, association: Any, json: bool, *, method: bool = False) -> Iterator[None]:
    """A refusal of the meter is an answer too, where a program wants to read it."""
    try:
        yield
    except Refused as error:
        values.refused(asked, error, json, method=method, association=association)
        raise
