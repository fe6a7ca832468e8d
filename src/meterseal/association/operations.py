"""Operations: one read, write or call on one member of one object, and its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias

from meterseal.apdu.common import SelectiveAccess
from meterseal.codec.data import Data


class Service(IntEnum):
    """The three services of one operation, or of a list of the same."""

    GET = 0
    SET = 1
    ACTION = 2


class Several(IntEnum):
    """The service whose elements are operations of the other three, in any mixture."""

    ACCESS = 3


AnyService = Service | Several


class Operation(NamedTuple):
    """Read, write or call `member` (attribute or method index) of an object.

    `instance` is the logical name (6 octets); `data` the value to write or the parameters.
    """

    service: Service
    class_id: int
    instance: bytes
    member: int
    selection: SelectiveAccess | None = None
    data: Data | None = None


class Outcome(NamedTuple):
    """Data-Access-Result or Action-Result (0 success), and the A-XDR Data that came with it."""

    code: int
    data: bytes | None = None


class View(Protocol):
    """What one association may see and do."""

    def right(self, operation: Operation, user: int | None) -> int | None:
        """Access right bits (class 15 version 3) of the member; None: not in the view."""
        ...


SUCCESS = 0
READ_WRITE_DENIED = 3
OBJECT_UNDEFINED = 4
SCOPE_VIOLATED = 0x0D
OTHER_REASON = 0xFA

RIGHT_NEEDED = {Service.GET: 1, Service.SET: 2, Service.ACTION: 1}
"""The access right bit that a service needs: read, write, access."""

Named: TypeAlias = tuple[int, bytes, int, bool]
"""Class, logical name, member, and whether that is a method: an operation without its parameters."""


def named(operation: Operation) -> Named:
    """What an operation is on."""
    method = operation.service is Service.ACTION
    return operation.class_id, operation.instance, operation.member, method


def joined(right: int | None, more: int | None) -> int | None:
    """Two rights on one member as one; None: not in the view."""
    return more if right is None else right | (more or 0)


def with_group(
    rights: Iterable[int | None], operations: Iterable[Operation], group: Mapping[Named, int]
) -> list[int | None]:
    """Rights on operations that come under the broadcast key: those of the client, and of its group."""
    pairs = zip(rights, operations, strict=True)
    return [joined(right, group.get(named(operation))) for right, operation in pairs]
