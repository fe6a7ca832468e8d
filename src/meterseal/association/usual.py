"""The usual request of a client: one attribute, whole; what the general road makes of it, made once.

Between two reads of an attribute only the invoke-id differs, between their answers only that and the data.
A `UsualGet` is cut out of what the declarations themselves encode.  It stands in for them where both come to
the same; what is anything else it leaves to them, with nothing changed.
"""

from __future__ import annotations

from typing import Any

from meterseal.apdu.common import SHORT_INVOKE_ID, AttributeDescriptor, ResultData
from meterseal.apdu.services import GetRequestNormal, GetResponseNormal
from meterseal.association.asking import Asking
from meterseal.association.operations import Operation, Service
from meterseal.codec.data import Data
from meterseal.codec.data_decode import read_value
from meterseal.codec.scalars import WIDTHS
from meterseal.errors import DecodeError, MetersealError
from meterseal.security.prepared import Sealing, Unsealing

CONFIRMED_HIGH = 0xC0
"""Of the invoke-id-and-priority octet: an answer is wanted, with priority."""

_INVOKES = range(CONFIRMED_HIGH, CONFIRMED_HIGH + SHORT_INVOKE_ID + 1)
_ANY = AttributeDescriptor(0, bytes(6), 0)
_HEAD = len(GetRequestNormal.tag) + 1
_HEADS = tuple(GetRequestNormal(invoke, _ANY, None).encode()[:_HEAD] for invoke in _INVOKES)
_ANSWERS = tuple(GetResponseNormal(invoke, ResultData(Data(b"", None))).encode() for invoke in _INVOKES)
"""What comes before the descriptor of a request, and before the data of its answer, by invoke-id."""

_DATA = len(_ANSWERS[0])
_NULL = b"\x00"
"""Data that is expected before there was any: null-data."""

ASKED, ANSWERED = GetRequestNormal.tag[0], GetResponseNormal.tag[0]


class UsualGet(Asking):
    """A read of one attribute that an association asks for again and again.

    `sealing` and `unsealing` are how it goes out and its answer comes in, for as long as they hold.
    """

    __slots__ = ("_data", "_likely", "_tail", "read", "sealing", "unsealing")

    def __init__(
        self,
        operations: tuple[Operation, ...],
        invoke: int,
        *agreed: Any,
        sealing: Sealing,
        unsealing: Unsealing,
    ) -> None:
        super().__init__(operations, invoke, *agreed)
        self.sealing, self.unsealing = sealing, unsealing
        self.read = operations[0][1:4]
        """Class, logical name and index of the attribute."""
        self._tail = self.first()[_HEAD:]
        self._data = _NULL
        self._likely = _ANSWERS[invoke & SHORT_INVOKE_ID] + _NULL

    @staticmethod
    def is_one(operations: tuple[Operation, ...]) -> bool:
        """True for operations that are such a read."""
        return (
            len(operations) == 1 and operations[0].service is Service.GET and operations[0].selection is None
        )

    def again(self, number: int) -> bytes | None:
        """Ask once more, under another invoke-id (0 to 15): the APDU, sealed; None where it cannot be."""
        try:
            sealed = self.sealing.seal(_HEADS[number] + self._tail)
        except MetersealError:
            return None  # counters are to be reserved first, or there are none
        self.invoke, self.identity, self._incoming = CONFIRMED_HIGH | number, number, None
        self._likely = _ANSWERS[number] + self._data
        return sealed

    def answered(self, octets: bytes) -> bytes | None:
        """The data of its answer, A-XDR, whose counter is taken then; None for `take` to judge, unchanged."""
        unsealing, likely = self.unsealing, self._likely
        found = unsealing.open(octets, likely)
        if found is None:
            return None
        plain, counter = found
        if plain is not likely:
            data = plain[_DATA:]
            if not plain.startswith(likely[:_DATA]):
                return None
            if (not data or WIDTHS[data[0]] != len(data)) and not _is_one(data):
                return None
            self._data = data
        unsealing.key.rx.commit(counter)
        return self._data


def _is_one(data: bytes) -> bool:
    """True for one value, whole."""
    try:
        _, end = read_value(data, 0, len(data))
    except DecodeError:
        return False
    return end == len(data)
