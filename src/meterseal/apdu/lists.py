"""The bare lists and values that travel in the raw-data of block transfers (acse-xdlms 5, more 3)."""

from __future__ import annotations

from meterseal.apdu.common import GetDataResult
from meterseal.apdu.services import ActionResult
from meterseal.codec.data import Data
from meterseal.codec.message import Message


class ResultList(Message):
    """SEQUENCE OF Get-Data-Result: the raw-data of a long GET with-list answer."""

    results: tuple[GetDataResult, ...]


class ValueList(Message):
    """SEQUENCE OF Data: the raw-data of a long SET or ACTION with-list request."""

    values: tuple[Data, ...]


class OutcomeList(Message):
    """SEQUENCE OF Action-Response-With-Optional-Data: a long ACTION with-list answer."""

    outcomes: tuple[ActionResult, ...]


class ReturnParameters(Message):
    """Get-Data-Result alone: the raw-data of a long ACTION answer as some peers have it."""

    returned: GetDataResult
