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
from meterseal.association.operations import SUCCESS, Operation, Outcome, Service
from meterseal.association.states import KIND_OF, TABLE, Role
from meterseal.codec.data import Data
from meterseal.codec.data_decode import read_value
from meterseal.errors import DecodeError
from meterseal.security import Style

CONFIRMED_HIGH = 0xC0
"""Of the invoke-id-and-priority octet: an answer is wanted, with priority."""

_INVOKES = range(CONFIRMED_HIGH, CONFIRMED_HIGH + SHORT_INVOKE_ID + 1)
_ANY = AttributeDescriptor(0, bytes(6), 0)
_HEAD = len(GetRequestNormal.tag) + 1
_HEADS = tuple(GetRequestNormal(invoke, _ANY, None).encode()[:_HEAD] for invoke in _INVOKES)
_ANSWERS = tuple(GetResponseNormal(invoke, ResultData(Data(b"", None))).encode() for invoke in _INVOKES)
"""What comes before the descriptor of a request, and before the data of its answer, by invoke-id."""

_DATA = len(_ANSWERS[0])
_outcome = tuple.__new__

ANSWERED_IN = frozenset(
    state
    for (role, state, kind), step in TABLE.items()
    if (role, kind, step.action) == (Role.CLIENT, KIND_OF[GetResponseNormal], "answer")
)
"""States in which an answer of this kind ends a request."""


class UsualGet(Asking):
    """A read of one attribute that an association asks for again and again.

    `applied`, `style` and `policy` are the protection it goes out under, and what that was worked out from.
    """

    def __init__(
        self,
        operations: tuple[Operation, ...],
        invoke: int,
        *agreed: Any,
        applied: int,
        style: Style,
        policy: int,
    ) -> None:
        super().__init__(operations, invoke, *agreed)
        self.applied, self.style, self.policy = applied, style, policy
        self._tail = self.first()[_HEAD:]
        self._answer = _ANSWERS[invoke & SHORT_INVOKE_ID]

    @staticmethod
    def is_one(operations: tuple[Operation, ...]) -> bool:
        """True for operations that are such a read."""
        return (
            len(operations) == 1 and operations[0].service is Service.GET and operations[0].selection is None
        )

    def again(self, invoke: int) -> bytes:
        """Ask once more, under another invoke-id: the APDU."""
        self.invoke, self._incoming = invoke, None
        number = self.identity = invoke & SHORT_INVOKE_ID
        self._answer = _ANSWERS[number]
        return _HEADS[number] + self._tail

    def taken(self, octets: bytes) -> tuple[Outcome, ...] | None:
        """The outcome where the plain APDU is this request's answer with data; None for `take` to judge."""
        if not octets.startswith(self._answer):
            return None
        size = len(octets)
        try:
            _, end = read_value(octets, _DATA, size)
        except DecodeError:
            return None
        return (_outcome(Outcome, (SUCCESS, octets[_DATA:])),) if end == size else None
