"""Read, write and call for asyncio, however the questions get to the meter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from meterseal.apdu.common import SelectiveAccess
from meterseal.client.elements import Element, Ended
from meterseal.client.profiles import Moment
from meterseal.client.steps import Steps
from meterseal.client.values import Answer, NotRead, Profile, Value
from meterseal.client.verbs import Verbs
from meterseal.codec.data import Data
from meterseal.codec.types import Type
from meterseal.cosem.obis import ObjectAddress
from meterseal.cosem.object_list import ObjectList
from meterseal.cosem.selection import CaptureObject, Selection

T = TypeVar("T")
Object = str | ObjectAddress


class AsyncVerbs:
    """The verbs; who inherits them says in `_run` how their steps are done, one conversation at a time."""

    __slots__ = ()

    _verbs: Verbs

    @abstractmethod
    async def _run(self, steps: Steps[T]) -> T:
        """Do all steps; what they return or raise."""

    async def read(self, object: Object) -> Value:
        """Read an object: `[CLASS/]OBIS[:ATTRIBUTE]`, attribute 2 when left out.

        A register comes with scaler and unit applied where the meter takes lists, a profile as `Profile`;
        with class and attribute given that attribute is read and nothing else.  Raises Refused when the
        meter says no, Misuse for a text that names no object.
        """
        return await self._run(self._verbs.read(object))

    async def read_many(self, objects: Sequence[Object]) -> list[Value | NotRead]:
        """Read several objects, in lists where the meter takes them; refused ones come as `NotRead`."""
        return await self._run(self._verbs.read_many(objects))

    async def write(
        self,
        object: Object,
        value: Any,
        type: Type | str | None = None,
    ) -> None:
        """Write an attribute.  Without `type` the class tables tell it; text is as on the command line."""
        await self._run(self._verbs.write(object, value, type))

    async def call(
        self,
        method: Object,
        parameters: Any = None,
        type: Type | str | None = None,
    ) -> Answer:
        """Invoke a method, `[CLASS/]OBIS:METHOD`; without parameters the customary integer 0 is sent."""
        return await self._run(self._verbs.call(method, parameters, type))

    async def access(
        self, elements: Sequence[Element], *, stop_at_error: bool = False, described: bool = False
    ) -> list[Ended]:
        """Reads, writes and calls in one ACCESS request, `Read`, `Write`, `Call`; how each ended, in order.

        With `stop_at_error` the meter does nothing after the first element that fails.  `described` asks it
        to repeat the request in its answer.  Raises Unsupported where ACCESS was not negotiated.
        """
        steps = self._verbs.access(elements, stop_at_error=stop_at_error, described=described)
        return await self._run(steps)

    async def profile(
        self,
        object: Object,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        entries: tuple[int, int] | None = None,
        columns: Sequence[str | CaptureObject] = (),
        short_rows: bool = False,
    ) -> Profile:
        """Rows of a profile: between two times (both included), or entries (first, last) from 1; or all.

        `columns` are capture objects as `[CLASS/]OBIS[:ATTRIBUTE]`.  `short_rows` takes rows that leave out
        last columns which did not change.
        """
        steps = self._verbs.profile(
            object, since=since, until=until, entries=entries, columns=columns, short_rows=short_rows
        )
        return await self._run(steps)

    async def object_list(self, again: bool = False) -> ObjectList:
        """The objects of this role's view; read once, or `again`."""
        return await self._run(self._verbs.object_list(again))

    async def get(
        self,
        class_id: int,
        instance: str | bytes,
        attribute: int,
        selection: Selection | SelectiveAccess | None = None,
    ) -> bytes:
        """One attribute by its descriptor, as A-XDR Data; raises Refused."""
        return await self._run(self._verbs.get(class_id, instance, attribute, selection))

    async def set(
        self,
        class_id: int,
        instance: str | bytes,
        attribute: int,
        data: Data | bytes,
        selection: Selection | SelectiveAccess | None = None,
    ) -> None:
        """Write one attribute by its descriptor; `data` is Data or its A-XDR."""
        await self._run(self._verbs.set(class_id, instance, attribute, data, selection))

    async def action(
        self, class_id: int, instance: str | bytes, method: int, data: Data | bytes | None = None
    ) -> bytes | None:
        """Invoke one method by its descriptor; what it returns as A-XDR Data."""
        return await self._run(self._verbs.action(class_id, instance, method, data))
