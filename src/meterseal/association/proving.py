"""Passes 3 and 4: the call of reply_to_HLS_authentication with a proof, and its answer with another.

Both are always the same around invoke-id and proof.  For the lengths that proofs have there are moulds; what
is not exactly so is written and read by the declarations, as every other call.
"""

from __future__ import annotations

from typing import Final

from meterseal.apdu.common import SHORT_INVOKE_ID, MethodDescriptor, ResultData
from meterseal.apdu.services import ActionRequestNormal, ActionResponseNormal, ActionResult
from meterseal.association.asking import Asking
from meterseal.association.operations import SUCCESS, Operation, Service
from meterseal.association.profile import conformance
from meterseal.codec.data import Data, Tag
from meterseal.codec.moulds import Mould

REPLY_TO_HLS: Final = (15, bytes.fromhex("0000280000FF"), 1)
"""Class, logical name and method of the current association."""

_ACTION: Final = Service.ACTION
REPLYING: Final = Operation(_ACTION, *REPLY_TO_HLS)
"""The call as a meter's view knows it."""
_OPERATIONS: Final = (REPLYING,)
_NO_OPTIONS: Final[frozenset[str]] = frozenset()
_METHOD: Final = MethodDescriptor(*REPLY_TO_HLS)
_ACTION_ONLY: Final = conformance("action")
_LIMIT: Final = 256
"""Octets of a proof in an answer by blocks, of which there is none."""


def _called(invoke: bytes, proof: bytes) -> bytes:
    return ActionRequestNormal(invoke[0], _METHOD, Data.of(proof, Tag.OCTET_STRING)).encode()


def _answered(invoke: bytes, proof: bytes) -> bytes:
    returned = ResultData(Data.of(proof, Tag.OCTET_STRING))
    return ActionResponseNormal(invoke[0], ActionResult(SUCCESS, returned)).encode()


_PROOFS: Final = (16, 17, 20, 32, 64, 96)
"""Octets of the proofs of the mechanisms that are named."""

_CALLS: Final = {length: Mould.of(_called, 1, length) for length in _PROOFS}
_ANSWERS: Final = {length: Mould.of(_answered, 1, length) for length in _PROOFS}
_CALLS_BY_SIZE: Final = {mould.size: mould for mould in _CALLS.values()}
_ANSWERS_BY_SIZE: Final = {mould.size: mould for mould in _ANSWERS.values()}


def refusal(invoke: int, code: int) -> bytes:
    """The action-response of a meter that has been given no proof, or a wrong one."""
    return ActionResponseNormal(invoke, ActionResult(code, None)).encode()


def answer_with(invoke: int, proof: bytes) -> bytes:
    """The action-response with the meter's proof."""
    mould = _ANSWERS.get(len(proof))
    octet = bytes((invoke,))
    return _answered(octet, proof) if mould is None else mould.cast(octet, proof)


def call_of(octets: bytes) -> tuple[int, bytes] | None:
    """Invoke-id and proof of the call, where it is of the form; None for every other APDU."""
    mould = _CALLS_BY_SIZE.get(len(octets))
    fresh = None if mould is None else mould.fresh(octets)
    return None if fresh is None else (fresh[0][0], fresh[1])


class Proving(Asking):
    """Pass 3 as a request of the client."""

    def __init__(self, invoke: int, proof: bytes, room: int | None) -> None:
        # What an `Asking` of one operation comes to, of which only the proof is new.
        self.service, self.listed, self.operations = _ACTION, False, _OPERATIONS
        self.invoke, self.identity = invoke, invoke & SHORT_INVOKE_ID
        self._negotiated, self._options = _ACTION_ONLY, _NO_OPTIONS
        self._room, self._limit = room, _LIMIT
        self._incoming = self._outgoing = None
        self._proof = proof

    def first(self) -> bytes:
        """As `Asking`."""
        mould = _CALLS.get(len(self._proof))
        if mould is not None and (self._room is None or mould.size <= self._room):
            return mould.cast(bytes((self.invoke,)), self._proof)
        token = Data.of(self._proof, Tag.OCTET_STRING)
        self.operations = (_OPERATIONS[0]._replace(data=token),)
        return super().first()

    def proof_in(self, octets: bytes) -> bytes | None:
        """The meter's proof, where this is the answer that has one; None for every other APDU."""
        mould = _ANSWERS_BY_SIZE.get(len(octets))
        fresh = None if mould is None else mould.fresh(octets)
        if fresh is None or fresh[0][0] & SHORT_INVOKE_ID != self.identity:
            return None
        return fresh[1]
